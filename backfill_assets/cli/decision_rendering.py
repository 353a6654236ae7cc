"""Decisions on the terminal: the inbox as a table, and one decision with its evidence and its history."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backfill_assets.cli.named_lines import show_named_lines
from backfill_assets.config.counts import format_count
from backfill_assets.store.evidence.proposals import Decision, HistoryEntry

MAX_TABLE_ROWS = 40  # the other rows are only counted


def sort_waiting_first(decisions: Sequence[Decision], now: datetime) -> list[Decision]:
    """What waits for an answer before what may be decided, each with the oldest first."""
    return sorted(decisions, key=lambda d: (not d.is_waiting(now), d.opened_at, d.decision_id))


def show_decisions(console: Console, decisions: Sequence[Decision], now: datetime) -> None:
    """Print a table of decisions, and how many of them wait at ``now``."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("ID", "state", "kind", "since", "what", "proposal"):
        table.add_column(title, justify="right" if title == "ID" else "left", overflow="fold")
    for decision in decisions[:MAX_TABLE_ROWS]:
        proposal, state = decision.proposal, decision.describe_state(now)
        since = decision.decided_at or decision.closed_at or decision.opened_at
        texts = (str(decision.decision_id), state, proposal.kind, f"{since:%Y-%m-%d}", proposal.subject, proposal.text)
        table.add_row(*map(Text, texts), style="yellow" if state == "waits" else None)
    if decisions:
        console.print(table)
    if len(decisions) > MAX_TABLE_ROWS:
        console.print(f"… and {len(decisions) - MAX_TABLE_ROWS:,} more (--format json shows all)")
    waiting = sum(decision.is_waiting(now) for decision in decisions)
    console.print(describe_open(waiting, sum(decision.is_open for decision in decisions) - waiting))


def describe_open(waiting: int, optional: int) -> str:
    """How many decisions wait, and how many may be decided: ``2 decisions wait · 1 more may be decided``."""
    wait = format_count(waiting, "decision waits", "decisions wait") if waiting else "no decision waits"
    return f"{wait} · {optional:,} more may be decided" if optional else wait


def format_open_decisions(counts: Mapping[str, int]) -> dict[str, str]:
    """The line of ``status`` by its name; none without an open decision."""
    if not any(counts.values()):
        return {}
    return {"decisions": f"{describe_open(counts['waiting'], counts['optional'])} (backfill-assets decisions list)"}


def show_decision(console: Console, decision: Decision, history: Sequence[HistoryEntry], now: datetime) -> None:
    """Print a decision with its evidence, and every answer that it had."""
    proposal = decision.proposal
    waits = f"since {decision.waits_since:%Y-%m-%d %H:%M} UTC" if decision.waits_since else "no answer is needed"
    lines = [
        ("decision", f"{decision.decision_id}, {proposal.kind}: {proposal.subject}"),
        ("state", decision.describe_state(now) + (f" ({waits})" if decision.is_open else "")),
        ("proposal", proposal.text),
        *proposal.evidence,
        *((entry.action, _describe_entry(entry)) for entry in history),
    ]
    if decision.closed_at:
        lines.append(("closed", f"{decision.closed_at:%Y-%m-%d %H:%M} UTC: settled without a decision"))
    show_named_lines(console, lines)


def _describe_entry(entry: HistoryEntry) -> str:
    return f"{entry.at:%Y-%m-%d %H:%M} UTC by {entry.by}" + (f": {entry.note}" if entry.note else "")
