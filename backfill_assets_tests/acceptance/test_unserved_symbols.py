"""Symbols that the vendor never serves, over several days: when they are set aside, what they cost, how it ends."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from io import StringIO

import pytest

from backfill_assets.backfill.decisions.inbox import decide, undo
from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.cli.options import make_console
from backfill_assets.cli.rendering import show_run
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.decisions import list_open_decisions
from backfill_assets.store.evidence.findings import (
    ENDED_OR_RENAMED,
    NO_INTRADAY_DATA,
    TOO_MANY_UNSERVED,
    list_findings,
)
from backfill_assets.store.evidence.proposals import Answer
from backfill_assets.store.evidence.unserved_symbols import list_unserved
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import make_job, read_stored_bars
from backfill_assets_tests.moving_clock import MovingClock, parse_utc

OTC, SILENT, INVALID, DEAD = "OTCXF", "BRKB", "BADX", "GONE"
ABSENCES = Absences(daily_only=frozenset({OTC}), silent=frozenset({SILENT}), invalid=frozenset({INVALID}))
UNSERVED = (OTC, SILENT, INVALID, DEAD)
SERVED = ("AAPL", "MSFT", "AMZN", "TSLA", "NVDA")
FIRST_RUN = parse_utc("2026-06-01 14:00")  # Monday morning; the newest session is Friday's
MakeClock = Callable[..., MovingClock]


@pytest.fixture
def make_clock(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeClock:
    def make(tickers: tuple[str, ...], **config: object) -> MovingClock:
        sandbox = start_sandbox(**{"per_minute": 100_000, "absences": ABSENCES, **config})
        return MovingClock(make_engine(sandbox, tickers, requests_per_minute=100_000), sandbox, FIRST_RUN.date())

    return make


def run_default_window(clock: MovingClock, now: datetime) -> RunResult:
    """Run as ``backfill-assets run`` does without options."""
    engine = clock.move_to(now)
    return run_backfill(engine, make_job(engine), lambda _: None)


def print_run(result: RunResult) -> list[str]:
    """The lines that ``run`` prints."""
    console = make_console(StringIO())
    with console.capture() as capture:
        show_run(console, result)
    return capture.get().splitlines()


def run_mornings(clock: MovingClock, first: datetime, days: int) -> list[int]:
    """Run on several mornings in a row; returns the exit codes."""
    return [run_default_window(clock, first + timedelta(days=day)).exit_code for day in range(days)]


def list_open_findings(clock: MovingClock) -> dict[str, tuple[str, str]]:
    with clock.engine.database.transaction() as connection:
        return {finding.subject: (finding.kind, finding.detail) for finding in list_findings(connection)}


def count_unserved(clock: MovingClock) -> int:
    with clock.engine.database.transaction() as connection:
        return len(list_unserved(connection))


def count_requests(clock: MovingClock, symbols: tuple[str, ...]) -> int:
    """Intraday requests so far for ``symbols``."""
    per_ticker = clock.sandbox.stats()["per_ticker"]
    return sum(int(per_ticker.get(f"{symbol}.US", 0)) for symbol in symbols)


def test_symbols_that_never_answer_are_set_aside_after_three_days_and_requested_weekly(
    make_clock: MakeClock, make_user: Callable[..., User]
) -> None:
    clock = make_clock((*SERVED, *UNSERVED))
    assert run_mornings(clock, FIRST_RUN, 2) == [3, 3]
    assert count_unserved(clock) == 0
    early = list_open_findings(clock)
    assert early[f"{SILENT}.US"] == (
        NO_INTRADAY_DATA,
        "the vendor answers without rows, intraday and daily; check the spelling",
    )
    assert early[f"{DEAD}.US"][0] == ENDED_OR_RENAMED
    third = run_default_window(clock, FIRST_RUN + timedelta(days=2))
    assert (third.exit_code, third.after.missing, third.stored) == (0, 0, third.written.inserted)
    assert (third.closed_share, third.closed_without_bar) == (1.0, {"given up": third.before.missing - third.stored})
    assert print_run(third)[-1].endswith(
        f"100.0% closed (of these no bar: {third.closed_without_bar['given up']} given up)"
    )
    assert count_unserved(clock) == 4
    later = list_open_findings(clock)
    assert {kind for kind, _ in later.values()} == {NO_INTRADAY_DATA}
    reasons = {subject: detail.partition(";")[0] for subject, (_, detail) in later.items()}
    assert reasons == {
        f"{OTC}.US": "the vendor has daily data only, until 2026-06-02",
        f"{SILENT}.US": "the vendor answers without rows, intraday and daily",
        f"{INVALID}.US": "the vendor refuses it: HTTP status 422 (ticker: The ticker format is invalid.)",
        f"{DEAD}.US": "the vendor refuses it: HTTP status 404 (Ticker Not Found.)",
    }
    assert all("requested in vain since 2026-06-01" in detail for _, detail in later.values())

    engine = clock.move_to(parse_utc("2026-06-03 14:30"))
    criteria = evaluate_window(engine.database, engine.measure(make_job(engine)))
    assert all(criterion.passed for criterion in criteria)
    of_requests = [criterion for criterion in criteria if criterion.name == "no_rate_limit_errors"]
    of_symbols = [criterion for criterion in criteria if criterion.name != "no_rate_limit_errors"]
    assert {criterion.not_judged for criterion in of_symbols} == {4}
    assert all("4 symbols not judged" in criterion.meaning for criterion in of_symbols)
    assert [(c.not_judged, "not judged" in c.meaning) for c in of_requests] == [(0, False)]  # it judges no symbol
    assert {due.symbol.ticker.symbol for due in find_due_work(engine, US, "30m").ranges} == set(SERVED)

    user = make_user(clock.sandbox, BACKFILL_AS_OF="2026-06-03T14:30:00+00:00")
    listed = dict(line.split("  ", 1) for line in user.run_cli("symbols list").out.splitlines() if "  " in line)
    assert set(listed) == {f"{symbol}.US" for symbol in UNSERVED}
    assert listed[f"{OTC}.US"] == (
        "no intraday data since 2026-06-01: the vendor has daily data only, until 2026-06-02"
    )
    assert user.run_cli("verify").code == 0
    assert any("not judged" in line for line in user.run_cli(f"why {OTC} 2026-06-02").out.splitlines())

    before = count_requests(clock, UNSERVED), int(clock.sandbox.stats()["by_endpoint"]["eod"])
    mornings = [parse_utc(f"2026-06-{day:02} 14:00") for day in (4, 9, 10, 11)]
    assert [run_default_window(clock, now).exit_code for now in mornings] == [0] * 4
    assert count_requests(clock, UNSERVED) - before[0] == len(UNSERVED)
    assert int(clock.sandbox.stats()["by_endpoint"]["eod"]) == before[1]


def test_symbol_that_answers_is_judged_again_at_once_and_its_window_filled(make_clock: MakeClock) -> None:
    clock = make_clock((*SERVED, DEAD), listed={DEAD: date(2026, 6, 9)})  # unknown to the vendor until then
    assert run_mornings(clock, FIRST_RUN, 3) == [3, 3, 0]
    assert run_default_window(clock, parse_utc("2026-06-09 14:00")).exit_code == 0
    assert count_unserved(clock) == 1
    assert run_default_window(clock, parse_utc("2026-06-10 14:00")).exit_code == 0
    assert (count_unserved(clock), list_open_findings(clock)) == (0, {})
    assert len(read_stored_bars(clock.engine.database, DEAD)) == 13
    assert not clock.measure(parse_utc("2026-06-10 14:30")).unserved_symbols


def test_more_symbols_without_data_than_with_bars_are_an_alarm_and_nobody_is_set_aside(make_clock: MakeClock) -> None:
    clock = make_clock(("AAPL", "MSFT", OTC, SILENT, INVALID))
    assert run_mornings(clock, FIRST_RUN, 4) == [3, 3, 3, 3]
    assert count_unserved(clock) == 0
    kind, detail = list_open_findings(clock)["US"]
    assert kind == TOO_MANY_UNSERVED
    assert "3 of 5 symbols never had a bar, too many to be set aside in a day" in detail
    assert all(f"{symbol}.US" in detail for symbol in (OTC, SILENT, INVALID))
    with clock.engine.database.transaction() as connection:
        connection.execute("UPDATE market_symbols SET is_active = false WHERE symbol = %s", [INVALID])
    assert run_mornings(clock, parse_utc("2026-06-05 14:00"), 1) == [0]
    assert count_unserved(clock) == 2
    assert TOO_MANY_UNSERVED not in {kind for kind, _ in list_open_findings(clock).values()}


def test_too_many_symbols_without_data_are_one_decision(make_clock: MakeClock) -> None:
    clock = make_clock(("AAPL", OTC, SILENT))
    run_mornings(clock, FIRST_RUN, 3)
    database, now = clock.engine.database, parse_utc("2026-06-03 15:00")
    with database.transaction() as connection:
        decisions = {d.proposal.kind: d for d in list_open_decisions(connection)}
    matter = decisions["many_without_data"]  # the run itself brought the inbox up to date
    assert matter.proposal.subject == "2 tickers never had an intraday row"
    assert set(matter.proposal.refers_to) == {"US", f"{OTC}.US", f"{SILENT}.US"}
    before = list_open_findings(clock)
    decide(database, [matter.decision_id], Answer.ACCEPTED, by="ann@host", note=None, now=now)
    assert list_open_findings(clock) == {}
    assert run_default_window(clock, now).exit_code == 0
    undo(database, matter.decision_id, by="ann@host", note=None, now=now)
    assert list_open_findings(clock) == before


def test_deactivating_a_symbol_or_bars_of_another_program_end_it(make_clock: MakeClock) -> None:
    clock = make_clock((*SERVED, OTC, SILENT))
    assert run_mornings(clock, FIRST_RUN, 3) == [3, 3, 0]
    with clock.engine.database.transaction() as connection:
        connection.execute("UPDATE market_symbols SET is_active = false WHERE symbol = %s", [SILENT])
        connection.execute(
            "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price,"
            " close_price, volume) SELECT symbol_id, '2026-06-02 15:00+00', '30m', 1, 1, 1, 1, 1"
            " FROM market_symbols WHERE symbol = %s",
            [OTC],
        )
    now = parse_utc("2026-06-03 15:00")
    assert not clock.measure(now).unserved_symbols  # judged again before the next run
    assert run_default_window(clock, now).exit_code == 3
    assert (count_unserved(clock), list_open_findings(clock)) == (0, {})


def test_run_about_the_past_neither_ends_the_alarm_nor_decides_by_older_sessions(make_clock: MakeClock) -> None:
    clock = make_clock(("AAPL", OTC, SILENT))
    assert run_mornings(clock, FIRST_RUN, 3) == [3, 3, 3]
    assert list_open_findings(clock)["US"][0] == TOO_MANY_UNSERVED
    engine = clock.move_to(parse_utc("2026-06-03 15:00"))
    run_backfill(engine, make_job(engine, start=date(2026, 5, 4), end=date(2026, 5, 5)), lambda _: None)
    assert list_open_findings(clock)["US"][0] == TOO_MANY_UNSERVED


def test_symbol_that_was_deactivated_and_added_again_is_judged_and_requested(
    make_clock: MakeClock, make_user: Callable[..., User]
) -> None:
    clock = make_clock((*SERVED, OTC))
    assert run_mornings(clock, FIRST_RUN, 3) == [3, 3, 0]
    user = make_user(clock.sandbox, BACKFILL_AS_OF="2026-06-03T15:00:00+00:00")
    assert user.run_cli(f"symbols deactivate {OTC}").code == 0
    assert user.run_cli(f"symbols add {OTC}").code == 0
    assert (count_unserved(clock), list_open_findings(clock)) == (0, {})
    assert user.run_cli("verify").code == 3


def test_symbol_looked_up_before_an_upgrade_is_set_aside_with_what_the_vendor_says_now(make_clock: MakeClock) -> None:
    clock = make_clock((*SERVED, DEAD))
    assert run_mornings(clock, FIRST_RUN, 2) == [3, 3]
    third_morning = FIRST_RUN + timedelta(days=2)
    with clock.engine.database.transaction() as connection:  # as version 0.2.0 recorded it, an hour before the run
        connection.execute(
            "UPDATE backfill.listing_lives SET refusal = NULL, read_at = %s", [third_morning - timedelta(hours=1)]
        )
    assert run_mornings(clock, third_morning, 1) == [3]
    assert run_mornings(clock, third_morning + timedelta(days=1), 1) == [0]
    assert list_open_findings(clock)[f"{DEAD}.US"][1].startswith("the vendor refuses it: HTTP status 404")
