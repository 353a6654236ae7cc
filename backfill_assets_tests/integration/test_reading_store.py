"""What ``read_bars`` reads of a store: renamed tickers, one snapshot, roles and tables of other programs."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from backfill_assets.config.settings import Settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.reading import BarsResult, IncompleteBars, MissingFactor, UsageError, read_bars
from backfill_assets.store.certificate_values import CertificateKind, CertifiedBars, NewCertificate
from backfill_assets.store.certificates import write_certificate
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.universes import create_universe
from backfill_assets_tests.external_tables import create_external_tables
from backfill_assets_tests.integration.reading_store import MONDAY, TUESDAY, WEDNESDAY, ReadingStore, list_starts

THURSDAY = date(2026, 6, 4)
NOW = datetime(2026, 6, 22, 14, tzinfo=UTC)


@pytest.fixture
def store(database: Database, settings: Settings) -> ReadingStore:
    return ReadingStore(database, settings.model_copy(update={"as_of": NOW}))


def add_listing(store: ReadingStore, symbol_id: int, first: date | None, last: date | None, instrument: int) -> None:
    days = {"listed_from": first, "listed_until": last}
    record = {"source": "test", "recorded_by": "test", "recorded_at": NOW}
    store.insert("backfill.listings", symbol_id=symbol_id, instrument_id=instrument, **days, **record)


def add_renamed(store: ReadingStore) -> None:
    """FB became META on Wednesday; until Monday, META was a fund."""
    fb, meta = store.add_symbol("FB", is_active=False), store.add_symbol("META")
    add_listing(store, fb, None, TUESDAY, 1)
    add_listing(store, meta, None, MONDAY, 2)
    add_listing(store, meta, WEDNESDAY, None, 1)
    store.add_bars(fb, MONDAY, TUESDAY, close_price=99.5)
    store.add_bars(meta, MONDAY, close_price=99.25)
    store.add_bars(meta, WEDNESDAY, close_price=100.5)


def summarize(result: BarsResult) -> list[tuple[str, str, float, int]]:
    groups = result.frame.groupby(["symbol", "session"], observed=True)["close"]
    return [(symbol, f"{day:%a}", float(closes.iloc[0]), len(closes)) for (symbol, day), closes in groups]


def test_a_renamed_ticker_is_one_series_without_what_its_name_meant_before(store: ReadingStore) -> None:
    add_renamed(store)
    alone = store.read("META", MONDAY, THURSDAY)
    assert summarize(alone) == [("META.US", "Wed", 100.5, 13)]
    assert alone.health.expected == alone.health.outside_listing == 13
    followed = store.read(["META"], MONDAY, THURSDAY, follow_renames=True)
    assert summarize(followed) == [
        ("META.US", "Mon", 99.5, 13),
        ("META.US", "Tue", 99.5, 13),
        ("META.US", "Wed", 100.5, 13),
    ]
    assert followed.health.expected == followed.health.present == 39
    assert "META.US was FB.US from 2026-06-01 to 2026-06-02" in str(followed.health)
    assert len(store.read(["FB", "META"], MONDAY, THURSDAY, follow_renames=True, grid=True).frame) == 78
    with store.database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE timestamp = %s", [list_starts(TUESDAY)[3]])
    with pytest.raises(IncompleteBars) as raised:
        store.read("META", MONDAY, THURSDAY, follow_renames=True)
    assert [(one.symbol, one.session) for one in raised.value.problems] == [("META.US", TUESDAY)]


def test_an_earlier_life_of_a_recycled_ticker_is_followed(store: ReadingStore) -> None:
    """After the rename another company lists FB; the bars of the first one are still META's."""
    add_renamed(store)
    add_listing(store, find_id(store, "FB"), THURSDAY, None, 3)
    followed = store.read("META", MONDAY, THURSDAY, follow_renames=True)
    assert [day for _, day, *_ in summarize(followed)] == ["Mon", "Tue", "Wed"]
    assert followed.health.expected == 39


