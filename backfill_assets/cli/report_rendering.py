"""The report of a window in a terminal: that of the US alone, or exchange by exchange."""

from collections.abc import Sequence

from rich.console import Console

from backfill_assets.cli.action_rendering import show_window_actions
from backfill_assets.cli.heatmap import show_heatmap
from backfill_assets.cli.options import show_past_universe
from backfill_assets.cli.rendering import show_report, show_window
from backfill_assets.cli.window_report import WindowReport
from backfill_assets.quality.exchange_reports import show_in_zone, summarize_exchanges
from backfill_assets.quality.heatmap import build_heatmap


def print_report(console: Console, report: WindowReport) -> None:
    """Print the report of one exchange."""
    show_window(console, report.job.window, report.coverage.now, report.style)
    if report.is_us_alone:
        show_past_universe(report.job, console)
    if report.job.window.sessions:
        rows = report.rows if report.is_us_alone else show_in_zone(report.rows, report.style)
        show_report(console, rows, report.coverage.duplicates, report.live)
        show_window_actions(console, report.actions)
        show_heatmap(console, build_heatmap(report.coverage))


def print_reports(console: Console, reports: Sequence[WindowReport]) -> None:
    """Print the report of each exchange under a heading, then a line about all of them."""
    for note in dict.fromkeys(report.job.universe_note for report in reports if report.job.universe_note):
        console.print(note, highlight=False)
    by_exchange = [report.build_exchange_report() for report in reports]
    for report, named in zip(reports, by_exchange, strict=True):
        console.print(named.title, style="bold", highlight=False, markup=False)
        if report.notice:
            console.print(report.notice, style="yellow", highlight=False, markup=False)
        print_report(console, report)
        console.print()
    if len(reports) > 1:
        console.print(summarize_exchanges(by_exchange), style="bold", highlight=False)
