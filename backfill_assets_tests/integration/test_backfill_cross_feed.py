"""The vendor's other feed: slots taken whole, doubts settled, the day's calls for it, and what happens afterwards."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.endpoints.intraday_rows import build_intraday_rows
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.doubts import record_doubts
from backfill_assets_tests.conftest import NOW, make_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import TUESDAY, build_expected_bars, ignore_progress
from backfill_assets_tests.integration.test_store_claims import claim_for_another, let_lapse

StartSandbox = Callable[..., Sandbox]
MakeEngine = Callable[..., Engine]
MONDAY = date(2026, 6, 1)
LOST_SLOT = "2026-06-02 15:00+00"  # 11:00 in New York, 90 minutes after the open
LOST = {("AAPL", TUESDAY): (90, 120)}
FEEDS = "SELECT source_interval, count(*) FROM market_data GROUP BY 1 ORDER BY 1"


def fetch(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def execute(engine: Engine, statement: str) -> None:
    with engine.database.transaction() as connection:
        connection.execute(statement.encode())


def run_tuesday(engine: Engine, sandbox: Sandbox, hours: float = 0, **options: Any) -> RunResult:
    """A run over Tuesday at ``hours`` after NOW, by the schedule: no symbol is chosen."""
    moment = NOW + timedelta(hours=hours)
    sandbox.move_clock(moment)
    settings = engine.settings.model_copy(update={"as_of": moment})
    later = Engine(engine.database, settings)
    return run_backfill(later, make_job(later, **{"start": TUESDAY, "end": TUESDAY, **options}), ignore_progress)


def read_other_feed_bars(engine: Engine) -> list[tuple[Any, ...]]:
    return fetch(
        engine,
        "SELECT symbol_id, timestamp, source_interval, volume_comparable, why FROM backfill.other_feed_bars ORDER BY 2",
    )


def test_a_window_that_5m_lost_is_taken_whole_from_1m(start_sandbox: StartSandbox, make_engine: MakeEngine) -> None:
    sandbox = start_sandbox(quirks=DataQuirks(null_windows=LOST))
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    first = run_tuesday(engine, sandbox)
    assert (first.after.missing, first.calls, bool(first.cross_feed)) == (1, 10, False)
    second = run_tuesday(engine, sandbox, 2)
    assert (second.after.missing, second.calls) == (0, 10)
    assert (second.cross_feed.tickers, second.cross_feed.taken) == (1, 1)
    assert second.as_dict()["cross_feed"]["taken"] == 1
    lost_at = datetime.fromisoformat(LOST_SLOT).astimezone(UTC)
    assert read_other_feed_bars(engine) == [(1, lost_at, "1m", False, "absent")]
    expected = {bar[0]: bar for bar in build_expected_bars(sandbox, "AAPL", TUESDAY)}
    of_1m = {bar[0]: bar for bar in build_expected_bars(sandbox, "AAPL", TUESDAY, source="1m")}
    expected[int(lost_at.timestamp())] = of_1m[int(lost_at.timestamp())]
    assert read_stored_bars(engine.database, "AAPL") == sorted(expected.values())
    ((ratio,),) = fetch(engine, "SELECT volume_ratio FROM backfill.other_feed_bars")
    shares = [of_1m[start][-1] / bar[-1] for start, bar in expected.items() if start in of_1m]
    assert min(shares) < ratio < max(shares)
    assert fetch(engine, "SELECT calls FROM backfill.ledger_by_purpose WHERE purpose = 'cross_feed'") == [(5,)]


def test_a_later_answer_of_the_first_feed_leaves_a_taken_bar_alone_until_a_person_forces_it(
    start_sandbox: StartSandbox, make_engine: MakeEngine
) -> None:
    sandbox = start_sandbox(quirks=DataQuirks(null_windows={**LOST, ("AAPL", MONDAY): (90, 120)}))
    engine = make_engine(sandbox, ("AAPL",))
    run_tuesday(engine, sandbox, start=MONDAY)
    assert run_tuesday(engine, sandbox, 2, start=MONDAY).mixed_feeds is None
    stored = read_stored_bars(engine.database, "AAPL")
    mended = start_sandbox()  # the vendor found the window
    engine = make_engine(mended)
    again = run_tuesday(engine, mended, 4, symbols=["AAPL"], verify_existing=True)
    assert read_stored_bars(engine.database, "AAPL") == stored
    assert again.mixed_feeds is None
    forced = run_tuesday(engine, mended, 6, symbols=["AAPL"], force=True)
    assert fetch(engine, FEEDS) == [("1m", 1), ("5m", 25)]
    assert forced.written.revised == 1
    assert [at.date() for _, at, *_ in read_other_feed_bars(engine)] == [MONDAY]  # before the forced window


def test_zero_calls_switch_it_off_and_the_limit_of_a_day_holds_across_runs(
    start_sandbox: StartSandbox, make_engine: MakeEngine
) -> None:
    symbols = ("AAPL", "MSFT", "AMZN")
    sandbox = start_sandbox(quirks=DataQuirks(null_windows={(symbol, TUESDAY): (90, 120) for symbol in symbols}))
    engine = make_engine(sandbox, symbols, cross_feed_calls=0)
    run_tuesday(engine, sandbox)
    assert not run_tuesday(engine, sandbox, 1).cross_feed
    engine = make_engine(sandbox, cross_feed_calls=9)  # one request
    limited = run_tuesday(engine, sandbox, 4).cross_feed
    assert (limited.tickers, limited.taken, limited.postponed) == (1, 1, 2)
    spent = run_tuesday(engine, sandbox, 8, symbols=symbols).cross_feed
    assert (spent.tickers, spent.postponed) == (0, 2)
    assert run_tuesday(engine, sandbox, 14, symbols=symbols).cross_feed.tickers == 1  # a day later


def test_a_symbol_that_another_run_has_claimed_meanwhile_is_left_to_it(
    start_sandbox: StartSandbox, make_engine: MakeEngine
) -> None:
    """Its claim lapsed after the answer of the first feed was stored, while the network was silent."""
    sandbox = start_sandbox(quirks=DataQuirks(null_windows=LOST))
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    run_tuesday(engine, sandbox)

    def take_claim(_: object) -> None:
        ((run_id,),) = fetch(engine, "SELECT run_id FROM backfill.runs WHERE finished_at IS NULL")
        let_lapse(engine.database, run_id)
        assert claim_for_another(engine.database, [1]) == {1}

    sandbox.move_clock(NOW + timedelta(hours=2))
    settings = engine.settings.model_copy(update={"as_of": NOW + timedelta(hours=2)})
    cut_off = Engine(engine.database, settings, claims_sure_seconds=0)
    result = run_backfill(cut_off, make_job(cut_off, start=TUESDAY, end=TUESDAY), take_claim)
    assert (result.after.missing, result.calls, bool(result.cross_feed)) == (1, 5, False)


def test_one_request_settles_all_sessions_of_a_symbol(start_sandbox: StartSandbox, make_engine: MakeEngine) -> None:
    days = (date(2026, 5, 26), date(2026, 5, 29), TUESDAY)
    sandbox = start_sandbox(quirks=DataQuirks(null_windows={("AAPL", day): (90, 120) for day in days}))
    engine = make_engine(sandbox)
    runs = [run_tuesday(engine, sandbox, hours, start=days[0]) for hours in (0, 2)]
    assert [(run.cross_feed.tickers, run.cross_feed.taken) for run in runs] == [(0, 0), (1, 3)]
    assert fetch(engine, "SELECT calls FROM backfill.ledger_by_purpose WHERE purpose = 'cross_feed'") == [(5,)]
    assert [at.date() for _, at, *_ in read_other_feed_bars(engine)] == list(days)


def test_a_slot_that_1m_lacks_is_taken_from_5m(
    start_sandbox: StartSandbox, make_engine: MakeEngine, tmp_path: Path
) -> None:
    generated = start_sandbox().world
    lost_at = datetime.fromisoformat(LOST_SLOT).timestamp()
    (session,) = list_sessions(US, TUESDAY, TUESDAY)
    for feed in ("1m", "5m"):
        rows = build_intraday_rows(generated.get_published_rows("AAPL", session, feed), False)
        kept = [row for row in rows if feed == "5m" or not lost_at <= row.timestamp < lost_at + 1800]
        (tmp_path / f"intraday_AAPL.US_{feed}_tuesday.json").write_bytes(msgspec.json.encode(kept))
    sandbox = start_sandbox(replay=tmp_path)
    engine = make_engine(sandbox, source_interval="1m")
    runs = [run_tuesday(engine, sandbox, hours) for hours in (3, 5)]  # 1m is published 5 hours after the close
    assert [(run.cross_feed.tickers, run.cross_feed.taken, run.after.missing) for run in runs] == [(0, 0, 1), (1, 1, 0)]
    expected = build_expected_bars(sandbox, "AAPL", TUESDAY, source="1m")
    expected[3] = build_expected_bars(sandbox, "AAPL", TUESDAY)[3]
    assert read_stored_bars(engine.database, "AAPL") == expected
    assert fetch(engine, FEEDS) == [("1m", 12), ("5m", 1)]
    assert fetch(engine, "SELECT volume_ratio BETWEEN 0.1 AND 0.9 FROM backfill.other_feed_bars") == [(True,)]


def test_a_minute_is_not_taken_from_five(start_sandbox: StartSandbox, make_engine: MakeEngine) -> None:
    sandbox = start_sandbox(quirks=DataQuirks(quiet_minutes=0.02))
    engine = make_engine(sandbox)
    runs = [run_tuesday(engine, sandbox, hours, interval="1m") for hours in (3, 5)]
    assert runs[1].after.missing > 0
    assert not runs[1].cross_feed
    assert fetch(engine, FEEDS) == [("1m", 390 - runs[1].after.missing)]


def test_a_running_total_is_not_lifted_by_its_right_prices(
    start_sandbox: StartSandbox, make_engine: MakeEngine
) -> None:
    sandbox = start_sandbox(quirks=DataQuirks(cumulative_volume_months=1.0, repaired_after_days=None))
    engine = make_engine(sandbox, ("AAPL",))
    run_tuesday(engine, sandbox)
    doubted = fetch(engine, "SELECT first_slot FROM backfill.doubts WHERE rule = 'volume_running_total' AND marks_bar")
    assert doubted
    second = run_tuesday(engine, sandbox, 30)
    assert (second.cross_feed.confirmed, second.cross_feed.taken) == (0, len(doubted))
    assert {row[1] for row in read_other_feed_bars(engine)} == {slot for (slot,) in doubted}
    ended = fetch(
        engine, "SELECT DISTINCT outcome, outcome_reason, marks_bar, other_feed->>'answer' FROM backfill.doubts"
    )
    assert ended == [("mended", "taken from the vendor's 1m rows", False, "taken")]
    of_1m = build_expected_bars(sandbox, "AAPL", TUESDAY, source="1m")
    taken = {int(slot.timestamp()) for (slot,) in doubted}
    stored = read_stored_bars(engine.database, "AAPL")
    assert [bar for bar in stored if bar[0] in taken] == [bar for bar in of_1m if bar[0] in taken]
    run_tuesday(engine, sandbox, 60, symbols=["AAPL"])
    assert fetch(engine, "SELECT count(*) FROM backfill.doubts WHERE marks_bar") == [(0,)]
    assert fetch(engine, "SELECT count(*) FROM backfill.revisions") == [(len(doubted),)]


@pytest.mark.parametrize(("high", "answer"), [("high_price", "confirmed"), ("high_price * 50", "taken")])
def test_a_doubt_about_a_price_is_confirmed_or_mended_by_the_other_feed(
    start_sandbox: StartSandbox, make_engine: MakeEngine, high: str, answer: str
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",))
    run_tuesday(engine, sandbox)
    execute(
        engine,
        # An answer with fewer rows than the stored bar does not replace it: so the vendor repeats the wrong price.
        f"UPDATE market_data SET high_price = {high}, source_rows = 9, fetched_at = fetched_at + interval '1 us'"
        f" WHERE timestamp = '{LOST_SLOT}'",
    )
    job = make_job(engine, start=TUESDAY, end=TUESDAY)
    grid = build_slot_grid(job.window.sessions, job.interval)
    stamp = int(datetime.fromisoformat(LOST_SLOT).timestamp())
    with engine.database.transaction() as connection:
        doubt = Doubt(Rule.PRICE_OUTSIDE_DAY, 1, 0, stamp, stamp, {"high": 1.0})
        assert record_doubts(connection, [doubt], grid=grid, now=NOW, from_rows=False) == 1
        connection.execute("UPDATE backfill.doubts SET repeats = 1")
    execute(engine, "DELETE FROM market_data WHERE timestamp = '2026-06-02 19:30+00'")  # makes the symbol due
    result = run_tuesday(engine, sandbox, 2)
    outcome = {"confirmed": "confirmed", "taken": "mended"}[answer]
    assert fetch(engine, "SELECT outcome, other_feed->>'answer', marks_bar FROM backfill.doubts") == [
        (outcome, answer, False)
    ]
    assert (result.cross_feed.confirmed, result.cross_feed.taken) == ((1, 0) if answer == "confirmed" else (0, 1))
    assert engine.measure(job).count_slots(SlotState.SUSPECT) == 0


def test_bars_of_another_program_are_not_touched(start_sandbox: StartSandbox, make_engine: MakeEngine) -> None:
    sandbox = start_sandbox(quirks=DataQuirks(null_windows={**LOST, ("MSFT", TUESDAY): (90, 120)}))
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    run_tuesday(engine, sandbox)
    execute(
        engine,
        "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,"
        f" volume) VALUES (1, '30m', '{LOST_SLOT}', 1, 1, 1, 1, 1)",
    )
    assert run_tuesday(engine, sandbox, 2).cross_feed.taken == 1
    assert fetch(
        engine, f"SELECT source, volume FROM market_data WHERE symbol_id = 1 AND timestamp = '{LOST_SLOT}'"
    ) == [(None, 1)]


def test_what_both_feeds_lack_is_asked_three_times_at_most(
    start_sandbox: StartSandbox, make_engine: MakeEngine
) -> None:
    sandbox = start_sandbox(quirks=DataQuirks(halts=LOST))
    engine = make_engine(sandbox, ("AAPL",))
    run_tuesday(engine, sandbox)
    asked = [run_tuesday(engine, sandbox, hours).cross_feed.tickers for hours in (2, 13, 27, 80, 130)]
    assert asked == [1, 0, 1, 1, 0]
    assert fetch(engine, "SELECT state FROM backfill.halts") == [("proposed",)]  # of one symbol nothing is known
