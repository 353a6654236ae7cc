"""Certificates: which sessions get one, what makes the next, what does not, and what breaks one."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.certification import certify
from backfill_assets.certification.certify import CertificationResult, certify_due
from backfill_assets.certification.request import CertifyRequest, certify_session
from backfill_assets.certification.verification import verify_certificate, verify_newest
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.census.upkeep import keep_census
from backfill_assets.store.certificate_values import Certificate
from backfill_assets.store.certificates import list_newest_certificates, read_certificates_after, read_certified_symbols
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import add_symbols, deactivate_symbols
from backfill_assets.store.universes import create_universe, delete_universe, find_symbols, find_universe, set_gates
from backfill_assets_tests.conftest import NOW, make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.waiting import wait_until

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)


def fill(engine: Engine, **options: Any) -> CertificationResult:
    run_backfill(engine, make_monday_tuesday_job(engine, **options), lambda _: None)
    return certify_due(engine)


@pytest.fixture(scope="module")
def market() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(now=NOW, clock_rate=0.0)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def filled_url(market: Sandbox, create_database: Callable[..., str], home: Path) -> str:
    """A database with AAPL and MSFT, complete on Monday and Tuesday, for tests to clone."""
    url = create_database()
    database = Database(url)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
    engine = build_engine(database, market, home)
    run_backfill(engine, make_monday_tuesday_job(engine), lambda _: None)
    database.close()
    return url


@pytest.fixture
def filled(market: Sandbox, filled_url: str, create_database: Callable[..., str], home: Path) -> Iterator[Engine]:
    """An engine over a clone of that database; two sessions are retained."""
    database = Database(create_database(conninfo_to_dict(filled_url)["dbname"]))
    yield build_engine(database, market, home)
    database.close()


def build_engine(database: Database, market: Sandbox, home: Path) -> Engine:
    settings = load_settings(
        database_url=SecretStr(database.url),
        home=home,
        token=SecretStr("test-token-4711"),
        as_of=NOW,
        daily_data=False,
        base_url=market.base_url,
        partition_days=3,
    )
    return Engine(database, settings)


def note_run(engine: Engine) -> None:
    """As after a run that stored nothing new: the next look compares anew."""
    execute(engine, "UPDATE backfill.session_evidence SET request_count = request_count + 1")


def copy_bars(engine: Engine, symbol: str) -> None:
    """Another symbol gets the bars of AAPL, as if a run had stored them."""
    columns = "interval_type, timestamp, open_price, high_price, low_price, close_price, volume, source,"
    columns += " source_interval, source_rows, is_final, fetched_at"
    execute(
        engine,
        f"INSERT INTO market_data (symbol_id, {columns})"
        f" SELECT (SELECT symbol_id FROM market_symbols WHERE symbol = '{symbol}'), {columns}"
        " FROM market_data JOIN market_symbols USING (symbol_id) WHERE symbol = 'AAPL'",
    )
    note_run(engine)


def execute(engine: Engine, statement: str, *, without_triggers: bool = False) -> None:
    """What another program does to the tables."""
    with engine.database.transaction() as connection:
        if without_triggers:
            connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(statement.encode())


def list_all(database: Database) -> list[Certificate]:
    with database.transaction() as connection:
        return read_certificates_after(connection, 0)


def describe(certificates: tuple[Certificate, ...] | list[Certificate]) -> list[tuple[str, date, str]]:
    return [(c.universe, c.session_day, str(c.kind)) for c in certificates]


CHANGE_AAPL = """
UPDATE market_data SET close_price = close_price + 0.0001 WHERE timestamp = '2026-06-01 14:00Z'
AND symbol_id = (SELECT symbol_id FROM market_symbols WHERE symbol = 'AAPL')
"""


def test_complete_sessions_get_one_certificate_each(filled: Engine) -> None:
    result = certify_due(filled)
    assert describe(result.written) == [("all", MONDAY, "complete"), ("all", TUESDAY, "complete")]
    monday = result.written[0]
    assert (monday.symbols, monday.bars, monday.counts["present"], monday.incomplete) == (2, 26, 26, ())
    assert (monday.previous_id, monday.is_material, monday.revised_bars) == (None, True, 0)
    assert monday.evidence["requested_symbols"] == 2
    rows = [
        f"{name}.US,{stamp},{o:.6f},{h:.6f},{lo:.6f},{c:.6f},{volume}\n"
        for name in ("AAPL", "MSFT")
        for stamp, o, h, lo, c, volume in read_stored_bars(filled.database, name)
        if datetime.fromtimestamp(stamp, UTC).date() == MONDAY
    ]
    assert monday.sha256 == hashlib.sha256("".join(rows).encode()).hexdigest()
    assert certify_due(filled) == CertificationResult(is_idle=True)
    assert fill(filled, force=True).written == ()  # read again, nothing new
    assert all(verified.holds for verified in verify_newest(filled, "US", INTERVALS["30m"]))


def test_an_incomplete_session_gets_none_and_says_what_it_lacks(filled: Engine) -> None:
    execute(filled, "DELETE FROM market_data WHERE timestamp = '2026-06-01 14:00Z'")
    assert describe(certify_due(filled).written) == [("all", TUESDAY, "complete")]
    answer = certify_session(filled, CertifyRequest(MONDAY, "all", "30m"))
    assert (answer.is_certifiable, answer.certificate) == (False, None)
    assert answer.lacking == (("AAPL.US", {"missing": 1}), ("MSFT.US", {"missing": 1}))
    assert answer.reasons[0] == "AAPL.US: 1 missing; see: backfill-assets why AAPL 2026-06-01"
    hourly = certify_session(filled, CertifyRequest(MONDAY, "all", "1h"))
    assert hourly.reasons[0] == "AAPL.US: 7 missing; see: backfill-assets why AAPL 2026-06-01 --interval 1h"
    assert describe(fill(filled).written) == [("all", MONDAY, "complete")]
    standing = certify_session(filled, CertifyRequest(MONDAY, "all", "30m"))
    assert (standing.is_certifiable, standing.is_new) == (True, False)


def test_an_open_doubt_prevents_a_certificate_and_one_that_stands_does_not(filled: Engine) -> None:
    execute(
        filled,
        "INSERT INTO backfill.doubts (symbol_id, interval_type, source_interval, session_day, rule, first_slot,"
        " last_slot, figures, values_hash, from_rows, opened_at, seen_at)"
        " SELECT symbol_id, '30m', '5m', '2026-06-01', 'price_spike', '2026-06-01 14:00Z', '2026-06-01 14:30Z', '{}',"
        " '', false, now(), now() FROM market_symbols WHERE symbol = 'MSFT'",
    )
    assert describe(certify_due(filled).written) == [("all", TUESDAY, "complete")]
    answer = certify_session(filled, CertifyRequest(MONDAY, "all", "30m"))
    assert answer.lacking == (("MSFT.US", {"suspect": 2}),)
    execute(filled, "UPDATE backfill.doubts SET ended_at = now(), outcome = 'stands'")
    (monday,) = certify_due(filled).written
    assert (monday.counts["suspect"], monday.evidence["standing_doubts"]) == (2, 1)


def store_former_close(engine: Engine, factor: float) -> None:
    """The store gets a close of AAPL that the vendor does not have, as if it had corrected it since."""
    execute(
        engine,
        f"UPDATE market_data SET close_price = close_price * {factor}, fetched_at = clock_timestamp()"
        " WHERE timestamp = '2026-06-01 14:00Z'"
        " AND symbol_id = (SELECT symbol_id FROM market_symbols WHERE symbol = 'AAPL')",
    )
    note_run(engine)


def test_a_revision_makes_the_next_certificate_and_the_old_one_stays(filled: Engine) -> None:
    first, _ = certify_due(filled).written
    store_former_close(filled, 1.0005)
    (disturbed,) = certify_due(filled).written
    assert (disturbed.previous_id, disturbed.revised_bars, disturbed.is_material) == (first.certificate_id, 1, True)
    assert disturbed.max_price_bps == pytest.approx(0.0005 * 10_000, rel=1e-3)
    (second,) = fill(filled, force=True).written
    assert (second.previous_id, second.revised_bars, second.sha256) == (disturbed.certificate_id, 1, first.sha256)
    assert second.max_price_bps == pytest.approx(0.0005 / 1.0005 * 10_000)
    assert (second.max_volume_percent, second.is_material) == (0, True)
    assert len(list_all(filled.database)) == 4
    verified = verify_certificate(filled, disturbed.certificate_id)
    assert (verified.holds, verified.newer_id) == (False, second.certificate_id)
    (change,) = verified.changes
    assert (change.ticker, change.is_revision) == ("AAPL.US", True)
    assert change.old is not None
    assert change.new is not None
    assert change.old.close == pytest.approx(change.new.close * 1.0005)


def test_a_small_revision_is_not_material(filled: Engine) -> None:
    certify_due(filled)
    store_former_close(filled, 1.00005)
    (second,) = certify_due(filled).written
    assert second.max_price_bps == pytest.approx(0.5, rel=1e-3)
    assert not second.is_material


@pytest.mark.parametrize("without_triggers", [True, False])
def test_a_bar_that_something_else_changed_breaks_the_certificate(filled: Engine, without_triggers: bool) -> None:
    first, _ = certify_due(filled).written
    execute(filled, CHANGE_AAPL, without_triggers=without_triggers)
    note_run(filled)
    looked = certify_due(filled)
    assert looked.written == ()  # nothing papers over it
    if not without_triggers:  # what avoids the triggers is not looked for after each run
        lines = replace(looked, broken=looked.broken * 7).describe()
        assert (len(lines), lines[-1]) == (6, "and 2 more are broken; see: backfill-assets verify-certificate")
    broken = [v for v in verify_newest(filled, "US", INTERVALS["30m"]) if not v.holds]
    assert [v.certificate.certificate_id for v in broken] == [first.certificate_id]
    (change,) = broken[0].changes
    assert (change.ticker, change.start, str(change.kind)) == ("AAPL.US", 1780322400, "changed")
    assert not change.is_revision
    assert (change.old is None) == without_triggers  # else the history has what was certified
    answer = certify_session(filled, CertifyRequest(MONDAY, "all", "30m"))
    assert not answer.is_certifiable
    assert "1 certified bar was changed by something else" in answer.reasons[0]
    accepted = certify_session(filled, CertifyRequest(MONDAY, "all", "30m", accept_changes=True))
    assert accepted.certificate is not None
    assert accepted.is_new
    assert str(accepted.certificate.kind) == ("complete" if without_triggers else "unverified")
    assert verify_certificate(filled, accepted.certificate.certificate_id).holds


def test_a_look_finds_by_itself_that_another_program_wrote(filled: Engine) -> None:
    certify_due(filled)
    with psycopg.connect(filled.database.url) as connection:
        connection.execute(CHANGE_AAPL)
    # The server's statistics show it a moment later.
    (broken,) = wait_until(lambda: certify_due(filled).broken, "a look that finds the change")
    assert broken.session_day == MONDAY


def test_a_deleted_bar_breaks_the_certificate_until_it_is_fetched_again(filled: Engine) -> None:
    first, _ = certify_due(filled).written
    execute(filled, "DELETE FROM market_data WHERE timestamp = '2026-06-01 14:00Z'", without_triggers=True)
    (change, _) = verify_certificate(filled, first.certificate_id).changes
    assert (str(change.kind), change.is_revision, change.new) == ("gone", False, None)
    assert certify_due(filled).written == ()
    assert fill(filled).written == ()  # the same bars again: the certificate holds as it is
    assert verify_certificate(filled, first.certificate_id).holds


def test_no_certificate_rests_on_counts_that_are_wrong(filled: Engine) -> None:
    """The census does not see a write without triggers."""
    keep_census(filled.database)
    execute(filled, "DELETE FROM market_data WHERE timestamp = '2026-06-01 14:00Z'", without_triggers=True)
    assert [certificate.session_day for certificate in certify_due(filled).written] == [TUESDAY]
    assert [certificate.session_day for certificate in fill(filled).written] == [MONDAY]


def test_changes_of_the_universe_uncertify_nothing(filled: Engine) -> None:
    certify_due(filled)
    with filled.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["TSLA"]))
        deactivate_symbols(connection, parse_tickers(["MSFT"]))
    assert certify_due(filled).written == ()
    for day in (MONDAY, TUESDAY):
        answer = certify_session(filled, CertifyRequest(day, "all", "30m"))
        assert (answer.is_certifiable, answer.is_new) == (True, False)
    assert all(v.holds for v in verify_newest(filled, "US", INTERVALS["30m"]))
    copy_bars(filled, "TSLA")  # complete, too, and still belongs to no session that was certified before
    assert certify_due(filled).written == ()
    anew = certify_session(filled, CertifyRequest(MONDAY, "all", "30m", current_members=True))
    assert (anew.is_certifiable, anew.is_new, anew.reasons) == (True, True, ())
    assert anew.certificate is not None
    (symbols,) = read_symbols(filled, anew.certificate)
    assert [ticker for _, ticker in symbols] == ["AAPL.US", "TSLA.US"]
    assert anew.certificate.revised_bars == 26


def read_symbols(engine: Engine, *certificates: Certificate) -> list[tuple[tuple[int, str], ...]]:
    with engine.database.transaction() as connection:
        found = read_certified_symbols(connection, [c.certificate_id for c in certificates])
    return [found[c.certificate_id] for c in certificates]


def test_a_universe_that_is_made_anew_has_certificates_of_its_own_members(filled: Engine) -> None:
    for name in ("MSFT", "AAPL"):
        with filled.database.transaction() as connection:
            if name == "AAPL":
                delete_universe(connection, find_universe(connection, "US", "model"))
            create_universe(connection, "US", "model", find_symbols(connection, "US", parse_tickers([name])))
        written = [c for c in certify_due(filled).written if c.universe == "model"]
        assert describe(written) == [("model", MONDAY, "complete"), ("model", TUESDAY, "complete")]
        assert [[ticker for _, ticker in symbols] for symbols in read_symbols(filled, *written)] == [[f"{name}.US"]] * 2
    assert certify_due(filled) == CertificationResult(is_idle=True)


def test_a_certificate_keeps_the_ticker_of_then(filled: Engine) -> None:
    certify_session(filled, CertifyRequest(MONDAY, "all", "30m"))
    # Another program's table, whose tickers may be longer than those that users type.
    execute(filled, "ALTER TABLE market_symbols ALTER symbol TYPE varchar(30)")
    execute(filled, "UPDATE market_symbols SET symbol = 'MICROSOFT-CORP' WHERE symbol = 'MSFT'")
    later = certify_due(filled)
    assert (describe(later.written), later.broken) == ([("all", TUESDAY, "complete")], ())
    assert [ticker for _, ticker in read_symbols(filled, *later.written)[0]] == ["AAPL.US", "MICROSOFT-CORP.US"]
    note_run(filled)
    assert (certify_due(filled).written, certify_due(filled).broken) == ((), ())
    assert all(v.holds for v in verify_newest(filled, "US", INTERVALS["30m"]))


def test_a_named_universe_is_certified_whatever_others_lack(filled: Engine) -> None:
    with filled.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["TSLA"]))
        members = find_symbols(connection, "US", parse_tickers(["MSFT"]))
        create_universe(connection, "US", "model", members)
    assert describe(certify_due(filled).written) == [("model", MONDAY, "complete"), ("model", TUESDAY, "complete")]
    answer = certify_session(filled, CertifyRequest(TUESDAY, "all", "30m"))
    assert answer.lacking == (("TSLA.US", {"missing": 13}),)


def test_gates_certify_all_but_the_symbols_that_lack_slots(filled: Engine) -> None:
    with filled.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["TSLA"]))
    assert certify_due(filled).written == ()
    with filled.database.transaction() as connection:
        set_gates(connection, find_universe(connection, "US", "all"), max_incomplete=1, deadline=None)
    monday, tuesday = certify_due(filled).written
    assert (str(monday.kind), monday.incomplete, monday.evidence["gate"]) == (
        "complete but for",
        ("TSLA.US",),
        "max_incomplete",
    )
    copy_bars(filled, "TSLA")
    later = certify_due(filled).written
    assert describe(later) == [("all", MONDAY, "complete"), ("all", TUESDAY, "complete")]
    assert [certificate.previous_id for certificate in later] == [monday.certificate_id, tuesday.certificate_id]
    assert later[0].revised_bars == 13


def test_a_deadline_certifies_however_many_lack(filled: Engine) -> None:
    with filled.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["TSLA", "IBM", "KO"]))
        every = find_universe(connection, "US", "all")
        set_gates(connection, every, max_incomplete=0, deadline=timedelta(hours=20))
    # 14:00 on Wednesday: 18 hours after Tuesday's close
    assert describe(certify_due(filled).written) == [("all", MONDAY, "complete but for")]
    later = replace(filled, settings=filled.settings.model_copy(update={"as_of": datetime(2026, 6, 3, 16, tzinfo=UTC)}))
    (tuesday,) = certify_due(later).written  # by the time alone
    assert (tuesday.incomplete, tuesday.evidence["gate"]) == (("IBM.US", "KO.US", "TSLA.US"), "deadline")


def test_bars_of_another_program_make_a_certificate_of_their_own_kind(filled: Engine) -> None:
    execute(filled, "UPDATE market_data SET source = NULL, fetched_at = NULL WHERE timestamp < '2026-06-02'")
    assert describe(certify_due(filled).written) == [("all", MONDAY, "unverified"), ("all", TUESDAY, "complete")]
    execute(filled, CHANGE_AAPL)  # its own bar
    note_run(filled)
    assert describe(certify_due(filled).written) == [("all", MONDAY, "unverified")]


def test_a_certificate_that_says_more_is_material_although_no_bar_changed(filled: Engine) -> None:
    """Who refuses other programs' bars could not use the first one."""
    execute(filled, "UPDATE market_data SET source = NULL, fetched_at = NULL WHERE timestamp < '2026-06-02'")
    unverified, _ = certify_due(filled).written
    (complete,) = fill(filled, verify_existing=True).written
    assert (str(unverified.kind), str(complete.kind)) == ("unverified", "complete")
    assert (complete.sha256, complete.revised_bars, complete.is_material) == (unverified.sha256, 0, True)