def test_only_bars_of_the_frame_need_factors(store: ReadingStore) -> None:
    """Not those of what FB named later, nor those of symbols that are left out."""
    add_renamed(store)
    ids = {name: find_id(store, name) for name in ("FB", "META")}
    add_listing(store, ids["FB"], THURSDAY, None, 3)
    store.add_bars(ids["FB"], THURSDAY)
    store.add_bars(store.add_symbol("LACKS"), THURSDAY, without=(3,))
    store.add_bars(ids["META"], THURSDAY)
    for table in ("split_reads", "dividend_reads"):
        values = {"symbol_id": ids["META"], "known_after": date(1900, 1, 1), "known_until": NOW.date()}
        store.insert(f"backfill.{table}", **values, requested_at=NOW, read_at=NOW)
    split = {"ex_date": TUESDAY, "ratio": 2, "new_shares": 2, "old_shares": 1, "source": "/splits", "first_seen": NOW}
    store.insert("backfill.splits", symbol_id=ids["META"], **split)
    adjusted = {"adjustment": "splits", "end": date(2026, 6, 5)}

    followed = store.read("META", follow_renames=True, **adjusted)
    assert [(day, close) for _, day, close, _ in summarize(followed)] == [
        *(("Mon", 49.75), ("Tue", 99.5), ("Wed", 100.5), ("Thu", 100.5))
    ]
    dropped = store.read(["LACKS", "META"], THURSDAY, on_incomplete="drop", **adjusted)
    assert (dropped.health.dropped, len(dropped.frame)) == (("LACKS.US",), 13)
    with pytest.raises(MissingFactor, match="LACKS"):
        store.read(["LACKS", "META"], THURSDAY, require="any", **adjusted)
    assert len(store.read("LACKS", THURSDAY, require="any", columns=["state"], **adjusted).frame) == 12


def test_a_universe_without_symbols_says_how_to_add_some(store: ReadingStore) -> None:
    with pytest.raises(UsageError, match=r"'all' has no symbols; add some: backfill-assets symbols add"):
        store.read(None, universe="all")
    with store.database.transaction() as connection:
        create_universe(connection, "US", "model", [])
    with pytest.raises(UsageError, match=r"'model' has no symbols; add some: backfill-assets universes add model AAPL"):
        store.read(None, universe="model")


def find_id(store: ReadingStore, symbol: str) -> int:
    with store.database.transaction() as connection:
        ((symbol_id,),) = connection.execute("SELECT symbol_id FROM market_symbols WHERE symbol = %s", [symbol])
    return int(symbol_id)


def test_a_read_writes_nothing_and_sees_one_moment(store: ReadingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    symbol_id = store.add_symbol("AAPL")
    store.add_bars(symbol_id, MONDAY, TUESDAY)
    from backfill_assets.reading import slot_reading

    def measure_later(connection: Connection, *arguments: Any) -> Any:
        with store.database.transaction() as writer:
            life = (symbol_id, TUESDAY, TUESDAY, NOW)
            writer.execute("INSERT INTO backfill.listing_lives VALUES (%s, %s, %s, false, %s)", life)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), connection.transaction():
            connection.execute("DELETE FROM market_data")
        return measured(connection, *arguments)

    measured = slot_reading.measure_coverage
    monkeypatch.setattr(slot_reading, "measure_coverage", measure_later)
    assert store.read().health.present == 26
    monkeypatch.undo()
    assert store.read().health.present == 13
    with store.database.transaction() as connection:
        assert connection.execute("SHOW transaction_read_only").fetchall() == [("off",)]
        assert connection.execute("SHOW transaction_isolation").fetchall() == [("read committed",)]
        assert connection.execute("SELECT count(*) FROM backfill.universe_changes").fetchall() == [(0,)]


