"""The check ``bars_are_plausible``: open doubts alarm after a day, ended ones never."""

from datetime import UTC, datetime, timedelta

import pytest

from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.quality.plausibility import check_bars_are_plausible
from backfill_assets.store.evidence.doubts import Outcome, StoredDoubt
from backfill_assets_tests.unit.coverage_builders import NOW, build_coverage
from backfill_assets_tests.unit.market_builders import build_grid

GRID = build_grid("2026-06-01", "2026-06-02")
COVERAGE = build_coverage("AAPL MSFT", GRID, {("AAPL", range(2)): SlotState.SUSPECT})
DAY = timedelta(days=1)


def build_doubt(
    age: timedelta, outcome: Outcome | None = None, rule: Rule = Rule.PRICE_SPIKE, symbol: int = 0
) -> StoredDoubt:
    slot = datetime.fromtimestamp(int(GRID.starts[1]), UTC)
    return StoredDoubt(
        doubt_id=1, symbol_id=COVERAGE.symbols[symbol].symbol_id, interval_type="30m", source_interval="5m",
        session_day=GRID.sessions[0].day, rule=rule, first_slot=slot, last_slot=slot, first_row=slot, figures={},
        values_hash="", withheld_volume=0, from_rows=True, from_audit=False, opened_at=NOW - age, seen_at=NOW,
        ended_at=NOW if outcome else None, outcome=outcome, outcome_reason=None, marks_bar=True, other_feed=None,
        repeats=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("age", "outcome", "passed"),
    [
        (DAY, None, False),
        (DAY - timedelta(seconds=1), None, True),
        (30 * DAY, Outcome.STANDS, True),
        (30 * DAY, Outcome.DECIDED, True),
    ],
)
def test_a_doubt_fails_while_it_has_been_open_for_a_day(age: timedelta, outcome: Outcome | None, passed: bool) -> None:
    criterion = check_bars_are_plausible([build_doubt(age, outcome)], COVERAGE, 4)
    assert (criterion.passed, criterion.judged, criterion.figure) == (passed, True, 0 if passed else 1)


def test_the_result_says_which_rules_and_what_was_compared() -> None:
    doubts = [
        build_doubt(3 * DAY),
        build_doubt(2 * DAY, rule=Rule.VOLUME_RUNNING_TOTAL),
        build_doubt(2 * DAY, rule=Rule.VOLUME_RUNNING_TOTAL, symbol=1),
        build_doubt(DAY / 2),
        build_doubt(9 * DAY, Outcome.STANDS),
    ]
    criterion = check_bars_are_plausible(doubts, COVERAGE, 1)
    assert criterion.meaning == (
        "3 doubts have been open for more than a day: 2 volume_running_total, 1 price_spike"
        " (1 ended with their bars marked, 1 younger; 52 bars, 1 settled day of the daily data)"
        "; to decide: backfill-assets decisions list"
    )
    assert criterion.offenders == (
        f"AAPL.US 2026-06-01 (1 price_spike, 1 volume_running_total since {NOW - 3 * DAY:%Y-%m-%d %H:%M} UTC)",
        f"MSFT.US 2026-06-01 (1 volume_running_total since {NOW - 2 * DAY:%Y-%m-%d %H:%M} UTC)",
    )


def test_without_settled_daily_data_only_the_rows_are_judged() -> None:
    assert check_bars_are_plausible([], COVERAGE, 0).meaning.endswith(
        "52 bars, no settled daily data, so their own rows alone are judged)"
    )


@pytest.mark.parametrize("state", [SlotState.MISSING, SlotState.UNVERIFIED])
def test_a_window_without_bars_of_ours_is_not_judged(state: SlotState) -> None:
    coverage = build_coverage("AAPL", GRID, {("AAPL", range(GRID.size)): state})
    criterion = check_bars_are_plausible([], coverage, 2)
    assert (criterion.judged, criterion.passed) == (False, True)
    assert criterion.meaning == "not judged: no final bar of the window was built from vendor rows"
