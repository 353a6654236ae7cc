"""The runs of a command, one an exchange after the other: what each prints, and all together as JSON and in a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from backfill_assets.backfill.daily_reading import DailyReading, read_daily_data
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.exchange_loop import MarketResults
from backfill_assets.backfill.job_request import MarketJobs
from backfill_assets.backfill.market_results import find_exit_code, sum_runs
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.certification.certify import CertificationResult, certify_due
from backfill_assets.cli.market_rendering import show_exchange, show_failures
from backfill_assets.cli.options import make_console
from backfill_assets.cli.progress import show_run_progress
from backfill_assets.cli.rendering import show_run, show_short_histories, show_window
from backfill_assets.config.counts import format_count
from backfill_assets.live.collector import collect_today
from backfill_assets.live.result import LiveRound
from backfill_assets.market.calendar.moment_style import choose_moment_style
from backfill_assets.quality.short_histories import ShortHistory


@dataclass(frozen=True, slots=True)
class MarketRun:
    """What a run of one exchange did, and what was done with it."""

    result: RunResult
    live_round: LiveRound | None
    reading: DailyReading | None
    certified: CertificationResult

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON."""
        return {
            **self.result.as_dict(),
            "live": self.live_round.as_dict() if self.live_round else None,
            "daily": self.reading.as_dict() if self.reading else None,
        }

    def list_certificates(self) -> list[dict[str, Any]]:
        """The certificates that were written, as JSON."""
        return [certificate.as_dict() for certificate in self.certified.written]


@dataclass(frozen=True, slots=True)
class MarketRunner:
    """Runs the jobs of a command.

    Attributes:
        engine: the parts to work with.
        jobs: of all exchanges.
        console: where results are printed; None: nowhere.
        live: whether a round of live samples comes first, where one is due.
        quiet: only summaries are printed.
    """

    engine: Engine
    jobs: MarketJobs
    console: Console | None
    live: bool
    quiet: bool

    def run(self, job: BackfillJob) -> MarketRun:
        """Run one job, and print what it did."""
        exchange = job.market.exchange
        self._show_begin(job)
        live_round = collect_today(self.engine, job.window) if self.live else None
        label = exchange if self.jobs.is_several else ""
        with show_run_progress(make_console(stderr=True), show_tickers=not self.quiet, exchange=label) as listen:
            result = run_backfill(self.engine, job, listen, self.jobs.list_later(exchange))
        reading = None
        if result.stopped is None:
            chosen = job.symbols if job.user_selected else None
            reading = read_daily_data(self.engine, job.market, symbols=chosen, max_in_flight=job.batch_size)
        certified = certify_due(self.engine, job.interval.name, exchange=exchange, sessions=job.window.sessions)
        run = MarketRun(result, live_round, reading, certified)
        self._show_end(run)
        return run

    def show_all(self, results: MarketResults[MarketRun], histories: Sequence[ShortHistory]) -> None:
        """Print what the exchanges have in common; of one exchange, its live round is the last line."""
        if self.console is None:
            return
        if self.jobs.is_several:
            total = sum_runs([run.result for run in results.results.values()])
            self.console.print(
                f"[bold]{format_count(len(results.results), 'exchange')}: {total.before.missing:,} missing before,"
                f" {total.after.missing:,} after, {total.closed_share:.1%} closed[/bold]"
                f" · {format_count(total.requests, 'request')} · {format_count(total.calls, 'call')}"
            )
            show_failures(self.console, results)
        show_short_histories(self.console, histories)
        if not self.jobs.is_several:
            self._show_live(*results.results.values())

    def _show_begin(self, job: BackfillJob) -> None:
        if self.console is None:
            return
        show_exchange(self.console, self.engine.database, job.market, is_several=self.jobs.is_several)
        if not (self.quiet and job.window.sessions):
            settings = self.engine.settings
            style = choose_moment_style(job.market, settings.exchanges)
            show_window(self.console, job.window, settings.now(), style)

    def _show_end(self, run: MarketRun) -> None:
        if self.console is None:
            return
        if run.reading and not self.quiet:
            self.console.print(f"daily data: {run.reading}", highlight=False, markup=False)
        for line in run.certified.describe():
            self.console.print(line, highlight=False, markup=False)
        show_run(self.console, run.result)
        if self.jobs.is_several:
            self._show_live(run)

    def _show_live(self, run: MarketRun) -> None:
        if self.console is not None and run.live_round:
            self.console.print(f"live: {run.live_round}", highlight=False, markup=False)


def describe_runs(results: MarketResults[MarketRun], histories: Sequence[ShortHistory]) -> dict[str, Any]:
    """The runs as JSON: that of one exchange, or of several their sum, with each one's own in ``exchanges``."""
    runs = results.results
    certificates = [certificate for run in runs.values() for certificate in run.list_certificates()]
    shared = {"short_histories": [history.as_dict() for history in histories], "certificates": certificates}
    if not results.is_several:
        (run,) = runs.values()
        return {**run.as_dict(), **shared}
    return {
        **sum_runs([run.result for run in runs.values()]).as_dict(),
        "live": None,
        "daily": None,
        **shared,
        "exchanges": [
            {"exchange": exchange, **run.as_dict(), "certificates": run.list_certificates()}
            for exchange, run in runs.items()
        ],
        "failures": results.describe_errors(),
    }


def find_worst_code(results: MarketResults[MarketRun]) -> int:
    """The exit code of all exchanges together."""
    return max(results.exit_code, find_exit_code([run.result for run in results.results.values()]))
