"""The check live_keeps_up and the accuracy of live bars, as pure functions."""

import numpy as np
import pytest

from backfill_assets.market.columns import Columns
from backfill_assets.quality.criteria import check_live_keeps_up
from backfill_assets.quality.live_accuracy import compute_accuracy, compute_accuracy_by_symbol
from backfill_assets.store.live.reconciliation import COLUMNS
from backfill_assets_tests.unit.market_builders import parse_epoch, parse_new_york
from backfill_assets_tests.unit.test_backfill_planner import TODAY, build_coverage_with_gaps

NOON = parse_new_york("2026-06-05 12:00")
LONG_AGO = parse_new_york("2026-05-05 12:00")


@pytest.mark.parametrize(
    ("now", "overdue"),
    [("09:59", 0), ("10:29", 0), ("10:30", 1), ("12:00", 4), ("16:29", 12), ("16:30", 13), ("23:00", 13)],
)
def test_a_slot_is_overdue_half_an_hour_after_its_end(now: str, overdue: int) -> None:
    coverage = build_coverage_with_gaps([TODAY, []], now=parse_new_york(f"2026-06-05 {now}"))
    criterion = check_live_keeps_up(coverage, frozenset(), LONG_AGO, {})
    assert (criterion.figure, criterion.passed) == (overdue, overdue == 0)
    assert criterion.offenders == ((f"AAPL.US ({overdue})",) if overdue else ())


def test_slots_with_any_bar_are_not_overdue() -> None:
    assert check_live_keeps_up(build_coverage_with_gaps([TODAY[2:]]), frozenset(), LONG_AGO, {}).figure == 2
    assert check_live_keeps_up(build_coverage_with_gaps([[]]), frozenset(), LONG_AGO, {}).passed


def test_missing_slots_of_past_sessions_are_not_counted() -> None:
    assert check_live_keeps_up(build_coverage_with_gaps([range(13)]), frozenset(), LONG_AGO, {}).passed


def test_untraded_slots_and_slots_before_the_first_round_are_not_overdue() -> None:
    coverage = build_coverage_with_gaps([TODAY])
    no_trade_slots = {(100, parse_epoch("2026-06-05 10:30")), (999, parse_epoch("2026-06-05 11:00"))}
    assert check_live_keeps_up(coverage, no_trade_slots, LONG_AGO, {}).figure == 3
    assert check_live_keeps_up(coverage, no_trade_slots, parse_new_york("2026-06-05 10:45"), {}).figure == 1
    assert check_live_keeps_up(coverage, no_trade_slots, NOON, {}).passed


def test_slots_before_the_symbol_was_added_are_not_overdue() -> None:
    coverage = build_coverage_with_gaps([TODAY, TODAY])
    added = {101: parse_new_york("2026-06-05 10:50")}
    assert check_live_keeps_up(coverage, frozenset(), LONG_AGO, added).offenders == ("AAPL.US (4)", "MSFT.US (1)")
    early = {101: LONG_AGO, 999: NOON}
    assert check_live_keeps_up(coverage, frozenset(), parse_new_york("2026-06-05 10:45"), early).figure == 2


@pytest.mark.parametrize(("now", "overdue"), [("12:00", 4), ("16:30", 13), ("19:00", 0), ("23:00", 0)])
def test_before_the_first_round_only_the_current_session_counts(now: str, overdue: int) -> None:
    coverage = build_coverage_with_gaps([TODAY], now=parse_new_york(f"2026-06-05 {now}"))
    assert check_live_keeps_up(coverage, frozenset(), None, {}).figure == overdue


def test_offenders_are_sorted_worst_first() -> None:
    criterion = check_live_keeps_up(build_coverage_with_gaps([TODAY[2:], TODAY]), frozenset(), LONG_AGO, {})
    assert criterion.offenders == ("MSFT.US (4)", "AAPL.US (2)")


def make_reconciled_bars(*rows: tuple[float, ...]) -> Columns:
    columns = np.array([(1, *row) for row in rows], float).reshape(-1, len(COLUMNS)).T
    return Columns(dict(zip(COLUMNS, columns, strict=True)))


def test_prices_are_compared_by_largest_difference_and_volumes_by_ratio() -> None:
    found = compute_accuracy(
        make_reconciled_bars(
            (100, 101, 99, 100.5, 300, 100, 101, 99, 100.5, 100),
            (100, 101, 99, 100.5, 250, 100, 102.01, 99, 100.5, 100),
            (100, 101, 99.02, 100.5, 50, 100, 101, 99, 100.5, 0),
        )
    )
    assert found is not None
    assert found.as_dict() == {
        "bars": 3,
        "median_bp": pytest.approx(2.0202, abs=1e-4),
        "largest_bp": pytest.approx(99.0099, abs=1e-4),
        "exact_share": pytest.approx(10 / 12, abs=1e-6),
        "volume_ratio": 2.75,
    }
    assert str(found) == (
        "3 live bars were replaced by final bars: price difference 2.0 bp median, 99.0 bp maximum, 83% of prices equal"
        " · live volume 2.75 × final volume"
    )


def test_accuracy_is_none_without_replaced_bars() -> None:
    assert compute_accuracy(make_reconciled_bars()) is None
    without_volume = compute_accuracy(make_reconciled_bars((1, 1, 1, 1, 0, 1, 1, 1, 1, 0)))
    assert without_volume is not None
    assert without_volume.volume_ratio is None
    assert "volume" not in str(without_volume)


def test_accuracy_is_computed_for_each_symbol() -> None:
    table = make_reconciled_bars(
        (1, 1, 1, 1, 0, 1, 1, 1, 1, 0),
        (100, 101, 99, 100.5, 300, 100, 101, 99, 100.5, 100),
        (100, 101, 99, 100.5, 100, 100, 101, 99, 100.5, 100),
    )
    found = compute_accuracy_by_symbol(table.assign(symbol_id=[7, 9, 9]))
    assert {key: (r.bars, r.median_bp, r.exact_share, r.volume_ratio) for key, r in found.items()} == {
        7: (1, 0.0, 1.0, None),
        9: (2, 0.0, 1.0, 2.0),
    }
