"""How results look in a terminal: tables and sentences, with rich. Decides nothing; ``progress`` shows a run."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.review import ReviewResult
from backfill_assets.market.bars.bar_builder import BuiltBars
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import format_timestamp, to_datetime
from backfill_assets.market.calendar.windows import Window
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.live_accuracy import LiveAccuracy
from backfill_assets.quality.report import SymbolReport
from backfill_assets.quality.report_formats import REPORT_COLUMNS, format_cell
from backfill_assets.quality.slot_explanation import SlotExplanation

MAX_TABLE_ROWS = 40  # rows of a table before the rest is summed up
MAX_SYMBOLS_LISTED_IN_FULL = 10  # symbols that are all shown, complete or not


def show_window(console: Console, window: Window, now: datetime) -> None:
    """One line that says what is being looked at."""
    if not window.sessions:
        console.print(f"no session due: {window.description} holds none that has opened by {now:%Y-%m-%d %H:%M} UTC")
        return
    days = [s.day.isoformat() + (" (early close)" if s.is_early_close else "") for s in window.sessions]
    listed_days = ", ".join(days) if len(days) <= 6 else f"{days[0]} … {days[-1]}"
    sessions = "session" if len(days) == 1 else "sessions"
    console.print(f"{len(days)} {sessions} ({window.description}, as of {now:%Y-%m-%d %H:%M} UTC): {listed_days}")


def show_report(
    console: Console, rows: Sequence[SymbolReport], duplicates: int = 0, live: LiveAccuracy | None = None
) -> None:
    """The report; where it is long, symbols that lack nothing are only counted and the worst come first."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = [c for c in REPORT_COLUMNS if c[1] not in _OPTIONAL_FIELDS or any(getattr(r, c[1]) for r in rows)]
    for title, field in columns:
        text = field in ("symbol", "first_timestamp", "last_timestamp")
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
        console.print(f"… and {len(rows_with_gaps) - len(shown)} more that lack bars (--format json shows all)")
    if len(rows) > MAX_SYMBOLS_LISTED_IN_FULL:
        complete = "lack nothing that is due" if any(r.pending_bars for r in rows) else "are complete"
        console.print(f"{len(rows) - len(rows_with_gaps)} symbols {complete}")
    if duplicates:
        console.print(
            f"{duplicates:,} slots are held under two spellings of the interval; the row with provenance counts"
        )
    if live:
        console.print(str(live), highlight=False)
    missing = sum(r.estimated_missing_bars for r in rows)
    symbols_with_gaps = sum(r.estimated_missing_bars > 0 for r in rows)
    expected = sum(r.expected_bars for r in rows)
    pending = sum(r.pending_bars for r in rows)
    console.print(
        f"{missing:,} bars missing in {symbols_with_gaps} of {len(rows)} symbols · {expected:,} expected · {pending:,} pending"
    )


_OPTIONAL_FIELDS = ("no_trade_bars", "vendor_gap_bars", "provisional_bars", "unverified_bars", "suspect_bars")


