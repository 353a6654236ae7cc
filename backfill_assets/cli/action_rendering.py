"""Corporate actions in the terminal: as a table, and as a few lines of the report."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backfill_assets.config.counts import format_count
from backfill_assets.quality.action_entries import KIND_NAMES, ActionEntry, ActionState

MAX_TABLE_ROWS = 40  # the other rows are only counted
MAX_LINES = 5  # of the report
_STYLES = {ActionState.ANNOUNCED: "cyan", ActionState.WITHDRAWN: "dim", ActionState.REPLACED: "dim"}


def show_actions(console: Console, actions: Sequence[ActionEntry], without: Sequence[str] = ()) -> None:
    """Print a table of actions in their order, and how many more there are.

    ``without`` are the symbols' exchanges if none of them has corporate actions.
    """
    if not actions:
        remedy = f"{' and '.join(without)} have none" if len(without) > 1 else f"{''.join(without)} has none"
        reading = "backfill-assets run reads them in the morning after a session"
        console.print(
            f"no corporate action is stored for these symbols and ex-dates; {remedy if without else reading}",
            highlight=False,
        )
        return
    shown = actions[:MAX_TABLE_ROWS]
    columns = {title: [format_cell(action) for action in shown] for title, format_cell in _COLUMNS.items()}
    columns = {title: cells for title, cells in columns.items() if any(cells) or title not in _OPTIONAL_COLUMNS}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in columns:
        table.add_column(title, overflow="fold")
    for action, cells in zip(shown, zip(*columns.values(), strict=True), strict=True):
        table.add_row(*map(Text, cells), style=_STYLES.get(action.state))
    console.print(table)
    if len(actions) > MAX_TABLE_ROWS:
        console.print(f"… and {len(actions) - MAX_TABLE_ROWS:,} more (--format json shows all)", highlight=False)
    count = format_count(len(actions), "action")
    console.print(
        f"{count}; stored bars are raw: multiply prices before an ex-date by its factor to compare them with later ones"
    )


def show_window_actions(console: Console, actions: Sequence[ActionEntry]) -> None:
    """Print some actions of a report's window and how many more there are; nothing where none is.

    Splits and spin-offs come first: there are few of them, and they change prices most.
    """
    if not actions:
        return
    console.print()
    console.print("corporate actions of the window; stored bars are raw:", highlight=False)
    for action in sorted(actions, key=lambda action: action.version.kind == "dividend")[:MAX_LINES]:
        line = f"  {action.version.ex_date}  {action.ticker}  {action.describe()}"
        console.print(line, highlight=False, markup=False)
    if len(actions) > MAX_LINES:
        first, last = actions[-1].version.ex_date, actions[0].version.ex_date
        command = f"backfill-assets actions list --start {first} --end {last}"
        console.print(f"  … and {len(actions) - MAX_LINES:,} more: {command}", highlight=False)


def _format_factor(action: ActionEntry) -> str:
    return "–" if action.factor is None else f"{action.factor:.6g}"


def _format_note(action: ActionEntry) -> str:
    """What prices say of it; first of all why it adjusts nothing."""
    return "; ".join(filter(None, (action.factor_missing and f"no factor: {action.factor_missing}", action.proof)))


def _format_day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""


_COLUMNS: Mapping[str, Callable[[ActionEntry], str]] = {
    "ticker": lambda action: action.ticker,
    "kind": lambda action: KIND_NAMES[action.version.kind],
    "ex-date": lambda action: str(action.version.ex_date),
    "terms": lambda action: action.terms,
    "factor": _format_factor,
    "state": lambda action: str(action.state),
    "first seen": lambda action: _format_day(action.version.first_seen),
    "revised": lambda action: _format_day(action.revised_at),
    "withdrawn": lambda action: _format_day(action.withdrawn_at),
    "source": lambda action: "derived" if action.is_derived else action.version.source,
    "prices": _format_note,
}
_OPTIONAL_COLUMNS = frozenset(("revised", "withdrawn", "prices"))
