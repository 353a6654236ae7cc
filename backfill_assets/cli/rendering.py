"""Results as tables and sentences in a terminal; slots, progress and heat map are in modules of their own."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.results import RunResult, list_told_errors
from backfill_assets.backfill.review_result import ReviewResult
from backfill_assets.backfill.skip_reasons import count_skipped
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.moment_style import MomentStyle, choose_moment_style
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.checks import format_result, is_failure
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.live_accuracy import LiveAccuracy
from backfill_assets.quality.report import SymbolReport, describe_suspect_bars
from backfill_assets.quality.report_formats import REPORT_COLUMNS, format_cell
from backfill_assets.quality.session_notes import list_closed_weekdays
from backfill_assets.quality.short_histories import ShortHistory, describe_short_histories

MAX_TABLE_ROWS = 40  # of a table; the other rows are only counted
MAX_SYMBOLS_LISTED_IN_FULL = 10  # up to this number complete symbols are listed, too


def show_window(console: Console, window: Window, now: datetime, style: MomentStyle | None = None) -> None:
    """Print the sessions of a window, one line; ``now`` is UTC.

    Where the exchange is named, days without a session are, too. Without a style, moments of the US are in UTC, those
    of another exchange in its zone.
    """
    style = style or choose_moment_style(window.market, [US.exchange])
    as_of = style.format_minute(now)
    if not window.sessions:
        console.print(
            f"no session due: none in {window.description} has opened by {as_of} (weekends and holidays have none)"
        )
        return
    days = [s.day.isoformat() + (" (early close)" if s.is_early_close else "") for s in window.sessions]
    listed_days = ", ".join(days) if len(days) <= 6 else f"{days[0]} … {days[-1]}"
    sessions = format_count(len(days), "session")
    closed = list_closed_weekdays(style.market, window.sessions, now) if style.market else []
    holidays = f"; closed on {', '.join(str(day) for day in closed[:6])}" if closed else ""
    console.print(f"{sessions} ({window.description}, as of {as_of}): {listed_days}{holidays}")


def show_report(
    console: Console, rows: Sequence[SymbolReport], duplicates: int = 0, live: LiveAccuracy | None = None
) -> None:
    """Print the report. Of more than ten symbols, complete ones are only counted and the worst come first."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = [c for c in REPORT_COLUMNS if c[1] not in _OPTIONAL_FIELDS or any(getattr(r, c[1]) for r in rows)]
    for title, field in columns:
        text = field in ("symbol", "suspect_reasons", "first_timestamp", "last_timestamp", "listed_until")
        table.add_column(title, justify="left" if text else "right", no_wrap=True)
    worst_first = sorted(rows, key=lambda r: (-r.estimated_missing_bars, -r.pending_bars))
    rows_with_gaps = [r for r in worst_first if r.estimated_missing_bars]
    shown = rows if len(rows) <= MAX_SYMBOLS_LISTED_IN_FULL else rows_with_gaps[:MAX_TABLE_ROWS]
    for row in shown:
        style = "red" if row.estimated_missing_bars else "yellow" if row.pending_bars else None
        table.add_row(*(format_cell(row, field) for _, field in columns), style=style)
    if shown:
        console.print(table)
    if len(rows_with_gaps) > len(shown):
        console.print(f"… and {len(rows_with_gaps) - len(shown)} more with missing bars (--format json shows all)")
    if len(rows) > MAX_SYMBOLS_LISTED_IN_FULL:
        count = len(rows) - len(rows_with_gaps)
        have, are = ("has", "is") if count == 1 else ("have", "are")
        complete = f"{have} no missing bars" if any(r.pending_bars for r in rows) else f"{are} complete"
        console.print(f"{format_count(count, 'symbol')} {complete}")
    if duplicates:
        console.print(
            f"{format_count(duplicates, 'slot has', 'slots have')} two rows, under different names of the interval;"
            " the one with provenance counts"
        )
    if live:
        console.print(str(live), highlight=False)
    if suspect := describe_suspect_bars(rows):
        console.print(f"{suspect} (--format csv shows which)", highlight=False)
    missing = sum(r.estimated_missing_bars for r in rows)
    symbols_with_gaps = sum(r.estimated_missing_bars > 0 for r in rows)
    expected = sum(r.expected_bars for r in rows)
    pending = sum(r.pending_bars for r in rows)
    console.print(
        f"{format_count(missing, 'bar')} missing in {symbols_with_gaps} of {format_count(len(rows), 'symbol')}"
        f" · {expected:,} expected · {pending:,} pending"
    )


_OPTIONAL_FIELDS = (
    "listed_until",
    "no_trade_bars",
    "vendor_gap_bars",
    "provisional_bars",
    "unverified_bars",
    "suspect_bars",
    "suspect_reasons",
    "other_feed_bars",
)


