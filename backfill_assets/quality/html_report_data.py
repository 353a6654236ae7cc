"""The data of the HTML report, read at one moment; ``html_report`` renders them.

Reads the database only, without vendor calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle, choose_moment_style
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.action_entries import ActionEntry, mark_sessions
from backfill_assets.quality.census.overview import NO_OVERVIEW, StoreOverview, read_store_overview
from backfill_assets.quality.checks import evaluate_all
from backfill_assets.quality.corporate_actions_listing import add_details, list_window_actions
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.exchange_reports import format_exchange_title
from backfill_assets.quality.experimental import describe_experimental, read_comparison
from backfill_assets.quality.heatmap import Heatmap, build_heatmap
from backfill_assets.quality.live_accuracy import LiveAccuracy, read_live_accuracy
from backfill_assets.quality.report import SymbolReport
from backfill_assets.quality.status import read_budget
from backfill_assets.quality.symbol_reports import read_symbol_reports
from backfill_assets.store.bars.revisions import RejectCount, Revision, count_rejects, read_revisions
from backfill_assets.store.evidence.decisions import list_last_decided, list_open_decisions
from backfill_assets.store.evidence.findings import Finding, list_findings, select_of_active
from backfill_assets.store.evidence.proposals import Decision
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.database_errors import describe_database
from backfill_assets.store.quota.request_log import count_requests_by_error
from backfill_assets.store.runs import FinishedRun, list_finished_runs
from backfill_assets.store.symbols import list_symbols

MAX_RUNS, MAX_REVISIONS, MAX_WORST_SYMBOLS, MAX_DECIDED = 5, 20, 20, 10
MAX_ACTIONS = 100


@dataclass(frozen=True, slots=True)
class HistoryOutlook:
    """How far the whole history of all exchanges is.

    Attributes:
        summary: in one line, such as ``97.3 % complete, done 2026-12-03 at 38,000 calls a day``.
        requests: intraday requests that are left.
        calls: what they and the daily histories before them cost.
        symbols: symbols with a history.
        symbols_done: those of them of which all was requested.
    """

    summary: str
    requests: int = 0
    calls: int = 0
    symbols: int = 0
    symbols_done: int = 0


@dataclass(frozen=True, eq=False)
class ReportData:
    """The content of a report.

    Attributes:
        now: the time of the report, UTC.
        window: description of the window.
        interval: of the bars.
        database: address without the password.
        vendor: host of the vendor's API.
        rows: the report, one row for each symbol.
        criteria: the results of all checks.
        heatmap: symbols × sessions, with the actions marked.
        actions: corporate actions with an ex-date in the window, the newest first; those that are shown with details.
        runs: the runs that finished last, newest first.
        budget: calls and requests left for the token; None without a token.
        attempts: requests of the past 24 h by outcome: class name of the error, or empty for success.
        revisions: number of final bars of the window that the vendor changed, and the newest of them.
        rejects: vendor rows that failed validation.
        findings: open findings, such as calendar drift.
        decisions: what can be decided, the oldest first.
        decided: what was decided last, the newest first.
        live: accuracy of the window's live bars; None if none was replaced yet.
        market: the exchange.
        style: how its moments are shown.
        notice: that the exchange is experimental, in one line; empty for a verified one.
        outlook: how far the whole history is and when it will be complete, in one line, and figures about that; the
            same for all exchanges; None if no history is filled.
        whole: the exchange's whole store at a glance.
    """

    now: datetime
    window: str
    interval: str
    database: str
    vendor: str
    rows: Sequence[SymbolReport]
    criteria: Sequence[Criterion]
    heatmap: Heatmap
    actions: Sequence[ActionEntry]
    runs: Sequence[FinishedRun]
    budget: Mapping[str, Any] | None
    attempts: Mapping[str, int]
    revisions: tuple[int, Sequence[Revision]]
    rejects: Sequence[RejectCount]
    findings: Sequence[Finding]
    decisions: Sequence[Decision]
    decided: Sequence[Decision]
    live: LiveAccuracy | None
    market: MarketProfile = US
    style: MomentStyle = UTC_STYLE
    notice: str = ""
    outlook: HistoryOutlook | None = None
    whole: StoreOverview = NO_OVERVIEW

    def sum_field(self, field: str) -> int:
        """The sum of a field of ``SymbolReport`` over all symbols."""
        return sum(getattr(row, field) for row in self.rows)

    @property
    def title(self) -> str:
        """The heading of the exchange: ``LSE · London Stock Exchange · prices in GBX``."""
        return format_exchange_title(self.market)

    @property
    def symbols_with_gaps(self) -> int:
        """Number of symbols with missing bars."""
        return sum(row.estimated_missing_bars > 0 for row in self.rows)

    @property
    def completeness(self) -> float:
        """(Bars + slots without trade) / due slots over all symbols, 0 to 1; 1.0 if nothing is due."""
        due = self.sum_field("expected_bars") - self.sum_field("pending_bars")
        return (self.sum_field("bar_count") + self.sum_field("no_trade_bars")) / due if due else 1.0

    def select_worst(self) -> list[SymbolReport]:
        """The symbols with most missing bars, then those with vendor gaps and suspect bars, at most 20."""

        def get_rank(row: SymbolReport) -> tuple[int, int, int, str]:
            return -row.estimated_missing_bars, -row.vendor_gap_bars, -row.suspect_bars, row.symbol

        return sorted((row for row in self.rows if any(get_rank(row)[:3])), key=get_rank)[:MAX_WORST_SYMBOLS]


def collect_report_data(
    database: Database,
    settings: Settings,
    coverage: Coverage,
    window: str,
    source: Interval,
    *,
    market: MarketProfile = US,
    outlook: HistoryOutlook | None = None,
) -> ReportData:
    """Read the data of a report.

    Args:
        database: the store.
        settings: of this process.
        coverage: the state of every slot in the window.
        window: description of the window.
        source: the vendor's interval that the bars are built from.
        market: the exchange of the coverage.
        outlook: of the whole history.
    """
    until = datetime.now(UTC)  # the request log is on the real clock
    budget = read_budget(database, settings, coverage.now)
    criteria = evaluate_all(database, settings, coverage, source)
    live = read_live_accuracy(database, coverage)
    whole = read_store_overview(database, settings, market, coverage.grid.interval, coverage.now)
    notice = describe_experimental(market, read_comparison(database, market))
    with database.transaction() as connection:
        active = {str(s.ticker) for exchange in settings.exchanges for s in list_symbols(connection, exchange)}
        actions = list_window_actions(connection, coverage)
        return ReportData(
            now=coverage.now,
            window=window,
            interval=coverage.grid.interval.name,
            database=describe_database(database.url),
            vendor=settings.vendor_host,
            rows=read_symbol_reports(connection, coverage),
            criteria=criteria,
            heatmap=build_heatmap(coverage, mark_sessions(actions, [s.day for s in coverage.grid.sessions])),
            actions=add_details(connection, actions[:MAX_ACTIONS], coverage.now, coverage.grid.interval)
            + actions[MAX_ACTIONS:],
            runs=list_finished_runs(connection, MAX_RUNS),
            budget=budget,
            attempts=count_requests_by_error(connection, until - timedelta(hours=24), until),
            revisions=read_revisions(connection, coverage.symbols, coverage.grid, MAX_REVISIONS),
            rejects=count_rejects(connection, coverage.symbols, coverage.grid),
            findings=select_of_active(list_findings(connection), active),
            decisions=list_open_decisions(connection),
            decided=list_last_decided(connection, MAX_DECIDED),
            live=live,
            market=market,
            style=choose_moment_style(market, settings.exchanges),
            notice=notice,
            outlook=outlook,
            whole=whole,
        )
