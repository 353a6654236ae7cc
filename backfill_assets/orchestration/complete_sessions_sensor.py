"""The sensor that certifies what is due and records it in Dagster, and the job that evaluates the checks."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.certify import certify_due
from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.windows import build_session_window
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.orchestration.complete_sessions import build_materialization, is_recorded
from backfill_assets.orchestration.complete_sessions_check import build_check_evaluations, read_session_states
from backfill_assets.orchestration.complete_sessions_events import (
    ChosenEvents,
    GateCursor,
    choose_events,
    parse_cursor,
)
from backfill_assets.orchestration.exchange_names import add_exchange, describe_market
from backfill_assets.orchestration.sensors import get_default_sensor_status
from backfill_assets.reading.dagster import build_gate_key
from backfill_assets.store.certificates import (
    read_certificate,
    read_certificates_after,
    read_newest_certificate_id,
)
from backfill_assets.store.runs import list_active_runs
from backfill_assets.store.universes import list_universes

STEP = "judge_sessions"


class SessionChecksConfig(dg.Config):
    """Whose newest sessions are judged."""

    universes: list[str] = Field(["all"], description="Named universes that have an asset complete_sessions.")
    exchange: str = Field(DEFAULT_EXCHANGE, description="The vendor's code of the exchange.")


@dg.op(name=STEP, out=dg.Out(dg.Nothing))
def judge_sessions(
    context: dg.OpExecutionContext, config: SessionChecksConfig, backfill_engine: dg.ResourceParam[Engine]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Evaluate the check of the sessions that are recorded by themselves, whatever it said before."""
    days = list_event_days(backfill_engine.settings, config.exchange)
    for universe in config.universes:
        key = build_gate_key(universe, config.exchange)
        yield from build_check_evaluations(backfill_engine, context.instance, key, days)


@dg.job(description="Evaluate the check of complete_sessions for the newest sessions.")
def verify_sessions() -> None:
    """One step: ``judge_sessions``."""
    judge_sessions()


def list_event_days(settings: Settings, exchange: str) -> list[date]:
    """The newest sessions that have opened, whose certificates become events by themselves; oldest first."""
    window = build_session_window(settings.get_market(exchange), settings.now(), settings.event_sessions)
    return [session.day for session in window.sessions]


def build_complete_sessions_sensor(
    settings: Settings, market: MarketProfile, universes: Sequence[str]
) -> dg.SensorDefinition:
    """The sensor of all universes of an exchange that have an asset.

    Each exchange has one: its cursor follows certificates, and a first look at a long history takes long.
    """
    exchange = market.exchange

    @dg.sensor(
        name=add_exchange("complete_sessions_sensor", exchange),
        job_name=verify_sessions.name,
        description="Certify what is due, and record sessions that became complete or were revised."
        + describe_market(market),
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def complete_sessions(
        context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> dg.SensorResult:
        """One tick."""
        return _Tick(context, backfill_engine, exchange, universes).run()

    return complete_sessions


@dataclass(frozen=True)
class _Tick:
    """One evaluation of the sensor."""

    context: dg.SensorEvaluationContext
    engine: Engine
    exchange: str
    universes: Sequence[str]

    def run(self) -> dg.SensorResult:
        """Certify, record, and request an evaluation of the checks if something else would come out."""
        certify_due(self.engine, DEFAULT_INTERVAL, exchange=self.exchange)
        cursor = parse_cursor(self.context.cursor)
        with self.engine.database.transaction() as connection:
            newest = read_newest_certificate_id(connection)
            is_quiet = not list_active_runs(connection)
            known = [universe.name for universe in list_universes(connection, self.exchange)]
        message = ""
        if cursor is None or newest < cursor.seen:  # ids begin anew in another database, and after a restore
            cursor = replace(cursor or GateCursor(0), seen=newest, held={})
            message = "following certificates from now on; what is complete already is recorded on request"
        events, cursor = self._collect_events(cursor, is_quiet=is_quiet)
        requests, cursor = self._request_checks(cursor) if is_quiet else ([], cursor)
        cursor = self._tell_unknown(cursor, known)
        message = (
            message or f"{format_count(len(events), 'session')} recorded, {len(cursor.held)} wait for a run to end"
        )
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else message,
            asset_events=events,
            cursor=cursor.to_json(),
        )

    def _collect_events(
        self, cursor: GateCursor, *, is_quiet: bool
    ) -> tuple[list[dg.AssetMaterialization], GateCursor]:
        days = list_event_days(self.engine.settings, self.exchange)
        with self.engine.database.transaction() as connection:
            written = read_certificates_after(connection, cursor.seen, self.exchange)
            written_bars = [c for c in written if c.interval == DEFAULT_INTERVAL]
            chosen: ChosenEvents = choose_events(cursor, written_bars, self.universes, days, is_quiet=is_quiet)
            due = [read_certificate(connection, number) for number in chosen.certificate_ids]
        seen = max([chosen.cursor.seen, *(certificate.certificate_id for certificate in written)])
        # a tick that ended early has recorded events and kept its cursor
        news = [one for one in due if one is not None and not is_recorded(self.context.instance, one)]
        return [build_materialization(certificate) for certificate in news], replace(chosen.cursor, seen=seen)

    def _request_checks(self, cursor: GateCursor) -> tuple[list[dg.RunRequest], GateCursor]:
        days = list_event_days(self.engine.settings, self.exchange)
        states = {}
        for universe in self.universes:
            found = read_session_states(self.engine, self.exchange, universe, days)
            lines = [f"{day} {state.fingerprint}" for day, state in found.items()]
            states[universe] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] if lines else ""
        # An evaluation before the event of a revision would be outdated by it, and the states would not change again.
        waiting = {name.rpartition(" ")[0] for name in cursor.held}
        states |= {universe: cursor.states.get(universe, "") for universe in waiting & states.keys()}
        changed = [universe for universe, state in states.items() if cursor.states.get(universe, "") != state]
        if not changed:
            return [], cursor
        number = cursor.evaluations + 1
        config = SessionChecksConfig(universes=changed, exchange=self.exchange)
        request = dg.RunRequest(
            run_key=f"{self.exchange} {self.engine.settings.now():%Y-%m-%d %H:%M} #{number}",
            run_config=dg.RunConfig(ops={STEP: config}),
        )
        return [request], replace(cursor, states=states, evaluations=number)

    def _tell_unknown(self, cursor: GateCursor, known: Sequence[str]) -> GateCursor:
        """Log once each universe that has no asset; in every tick those that only the setting names."""
        for name in self.universes:
            if name not in known:
                self.context.log.warning(
                    f"BACKFILL_UNIVERSES names {name}, but there is no such universe: backfill-assets universes add"
                )
        new = [name for name in known if name not in self.universes and name not in cursor.told]
        if new:
            self.context.log.warning(
                f"universe {', '.join(new)} has no asset: add it to BACKFILL_UNIVERSES and reload the definitions"
            )
        return replace(cursor, told=[name for name in known if name not in self.universes])
