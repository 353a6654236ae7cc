"""Everything a report tells, gathered at one moment: what ``page`` shows as HTML.

Reads the store only; nothing here asks the vendor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.heatmap import Heatmap, heatmap_of
from backfill_assets.quality.live_accuracy import Reconciliation, reconciliation_of
from backfill_assets.quality.report import SymbolReport, symbol_reports
from backfill_assets.quality.status import budget_of
from backfill_assets.quality.verification import judge_everything
from backfill_assets.store.bars.revisions import Rejected, Revision, rejects_in, revisions_in
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.evidence.daily_data import Finding, findings
from backfill_assets.store.postgres.connection import Database, describe
from backfill_assets.store.quota.request_log import attempts_by_outcome
from backfill_assets.store.runs import FinishedRun, finished_runs

RUNS, REVISIONS, WORST = 5, 20, 20


@dataclass(frozen=True, eq=False)
class Summary:
    """A report's content.

    Attributes:
        now: as of when, UTC.
        window: the sessions, for people.
        interval: of the bars.
        database: where they are, without a password.
        vendor: who is asked.
        rows: the report, one row a symbol.
        criteria: the four success criteria, then the others.
        heatmap: symbols × sessions.
        runs: those that ended last, the newest first.
        budget: what the token may still spend, None without one.
        attempts: how requests of the past 24 h ended: class name of the error, empty if well.
        revisions: how many bars of the window the vendor changed, and the newest.
        rejects: rows of the vendor that broke a rule.
        findings: what a person should look at.
        live: how good the window's live bars were, None where none was replaced yet.
    """

    now: datetime
    window: str
    interval: str
    database: str
    vendor: str
    rows: Sequence[SymbolReport]
    criteria: Sequence[Criterion]
    heatmap: Heatmap
    runs: Sequence[FinishedRun]
    budget: Mapping[str, Any] | None
    attempts: Mapping[str, int]
    revisions: tuple[int, Sequence[Revision]]
    rejects: Sequence[Rejected]
    findings: Sequence[Finding]
    live: Reconciliation | None

    def total(self, field: str) -> int:
        """A count of ``SymbolReport`` over all symbols."""
        return sum(getattr(row, field) for row in self.rows)

    @property
    def lacking(self) -> int:
        """How many symbols lack bars."""
        return sum(row.estimated_missing_bars > 0 for row in self.rows)

    @property
    def completeness(self) -> float:
        """Bars and explained slots, as a part of what is due; 1.0 where nothing is."""
        due = self.total("expected_bars") - self.total("pending_bars")
        return (self.total("bar_count") + self.total("no_trade_bars")) / due if due else 1.0

    def worst(self) -> list[SymbolReport]:
        """The symbols that lack most, 20 at most."""
        lacking = [row for row in self.rows if row.estimated_missing_bars or row.vendor_gap_bars]
        return sorted(lacking, key=lambda r: (-r.estimated_missing_bars, -r.vendor_gap_bars, r.symbol))[:WORST]


def gather(database: Database, settings: Settings, coverage: Coverage, window: str, source: Interval) -> Summary:
    """What a report of ``coverage`` tells; ``window`` describes it, ``source`` is what its bars are built from."""
    until = datetime.now(UTC)  # the request log is on the real clock
    budget = budget_of(database, settings, coverage.now)
    criteria = judge_everything(database, settings, coverage, source)
    live = reconciliation_of(database, coverage)
    with database.transaction() as connection:
        return Summary(
            now=coverage.now,
            window=window,
            interval=coverage.grid.interval.name,
            database=describe(database.url),
            vendor=settings.vendor_host,
            rows=symbol_reports(coverage),
            criteria=criteria,
            heatmap=heatmap_of(coverage),
            runs=finished_runs(connection, RUNS),
            budget=budget,
            attempts=attempts_by_outcome(connection, until - timedelta(hours=24), until),
            revisions=revisions_in(connection, coverage.symbols, coverage.grid, REVISIONS),
            rejects=rejects_in(connection, coverage.symbols, coverage.grid),
            findings=findings(connection),
            live=live,
        )
