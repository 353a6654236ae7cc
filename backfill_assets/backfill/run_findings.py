"""Findings and decisions at the end of a run: what ended, what is new, and what a person has to decide."""

from backfill_assets.backfill.decisions.inbox import refresh_inbox
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.finding_ends import resolve_ended_findings
from backfill_assets.backfill.findings import record_bars_outside_listing, record_refused_bars
from backfill_assets.backfill.session_hours import note_session_hours
from backfill_assets.backfill.shared_holes import note_shared_holes
from backfill_assets.market.gaps.coverage import Coverage


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
    refresh_inbox(database, now)
