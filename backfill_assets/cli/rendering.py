"""How results look in a terminal: tables and sentences, with rich. Decides nothing; ``progress`` shows a run."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.review import Review
from backfill_assets.market.bars.bar_builder import BuiltBars
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.windows import Window
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.live_accuracy import Reconciliation
from backfill_assets.quality.report import SymbolReport
from backfill_assets.quality.report_formats import COLUMNS, cell
from backfill_assets.quality.slot_explanation import SlotStory

SHOWN = 40  # rows of a table before the rest is summed up
FEW = 10  # symbols that are all shown, complete or not


def say_window(console: Console, window: Window, now: datetime) -> None:
    """One line that says what is being looked at."""
    if not window.sessions:
        console.print(f"no session due: {window.described} holds none that has opened by {now:%Y-%m-%d %H:%M} UTC")
        return
    days = [s.day.isoformat() + (" (early close)" if s.is_early_close else "") for s in window.sessions]
    listed = ", ".join(days) if len(days) <= 6 else f"{days[0]} … {days[-1]}"
    sessions = "session" if len(days) == 1 else "sessions"
    console.print(f"{len(days)} {sessions} ({window.described}, as of {now:%Y-%m-%d %H:%M} UTC): {listed}")


def show_report(
    console: Console, rows: Sequence[SymbolReport], duplicates: int = 0, live: Reconciliation | None = None
) -> None:
    """The report; where it is long, symbols that lack nothing are only counted and the worst come first."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    used = [c for c in COLUMNS if c[1] not in _OPTIONAL or any(getattr(r, c[1]) for r in rows)]
    for title, field in used:
        text = field in ("symbol", "first_timestamp", "last_timestamp")
        table.add_column(title, justify="left" if text else "right", no_wrap=True)
    worst_first = sorted(rows, key=lambda r: (-r.estimated_missing_bars, -r.pending_bars))
    open_rows = [r for r in worst_first if r.estimated_missing_bars]
    shown = rows if len(rows) <= FEW else open_rows[:SHOWN]
    for row in shown:
        style = "red" if row.estimated_missing_bars else "yellow" if row.pending_bars else None
        table.add_row(*(cell(row, field) for _, field in used), style=style)
    if shown:
        console.print(table)
    if len(open_rows) > len(shown):
        console.print(f"… and {len(open_rows) - len(shown)} more that lack bars (--format json shows all)")
    if len(rows) > FEW:
        complete = "lack nothing that is due" if any(r.pending_bars for r in rows) else "are complete"
        console.print(f"{len(rows) - len(open_rows)} symbols {complete}")
    if duplicates:
        console.print(
            f"{duplicates:,} slots are held under two spellings of the interval; the row with provenance counts"
        )
    if live:
        console.print(str(live), highlight=False)
    missing = sum(r.estimated_missing_bars for r in rows)
    lacking = sum(r.estimated_missing_bars > 0 for r in rows)
    expected = sum(r.expected_bars for r in rows)
    pending = sum(r.pending_bars for r in rows)
    console.print(
        f"{missing:,} bars missing in {lacking} of {len(rows)} symbols · {expected:,} expected · {pending:,} pending"
    )


_OPTIONAL = ("no_trade_bars", "vendor_gap_bars", "provisional_bars", "unverified_bars", "suspect_bars")


