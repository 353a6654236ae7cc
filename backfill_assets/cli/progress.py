"""The progress of a run in a terminal: a bar with running totals, and one line a ticker."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from backfill_assets.backfill.results import Progress as RunProgress
from backfill_assets.backfill.results import ProgressListener
from backfill_assets.backfill.skip_reasons import INTERRUPTED
from backfill_assets.config.counts import format_count


@contextmanager
def show_run_progress(console: Console, *, show_tickers: bool, exchange: str = "") -> Iterator[ProgressListener]:
    """A progress bar with running totals; with ``show_tickers`` a line above it for each finished ticker.

    After an interruption one line says how many tickers were not requested. ``exchange`` stands before the totals.
    """
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[totals]}"),
        TimeRemainingColumn(),
    )
    batch, last_step = 0, None
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", totals="")

        def listen(step: RunProgress) -> None:
            nonlocal batch, last_step
            last_step = step
            if show_tickers and step.batches > 1 and step.batch != batch:
                batch = step.batch
                progress.console.print(f"batch {step.batch} of {step.batches}")
            totals = f"{f'{exchange} · ' if exchange else ''}tickers · {step.bars:,} bars · {step.calls:,} calls"
            if step.batches > 1:
                totals += f" · batch {step.batch} of {step.batches}"
            progress.update(task, completed=step.done, total=step.tickers, totals=totals)
            if show_tickers:
                style = {"stored": "green", "error": "red"}.get(step.outcome.kind, "yellow")
                line = f"  {step.outcome.ticker!s:<12} {step.outcome}"
                progress.console.print(line, style=style, highlight=False, markup=False)  # it may quote the vendor

        try:
            yield listen
        except KeyboardInterrupt:
            if last_step is not None:
                progress.console.print(describe_interruption(last_step), highlight=False)
            raise


def describe_interruption(last_step: RunProgress) -> str:
    """How far an interrupted run came."""
    skipped_count = last_step.tickers - last_step.done
    finished, skipped = format_count(last_step.done, "ticker"), format_count(skipped_count, "ticker")
    return f"{finished} finished · {skipped} skipped: {INTERRUPTED}"
