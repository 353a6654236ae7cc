"""The asset checks over the default window, each with its figure and its offenders.

They belong to the step of the asset, so they run with every materialization, and on their own if only checks are
selected. Which checks there are, and what computes them, is in ``quality.checks``; ``alert_sensor`` reports them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import dagster as dg

from backfill_assets.alerts.causes import read_diagnostics
from backfill_assets.alerts.notify import build_observations
from backfill_assets.alerts.observation import Observation
from backfill_assets.backfill.due_work import build_watched_partitions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.history.estimate import describe_history
from backfill_assets.backfill.job_request import JobRequest, NoActiveSymbols, build_job
from backfill_assets.backfill.older_sessions import count_older_missing
from backfill_assets.backfill.plausibility.judge import judge_job
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.census.history_check import HISTORY_IS_COMPLETE
from backfill_assets.quality.checks import evaluate_all, find_check, select_checks
from backfill_assets.quality.criteria import Criterion

OBSERVATION_KEY = "observation"


@dataclass(frozen=True, eq=False)
class WindowEvaluation:
    """The results of all checks over a window.

    Attributes:
        coverage: the state of every slot in the window.
        criteria: one result for each check.
        observations: one for each of ``criteria``, in the same order.
        is_alertable: whether alerts use the results; those of a window that a person chose are not reported.
        history_done_on: the day on which the history will be complete (ISO); None if it is, or cannot be known.
    """

    coverage: Coverage
    criteria: list[Criterion]
    observations: list[Observation]
    is_alertable: bool
    history_done_on: str | None = None


def build_check_specs(key: dg.AssetKey, market: MarketProfile, *, live: bool) -> list[dg.AssetCheckSpec]:
    """The checks of an exchange's bars asset; ``live``: whether live samples make bars of its interval."""
    return [
        dg.AssetCheckSpec(check.name, asset=key, description=check.description)
        for check in select_checks(live=live, market=market)
    ]


def build_evaluation_job(
    engine: Engine, market: MarketProfile, interval: str, hours_back: float | None = None
) -> BackfillJob | None:
    """The job that describes the window of an exchange's checks; None without an active symbol.

    Raises:
        UsageError: ``hours_back`` is out of range.
    """
    try:
        return build_job(engine, JobRequest(interval=interval, hours_back=hours_back, exchange=market.exchange))[0]
    except NoActiveSymbols:
        return None


def evaluate(
    engine: Engine, market: MarketProfile, interval: str, hours_back: float | None = None
) -> WindowEvaluation | None:
    """Judge an exchange's bars and evaluate its checks on what the store holds now; None without an active symbol.

    Raises:
        UsageError: ``hours_back`` is out of range.
    """
    job = build_evaluation_job(engine, market, interval, hours_back)
    if job is None:
        return None
    judge_job(engine, job)
    coverage = engine.measure(job)
    criteria = evaluate_all(engine.database, engine.settings, coverage, job.source_interval)
    diagnostics = read_diagnostics(engine.database, engine.settings, coverage)
    watched_job = build_watched_partitions_job(engine, market, interval)
    observations = build_observations(criteria, coverage.now, diagnostics, engine.measure(watched_job))
    observations = add_older_missing(observations, count_older_missing(engine, market, interval))
    is_whole = all(criterion.passed for criterion in criteria if criterion.name == HISTORY_IS_COMPLETE)
    done_on = None if is_whole else (describe_history(engine) or {}).get("done_on")
    return WindowEvaluation(coverage, criteria, observations, hours_back is None, done_on)


def add_older_missing(observations: Iterable[Observation], missing: int) -> list[Observation]:
    """The observations with what watched sessions lack that are no partitions: until it is there, nothing recovers."""
    return [
        replace(one, lingering=one.lingering + missing) if check and check.covers_retained_sessions else one
        for one, check in ((one, find_check(one.name)) for one in observations)
    ]


def build_check_results(
    key: dg.AssetKey, evaluation: WindowEvaluation | None, selected: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    """The results of the selected checks; without an active symbol (``evaluation`` None) none has anything to judge."""
    names = sorted(check.name for check in selected)
    if evaluation is None:
        yield from (_build_empty_result(key, name) for name in names)
        return
    window = ", ".join(session.day.isoformat() for session in evaluation.coverage.grid.sessions) or "no session"
    result_by_check = {o.name: (c, o) for c, o in zip(evaluation.criteria, evaluation.observations, strict=True)}
    for name in names:
        check = find_check(name)
        is_alertable = evaluation.is_alertable and (check is None or check.is_reported)
        more = {"expected on": evaluation.history_done_on} if name == HISTORY_IS_COMPLETE else {}
        yield _build_result(key, *result_by_check[name], window, more, is_alertable=is_alertable)


def _build_empty_result(key: dg.AssetKey, name: str) -> dg.AssetCheckResult:
    """No failure, which also ends an earlier one; the alert sensor takes the time from the event."""
    meaning = "not judged: there are no active symbols"
    observation = {"name": f"{key.to_user_string()}: {name}", "passed": True, "judged": False, "meaning": meaning}
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=True,
        description=meaning,
        metadata={"judged": False, OBSERVATION_KEY: dg.JsonMetadataValue(observation)},
    )


def _build_result(
    key: dg.AssetKey,
    criterion: Criterion,
    observation: Observation,
    window: str,
    more: Mapping[str, str | None],
    *,
    is_alertable: bool,
) -> dg.AssetCheckResult:
    named_by_asset = replace(observation, name=f"{key.to_user_string()}: {criterion.name}")
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=criterion.name,
        passed=criterion.passed,
        severity=dg.AssetCheckSeverity[observation.severity.upper().replace("WARNING", "WARN")],
        description=criterion.meaning,
        metadata={
            "judged": criterion.judged,
            "figure": criterion.figure,
            "threshold": criterion.threshold,
            "offenders": ", ".join(criterion.offenders) or "none",
            **({"likely cause": observation.cause} if observation.cause else {}),
            **({"not judged": criterion.not_judged} if criterion.not_judged else {}),
            "window": window,
            **{name: text for name, text in more.items() if text},
            **({OBSERVATION_KEY: dg.JsonMetadataValue(named_by_asset.to_metadata())} if is_alertable else {}),
        },
    )