def test_two_processes_write_one_certificate(filled: Engine) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: certify_due(filled), range(2)))
    assert sum(len(result.written) for result in results) == 2
    assert len(list_all(filled.database)) == 2


def test_a_revision_is_certified_though_an_older_snapshot_was_written_first(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, has_snapshot, may_write = certify.lock_certificates, Event(), Event()
    other = replace(filled, database=Database(filled.database.url))

    def lock_in_turn(connection: Connection) -> None:
        if not has_snapshot.is_set():  # the other process, with the older snapshot
            has_snapshot.set()
            assert may_write.wait(60)
        elif not older.done():
            may_write.set()
            older.result(60)
        lock(connection)

    monkeypatch.setattr(certify, "lock_certificates", lock_in_turn)
    with ThreadPoolExecutor(1) as pool:
        older = pool.submit(certify_due, other)
        assert has_snapshot.wait(60)
        store_former_close(filled, 1.0005)
        assert certify_due(filled).written == ()  # both sessions have one by now
    other.database.close()
    assert len(older.result().written) == 2
    assert describe(certify_due(filled).written) == [("all", MONDAY, "complete")]
    assert all(v.holds for v in verify_newest(filled, "US", INTERVALS["30m"]))


def test_no_clock_ahead_of_the_servers_certifies_bars_of_the_vendor(filled: Engine) -> None:
    ahead = {"as_of": datetime.now(UTC) + timedelta(days=1), "base_url": "https://eodhd.com/api"}
    assert certify_due(replace(filled, settings=filled.settings.model_copy(update=ahead))).written == ()


def test_newest_certificates_are_listed(filled: Engine) -> None:
    certify_due(filled)
    with filled.database.transaction() as connection:
        assert [c.session_day for c in list_newest_certificates(connection, "US", "30m", [MONDAY])] == [MONDAY]
