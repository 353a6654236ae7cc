"""A ticker that is renamed over night: found on the first morning, proposed with evidence, taken over without a gap."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from backfill_assets.backfill.daily_reading import DailyReading, read_daily_data
from backfill_assets.backfill.decisions.inbox import decide, refresh_inbox, undo
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.recycled import Recycled
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.decisions import list_open_decisions
from backfill_assets.store.evidence.proposals import Answer, Decision
from backfill_assets.store.evidence.ticker_changes import read_ticker_changes
from backfill_assets.store.quota.calls_by_purpose import read_calls_by_purpose
from backfill_assets_tests.conftest import make_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_absence_lookup import (
    explain,
    list_details,
    query,
    record_empty_responses,
)
from backfill_assets_tests.integration.test_backfill_ended_tickers import list_asked, report, run
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars
from backfill_assets_tests.moving_clock import MovingClock, parse_utc

FRIDAY, MONDAY, TUESDAY, WEDNESDAY = date(2026, 5, 29), date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 3)
MakeClock = Callable[..., MovingClock]


@pytest.fixture
def make_clock(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeClock:
    """AAPL, MSFT and FB with the morning's daily data; by default FB is META from Tuesday on."""

    def make(*, daily_file_symbols: int = 101, **config: Any) -> MovingClock:
        sandbox = start_sandbox(**{"renamed": {"FB": ("META", TUESDAY)}, "per_minute": 100_000, **config})
        settings = {"daily_data": True, "partition_days": 3, "daily_file_symbols": daily_file_symbols}
        return MovingClock(make_engine(sandbox, ("AAPL", "MSFT", "FB"), **settings), sandbox, FRIDAY)

    return make


def read_morning(clock: MovingClock, now: str) -> tuple[Engine, DailyReading, int]:
    """The morning's reading, and for how many calls it asked for daily data and renames."""
    engine = clock.move_to(parse_utc(now))
    before = count_daily_calls(engine)
    reading = read_daily_data(engine, US)
    return engine, reading, count_daily_calls(engine) - before


def count_daily_calls(engine: Engine) -> int:
    with engine.database.transaction() as connection:
        calls = read_calls_by_purpose(connection, "test-token-4711", engine.settings.now()).past_30_days
    return calls.get("daily", 0)


def list_open(engine: Engine) -> list[Decision]:
    refresh_inbox(engine.database, engine.settings.now())
    with engine.database.transaction() as connection:
        return list_open_decisions(connection)


@pytest.mark.parametrize(
    ("daily_file_symbols", "usual", "first", "second"),
    # A request for each symbol, or the market's file; on the first morning also the list (5), FB in vain and META. FB's
    # row of Monday, which the vendor did not give under its old name, is requested under the new one.
    [(101, 3, 3 + 5 + 1 + 1, 3 + 1), (1, 100, 100 + 5 + 1 + 1, 100)],
)
def test_a_rename_is_found_on_the_first_morning_and_the_new_ticker_takes_over(
    make_clock: MakeClock, daily_file_symbols: int, usual: int, first: int, second: int
) -> None:
    clock = make_clock(daily_file_symbols=daily_file_symbols)
    run(clock, "2026-06-01 07:00")
    assert read_morning(clock, "2026-06-01 08:30")[2] == usual
    run(clock, "2026-06-01 23:45")  # Monday's bars, under the old name
    assert read_morning(clock, "2026-06-02 08:30")[1].renamed == ()

    # Tuesday's session is not overdue before noon, so nobody has missed a bar of it yet.
    engine, reading, calls = read_morning(clock, "2026-06-03 08:30")
    assert (reading.renamed, calls) == (("FB.US",), first)
    assert str(reading).endswith("renamed: FB.US")
    assert report(engine, start=FRIDAY, end=TUESDAY)["FB"] == (26, 26, 0, None)
    assert list_details(engine)[0][1:] == ("FB.US", "unknown to the vendor; renamed to META on 2026-06-02")
    (change,) = read_changes(engine)
    assert (change.facts.closes.is_carried, change.facts.is_borne_out) == (True, True)

    (decision,) = list_open(engine)
    assert decision.proposal.subject == "FB.US was renamed to META.US on 2026-06-02"
    assert query(engine, "SELECT count(*) FROM backfill.listings") == [(0,)]  # nothing happens by itself
    now = engine.settings.now()
    decide(engine.database, [decision.decision_id], Answer.ACCEPTED, by="ann@a", note=None, now=now, was_shown=False)

    asked = len(list_asked(engine))
    run(clock, "2026-06-03 12:30")
    assert sorted(ticker for ticker, _, _ in list_asked(engine)[asked:]) == ["AAPL.US", "META.US", "MSFT.US"]
    engine = clock.move_to(parse_utc("2026-06-03 13:00"))
    assert report(engine, start=FRIDAY, end=TUESDAY) == {
        "AAPL": (39, 39, 0, None),
        "MSFT": (39, 39, 0, None),
        "FB": (26, 26, 0, "2026-06-01"),
        "META": (13, 13, 0, None),
    }
    assert read_stored_bars(engine.database, "META") == build_expected_bars(clock.sandbox, "META", TUESDAY)
    criteria = evaluate_window(engine.database, engine.measure(make_job(engine)))
    assert [criterion.name for criterion in criteria if not criterion.passed] == []
    _, reading, calls = read_morning(clock, "2026-06-04 08:30")
    assert (reading.renamed, calls) == ((), second)

    bars = query(engine, "SELECT count(*), sum(volume) FROM market_data")
    undo(engine.database, decision.decision_id, by="ann@a", note=None, now=now + timedelta(hours=30))
    assert query(engine, "SELECT symbol FROM market_symbols WHERE is_active ORDER BY 1") == [
        ("AAPL",), ("FB",), ("MSFT",),
    ]  # fmt: skip
    assert query(engine, "SELECT count(*), sum(volume) FROM market_data") == bars


