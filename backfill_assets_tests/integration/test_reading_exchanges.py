"""Reads, exports, universes and certificates of several exchanges in one store: days are each exchange's own.

``BHP`` trades in New York and in Sydney, whose session of Monday begins on Sunday by UTC. ``VOD`` lacks a bar.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from click.testing import CliRunner, Result

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.certify import CertificationResult, certify_due
from backfill_assets.certification.verification import verify_newest
from backfill_assets.cli.main import cli
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.reading import (
    IncompleteBars,
    PendingSessions,
    ReadHealth,
    UsageError,
    read_bars,
    read_changes,
    read_daily,
)
from backfill_assets.reading.export import export_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.reading_store import ReadingStore, list_starts
from backfill_assets_tests.integration.stored_actions import Store

AU, LSE = get_profile("AU"), get_profile("LSE")
MONDAY, TUESDAY, WEDNESDAY = date(2026, 2, 2), date(2026, 2, 3), date(2026, 2, 4)
BHP, VOD = Ticker("BHP", "AU"), Ticker("VOD", "LSE")
LACKING = 3  # the position of VOD's missing slot on Monday
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def filled(create_database: Callable[..., str], home: Path) -> str:
    """The name of a database with two sessions of each exchange, which tests clone."""
    url = create_database()
    database = Database(url)
    store = ReadingStore(database, load_settings(home=home, as_of=NOW))
    store.insert("backfill.source_host", host="127.0.0.1")
    store.add_complete_symbol("BHP", MONDAY, TUESDAY)
    store.add_complete_symbol("BHP", MONDAY, TUESDAY, market=AU, volume=70)
    store.add_complete_symbol("VOD", MONDAY, TUESDAY, market=LSE, without=(LACKING,), volume=90)
    database.close()
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


@pytest.fixture(scope="module")
def settings(home: Path) -> Settings:
    return load_settings(home=home, as_of=NOW, exchanges=["US", "AU", "LSE"], partition_days=100)


@pytest.fixture
def engine(filled: str, create_database: Callable[..., str], settings: Settings) -> Iterator[Engine]:
    database = Database(create_database(filled))
    yield Engine(database, settings)
    database.close()


@pytest.fixture
def run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process."""
    monkeypatch.setenv("DATABASE_URL", engine.database.url)
    monkeypatch.setenv("BACKFILL_AS_OF", NOW.isoformat())
    monkeypatch.setenv("BACKFILL_EXCHANGES", '["US", "AU", "LSE"]')
    return lambda command: CliRunner().invoke(cli, command.split(), catch_exceptions=True, standalone_mode=True)


def test_days_are_those_of_the_exchange_and_equal_symbols_never_meet(engine: Engine) -> None:
    sydney = read_bars(BHP, MONDAY, TUESDAY, settings=engine)
    frame = sydney.frame
    assert set(frame["symbol"]) == {"BHP.AU"}
    assert list(frame["timestamp"]) == list_starts(MONDAY, market=AU)
    assert frame["timestamp"].iloc[0].isoformat() == "2026-02-01T23:00:00+00:00"
    assert set(frame["session"].dt.date) == {MONDAY}
    assert set(frame["volume"]) == {70}
    new_york = read_bars("BHP", MONDAY, TUESDAY, settings=engine).frame
    assert list(new_york["timestamp"]) == list_starts(MONDAY)
    assert set(new_york["volume"]) == {1000}
    grid = read_bars(None, MONDAY, WEDNESDAY, universe="all", exchange="AU", grid=True, settings=engine)
    assert (len(grid.frame), grid.health.sessions) == (24, (MONDAY, TUESDAY))


def test_a_moment_is_the_same_for_all_and_cuts_a_session(engine: Engine) -> None:
    frame = read_bars(BHP, "2026-02-01T23:30Z", "2026-02-02T00:59Z", settings=engine).frame
    assert [f"{start:%H:%M}" for start in frame["timestamp"]] == ["23:30", "00:00"]


