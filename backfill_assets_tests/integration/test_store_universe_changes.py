"""Who was in the universe when: what is recorded by commands, what other programs changed, and past universes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from backfill_assets.market.calendar.tickers import Ticker, parse_tickers
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import add_symbols, deactivate_symbols, list_symbols_at
from backfill_assets.store.universe_changes import UniverseAt, read_universe_at, record_universe_changes

DAY = timedelta(days=1)


def read_changes(connection: Connection) -> list[tuple[str, bool, str]]:
    rows = connection.execute("SELECT symbol, is_active, kind FROM backfill.universe_changes ORDER BY change_id")
    return [(symbol, is_active, kind) for symbol, is_active, kind in rows]


def change(connection: Connection, statement: str, moment: datetime) -> int:
    """What another program does, found at ``moment``."""
    connection.execute(statement.encode())
    return record_universe_changes(connection, moment)


def name_active(universe: UniverseAt) -> list[str]:
    return [symbol.ticker.symbol for symbol in universe.active]


def test_commands_record_what_they_change_in_their_transaction(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol, exchange) VALUES ('BY_OTHERS', 'NYSE')")
        add_symbols(connection, parse_tickers(["FB"]))
        deactivate_symbols(connection, parse_tickers(["MSFT"]))
        assert record_universe_changes(connection) == 0
        assert read_changes(connection) == [
            ("AAPL", True, "recorded"),
            ("MSFT", True, "recorded"),
            ("BY_OTHERS", True, "added"),
            ("FB", True, "added"),
            ("MSFT", False, "changed"),
        ]
    with database.transaction() as connection:
        deactivate_symbols(connection, parse_tickers(["FB"]))
        connection.rollback()
    with database.transaction() as connection:
        assert len(read_changes(connection)) == 5


def test_two_processes_that_change_the_universe_wait_for_each_other(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["FB"]))

    def deactivate() -> list[Ticker]:
        with database.transaction() as connection:
            return deactivate_symbols(connection, parse_tickers(["FB"]))

    with ThreadPoolExecutor(1) as pool, database.transaction() as connection:
        add_symbols(connection, parse_tickers(["META"]))  # as a rename does, before it deactivates the old ticker
        other = pool.submit(deactivate)
        while not connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
            assert not other.done()
        assert deactivate_symbols(connection, parse_tickers(["FB"])) == list(parse_tickers(["FB"]))
        connection.commit()
        other.result()  # no deadlock


def test_the_universe_of_a_moment(database: Database) -> None:
    first = datetime(2026, 6, 1, 12, tzinfo=UTC)
    with database.transaction() as connection:
        change(connection, "INSERT INTO market_symbols (symbol, exchange) VALUES ('FB', 'US'), ('OLD', 'US')", first)
        change(connection, "UPDATE market_symbols SET is_active = false WHERE symbol = 'FB'", first + 2 * DAY)
        change(connection, "INSERT INTO market_symbols (symbol, exchange) VALUES ('META', 'NYSE')", first + 3 * DAY)
        change(connection, "UPDATE market_symbols SET symbol = 'FB' WHERE symbol = 'META'", first + 4 * DAY)
        change(connection, "DELETE FROM market_symbols WHERE symbol = 'OLD'", first + 5 * DAY)
        assert [kind for *_, kind in read_changes(connection)] == [
            "recorded", "recorded", "changed", "added", "changed", "deleted",
        ]  # fmt: skip

        before = list_symbols_at(connection, "US", first - DAY)
        assert (name_active(before), before.is_assumed) == (["FB"], True)  # today's: the row that was META
        assert before.describe() == (
            "universe of 2026-05-31 12:00 UTC: assumed to be today's, because changes are recorded since"
            " 2026-06-01 12:00 UTC"
        )
        at_first = list_symbols_at(connection, "US", first)
        assert (name_active(at_first), at_first.deleted, at_first.is_assumed) == (["FB"], 1, False)
        assert at_first.describe().endswith(": 1 symbol is left out, deleted from market_symbols since")
        (fb,) = at_first.active
        assert fb.is_active  # it was then, and is not now
        assert name_active(list_symbols_at(connection, "US", first + 2 * DAY)) == []
        assert name_active(list_symbols_at(connection, "US", first + 3 * DAY)) == ["META"]
        (renamed,) = list_symbols_at(connection, "US", first + 4 * DAY).active
        assert (renamed.ticker.symbol, renamed.symbol_id != fb.symbol_id) == ("FB", True)
        assert list_symbols_at(connection, "US", first + 6 * DAY).describe() == ""
        assert read_universe_at(connection, datetime.now(UTC) + DAY).rows is None  # what the table holds


def test_a_read_only_server_and_a_role_without_the_right_record_nothing(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol, exchange) VALUES ('AAPL', 'US')")
    with database.transaction() as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        assert record_universe_changes(connection) == 0
        universe = list_symbols_at(connection, "US", datetime(2026, 6, 1, tzinfo=UTC))
        assert (name_active(universe), universe.is_assumed) == (["AAPL"], True)
        assert universe.describe().endswith("because changes are recorded from the next run on")
    with database.transaction() as connection:
        connection.execute("CREATE ROLE only_reads_universe")
        connection.execute("GRANT USAGE ON SCHEMA backfill TO only_reads_universe")
        connection.execute("GRANT SELECT ON market_symbols, backfill.universe_changes TO only_reads_universe")
        connection.execute("SET LOCAL ROLE only_reads_universe")
        assert record_universe_changes(connection) == 0
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY only_reads_universe")
        connection.execute("DROP ROLE only_reads_universe")
