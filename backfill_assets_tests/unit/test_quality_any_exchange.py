"""Any clock and any exchange: the states of a report add up, and nothing counts as missing before its time.

Clocks are any minute of 2020 to 2026, many of them near a clock change of the exchange's zone or after a half day. The
hours of exchanges are written down here again, so that a session that is placed in a wrong zone is found.
"""

import csv
import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.moment_style import MomentStyle
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.calendar.windows import DEFAULT_HOURS, build_hours_window
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import AbsenceEvidence
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import (
    STORED_STATES,
    OpenSlots,
    SlotState,
    classify_slots,
    count_states,
)
from backfill_assets.quality.criteria import check_newest_bar_is_fresh, check_no_missing_bars
from backfill_assets.quality.exchange_criteria import combine_exchanges
from backfill_assets.quality.exchange_reports import ExchangeReport, show_in_zone, to_csv_of_exchanges
from backfill_assets.quality.heatmap import build_heatmap
from backfill_assets.quality.report import build_symbol_reports
from backfill_assets.quality.session_counts import count_by_session
from backfill_assets.quality.session_notes import list_closed_weekdays
from backfill_assets.quality.state_counts import count_states_by_session
from backfill_assets_tests.unit.gap_builders import RULES, build_evidence, build_history

pytestmark = pytest.mark.no_cover

HOURS = {  # regular, in the exchange's zone; others have had several
    "US": ("09:30", "16:00"),
    "LSE": ("08:00", "16:30"),
    "PA": ("09:00", "17:30"),
    "OL": ("09:00", "16:20"),
    "IR": ("08:00", "16:28"),
    "JSE": ("09:00", "17:00"),
    "AU": ("10:00", "16:00"),
    "HK": ("09:30", "16:00"),
    "CC": ("00:00", "00:00"),
    "FOREX": ("17:00", "17:00"),
}
BREAKS = {"HK": ("12:00", "13:00"), "TSE": ("11:30", "12:30")}  # of a full day
SLOTS = {"CC": 48, "FOREX": 48}  # of 30 minutes, in every session: no clock change makes one shorter or longer
# Days from the one on which a session opens to its own, and from its own to the one on which it closes.
DAYS_AROUND = {"CC": (0, 1), "FOREX": (1, 0)}
SHOWN = ("US", "LSE", "PA", "OL", "IR", "JSE", "AU", "HK", "TSE", "CC", "FOREX")
FIRST, LAST = date(2020, 3, 1), date(2026, 11, 30)
FIRST_MOMENT = datetime.combine(FIRST, time(), UTC)
MINUTES = (LAST - FIRST).days * 1440
SYMBOLS = 3
Random = np.random.Generator


@cache
def list_days(exchange: str) -> tuple[Session, ...]:
    return list_sessions(PROFILES[exchange], date(2020, 1, 1), date(2026, 12, 31))


@cache
def list_usual_weekdays(exchange: str) -> set[int]:
    """Weekdays with more than a session a year each; single sessions on other days do not make one usual."""
    counts = Counter(session.day.weekday() for session in list_days(exchange))
    return {weekday for weekday, count in counts.items() if count > 20}


