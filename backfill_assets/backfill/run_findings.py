"""Findings and decisions of a run: what its answers show, what is new or ended, and what a person has to decide."""

from datetime import datetime

from backfill_assets.backfill.absence.unserved import release_served
from backfill_assets.backfill.decisions.inbox import refresh_inbox
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.fetch_result import FetchResult
from backfill_assets.backfill.finding_ends import resolve_disproved_drift, resolve_ended_findings
from backfill_assets.backfill.findings import (
    record_bars_outside_listing,
    record_calendar_drift,
    record_refused_bars,
    record_vendor_warnings,
)
from backfill_assets.backfill.partition_findings import keep_partitions_ahead
from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.session_hours import note_session_hours
from backfill_assets.backfill.shared_holes import note_shared_holes
from backfill_assets.market.gaps.coverage import Coverage


def record_answers(
    engine: Engine, job: BackfillJob, plan: Plan, fetched: FetchResult, all_fetched: FetchResult, now: datetime
) -> None:
    """Record what the answers of one pass show about the calendar, the plan and the symbols; no vendor calls.

    ``all_fetched`` holds those of all passes of the run: one pass does not disprove the remarks of another.
    """
    record_calendar_drift(engine.database, job.market, fetched.off_calendar_days, len(fetched.outcomes), now)
    answered_ids = fetched.answered_ids
    spans = [
        (plan.grid.sessions[request.first_session].day, plan.grid.sessions[request.last_session].day)
        for request in plan.requests
        if request.symbol.symbol_id in answered_ids
    ]
    resolve_disproved_drift(engine, job.market.exchange, spans, fetched.off_calendar_days)
    record_vendor_warnings(engine.database, all_fetched.vendor_warnings, now, all_fetched.reaches)
    release_served(engine.database, [s for s in job.symbols if s.symbol_id in answered_ids], now)


def update_findings(engine: Engine, job: BackfillJob, coverage: Coverage, *, is_read_anew: bool) -> None:
    """Resolve and record findings by what the store holds now, and refresh the inbox; no vendor calls.

    ``coverage`` was measured at the end of the run. ``is_read_anew`` says whether all rows of the job's sessions were
    just read again.
    """
    database, now = engine.database, engine.settings.now()
    findings = resolve_ended_findings(engine)
    note_session_hours(engine, job, findings, is_read_anew=is_read_anew)
    note_shared_holes(engine, job, coverage, findings)
    record_refused_bars(database, job.interval, now)
    record_bars_outside_listing(database, now)
    keep_partitions_ahead(database, now)
    refresh_inbox(database, now)