def show_plan(console: Console, plan: Plan, seconds: float) -> None:
    """The requests of a plan and what they cost."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("ticker", "from", "to", "slots to fill"):
        table.add_column(title, justify="right" if title == "slots to fill" else "left")
    for ask in plan.asks[:SHOWN]:
        first, last = plan.grid.sessions[ask.first_session].day, plan.grid.sessions[ask.last_session].day
        table.add_row(str(ask.symbol.ticker), str(first), str(last), str(ask.gaps))
    if plan.asks:
        console.print(table)
    if len(plan.asks) > SHOWN:
        console.print(f"… and {len(plan.asks) - SHOWN} more requests (--format json shows all)")
    waiting = f" · {plan.waiting} tickers were asked too recently" if plan.waiting else ""
    console.print(
        f"{len(plan.asks)} requests · {plan.calls:,} calls (lower bound {plan.lower_bound:,}) · "
        f"{sum(a.gaps for a in plan.asks):,} slots · about {seconds:.0f} s{waiting}"
    )


def show_run(console: Console, result: RunResult) -> None:
    """What a run did and what it proved."""
    if not result.sessions:
        return
    kinds = Counter(o.kind for o in result.outcomes)
    asked = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "nobody asked"
    console.print(
        f"{result.requests} requests · {result.calls:,} calls · {result.seconds:.1f} s · "
        f"{result.rate_limited} refused for the rate"
    )
    w = result.written
    console.print(f"tickers: {asked}")
    console.print(
        f"bars: {w.inserted:,} inserted · {w.updated:,} updated · {w.revised:,} revised · {w.unchanged:,} unchanged"
        f" · {result.rejected:,} rows rejected"
        + (f" · {w.protected:,} left as they are" if w.protected else "")
        + (f" · of somebody else's {w.verified:,} verified, {w.replaced:,} replaced" if w.verified + w.replaced else "")
    )
    absent = ", ".join(f"{count:,} {reason}" for reason, count in sorted(result.absent.items())) or "none"
    console.print(
        f"proof: {result.planned:,} slots asked for · {result.stored:,} hold a final bar now · absent: {absent}"
    )
    for outcome in result.errors[:SHOWN]:
        console.print(f"  {outcome.ticker}: {outcome.error}", style="red", highlight=False)
    if result.waiting:
        console.print(f"{result.waiting} tickers were asked less than an hour ago or wait on the ladder (--force asks)")
    if result.unprobed:
        console.print(f"{result.unprobed} tickers were not asked: probes show that the vendor has not published yet")
    if result.elsewhere:
        console.print(f"{result.elsewhere} tickers are being asked by another run")
    console.print(
        f"[bold]{result.before.missing:,} missing before, {result.after.missing:,} after, "
        f"{result.closed_share:.1%} closed[/bold]"
    )
    if result.stopped is not None:
        console.print(f"stopped: {result.stopped} ({result.unasked} tickers are left)", style="red", highlight=False)


def show_review(console: Console, done: Review) -> None:
    """What a review did and what it leaves for another day."""
    w = done.written
    console.print(
        f"{done.reviewed:,} of {done.due:,} tickers that were due were reviewed over {done.sessions} sessions · "
        f"{done.requests:,} requests · {done.calls:,} calls · {done.seconds:.1f} s"
    )
    console.print(
        f"bars: {w.revised:,} revised · {w.updated:,} updated · {w.inserted:,} inserted · {w.unchanged:,} unchanged"
    )
    for outcome in [o for o in done.outcomes if o.error][:SHOWN]:
        console.print(f"  {outcome.ticker}: {outcome.error}", style="red", highlight=False)
    if done.due > done.affordable:
        console.print(f"{done.due - done.affordable:,} tickers wait for calls that nothing else needs")
    if done.stopped is not None:
        console.print(f"stopped: {done.stopped}", style="red", highlight=False)


def show_criteria(console: Console, criteria: Sequence[Criterion]) -> None:
    """The success criteria, with offenders where one fails."""
    for c in criteria:
        mark = "[green]pass[/green]" if c.passed else "[red]FAIL[/red]"
        console.print(f"{mark}  {c.name}: {c.meaning} (at most {c.threshold:g})", highlight=False)
        if c.offenders:
            console.print(f"      {', '.join(c.offenders)}", style="red", highlight=False)


def show_stories(console: Console, evidence: Sequence[str], stories: Sequence[SlotStory]) -> None:
    """What is known of a session, and each slot of it."""
    for sentence in evidence:
        console.print(f"· {sentence}", highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("slot (UTC)", "state", "evidence", "asked again"):
        table.add_column(title)
    for story in stories:
        table.add_row(story.slot, story.state, story.evidence, story.ask_again or "–")
    console.print(table)


def show_answer(console: Console, answer: BuiltBars, grid: SlotGrid) -> None:
    """What the vendor said just now."""
    rejected = f", {len(answer.rejects)} rows break a rule" if len(answer.rejects) else ""
    console.print(f"the vendor answers now: {len(answer.bars)} of {grid.size} bars{rejected}")
    for bar in answer.bars.to_dict("records"):
        stamp = datetime.fromtimestamp(bar["timestamp"], UTC).isoformat().replace("+00:00", "Z")
        final = "" if bar["is_final"] else ", not final"
        said = f"close {bar['close']:g}, volume {bar['volume']:,}, {bar['source_rows']} rows{final}"
        console.print(f"  {stamp}  {said}", highlight=False)


def _partitions(told: dict[str, int]) -> str:
    text = f"the last {told['sessions']:,} sessions × symbols: {told['of_an_asset']:,}"
    if told["sessions"] < told["sessions_wanted"]:
        text += f" (shrunk from {told['sessions_wanted']:,} sessions: at most {told['at_most']:,} of an asset)"
    return f"{text}, counted when Dagster loads its definitions"


def show_status(console: Console, now: dict[str, Any]) -> None:
    """Where things stand, a line each."""
    budget, theirs = now["budget"], now["unverified"]
    spent = (
        f"{budget['calls_left_today']:,} calls until {budget['resets_at']} · "
        f"{budget['requests_left_this_minute']:,} of {budget['requests_ceiling']:,} requests this minute"
        if budget
        else "no token set (EODHD_API_TOKEN)"
    )
    running = ", ".join(f"{r['tickers']} tickers since {r['started_at']} ({r['window']})" for r in now["running"])
    lines = {
        "as of": now["as_of"],
        "database": now["database"],
        "vendor": now["vendor"],
        "token": now["token"] or "not set",
        "symbols": f"{now['symbols']['active']:,} active · {now['symbols']['inactive']:,} inactive",
        "newest bar": now["newest_bar"] or "none",
        "missing": f"{now['missing']:,} bars of {now['symbols_with_missing']:,} symbols"
        f" (sessions {', '.join(now['window']) or 'none'})",
        "partitions": _partitions(now["partitions"]),
        "live": _live(now["live"]),
        "other collector": f"{theirs['bars']:,} bars of {theirs['symbols']:,} symbols (unverified)",
        "running": running or "no backfill",
        "budget left": spent,
    }
    for finding in now["findings"]:
        lines[finding["kind"]] = f"{finding['subject']}: {finding['detail']} (since {finding['found_at']})"
    for session, seen in now["published"].items():
        lines[f"seen {session}"] = f"{seen['tickers']:,} tickers published, first {seen['first']}, last {seen['last']}"
    for name, text in lines.items():
        console.print(f"[bold]{name:<15}[/bold] {text}", highlight=False)


def show_alerts(console: Console, now: dict[str, Any]) -> None:
    """What fails and how far each address has got, a line each."""
    for state in now["failing"]:
        console.print(f"[red]FAIL[/red]  {state['name']} since {state['since']}: {state['meaning']}", highlight=False)
    if not now["failing"]:
        console.print("nothing that was observed fails")
    for address in now["addresses"]:
        last = f"last {address['delivered']}" if address["delivered"] else "nothing sent yet"
        trouble = f" · {address['error']}" if address["error"] else ""
        trouble += f", tried again {address['next_attempt']}" if address["failures"] else ""
        console.print(
            f"address {address['number']} ({address['scheme']}): {address['waiting']} waiting · {last}{trouble}",
            highlight=False,
        )
    if not now["addresses"]:
        console.print("nobody is told: BACKFILL_ALERT_URLS is not set")


def _live(live: dict[str, Any]) -> str:
    bars = f"{live['provisional_bars']:,} provisional bars of {live['provisional_symbols']:,} symbols"
    if not live["on"]:
        return f"off (BACKFILL_LIVE) · {bars}" if live["provisional_bars"] else "off (BACKFILL_LIVE)"
    delay = f", {live['delay_seconds'] / 60:.0f} min behind" if live["delay_seconds"] is not None else ""
    rounds = f"{live['rounds']} rounds of {live['session']}{delay}" if live["rounds"] else "no round yet"
    spent = f" · {live['calls_spent_today']:,} of {live['budget']:,} calls today"
    return f"{bars} · {rounds}{spent}" + (f" · last: {live['error']}" if live["error"] else "")
