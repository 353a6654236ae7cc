"""The rows of a report, built from a coverage."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.report import build_symbol_reports
from backfill_assets_tests.unit.classified_coverage import build_classified_coverage

GRID = build_slot_grid(list_sessions(US, date(2026, 6, 1), date(2026, 6, 2)), INTERVALS["30m"])
TUESDAY_NIGHT = datetime(2026, 6, 3, 0, tzinfo=UTC)  # 20:00 in New York: Monday is overdue, Tuesday is not
TUESDAY = range(13, 26)


def build_coverage(tickers: Sequence[str], slots: Sequence[tuple[int, int, SlotState]]) -> Coverage:
    return build_classified_coverage(tickers, GRID, TUESDAY_NIGHT, slots)


def test_complete_symbol_has_a_bar_in_every_slot() -> None:
    (report,) = build_symbol_reports(build_coverage(["AAPL"], []))
    assert (report.symbol, report.exchange, report.interval) == ("AAPL", "US", "30m")
    assert (report.bar_count, report.expected_bars, report.completeness) == (26, 26, 1.0)
    assert (report.first_timestamp, report.last_timestamp) == ("2026-06-01T13:30:00Z", "2026-06-02T19:30:00Z")
    assert (report.estimated_missing_bars, report.pending_bars) == (0, 0)


def test_every_state_is_counted_for_its_own_symbol() -> None:
    slots = [
        (0, 0, SlotState.MISSING),
        (0, 1, SlotState.SUSPECT),
        (0, 13, SlotState.PROVISIONAL),
        (0, 14, SlotState.MISSING),
    ]
    first, second = build_symbol_reports(build_coverage(["AAPL", "MSFT"], slots))
    assert (first.bar_count, first.estimated_missing_bars, first.pending_bars) == (24, 1, 1)
    assert (first.suspect_bars, first.provisional_bars) == (1, 1)
    assert first.first_timestamp == "2026-06-01T14:00:00Z"
    assert second.bar_count == 26


def test_pending_slots_do_not_lower_the_completeness() -> None:
    slots = [(0, ordinal, SlotState.MISSING) for ordinal in (0, *TUESDAY)]
    (report,) = build_symbol_reports(build_coverage(["AAPL"], slots))
    assert (report.pending_bars, report.estimated_missing_bars) == (13, 1)
    assert report.completeness == round(12 / 13, 6)


def test_slots_without_trades_do_not_lower_the_completeness() -> None:
    slots = [(0, ordinal, SlotState.MISSING) for ordinal in range(13)]
    coverage = build_classified_coverage(["AAPL"], GRID, TUESDAY_NIGHT, slots, traded=[[0, -1]])
    (report,) = build_symbol_reports(coverage)
    assert (report.no_trade_bars, report.bar_count, report.completeness) == (13, 13, 1.0)


def test_symbol_without_expected_slots_is_complete_and_has_no_timestamps() -> None:
    none = np.zeros(1, np.int64)
    coverage = replace(
        build_coverage(["AAPL"], []),
        expected=none,
        counts=np.zeros((1, len(SlotState)), np.int64),
        first_bar_at=none - 1,
        last_bar_at=none - 1,
    )
    (report,) = build_symbol_reports(coverage)
    assert (report.bar_count, report.expected_bars, report.completeness) == (0, 0, 1.0)
    assert (report.first_timestamp, report.last_timestamp) == (None, None)