def test_point_in_time_counts_by_the_delay_of_the_exchange(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 2, 2, 1, tzinfo=UTC)  # in Sydney

    def count(**options: Any) -> int:
        return len(read_bars(BHP, MONDAY, TUESDAY, point_in_time=noon, settings=engine, **options).frame)

    assert (count(), count(publication_delay=timedelta(0))) == (3, 4)
    slow = replace(AU, publication_delay=timedelta(hours=1))
    monkeypatch.setattr(Settings, "get_market", lambda _, exchange: slow if exchange == "AU" else get_profile(exchange))
    assert count() == 2


def test_the_health_says_unit_and_status_and_nothing_of_the_us(engine: Engine) -> None:
    health = read_bars(VOD, MONDAY, WEDNESDAY, require="any", settings=engine).health
    assert "Prices of LSE are in GBX, not GBP." in str(health)
    assert "LSE is experimental" in str(health)
    assert (health.exchange, health.is_experimental, health.as_dict()["exchange"]) == ("LSE", True, "LSE")
    assert "Prices of AU are in AUD." in str(read_bars(BHP, MONDAY, TUESDAY, settings=engine).health)
    assert (health.currency, health.price_unit, health.units) == ("GBP", "GBX", ())
    american = read_bars("BHP", MONDAY, WEDNESDAY, settings=engine).health
    assert str(american) == "1 symbol, 2 sessions (2026-02-02 to 2026-02-03), 26 slots expected: 26 present."
    assert (american.exchange, american.is_experimental) == ("US", False)


def test_a_symbol_with_a_unit_of_its_own_is_named_for_the_sessions_read(engine: Engine) -> None:
    ((symbol_id,),) = _fetch(engine, "SELECT symbol_id FROM market_symbols WHERE symbol = 'VOD'")
    store = ReadingStore(engine.database, engine.settings)
    for day, unit in (("-infinity", "GBX"), ("2026-01-05", "GBP"), (TUESDAY, "USD"), ("2026-03-02", "GBX")):
        store.execute(
            "INSERT INTO backfill.symbol_currencies VALUES (%s, %s, NULL, %s, 'the vendor''s list', now())",
            *(symbol_id, day, unit),
        )

    def read(first: date, end: date) -> ReadHealth:
        return read_bars(VOD, first, end, require="any", settings=engine).health

    both = read(MONDAY, WEDNESDAY)
    assert "But VOD.LSE in GBP from 2026-01-05 on, VOD.LSE in USD from 2026-02-03 on." in str(both)
    assert [(unit.price_unit, unit.valid_from) for unit in read(TUESDAY, WEDNESDAY).units] == [("USD", TUESDAY)]
    assert both.as_dict()["units"][1]["valid_from"] == "2026-02-03"
    assert read(date(2025, 12, 1), date(2025, 12, 2)).units == ()


def test_what_is_missing_is_named_in_local_time_with_its_ticker(engine: Engine) -> None:
    with pytest.raises(IncompleteBars) as raised:
        read_bars(VOD, MONDAY, WEDNESDAY, settings=engine)
    (problem,) = raised.value.problems
    assert str(problem) == (
        "VOD.LSE 2026-02-02: 1 slot missing (09:30 in London); backfill-assets why VOD.LSE 2026-02-02"
    )
    assert problem.slots == (datetime(2026, 2, 2, 9, 30, tzinfo=UTC),)
    with pytest.raises(PendingSessions, match=r"next request is due at 2026-06-03 \d\d:\d\d London \(LSE\)"):
        read_bars(VOD, "2026-06-03", "2026-06-04", settings=engine)
    with pytest.raises(UsageError, match=r"does not have BARC\.LSE; add it: backfill-assets symbols add BARC\.LSE$"):
        read_bars(Ticker("BARC", "LSE"), MONDAY, TUESDAY, settings=engine)


def test_an_exchange_need_not_be_enabled_to_be_read(engine: Engine) -> None:
    us_alone = Engine(engine.database, engine.settings.model_copy(update={"exchanges": ("US",)}))
    assert len(read_bars(BHP, MONDAY, TUESDAY, settings=us_alone).frame) == 12
    with pytest.raises(UsageError, match=r"the universe 'all' of XETRA has no symbols; add some: .* add TICKER\.XETRA"):
        read_bars(None, MONDAY, TUESDAY, universe="all", exchange="XETRA", settings=us_alone)


