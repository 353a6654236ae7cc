"""When what did not come is asked for again (DESIGN.md, decision 8)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.gaps.retry_schedule import RetrySchedule
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets_tests.unit.gap_builders import HOUR, Entry, judged
from backfill_assets_tests.unit.market_builders import grid_of, stamp

DAYS = ("2026-06-01", "2026-06-02", "2026-06-03")
GRID = grid_of(*DAYS)
ALL = [range(0, 13), range(13, 26), range(26, 39)]
ASKED = stamp("2026-06-20 12:00")  # long after the close: nothing is fresh
REACHED = stamp("2026-06-01 11:35")
WEEK = 7 * 24


def wait(entries: Sequence[Entry], ordinal: int = 5, clock: int | None = None, row: int = 0, **known: Any) -> float:
    """Hours from the newest ask until the slot is asked for again; −inf if it does not wait."""
    asked_at = max(e.asked_at for e in entries)
    now = datetime.fromtimestamp(asked_at if clock is None else clock, UTC)
    found = judged([(row, ordinal, SlotState.MISSING)], entries, now, GRID, **known)
    askable = (GRID.sessions[GRID.session_index[ordinal]].regular_close + timedelta(hours=3)).timestamp()
    again = float(found.next_request_at[0])
    return (again - asked_at) / HOUR if again > askable else -np.inf


def spoke(silent_hours: float, session: int = 0, asked_at: int = ASKED, **other: Any) -> Entry:
    """One slot is withheld, the others came."""
    since = asked_at - int(silent_hours * HOUR)
    given = {"withheld": [5 + 13 * session], "reached": REACHED, "session": session} | other
    return Entry(asked_at=asked_at, silent_since=since, **given)


def mute(silent_hours: float, session: int = 0, asked_at: int = ASKED) -> Entry:
    """Nothing came at all."""
    return spoke(silent_hours, session, asked_at, withheld=ALL[session], reached=0)


LADDER = [
    (0, 1), (0.99, 1), (1, 3), (3.99, 3), (4, 6), (9.99, 6), (10, 12), (21.99, 12), (22, 24), (45.99, 24),
    (46, 24), (70, 24), (285.99, 24), (286, WEEK), (5000, WEEK),
]  # fmt: skip


@pytest.mark.parametrize(("silent", "pause"), LADDER)
def test_the_pauses_are_1_3_6_12_24_hours_then_daily_for_ten_days_then_weekly(silent: float, pause: int) -> None:
    assert wait([spoke(silent)]) == pause
    assert RetrySchedule().compute_delays(np.array([silent * HOUR])).tolist() == [pause * HOUR]


def climb(first_ask: int, asks: int) -> list[float]:
    """Hours after the first ask of those that follow, each made as soon as it is due."""
    at, hours = first_ask, []
    for _ in range(asks):
        at += round(HOUR * wait([spoke((at - first_ask) / HOUR, asked_at=at)]))
        hours.append((at - first_ask) / HOUR)
    return hours


def test_asks_made_when_due_follow_the_ladder() -> None:
    daily = [46.0 + 24 * day for day in range(11)]
    assert climb(ASKED, 17) == [1.0, 4.0, 10.0, 22.0, *daily, 286.0 + WEEK, 286.0 + 2 * WEEK]


@pytest.mark.parametrize(("silent", "state"), [(285.99, SlotState.MISSING), (286, SlotState.VENDOR_GAP)])
@pytest.mark.parametrize(("early", "due"), [(1, False), (0, True)])
def test_after_ten_days_it_is_a_vendor_gap_asked_again_weekly(
    silent: float, state: SlotState, early: int, due: bool
) -> None:
    pause = WEEK if state is SlotState.VENDOR_GAP else 24
    now = datetime.fromtimestamp(ASKED + pause * HOUR - early, UTC)
    found = judged([(0, 5, SlotState.MISSING)], [spoke(silent)], now, GRID)
    assert (found.state[0], found.gap[0], found.due[0]) == (state, True, due)


@pytest.mark.parametrize("asks", [1, 2, 6, 100])
def test_how_many_asks_there_were_does_not_climb(asks: int) -> None:
    assert wait([spoke(2, asks=asks)]) == 3


def test_a_free_ask_shifts_the_next_one_but_skips_no_step() -> None:
    free = [wait([spoke(minutes / 60, asked_at=ASKED + minutes * 60)]) for minutes in (10, 20, 50)]
    assert free == [1, 1, 1]


def test_new_rows_restart_the_ladder() -> None:
    assert wait([spoke(40)]) == 24
    assert wait([spoke(0)]) == 1


CLOSE = stamp("2026-06-03 16:00")
UNSEEN = {"first_published_at": [np.nan] * 3}


def seen(at: int) -> dict[str, list[float]]:
    return {"first_published_at": [np.nan, np.nan, at]}


@pytest.mark.parametrize("silent", [0, 1, 5, 8])
def test_a_fresh_session_nobody_was_seen_in_is_asked_hourly(silent: float) -> None:
    assert wait([mute(silent, 2, CLOSE + 12 * HOUR)], 30, **UNSEEN) == 1


@pytest.mark.parametrize(("age", "pause"), [(-1, 1), (0, 12)])
def test_a_session_is_fresh_for_sixteen_hours(age: int, pause: int) -> None:
    entry = mute(11, 2, CLOSE + 15 * HOUR)
    assert wait([entry], 30, clock=CLOSE + 16 * HOUR + age, **UNSEEN) == pause


@pytest.mark.parametrize(("since_seen", "pause"), [(-0.5, 1), (0, 1), (0.5, 1), (1, 3), (4, 6), (9, 6), (11, 6)])
def test_silence_about_a_fresh_session_counts_from_first_sight(since_seen: float, pause: int) -> None:
    asked_at = CLOSE + 12 * HOUR
    assert wait([mute(9, 2, asked_at)], 30, **seen(asked_at - int(since_seen * HOUR))) == pause
    partly = spoke(9, 2, asked_at, reached=stamp("2026-06-03 11:35"), withheld=[30])
    assert wait([partly], 30, **seen(asked_at - int(since_seen * HOUR))) == pause


def test_early_probes_do_not_hold_a_ticker_back_once_somebody_was_seen() -> None:
    probed = mute(6, 2, CLOSE + 9 * HOUR)
    assert wait([probed], 30, clock=CLOSE + 9 * HOUR + 60, **UNSEEN) == 1
    assert wait([probed], 30, clock=CLOSE + 9 * HOUR + 60, **seen(CLOSE + 9 * HOUR + 30)) == 1


def test_never_asked_sessions_wait_with_the_ones_their_ticker_is_silent_about() -> None:
    assert [wait([mute(25), mute(2, 1)], at) for at in (5, 18, 30)] == [24, 24, 24]
    assert wait([mute(25)], 30, row=1) == -np.inf


def test_the_newest_ask_of_a_silent_ticker_counts_for_all_its_sessions() -> None:
    entries = [mute(20), mute(0, 1, ASKED + 3 * HOUR)]  # 23 h of silence in all
    assert [wait(entries, at) for at in (5, 18, 30)] == [24, 24, 24]


def test_a_ticker_that_spoke_lately_does_not_wait_with_its_newer_sessions() -> None:
    assert wait([spoke(25)], 30) == -np.inf
    assert wait([mute(25), spoke(25, 1)], 30) == -np.inf
    assert wait([mute(25), spoke(25, 2)], 18) == -np.inf


def test_sessions_older_than_the_last_that_spoke_wait_by_themselves() -> None:
    entries = [mute(0), spoke(2, 1), mute(30, 2)]
    assert [wait(entries, at) for at in (5, 18, 30)] == [1, 3, 24]


def test_a_fresh_unseen_session_makes_nobody_silent() -> None:
    asked_at = CLOSE + 6 * HOUR
    entries = [spoke(0, 1, asked_at), mute(3, 2, asked_at)]
    assert wait(entries, 30, **UNSEEN) == 1


def test_a_silent_ticker_waits_for_a_fresh_session_that_it_was_never_asked_for() -> None:
    asked_at = CLOSE + 2 * HOUR
    entries = [mute(30, 1, asked_at)]
    assert wait(entries, 30, clock=CLOSE + 4 * HOUR, **UNSEEN) == 24
    assert wait(entries, 30, clock=CLOSE + 4 * HOUR, **seen(CLOSE + 3 * HOUR)) == 24


def test_a_bar_that_is_gone_does_not_wait_with_the_silent() -> None:
    lost = Entry(session=1, asked_at=ASKED, silent_since=0, withheld=[18])  # the others of this session came once
    assert [wait([mute(30), lost], at) for at in (5, 18, 19)] == [WEEK, WEEK, -np.inf]


def test_a_ladder_of_other_steps() -> None:
    ladder = RetrySchedule(
        steps=(timedelta(hours=2),), daily_delay=timedelta(hours=5), daily_phase_days=2, weekly_delay=timedelta(hours=9)
    )
    assert ladder.vendor_gap_after == timedelta(hours=12)
    assert (ladder.compute_delays(np.array([0, 1.99, 2, 11.99, 12]) * HOUR) / HOUR).tolist() == [2, 2, 5, 5, 9]


def test_an_ask_in_the_future_holds_no_other_session_back() -> None:
    assert wait([mute(0, asked_at=ASKED + 10_000 * HOUR)], 30, clock=ASKED) == -np.inf


def test_what_the_ladder_does_not_count_makes_no_vendor_gap() -> None:
    now = datetime.fromtimestamp(ASKED, UTC)
    known = {"first_published_at": [ASKED - HOUR / 2, np.nan, np.nan]}  # the vendor was out for two weeks
    found = judged([(0, 5, SlotState.MISSING)], [mute(300)], now, GRID, **known)
    assert found.next_request_at[0] == ASKED + HOUR
    assert found.state[0] == SlotState.MISSING


def test_an_older_session_that_appears_late_restarts_the_silent_ones_after_it() -> None:
    """Thirty hours of nothing about the second session, and then the first one is seen at the newest ask."""
    late = Entry(session=0, asked_at=ASKED, published=True, reached=ASKED, seen_at=ASKED)
    assert wait([spoke(30, 0), mute(30, 1)], 18) == 24
    assert wait([late, mute(30, 1)], 18) == 1
    assert wait([replace(late, seen_at=ASKED - 5 * HOUR), mute(30, 1)], 18) == 6
    assert wait([replace(late, session=2), mute(30, 1)], 18) == 24  # a newer one says nothing of a hole
    assert wait([replace(late, row=1), mute(30, 1)], 18) == 24  # nor does another ticker's
    assert wait([late, spoke(30, 1)], 18) == 24  # what is missing of a session that came is another matter
