"""The asset checks: the success criteria over the default window, each with its figure and offenders.

They belong to the asset's own step, so that they run with every materialisation, and without one when
only they are selected. What they judge is in ``quality``.
"""

from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.wishes import Wish, job_of
from backfill_assets.errors import UsageError
from backfill_assets.quality.criteria import Criterion, judge_window
from backfill_assets.store.coverage import Coverage

CHECKS = {
    "every_symbol_has_recent_bars": "Every active symbol has a bar within the past 48 hours (whole sessions).",
    "no_missing_bars": "estimated_missing_bars is 0, or at most the tolerance that is set, for every symbol.",
    "newest_bar_is_fresh": "No symbol ends before the newest slot that is overdue, in market time.",
    "no_rate_limit_errors": "The vendor refused no request of the past 24 hours for the rate.",
}


def specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a bars asset."""
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in CHECKS.items()]


def judged(engine: Engine, interval: str, hours_back: float | None = None) -> tuple[Coverage | None, list[Criterion]]:
    """The window's coverage and every criterion; nothing without an active symbol."""
    try:
        job, _ = job_of(engine, Wish(interval=interval, hours_back=hours_back))
    except UsageError:
        return None, []
    coverage = engine.survey(job)
    return coverage, judge_window(engine.database, coverage, tolerance=engine.settings.missing_tolerance)


def check_results(
    key: dg.AssetKey, coverage: Coverage | None, criteria: Sequence[Criterion], selected: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    """The results of the selected checks; without a universe there is nothing that could be missing."""
    found = {criterion.name: criterion for criterion in criteria}
    days = [s.day.isoformat() for s in coverage.grid.sessions] if coverage else []
    for check in sorted(selected, key=lambda chosen: chosen.name):
        if (criterion := found.get(check.name)) is None:
            yield dg.AssetCheckResult(
                asset_key=key, check_name=check.name, passed=True, description="there are no active symbols"
            )
            continue
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=check.name,
            passed=criterion.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=criterion.meaning,
            metadata={
                "figure": criterion.figure,
                "threshold": criterion.threshold,
                "offenders": ", ".join(criterion.offenders) or "none",
                "window": ", ".join(days) or "no session",
            },
        )