def test_changes_have_the_session_of_the_exchange(engine: Engine) -> None:
    frame = read_changes("2000-01-01", None, [BHP], settings=engine).frame
    assert len(frame) == 24
    assert set(frame["symbol"]) == {"BHP.AU"}
    assert set(frame["session"].dt.date) == {MONDAY, TUESDAY}
    assert len(read_changes("2000-01-01", exchange="LSE", settings=engine).frame) == 33


def test_daily_rows_are_of_the_exchange_s_sessions(engine: Engine) -> None:
    ids = dict(_fetch(engine, "SELECT exchange, symbol_id FROM market_symbols WHERE symbol = 'BHP'"))
    store = ReadingStore(engine.database, engine.settings)
    for exchange, close in (("AU", 50.0), ("US", 80.0)):
        prices = dict.fromkeys(("open_price", "high_price", "low_price", "close_price", "adjusted_close"), close)
        store.insert(
            "backfill.daily_prices",
            **{"symbol_id": ids[exchange], "day": MONDAY, "volume": 5, "reported_volume": 5, "read_at": NOW, **prices},
        )
    (row,) = read_daily(BHP, MONDAY, TUESDAY, settings=engine).frame.itertuples()
    assert (row.symbol, row.close, row.timestamp.isoformat()) == ("BHP.AU", 50.0, "2026-02-01T23:00:00+00:00")
    assert row.slot_end.isoformat() == "2026-02-02T05:00:00+00:00"


def test_bars_are_adjusted_from_the_day_of_the_exchange_on(engine: Engine) -> None:
    """Tuesday's session begins on Monday by UTC, and its bars are those after the split."""
    ((symbol_id,),) = _fetch(engine, "SELECT symbol_id FROM market_symbols WHERE symbol = 'BHP' AND exchange = 'AU'")
    with engine.database.transaction() as connection:
        store = Store(connection)
        store.add_split(symbol_id, TUESDAY, 4)
        known = {"known_after": date(1900, 1, 1), "known_until": date(2099, 1, 1)}
        store.insert("backfill.split_reads", symbol_id=symbol_id, read_at=NOW, **known)
    frame = read_bars(BHP, MONDAY, WEDNESDAY, adjustment="splits", settings=engine).frame
    assert frame["close"].tolist() == [100.5 / 4] * 12 + [100.5] * 12
    assert frame["volume"].tolist() == [280.0] * 12 + [70.0] * 12


def certify(engine: Engine, exchange: str) -> CertificationResult:
    return certify_due(engine, exchange=exchange)


def test_certificates_of_one_day_are_apart_by_exchange(engine: Engine) -> None:
    sydney, new_york = certify(engine, "AU").written, certify(engine, "US").written
    assert [(c.exchange, c.universe, c.session_day, c.bars) for c in sydney if c.bars] == [
        ("AU", "all", MONDAY, 12),
        ("AU", "all", TUESDAY, 12),
    ]
    assert {c.evidence["requested_symbols"] for c in (*sydney, *new_york)} == {1}
    assert [c.bars for c in new_york] == [13, 13]
    assert all(c.previous_id is None for c in (*sydney, *new_york))
    assert certify(engine, "AU").is_idle
    assert read_bars(BHP, MONDAY, WEDNESDAY, settings=engine).certificates == tuple(c.certificate_id for c in sydney)
    assert read_bars("BHP", MONDAY, WEDNESDAY, settings=engine).certificates == tuple(
        c.certificate_id for c in new_york
    )
    with engine.database.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET volume = volume + 1 WHERE symbol_id ="
            " (SELECT symbol_id FROM market_symbols WHERE symbol = 'BHP' AND exchange = 'AU')"
        )
    holds = {
        exchange: [one.holds for one in verify_newest(engine, exchange, INTERVALS["30m"])] for exchange in ("AU", "US")
    }
    assert holds == {"AU": [False, False], "US": [True, True]}


