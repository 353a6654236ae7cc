"""Symbols as other programs spell them: one row for each ticker, rows stay as they are, the rest is named."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.store.name_notes import describe_names
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols, deactivate_symbols, list_symbols, read_universe
from backfill_assets_tests import external_tables

Row = tuple[str | None, str | None, bool | None]


@pytest.fixture
def external_database(create_database: Callable[..., str]) -> Iterator[Database]:
    """Tables of another program, with a unique key on the symbol alone."""
    url = create_database(None)
    external_tables.create_external_tables(url)
    database = Database(url)
    migrate(database)
    yield database
    database.close()


def insert_rows(database: Database, *rows: Row) -> None:
    with database.transaction() as connection:
        connection.cursor().executemany(
            "INSERT INTO market_symbols (symbol, exchange, is_active) VALUES (%s, %s, %s)", rows
        )


def read_rows(database: Database) -> list[Row]:
    with database.transaction() as connection:
        return [
            (symbol, exchange, is_active)
            for symbol, exchange, is_active in connection.execute(
                "SELECT symbol, exchange, is_active FROM market_symbols ORDER BY symbol_id"
            )
        ]


def list_active(database: Database) -> list[tuple[int, str]]:
    with database.transaction() as connection:
        return [(symbol.symbol_id, str(symbol.ticker)) for symbol in list_symbols(connection, "US")]


def add(database: Database, *tickers: str) -> int:
    with database.transaction() as connection:
        return add_symbols(connection, parse_tickers(tickers))


def describe(database: Database) -> str:
    with database.transaction() as connection:
        return "\n".join(describe_names(connection, read_universe(connection, "US")))


THEIR_ROWS: list[Row] = [
    ("AAPL", "NASDAQ", True),
    ("IBM", "NYSE", None),
    ("spy", "NYSE ARCA", True),
    ("BRK.B", "nyse", True),
    ("MSFT.US", " US", True),
    ("TSLA", None, True),
    ("OLDN", "AMEX", False),
]


def test_rows_of_us_markets_are_the_universe_and_stay_as_they_are(external_database: Database) -> None:
    insert_rows(external_database, *THEIR_ROWS)
    tickers = ["AAPL", "BRK-B", "IBM", "MSFT", "SPY", "TSLA"]
    assert [name for _, name in list_active(external_database)] == [f"{ticker}.US" for ticker in tickers]
    assert add(external_database, *tickers, "OLDN") == 1
    assert read_rows(external_database) == [*THEIR_ROWS[:-1], ("OLDN", "AMEX", True)]
    assert describe(external_database) == ""


def test_added_symbols_refer_to_rows_of_another_spelling(database: Database) -> None:
    insert_rows(database, ("AAPL", "NASDAQ", True), ("msft", "US", True))
    assert add(database, "AAPL", "MSFT", "IBM") == 1
    assert read_rows(database) == [("AAPL", "NASDAQ", True), ("msft", "US", True), ("IBM", "US", True)]


def test_one_row_of_a_ticker_is_used_and_the_others_are_named(database: Database) -> None:
    """An active row before an inactive one, then this program's spelling, then the oldest."""
    insert_rows(
        database,
        *[("AAPL", "NASDAQ", True), ("AAPL", "US", True), ("aapl", "US", True)],
        *[("ibm", "NYSE", True), ("IBM", "NYSE", True)],
        *[("MSFT", "US", False), ("MSFT", "NASDAQ", True)],
    )
    assert list_active(database) == [(2, "AAPL.US"), (4, "IBM.US"), (7, "MSFT.US")]
    named = describe(database)
    assert named.startswith("3 active rows of market_symbols not used, because another row means the same ticker: ")
    assert "'AAPL' on 'NASDAQ' (symbol_id 1) is AAPL.US, for which symbol_id 2 is used" in named
    assert "'IBM' on 'NYSE' (symbol_id 5) is IBM.US, for which symbol_id 4 is used" in named


def test_deactivating_a_ticker_deactivates_all_its_rows(database: Database) -> None:
    insert_rows(database, ("AAPL", "NASDAQ", True), ("aapl", "US", True), ("AAPL", "XYZ", True), ("IBM", "US", True))
    with database.transaction() as connection:
        assert [str(t) for t in deactivate_symbols(connection, parse_tickers(["AAPL", "MSFT"]))] == ["AAPL.US"]
    assert [is_active for *_, is_active in read_rows(database)] == [False, False, True, True]
    assert list_active(database) == [(4, "IBM.US")]


def test_rows_with_a_terminals_suffix_as_exchange_are_told_the_vendors_code(database: Database) -> None:
    insert_rows(database, ("VOD", "L", True), ("BP", "l", True), ("BMW", "DE", True))
    assert describe(database).endswith(
        "'l' (1); for US symbols write US or a market such as NASDAQ or NYSE, for symbols of London Stock Exchange LSE,"
        " for symbols of Xetra XETRA"
    )


def test_rows_that_are_not_recognized_are_named_and_not_used(database: Database) -> None:
    insert_rows(
        database,
        *[("AAPL", "XYZ", True), ("MSFT", "XYZ", True), ("VOD", "LSE", True), ("OLD", "ABC", False)],
        *[("AAPL Inc", "US", True), ("^GSPC", "NYSE", True), ("OLD Inc", "US", False)],
    )
    assert list_active(database) == []
    disabled, exchanges, symbols = describe(database).splitlines()
    assert disabled == (
        "1 active row of market_symbols not used, because the exchange is not enabled: 'LSE' (1); add LSE to"
        " BACKFILL_EXCHANGES"
    )
    assert exchanges == (
        "2 active rows of market_symbols not used, because the exchange is not supported: 'XYZ' (2);"
        " for US symbols write US or a market such as NASDAQ or NYSE"
    )
    assert symbols == (
        "2 active rows of market_symbols not used, because the vendor has no such symbol: 'AAPL Inc' (symbol_id 5),"
        " '^GSPC' (symbol_id 6); write the ticker alone, such as AAPL or BRK-B, or set is_active to false"
    )


def test_a_symbol_of_another_exchange_is_not_taken_over(external_database: Database) -> None:
    insert_rows(external_database, ("AAPL", "XYZ", True))
    with pytest.raises(UsageError, match=r"for another exchange \('XYZ'\): AAPL; correct their exchange first"):
        add(external_database, "AAPL", "MSFT")
    assert read_rows(external_database) == [("AAPL", "XYZ", True)]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("CHECK (exchange IN ('NYSE', 'NASDAQ'))", "violates check constraint"),
        ("CHECK (length(symbol) > 9)", "violates check constraint"),
    ],
)
def test_a_row_that_the_table_refuses_is_an_error_of_the_user(
    external_database: Database, rule: str, message: str
) -> None:
    with psycopg.connect(external_database.url, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE market_symbols ADD {rule}".encode())
    with pytest.raises(UsageError, match=f"market_symbols refuses new rows such as 'AAPL'.*{message}"):
        add(external_database, "AAPL")


def test_left_inactive_symbols_are_not_activated(database: Database) -> None:
    insert_rows(database, ("AAPL", "US", False))
    with database.transaction() as connection:
        assert add_symbols(connection, parse_tickers(["AAPL", "MSFT"]), reactivate=False) == 1
    assert read_rows(database) == [("AAPL", "US", False), ("MSFT", "US", True)]
