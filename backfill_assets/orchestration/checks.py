"""The asset checks: the success criteria over the default window, each with its figure and offenders.

They belong to the asset's own step, so that they run with every materialisation, and without one when
only they are selected. What they judge is in ``quality``; what is told of it is ``alerting``'s.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import dagster as dg

from backfill_assets.alerts.causes import read_diagnostics
from backfill_assets.alerts.notify import build_observations
from backfill_assets.alerts.observation import Observation, Severity
from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, NoActiveSymbols, build_job
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.verification import evaluate_all

CHECKS = {
    "every_symbol_has_recent_bars": "Every active symbol has a bar within the past 48 hours (whole sessions).",
    "no_missing_bars": "estimated_missing_bars is 0, or at most the tolerance that is set, for every symbol.",
    "newest_bar_is_fresh": "No symbol ends before the newest slot that is overdue, in market time.",
    "no_rate_limit_errors": "The vendor refused no request of the past 24 hours for the rate.",
    "bars_are_valid": "No stored bar breaks a rule: OHLC order, prices, the grid, an unknown symbol, twice.",
    "sessions_agree_with_eod": "Each session's official close is that of the vendor's daily data.",
}
LIVE_CHECKS = {"live_keeps_up": "Every slot that ended more than 30 minutes ago has a provisional bar or better."}
# The vendor's two series may differ for reasons that no backfill mends (EODHD.md §2, §5).
SEVERITIES: dict[str, Severity] = {"sessions_agree_with_eod": "warning"}
OBSERVATION_KEY = "observation"


@dataclass(frozen=True, eq=False)
class WindowEvaluation:
    """Every criterion over a window, what is to be said of each, and the coverage it was judged by.

    Attributes:
        coverage: what was judged.
        criteria: every criterion.
        observations: one for each criterion.
        is_news: whether alerts hear of it; a window of a person's choice says nothing about the usual one.
    """

    coverage: Coverage
    criteria: list[Criterion]
    observations: list[Observation]
    is_alertable: bool


def build_check_specs(key: dg.AssetKey, *, live: bool) -> list[dg.AssetCheckSpec]:
    """The checks of a bars asset; ``live``: whether live samples make bars of it."""
    chosen = {**CHECKS, **(LIVE_CHECKS if live else {})}
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in chosen.items()]


def build_evaluation_job(engine: Engine, interval: str, hours_back: float | None = None) -> BackfillJob | None:
    """The window to be judged; None without an active symbol.

    Raises:
        UsageError: ``hours_back`` cannot be meant.
    """
    try:
        return build_job(engine, JobRequest(interval=interval, hours_back=hours_back))[0]
    except NoActiveSymbols:
        return None


def evaluate(engine: Engine, interval: str, hours_back: float | None = None) -> WindowEvaluation | None:
    """The window as the store shows it now; None without an active symbol. Errors: see ``job_to_judge``."""
    job = build_evaluation_job(engine, interval, hours_back)
    if job is None:
        return None
    coverage = engine.measure(job)
    criteria = evaluate_all(engine.database, engine.settings, coverage, job.source_interval)
    diagnostics = read_diagnostics(engine.database, engine.settings, coverage)
    retained_coverage = engine.measure(build_retained_sessions_job(engine, interval))
    observations = build_observations(criteria, coverage.now, diagnostics, retained_coverage, SEVERITIES)
    return WindowEvaluation(coverage, criteria, observations, is_alertable=hours_back is None)


def build_check_results(
    key: dg.AssetKey, evaluation: WindowEvaluation | None, selected: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    """The results of the selected checks; without a universe there is nothing that could be missing."""
    names = sorted(check.name for check in selected)
    if evaluation is None:
        yield from (_build_empty_result(key, name) for name in names)
        return
    window = ", ".join(session.day.isoformat() for session in evaluation.coverage.grid.sessions) or "no session"
    result_by_check = {o.name: (c, o) for c, o in zip(evaluation.criteria, evaluation.observations, strict=True)}
    for name in names:
        yield _build_result(key, *result_by_check[name], window, is_alertable=evaluation.is_alertable)


def _build_empty_result(key: dg.AssetKey, name: str) -> dg.AssetCheckResult:
    """It holds, and what failed has recovered; when that was, the alerts see from the event."""
    meaning = "there are no active symbols"
    observation = {"name": f"{key.to_user_string()}: {name}", "passed": True, "meaning": meaning}
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=True,
        description=meaning,
        metadata={OBSERVATION_KEY: dg.JsonMetadataValue(observation)},
    )


def _build_result(
    key: dg.AssetKey, criterion: Criterion, observation: Observation, window: str, *, is_alertable: bool
) -> dg.AssetCheckResult:
    of_interval = replace(observation, name=f"{key.to_user_string()}: {criterion.name}")
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=criterion.name,
        passed=criterion.passed,
        severity=dg.AssetCheckSeverity[observation.severity.upper().replace("WARNING", "WARN")],
        description=criterion.meaning,
        metadata={
            "figure": criterion.figure,
            "threshold": criterion.threshold,
            "offenders": ", ".join(criterion.offenders) or "none",
            **({"likely cause": observation.cause} if observation.cause else {}),
            "window": window,
            **({OBSERVATION_KEY: dg.JsonMetadataValue(of_interval.to_metadata())} if is_alertable else {}),
        },
    )