def test_a_certificate_of_other_hours_says_that_the_calendar_changed(
    run: Run, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bars before a late open are stored as before: nothing else changed them, and no request brings them."""
    written = certify(engine, "AU").written
    file = tmp_path / "markets.toml"
    file.write_text(f'AU.late_opens.{MONDAY} = "11:00"')
    monkeypatch.setenv("BACKFILL_MARKETS_FILE", str(file))
    shown = run(f"verify-certificate {written[0].certificate_id}")
    assert shown.exit_code == 3
    assert "BHP.AU 2026-02-01T23:00:00Z is no slot of the session any more" in shown.output
    assert "the calendar, or BACKFILL_MARKETS_FILE, has other hours than when it was certified" in shown.output
    assert "something else than this program" not in shown.output
    assert "--verify-existing" not in shown.output


def test_the_certificate_of_the_us_is_the_same_beside_other_exchanges(engine: Engine) -> None:
    """One store of the US alone, one with Sydney and London in it: kind, hash, counts and evidence are equal."""
    beside = certify(engine, "US").written
    with engine.database.transaction() as connection:
        connection.execute("TRUNCATE backfill.certificates, backfill.certificate_bars, backfill.hashed_sessions")
        connection.execute("TRUNCATE backfill.certification_looks")
        for table in ("backfill.session_evidence", "market_data", "market_symbols"):
            connection.execute(
                f"DELETE FROM {table} WHERE symbol_id IN"
                " (SELECT symbol_id FROM market_symbols WHERE exchange <> 'US')".encode()
            )
    alone = Engine(engine.database, engine.settings.model_copy(update={"exchanges": ("US",)}))
    said = [
        [(c.session_day, c.kind, c.sha256, c.symbols, c.counts, c.evidence) for c in written]
        for written in (beside, certify_due(alone).written)
    ]
    assert said[0] == said[1]
    assert len(said[0]) == 2


def test_commands_name_the_exchange_and_choose_the_one_that_has_the_universe(run: Run, engine: Engine) -> None:
    for exchange in ("US", "AU"):
        certify(engine, exchange)
    assert run("universes list").stdout.splitlines()[:2] == [
        "all: 1 symbol; certificates lack nothing",
        "AU/all: 1 symbol; certificates lack nothing",
    ]
    assert [row["exchange"] for row in json.loads(run("universes list --format json").stdout)] == ["US", "AU", "LSE"]
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.universes (exchange, name) VALUES ('AU', 'mines'), ('AU', 'both'), ('LSE', 'both')"
        )
    assert run("universes show mines").exit_code == 0
    both = run("universes show both")
    assert (both.exit_code, "AU, LSE have a universe 'both' each" in str(both.exception or both.output)) == (1, True)
    lacking = run("certify 2026-02-02 --exchange LSE")
    assert "VOD.LSE: 1 missing; see: backfill-assets why VOD.LSE 2026-02-02" in lacking.stdout
    assert (
        "LSE/all: certificates may lack 1 symbol" in run("universes set all --exchange LSE --max-incomplete 1").output
    )
    listed = run("certificates list").stdout
    assert ("AU/all" in listed, " all " in listed) == (True, True)
    assert "AU/all" not in run("certificates list --exchange US").stdout
    assert "4 certificates hold, 0 do not" in run("verify-certificate").stdout
    assert "2 certificates hold, 0 do not" in run("verify-certificate --exchange AU").stdout
    assert "AU/all 2026-02-02 complete" in run("certify 2026-02-02 --exchange AU").stdout
    assert "Prices of AU" in run("bars --exchange AU --universe all --start 2026-02-02 --end 2026-02-02").stderr


def test_an_export_has_a_folder_for_each_exchange(engine: Engine, tmp_path: Path) -> None:
    for exchange, sessions in (("US", 2), ("AU", 2), ("LSE", 1)):
        result = export_bars(tmp_path, exchange=exchange, settings=engine)
        assert len(result.written) == sessions, result
        assert export_bars(tmp_path, exchange=exchange, settings=engine).is_unchanged
    bars = pl.read_parquet(tmp_path / "bars", hive_partitioning=True)
    counts = bars.group_by("exchange", "session", "symbol").len().sort("exchange", "session").rows()
    assert counts == [
        *(("AU", MONDAY, "BHP.AU", 12), ("AU", TUESDAY, "BHP.AU", 12), ("LSE", TUESDAY, "VOD.LSE", 17)),
        *(("US", MONDAY, "BHP.US", 13), ("US", TUESDAY, "BHP.US", 13)),
    ]


def _fetch(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()
