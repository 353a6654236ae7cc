"""The check of ``complete_sessions``: each overdue session is certified. It has partitions, so a failure is seen there.

It tells alerts nothing: what a session lacks, the checks of the bars report. Dagster's storage takes one evaluation of
a partition per run, and for events without a run only one ever, so evaluations are made in runs.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.evaluation import EvaluatedSession, EvaluationRequest, evaluate_sessions
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import (
    DEFAULT_INTERVAL,
    Interval,
    parse_interval,
)
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.orchestration.dagster_internals.check_targets import find_check_target
from backfill_assets.reading.dagster import GATE
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.certificate_values import Certificate
from backfill_assets.store.certificates import list_newest_certificates
from backfill_assets.store.universes import list_universes

CHECK = "session_is_complete"
_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the check says of a session: certified, or overdue with what it lacks."""

    certificate: Certificate | None
    lacking: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Equal for states that the check describes in the same way."""
        if self.certificate is None:
            return " ".join(("overdue", *self.lacking))
        return f"{self.certificate.certificate_id} {self.certificate.sha256[:16]}"  # ids begin anew in another store


def build_check_spec(key: dg.AssetKey, partitions: dg.PartitionsDefinition) -> dg.AssetCheckSpec:
    """The check of one universe."""
    with warnings.catch_warnings():  # the pin of Dagster's version covers that partitioned checks are a preview
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            CHECK,
            asset=key,
            description="Passes if the session has a certificate; fails if it is overdue and has none.",
            partitions_def=partitions,
        )


def read_session_states(engine: Engine, exchange: str, universe: str, days: Sequence[date]) -> dict[date, SessionState]:
    """The states of sessions of a universe, oldest first; those that have none yet, or no symbols, are left out."""
    if not days:
        return {}
    now = engine.settings.now()
    sessions = list_sessions(engine.settings.get_market(exchange), min(days), max(days))
    wanted = {session.day: session for session in sessions if session.day in set(days)}
    with engine.database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [parse_interval(DEFAULT_INTERVAL)])
        newest = list_newest_certificates(connection, exchange, interval.name, wanted, universe)
        certified = {certificate.session_day: SessionState(certificate) for certificate in newest}
        open_days = [day for day in wanted if day not in certified]
        overdue = _select_overdue(engine, interval, [wanted[day] for day in open_days])
        universes = [one for one in list_universes(connection, exchange) if one.name == universe]
        evaluated = evaluate_sessions(connection, engine, EvaluationRequest(universes, overdue, interval, now))
    lacking = {one.session.day: SessionState(None, _describe_lack(one)) for one in evaluated}
    return {day: state for day in sorted(wanted) if (state := certified.get(day) or lacking.get(day))}


def _select_overdue(engine: Engine, interval: Interval, sessions: Sequence[Session]) -> tuple[Session, ...]:
    if not sessions:
        return ()
    market = sessions[0].market
    rules = engine.settings.build_gap_rules(market, engine.settings.choose_source(market, interval))
    return tuple(s for s in sessions if rules.compute_overdue_at(s) <= engine.settings.now())


def _describe_lack(one: EvaluatedSession) -> tuple[str, ...]:
    return tuple(
        f"{lacking.symbol.ticker} ({', '.join(f'{count} {state}' for state, count in lacking.counts.items())})"
        for lacking in one.incomplete
    )


def build_check_evaluations(
    engine: Engine, instance: dg.DagsterInstance, key: dg.AssetKey, days: Sequence[date]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Evaluate the check for sessions, about their newest materializations; only in a run (see above)."""
    gate, exchange, universe = key.path
    if gate != GATE:
        raise ValueError(f"{key} is no asset of complete sessions")
    for day, state in read_session_states(engine, exchange, universe, days).items():
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=CHECK,
            passed=state.certificate is not None,
            description=_describe_state(day, state),
            metadata=_build_metadata(state),
            partition=day.isoformat(),
            target_materialization_data=find_check_target(instance, key, day.isoformat()),
        )


def _describe_state(day: date, state: SessionState) -> str:
    if state.certificate is not None:
        return f"certificate {state.certificate.certificate_id}: {state.certificate.kind}"
    if not state.lacking:
        return f"{day} is overdue and has no certificate, although nothing is missing: certify it"
    verb = "lacks" if len(state.lacking) == 1 else "lack"
    return f"{day} is overdue and {format_count(len(state.lacking), 'symbol')} {verb} slots: {_name(state.lacking)}"


def _name(lacking: Sequence[str]) -> str:
    more = len(lacking) - _MAX_NAMED
    return ", ".join([*lacking[:_MAX_NAMED], *([f"and {more:,} more"] if more > 0 else [])])


def _build_metadata(state: SessionState) -> Mapping[str, Any]:
    if state.certificate is None:
        return {"symbols that lack slots": len(state.lacking), "offenders": _name(state.lacking) or "none"}
    incomplete = ", ".join(state.certificate.incomplete[:_MAX_NAMED])
    return {
        "certificate_id": state.certificate.certificate_id,
        "kind": str(state.certificate.kind),
        **({"incomplete": incomplete} if incomplete else {}),
    }