def show_plan(console: Console, plan: Plan, seconds: float) -> None:
    """The requests of a plan and what they cost."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("ticker", "from", "to", "slots to fill"):
        table.add_column(title, justify="right" if title == "slots to fill" else "left")
    for request in plan.requests[:MAX_TABLE_ROWS]:
        first, last = plan.grid.sessions[request.first_session].day, plan.grid.sessions[request.last_session].day
        table.add_row(str(request.symbol.ticker), str(first), str(last), str(request.slot_count))
    if plan.requests:
        console.print(table)
    if len(plan.requests) > MAX_TABLE_ROWS:
        console.print(f"… and {len(plan.requests) - MAX_TABLE_ROWS} more requests (--format json shows all)")
    deferred = f" · {plan.deferred} tickers were asked too recently" if plan.deferred else ""
    console.print(
        f"{len(plan.requests)} requests · {plan.calls:,} calls (lower bound {plan.lower_bound:,}) · "
        f"{sum(a.slot_count for a in plan.requests):,} slots · about {seconds:.0f} s{deferred}"
    )


def show_run(console: Console, result: RunResult) -> None:
    """What a run did and what it proved."""
    if not result.sessions:
        return
    kinds = Counter(o.kind for o in result.outcomes)
    ticker_outcomes = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "nobody asked"
    console.print(
        f"{result.requests} requests · {result.calls:,} calls · {result.seconds:.1f} s · "
        f"{result.rate_limited} refused for the rate"
    )
    written = result.written
    console.print(f"tickers: {ticker_outcomes}")
    console.print(
        f"bars: {written.inserted:,} inserted · {written.updated:,} updated · {written.revised:,} revised · {written.unchanged:,} unchanged"
        f" · {result.rejected:,} rows rejected"
        + (f" · {written.protected:,} left as they are" if written.protected else "")
        + (
            f" · of somebody else's {written.verified:,} verified, {written.replaced:,} replaced"
            if written.verified + written.replaced
            else ""
        )
    )
    absent = ", ".join(f"{count:,} {reason}" for reason, count in sorted(result.absent.items())) or "none"
    console.print(
        f"proof: {result.planned:,} slots asked for · {result.stored:,} hold a final bar now · absent: {absent}"
    )
    for outcome in result.errors[:MAX_TABLE_ROWS]:
        console.print(f"  {outcome.ticker}: {outcome.error}", style="red", highlight=False)
    if result.deferred:
        console.print(
            f"{result.deferred} tickers were asked less than an hour ago or wait on the ladder (--force asks)"
        )
    if result.awaiting_publication:
        console.print(
            f"{result.awaiting_publication} tickers were not asked: probes show that the vendor has not published yet"
        )
    if result.claimed_elsewhere:
        console.print(f"{result.claimed_elsewhere} tickers are being asked by another run")
    console.print(
        f"[bold]{result.before.missing:,} missing before, {result.after.missing:,} after, "
        f"{result.closed_share:.1%} closed[/bold]"
    )
    if result.stopped is not None:
        console.print(
            f"stopped: {result.stopped} ({result.not_requested} tickers are left)", style="red", highlight=False
        )


def show_review(console: Console, result: ReviewResult) -> None:
    """What a review did and what it leaves for another day."""
    written = result.written
    console.print(
        f"{result.reviewed:,} of {result.due:,} tickers that were due were reviewed over {result.sessions} sessions · "
        f"{result.requests:,} requests · {result.calls:,} calls · {result.seconds:.1f} s"
    )
    console.print(
        f"bars: {written.revised:,} revised · {written.updated:,} updated · {written.inserted:,} inserted · {written.unchanged:,} unchanged"
    )
    for outcome in [o for o in result.outcomes if o.error][:MAX_TABLE_ROWS]:
        console.print(f"  {outcome.ticker}: {outcome.error}", style="red", highlight=False)
    if result.due > result.affordable:
        console.print(f"{result.due - result.affordable:,} tickers wait for calls that nothing else needs")
    if result.stopped is not None:
        console.print(f"stopped: {result.stopped}", style="red", highlight=False)


def show_criteria(console: Console, criteria: Sequence[Criterion]) -> None:
    """The success criteria, with offenders where one fails."""
    for c in criteria:
        mark = "[green]pass[/green]" if c.passed else "[red]FAIL[/red]"
        console.print(f"{mark}  {c.name}: {c.meaning} (at most {c.threshold:g})", highlight=False)
        if c.offenders:
            console.print(f"      {', '.join(c.offenders)}", style="red", highlight=False)


def show_slot_explanations(console: Console, evidence: Sequence[str], explanations: Sequence[SlotExplanation]) -> None:
    """What is known of a session, and each slot of it."""
    for sentence in evidence:
        console.print(f"· {sentence}", highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("slot (UTC)", "state", "evidence", "asked again"):
        table.add_column(title)
    for explanation in explanations:
        table.add_row(explanation.slot, explanation.state, explanation.evidence, explanation.ask_again or "–")
    console.print(table)


def show_vendor_answer(console: Console, built: BuiltBars, grid: SlotGrid) -> None:
    """What the vendor said just now."""
    rejected = f", {len(built.rejects)} rows break a rule" if len(built.rejects) else ""
    console.print(f"the vendor answers now: {len(built.bars)} of {grid.size} bars{rejected}")
    for bar in built.bars.to_dict("records"):
        stamp = format_timestamp(to_datetime(bar["timestamp"]))
        final = "" if bar["is_final"] else ", not final"
        values = f"close {bar['close']:g}, volume {bar['volume']:,}, {bar['source_rows']} rows{final}"
        console.print(f"  {stamp}  {values}", highlight=False)


def _format_partitions(partitions: dict[str, int]) -> str:
    text = f"the last {partitions['sessions']:,} sessions × symbols: {partitions['of_an_asset']:,}"
    if partitions["sessions"] < partitions["sessions_wanted"]:
        text += (
            f" (shrunk from {partitions['sessions_wanted']:,} sessions: at most {partitions['at_most']:,} of an asset)"
        )
    return f"{text}, counted when Dagster loads its definitions"


def show_status(console: Console, status: dict[str, Any]) -> None:
    """Where things stand, a line each."""
    budget, external = status["budget"], status["unverified"]
    budget_left = (
        f"{budget['calls_left_today']:,} calls until {budget['resets_at']} · "
        f"{budget['requests_left_this_minute']:,} of {budget['requests_ceiling']:,} requests this minute"
        if budget
        else "no token set (EODHD_API_TOKEN)"
    )
    running = ", ".join(f"{r['tickers']} tickers since {r['started_at']} ({r['window']})" for r in status["running"])
    lines = {
        "as of": status["as_of"],
        "database": status["database"],
        "vendor": status["vendor"],
        "token": status["token"] or "not set",
        "symbols": f"{status['symbols']['active']:,} active · {status['symbols']['inactive']:,} inactive",
        "newest bar": status["newest_bar"] or "none",
        "missing": f"{status['missing']:,} bars of {status['symbols_with_missing']:,} symbols"
        f" (sessions {', '.join(status['window']) or 'none'})",
        "partitions": _format_partitions(status["partitions"]),
        "live": _format_live(status["live"]),
        "other collector": f"{external['bars']:,} bars of {external['symbols']:,} symbols (unverified)",
        "running": running or "no backfill",
        "budget left": budget_left,
    }
    for finding in status["findings"]:
        lines[finding["kind"]] = f"{finding['subject']}: {finding['detail']} (since {finding['found_at']})"
    for session, published in status["published"].items():
        lines[f"seen {session}"] = (
            f"{published['tickers']:,} tickers published, first {published['first']}, last {published['last']}"
        )
    for name, text in lines.items():
        console.print(f"[bold]{name:<15}[/bold] {text}", highlight=False)


def show_alerts(console: Console, alerts: dict[str, Any]) -> None:
    """What fails and how far each address has got, a line each."""
    for state in alerts["failing"]:
        console.print(f"[red]FAIL[/red]  {state['name']} since {state['since']}: {state['meaning']}", highlight=False)
    if not alerts["failing"]:
        console.print("nothing that was observed fails")
    for address in alerts["addresses"]:
        last = f"last {address['delivered']}" if address["delivered"] else "nothing sent yet"
        error_text = f" · {address['error']}" if address["error"] else ""
        error_text += f", tried again {address['next_attempt']}" if address["failures"] else ""
        console.print(
            f"address {address['number']} ({address['scheme']}): {address['waiting']} waiting · {last}{error_text}",
            highlight=False,
        )
    if not alerts["addresses"]:
        console.print("nobody is told: BACKFILL_ALERT_URLS is not set")


def _format_live(live: dict[str, Any]) -> str:
    bars = f"{live['provisional_bars']:,} provisional bars of {live['provisional_symbols']:,} symbols"
    if not live["on"]:
        return f"off (BACKFILL_LIVE) · {bars}" if live["provisional_bars"] else "off (BACKFILL_LIVE)"
    delay = f", {live['delay_seconds'] / 60:.0f} min behind" if live["delay_seconds"] is not None else ""
    rounds = f"{live['rounds']} rounds of {live['session']}{delay}" if live["rounds"] else "no round yet"
    spent = f" · {live['calls_spent_today']:,} of {live['budget']:,} calls today"
    return f"{bars} · {rounds}{spent}" + (f" · last: {live['error']}" if live["error"] else "")