def show_plan(console: Console, plan: Plan, seconds: float) -> None:
    """Print the requests of a plan, their cost in calls and their duration in ``seconds``."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("ticker", "from", "to", "slots to fill"):
        table.add_column(title, justify="right" if title == "slots to fill" else "left")
    for request in plan.requests[:MAX_TABLE_ROWS]:
        first, last = plan.grid.sessions[request.first_session].day, plan.grid.sessions[request.last_session].day
        table.add_row(str(request.symbol.ticker), str(first), str(last), f"{request.slot_count:,}")
    if plan.requests:
        console.print(table)
    if len(plan.requests) > MAX_TABLE_ROWS:
        console.print(f"… and {len(plan.requests) - MAX_TABLE_ROWS} more requests (--format json shows all)")
    waiting = {
        "requested too recently": len(plan.deferred_until),
        f"the vendor's answer could not be read{_format_until(plan.unreadable_until.values())}": len(
            plan.unreadable_until
        ),
    }
    deferred = "".join(
        f" · {format_count(count, 'ticker')} deferred: {reason}" for reason, count in waiting.items() if count
    )
    console.print(
        f"{format_count(len(plan.requests), 'request')} · {format_count(plan.calls, 'call')}"
        f" (lower bound {plan.lower_bound:,}) · "
        f"{format_count(sum(a.slot_count for a in plan.requests), 'slot')} · about {seconds:.0f} s{deferred}"
    )


def _format_until(moments: Collection[datetime]) -> str:
    """Until when tickers wait, from the first of them to the last; empty without any."""
    texts = [f"{moment:%Y-%m-%d %H:%M}" for moment in (min(moments), max(moments))] if moments else []
    return f", until {' to '.join(dict.fromkeys(texts))} UTC" if texts else ""


def show_run(console: Console, result: RunResult) -> None:
    """Print what a run requested, stored and proved."""
    if not result.sessions:
        return
    kinds = Counter(o.kind for o in result.outcomes)
    ticker_outcomes = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    console.print(
        f"{format_count(result.requests, 'request')} · {format_count(result.calls, 'call')} · {result.seconds:.1f} s · "
        f"{result.rate_limited} rate-limited"
    )
    written = result.written
    if ticker_outcomes or not result.requests:  # after a stop no ticker of the requests may be finished
        console.print(f"tickers: {ticker_outcomes or 'no requests'}")
    console.print(
        f"bars: {written.inserted:,} inserted · {written.updated:,} updated · {written.revised:,} revised"
        f" · {written.unchanged:,} unchanged · {format_count(result.rejected, 'row')} rejected"
        + (f" · {format_count(written.protected, 'stored bar')} kept" if written.protected else "")
        + (
            f" · external bars: {written.verified:,} verified, {written.replaced:,} replaced"
            if written.verified + written.replaced
            else ""
        )
    )
    if result.cross_feed:
        console.print(f"other feed: {result.cross_feed}")
    explained = "".join(f" · {count:,} {reason}" for reason, count in result.explained.items())
    console.print(
        f"proof: {format_count(result.planned, 'slot')} requested · "
        f"{format_count(result.stored, 'has', 'have')} a final bar now{explained}"
        f" · absent: {_format_counts(result.absent) or 'none'}"
    )
    for outcome in list_told_errors(result.outcomes, result.stopped)[:MAX_TABLE_ROWS]:
        console.print(f"  {outcome.ticker}: {outcome.error}", style="red", highlight=False, markup=False)
    for warning in result.describe_warnings():
        console.print(warning, style="yellow", highlight=False, markup=False)
    for reason, count in count_skipped(result.skipped).items():
        advice = " (--force requests them)" if reason.startswith("deferred") else ""
        console.print(f"{format_count(count, 'ticker')} skipped: {reason}{advice}", highlight=False)
    without_bar = _format_counts(result.closed_without_bar)
    console.print(
        f"[bold]{result.before.missing:,} missing before, {result.after.missing:,} after, "
        f"{result.closed_share:.1%} closed{f' (of these no bar: {without_bar})' if without_bar else ''}[/bold]"
    )
    if result.stopped is not None:
        console.print(
            f"stopped: {result.stopped} ({format_count(result.not_requested, 'ticker')} not requested)",
            style="red",
            highlight=False,
            markup=False,
        )


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))


def show_review(console: Console, result: ReviewResult) -> None:
    """Print what a review read and stored, and what it deferred."""
    written = result.written
    console.print(
        f"{result.reviewed:,} of {format_count(result.due, 'due ticker')} reviewed,"
        f" {format_count(result.sessions, 'session')} each · "
        f"{format_count(result.requests, 'request')} · {format_count(result.calls, 'call')} · {result.seconds:.1f} s"
    )
    console.print(
        f"bars: {written.revised:,} revised · {written.updated:,} updated · {written.inserted:,} inserted"
        f" · {written.unchanged:,} unchanged"
    )
    for outcome in list_told_errors(result.outcomes, result.stopped)[:MAX_TABLE_ROWS]:
        console.print(f"  {outcome.ticker}: {outcome.error}", style="red", highlight=False, markup=False)
    for warning in result.describe_warnings():
        console.print(warning, style="yellow", highlight=False, markup=False)
    if result.due > result.affordable:
        console.print(f"{format_count(result.due - result.affordable, 'ticker')} deferred: not enough unused calls")
    if result.stopped is not None:
        console.print(f"stopped: {result.stopped}", style="red", highlight=False, markup=False)


def show_criteria(console: Console, criteria: Sequence[Criterion]) -> None:
    """Print the checks, each with the symbols that violate it; ``n/a`` is one that had nothing to compare."""
    for c in criteria:
        mark, style = ("FAIL", "red") if is_failure(c) else ("pass", "green") if c.passed else ("warn", "yellow")
        if not c.judged:
            mark, style = "n/a ", "dim"
        console.print(f"[{style}]{mark}[/{style}]  {c.name}: {format_result(c)}", highlight=False)
        if c.offenders:
            console.print(f"      {', '.join(c.offenders)}", style=style, highlight=False)


def show_short_histories(console: Console, histories: Sequence[ShortHistory]) -> None:
    """Print that symbols lack sessions which were never fetched, and the command that fetches them."""
    if histories:
        console.print(f"history: {escape(describe_short_histories(histories))}", highlight=False)