def read_changes(engine: Engine) -> list[Any]:
    with engine.database.transaction() as connection:
        return [change for change in read_ticker_changes(connection, ["FB.US"]) if change.is_listed]


def test_a_rename_that_is_known_before_the_first_close_waits_for_it(make_clock: MakeClock) -> None:
    """The vendor has the new name on the morning after the old one's last session, of which there are no rows yet."""
    clock = make_clock()
    read_morning(clock, "2026-06-01 08:30")
    engine, reading, calls = read_morning(clock, "2026-06-02 08:30")
    assert (reading.renamed, calls) == (("FB.US",), 3 + 5 + 1 + 1)
    (decision,) = list_open(engine)
    assert (decision.proposal.subject, decision.proposal.waits_since) == ("FB.US has ended", None)
    assert "no close of META.US from 2026-06-02 on is known" in dict(decision.proposal.evidence)["no rename proposed"]
    engine, _, calls = read_morning(clock, "2026-06-03 08:30")
    assert calls == 3 + 1  # one by one, FB is asked for Monday's row once more; and META
    (decision,) = list_open(engine)
    assert decision.proposal.subject == "FB.US was renamed to META.US on 2026-06-02"
    assert decision.is_waiting(engine.settings.now())


def test_a_missing_row_without_a_rename_costs_the_list_once(make_clock: MakeClock) -> None:
    clock = make_clock(renamed={}, delisted={"FB": MONDAY})
    read_morning(clock, "2026-06-02 08:30")
    _, reading, calls = read_morning(clock, "2026-06-03 08:30")
    assert (reading.renamed, calls) == ((), 3 + 5)
    engine, reading, calls = read_morning(clock, "2026-06-04 08:30")
    assert calls == 3
    assert list_open(engine) == []


def test_a_symbol_with_intraday_rows_of_the_day_is_not_looked_up(make_clock: MakeClock) -> None:
    clock = make_clock(renamed={}, absences=Absences(eod_skipped=frozenset({("FB", TUESDAY)})))
    run(clock, "2026-06-03 07:00")
    read_morning(clock, "2026-06-02 08:30")
    _, reading, calls = read_morning(clock, "2026-06-03 08:30")
    assert (reading.requested, calls) == (3, 3)


def test_a_new_name_that_was_in_use_is_no_rename(make_clock: MakeClock) -> None:
    """META was a fund until Friday, and FB takes the name over on Tuesday: too short a time to be sure."""
    clock = make_clock(recycled={"META": Recycled(ended=FRIDAY, since=TUESDAY)})
    read_morning(clock, "2026-06-01 08:30")
    assert read_morning(clock, "2026-06-02 08:30")[1].renamed == ("FB.US",)
    engine, _, _ = read_morning(clock, "2026-06-03 08:30")
    (decision,) = list_open(engine)
    assert decision.proposal.subject == "FB.US has ended"
    reasons = dict(decision.proposal.evidence)["no rename proposed"]
    assert "META.US traded until 2026-05-29" in reasons


def test_a_recycled_ticker_is_found_in_a_history_that_is_read_anyway(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    recycled = {"AAPL": Recycled(ended=date(2026, 1, 30), since=FRIDAY, price_factor=12.31 / 184.0)}
    engine = make_engine(start_sandbox(recycled=recycled, splits={}))
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(engine)
    (decision,) = list_open(engine)
    assert decision.proposal.subject == "AAPL.US named 2 instruments"
    assert "until 2026-01-30, from 2026-05-29 on" in decision.proposal.text
    assert query(engine, "SELECT count(*) FROM backfill.listings") == [(0,)]
    now = engine.settings.now()
    decide(engine.database, [decision.decision_id], Answer.ACCEPTED, by="ann@a", note=None, now=now, was_shown=False)
    lives = query(engine, "SELECT listed_from, listed_until FROM backfill.listings ORDER BY listing_id")
    assert lives == [(None, date(2026, 1, 30)), (FRIDAY, None)]
    later = replace(engine, settings=engine.settings.model_copy(update={"as_of": now + timedelta(days=1)}))
    assert list_open(later) == []