@cache
def list_special_moments(exchange: str) -> list[datetime]:
    """Midnights (UTC) of days on which the exchange's clock changes, and closes of its half days."""
    zone = PROFILES[exchange].zone
    days = [datetime.combine(FIRST + timedelta(days=n), time(), UTC) for n in range((LAST - FIRST).days)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    changes = [day for day, before, after in zip(days[1:], offsets, offsets[1:], strict=False) if before != after]
    halves = [session.close for session in list_days(exchange) if session.is_early_close and session.day >= FIRST]
    return [*changes, *halves] or days[:1]


@st.composite
def draw_clock(draw: st.DrawFn, exchange: str) -> datetime:
    """A minute; of an exchange whose data begin later, only when there are some."""
    earliest = datetime.combine(PROFILES[exchange].data_from or FIRST, time(), UTC) + timedelta(days=20)
    if draw(st.booleans()):
        moment = FIRST_MOMENT + timedelta(minutes=draw(st.integers(0, MINUTES)))
    else:
        special = draw(st.sampled_from(list_special_moments(exchange)))
        moment = special + timedelta(minutes=draw(st.integers(-1500, 4000)))
    if moment >= earliest:
        return moment
    return earliest + (moment - FIRST_MOMENT) % (datetime.combine(LAST, time(), UTC) - earliest)


def draw_open_slots(grid: SlotGrid, random: Random) -> OpenSlots:
    """Absent, provisional and suspect slots; some sessions without any bar."""
    stored = random.choice(
        [SlotState.PRESENT, SlotState.MISSING, SlotState.PROVISIONAL, SlotState.SUSPECT],
        (SYMBOLS, grid.size),
        p=[0.5, 0.3, 0.1, 0.1],
    )
    for row, session in np.argwhere(random.random((SYMBOLS, len(grid.sessions))) < 0.2).tolist():
        stored[row, grid.session_offsets[session] : grid.session_offsets[session + 1]] = SlotState.MISSING
    row, ordinal = np.nonzero(stored != SlotState.PRESENT)
    return OpenSlots(row, ordinal, stored[row, ordinal].astype(np.int8))


def draw_evidence(grid: SlotGrid, random: Random) -> AbsenceEvidence:
    """What the daily data and listings say; nothing that brings a session's time forward."""
    shape = (SYMBOLS, len(grid.sessions))
    first = random.integers(0, 2, SYMBOLS) * random.integers(0, shape[1] + 1, SYMBOLS)
    return build_evidence(
        SYMBOLS,
        grid,
        traded=random.choice([-1, 0, 1], shape, p=[0.7, 0.1, 0.2]),
        closed=random.random(shape[1]) < 0.05,
        first_session=first,
        last_session=np.where(random.random(SYMBOLS) < 0.2, random.integers(0, shape[1] + 1, SYMBOLS), shape[1]),
    )


def make_rules(market: MarketProfile) -> GapRules:
    """The rules as settings make them: those of the profile come first."""
    return replace(
        RULES,
        askable_after=market.askable_after or RULES.askable_after,
        overdue_after=market.overdue_after or RULES.overdue_after,
    )


def measure(market: MarketProfile, now: datetime, interval: str, random: Random) -> Coverage:
    """The coverage of a random store, in the window of a report; as ``store.coverage`` measures it."""
    rules = make_rules(market)
    window = build_hours_window(market, now, DEFAULT_HOURS, rules.compute_askable_at)
    grid = build_slot_grid(window.sessions, INTERVALS[interval])
    evidence, slots = draw_evidence(grid, random), draw_open_slots(grid, random)
    begins = grid.session_offsets[np.minimum(evidence.first_session, len(grid.sessions))]
    ends = grid.session_offsets[np.clip(evidence.last_session + 1, 0, len(grid.sessions))]
    is_expected = (slots.ordinal >= begins[slots.row]) & (slots.ordinal < ends[slots.row])
    slots = OpenSlots(*(part[is_expected] for part in (slots.row, slots.ordinal, slots.stored_state)))
    history = build_history([])
    states = classify_slots(slots, history, evidence, grid, rules, now)
    expected = np.maximum(ends - begins, 0)
    external = random.integers(0, 4, SYMBOLS)
    counts = count_states(slots, states, expected, external)
    provisional = np.bincount(slots.row[states.overdue & (states.state == SlotState.PROVISIONAL)], minlength=SYMBOLS)
    newest = np.full(SYMBOLS, -1) if not grid.size else np.where(expected > 0, grid.starts[0], -1)
    return Coverage(
        symbols=tuple(Symbol(n, Ticker(f"S{n}", market.exchange), True) for n in range(SYMBOLS)),
        grid=grid,
        now=now,
        expected=expected,
        counts=counts,
        missing=counts[:, SlotState.MISSING] + provisional,
        first_bar_at=newest,
        last_bar_at=newest,
        open_slots=slots,
        slot_states=states,
        request_history=history,
        absence_evidence=evidence,
        duplicates=0,
        askable_at=tuple(map(rules.compute_askable_at, grid.sessions)),
        overdue_at=tuple(map(rules.compute_overdue_at, grid.sessions)),
        slot_askable_at=rules.compute_slot_askable_at(grid),
        slot_overdue_at=rules.compute_slot_overdue_at(grid),
    )


def check_window(coverage: Coverage, market: MarketProfile) -> None:
    """The window holds the exchange's own days, none that has not opened, and two of which bars may be asked for."""
    sessions, now = coverage.grid.sessions, coverage.now
    days = [session.day for session in sessions]
    known = [session.day for session in list_days(market.exchange)]
    assert days == [day for day in known if days[0] <= day <= days[-1]]
    assert sum(coverage.is_session_askable) >= 2
    assert all(session.open <= now for session in sessions)
    for session in sessions:
        opens, closes = (moment.astimezone(market.zone) for moment in (session.open, session.close))
        before, after = DAYS_AROUND.get(market.exchange, (0, 0))
        assert (opens.date(), closes.date()) == (session.day - timedelta(before), session.day + timedelta(after))
        hours = HOURS.get(market.exchange, (f"{opens:%H:%M}", f"{closes:%H:%M}"))
        assert (f"{opens:%H:%M}", f"{closes:%H:%M}") == hours or session.is_early_close
    closed = list_closed_weekdays(market, sessions, now)
    assert all(day not in known and day.weekday() in list_usual_weekdays(market.exchange) for day in closed)


def check_slots(coverage: Coverage, market: MarketProfile) -> None:
    """No slot lies in a break, and a day of 24 hours has 48 of 30 minutes whatever clocks do."""
    grid = coverage.grid
    if count := SLOTS.get(market.exchange):
        assert (grid.session_sizes == count * 1800 // grid.interval.seconds).all()
    if hours := BREAKS.get(market.exchange):
        starts, ends = (
            np.array([f"{to_datetime(stamp).astimezone(market.zone):%H:%M}" for stamp in stamps.tolist()])
            for stamps in (grid.starts, grid.ends)
        )
        assert not ((starts < hours[1]) & (ends > hours[0])).any()


def check_missing(coverage: Coverage, market: MarketProfile) -> None:
    """No slot is missing before 16 hours after the close of a full day by the exchange's clock.

    Of a market that never closes: before 24 hours after its own end.
    """
    ordinals = coverage.open_slots.ordinal[coverage.has_state(SlotState.MISSING)]
    if market.exchange == "CC":
        assert (coverage.now.timestamp() >= coverage.grid.ends[ordinals] + 86_400).all()
        return
    for session in {coverage.grid.sessions[position] for position in coverage.grid.session_index[ordinals].tolist()}:
        closes = time.fromisoformat(HOURS.get(market.exchange, ("", "12:00"))[1])
        closed = datetime.combine(session.day, closes, market.zone)
        assert coverage.now >= closed.astimezone(UTC) + timedelta(hours=16)


def check_counts(coverage: Coverage) -> None:
    """In each report the states of every symbol and session add up to what is expected."""
    rows = build_symbol_reports(coverage)
    for row, expected, counts in zip(rows, coverage.expected.tolist(), coverage.counts.tolist(), strict=True):
        assert row.expected_bars == expected == sum(counts)
        absent = row.pending_bars + counts[SlotState.MISSING] + row.no_trade_bars + row.vendor_gap_bars
        assert row.bar_count + absent == expected
        assert row.bar_count == sum(counts[state] for state in STORED_STATES)
        assert 0 <= row.completeness <= 1
    by_session, states = count_by_session(coverage), count_states_by_session(coverage)
    assert (states.sum(axis=2) == by_session.expected).all()
    assert by_session.expected.sum(axis=1).tolist() == coverage.expected.tolist()
    assert states[:, :, SlotState.MISSING].sum() == coverage.count_slots(SlotState.MISSING)
    heatmap = build_heatmap(coverage)
    assert sum(heatmap.count_cells().values()) == SYMBOLS * len(coverage.grid.sessions)
    assert ((states[:, :, SlotState.MISSING] > 0) <= (heatmap.cells <= 1)).all()


def check_texts(coverage: Coverage, market: MarketProfile) -> None:
    """Times are shown on the exchange's days, and checks of two exchanges keep their figures apart."""
    style, rows = MomentStyle(market), build_symbol_reports(coverage)
    days = [session.open.astimezone(market.zone).date().isoformat() for session in coverage.grid.sessions]
    for row in show_in_zone(rows, style):
        assert row.first_timestamp is None or row.first_timestamp[:10] in days
    report = ExchangeReport(market, rows)
    (row, *_) = csv.DictReader(io.StringIO(to_csv_of_exchanges([report])))
    assert (row["price_unit"] or None, row["exchange_status"]) == (market.price_unit, str(market.status))
    criteria = [check_no_missing_bars(coverage), check_newest_bar_is_fresh(coverage, style)]
    other = [replace(criterion, figure=0, passed=True, offenders=()) for criterion in criteria]
    for whole, own in zip(combine_exchanges({"OTHER": other, market.exchange: criteria}), criteria, strict=True):
        assert (whole.passed, whole.figure, whole.offenders) == (own.passed, own.figure, own.offenders)
        assert own.passed or f"{market.exchange}: {own.meaning}" in whole.meaning


def check_exchange(exchange: str, examples: int) -> None:
    market, seen = PROFILES[exchange], set()

    @seed(18)
    @given(draw_clock(exchange), st.integers(0, 2**32 - 1), st.sampled_from(["30m", "1h", "5m"]))
    @settings(max_examples=examples, deadline=None, database=None, phases=(Phase.generate, Phase.shrink))
    def check(now: datetime, number: int, interval: str) -> None:
        coverage = measure(market, now, interval, np.random.default_rng(number))
        check_window(coverage, market)
        check_slots(coverage, market)
        check_missing(coverage, market)
        check_counts(coverage)
        check_texts(coverage, market)
        seen.update(state for state in (SlotState.MISSING, SlotState.PENDING) if coverage.count_slots(state))

    check()
    assert seen == {SlotState.MISSING, SlotState.PENDING}


def test_states_of_any_exchange_add_up_at_any_time() -> None:
    for exchange in SHOWN:
        check_exchange(exchange, 20)


@pytest.mark.long
def test_states_of_every_exchange_add_up_at_any_time() -> None:
    for exchange, market in PROFILES.items():
        if not market.needs_breaks:
            check_exchange(exchange, 8)