def test_an_interrupt_within_a_statement_is_no_other_error(store: ReadingStore) -> None:
    """The connection cannot be brought back to how others want it; the next one has nothing of it."""

    def interrupt() -> None:
        with store.database.snapshot() as connection:
            connection.pgconn.send_query(b"SELECT pg_sleep(60)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with store.database.transaction() as connection:
        assert connection.execute("SHOW transaction_read_only").fetchall() == [("off",)]


@pytest.fixture
def reader(store: ReadingStore) -> Iterator[Settings]:
    """Settings of a role that may only read."""
    name = psycopg.conninfo.conninfo_to_dict(store.database.url)["dbname"]
    role = f"reader_{name}"
    with psycopg.connect(store.database.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        for grant in ("USAGE ON SCHEMA backfill", "SELECT ON ALL TABLES IN SCHEMA backfill, public"):
            connection.execute(sql.SQL("GRANT " + grant + " TO {}").format(sql.Identifier(role)))
    url = psycopg.conninfo.make_conninfo(store.database.url, user=role)
    yield store.settings.model_copy(update={"database_url": SecretStr(url)})
    with psycopg.connect(store.database.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def test_a_role_that_may_only_read_reads(store: ReadingStore, reader: Settings) -> None:
    store.add_bars(store.add_symbol("AAPL"), MONDAY, TUESDAY)
    for options in ({}, {"adjustment": "none", "known_at": NOW}, {"follow_renames": True}):
        assert len(read_bars("AAPL", MONDAY, WEDNESDAY, settings=reader, **options).frame) == 26
    with store.database.transaction() as connection:
        connection.execute("DELETE FROM backfill.migrations WHERE number > 30")
    with pytest.raises(DatabaseUnavailable, match=r"has the schema of migration 30.*may not change it; run"):
        read_bars("AAPL", MONDAY, WEDNESDAY, settings=reader)


def test_tables_of_another_program(create_database: Callable[..., str], settings: Settings) -> None:
    url = create_database(None)
    create_external_tables(url)
    database = Database(url)
    migrate(database)
    store = ReadingStore(database, settings.model_copy(update={"as_of": NOW}))
    symbol_id = store.add_symbol(" aapl")
    store.add_bars(symbol_id, MONDAY, TUESDAY, without=(3,), interval_type="30min", **dict.fromkeys(_PROVENANCE))
    with pytest.raises(IncompleteBars, match="26 slots"):
        store.read()
    with pytest.raises(IncompleteBars) as raised:
        store.read(unverified=True)
    assert [problem.state for problem in raised.value.problems] == ["missing"]
    result = store.read("AAPL", TUESDAY, WEDNESDAY, unverified=True)
    assert result.frame["source"].isna().all()
    assert list(result.frame["symbol"].unique()) == ["AAPL.US"]
    database.close()


_PROVENANCE = ("source", "source_interval", "source_rows", "is_final", "fetched_at")


def certify(store: ReadingStore, universe: str, day: date, members: dict[str, int], incomplete: tuple[str, ...]) -> int:
    """Write a certificate about no bars; returns its id."""
    new = NewCertificate(
        **{"exchange": "US", "universe": universe, "session_day": day, "interval": "30m", "previous_id": None},
        **{"kind": CertificateKind.COMPLETE, "symbols": len(members), "incomplete": incomplete, "bars": 0},
        **{"sha256": "0" * 64, "counts": {}, "evidence": {}, "code_version": "1", "as_of": NOW, "revised_bars": 0},
        **{"max_price_bps": None, "max_volume_percent": None, "is_material": True},
    )
    none, ids = np.zeros(0, np.uint32), np.array(list(members.values()), np.int64)
    bars = CertifiedBars(ids, tuple(f"{name}.US" for name in members), np.zeros(len(ids), np.int64), none, none, none)
    with store.database.transaction() as connection:
        written = write_certificate(connection, new, bars)
    assert written is not None
    return written.certificate_id


def test_a_read_names_the_certificates_that_it_rests_on(store: ReadingStore) -> None:
    ids = {name: store.add_symbol(name) for name in ("AAPL", "MSFT")}
    for symbol_id in ids.values():
        store.add_bars(symbol_id, MONDAY, TUESDAY)
    model = certify(store, "model", MONDAY, {"AAPL": ids["AAPL"]}, ())
    whole = certify(store, "all", MONDAY, ids, ())
    but_for = certify(store, "all", TUESDAY, ids, ("MSFT.US",))
    assert store.read(["AAPL", "MSFT"]).certificates == (whole, but_for)
    assert store.read("MSFT").certificates == (whole,)
    assert store.read("AAPL", TUESDAY).certificates == (but_for,)
    assert store.read("AAPL", end=TUESDAY).certificates in {(model,), (whole,)}
    assert store.read("AAPL", known_at=NOW).certificates == ()
    # Another program overwrites a bar of MSFT: the certificate is about AAPL only.
    store.replace_bar(ids["MSFT"], list_starts(MONDAY)[0], close_price=100.25)
    assert store.read("MSFT", end=TUESDAY, unverified=True).certificates == ()
    assert store.read("AAPL", end=TUESDAY).certificates in {(model,), (whole,)}
    # A bar of AAPL is gone: none is about Monday any more.
    with store.database.transaction() as connection:
        connection.execute(
            "DELETE FROM market_data WHERE symbol_id = %s AND timestamp < %s", [ids["AAPL"], list_starts(MONDAY)[1]]
        )
    assert store.read("AAPL", require="any").certificates == (but_for,)
