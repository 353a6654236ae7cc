"""The whole history in a terminal: a line, months or symbols, and a heat map for each exchange."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from backfill_assets.cli.heatmap import show_heatmap
from backfill_assets.cli.rendering import MAX_TABLE_ROWS
from backfill_assets.config.counts import format_count
from backfill_assets.quality.census.report import MONTH_COLUMNS, SYMBOL_COLUMNS, WholeHistory, format_cell, select_worst
from backfill_assets.store.census.comparison import CensusDifference
from backfill_assets.store.census.months import COUNTS

MAX_DIFFERENCES = 20
_OPTIONAL = frozenset({"provisional_bars", "explained_bars", "unmeasured_symbols", "unmeasured_months"})


def show_months(console: Console, histories: Sequence[WholeHistory]) -> None:
    """Print each exchange by month, the newest month last."""
    for history in histories:
        _show_answer(console, history)
        _show_table(console, history.table.list_by_month(), MONTH_COLUMNS)


def show_symbols(console: Console, histories: Sequence[WholeHistory]) -> None:
    """Print the symbols that lack something, the worst first, and the heat map by month of those with gaps."""
    for history in histories:
        _show_answer(console, history)
        rows = history.table.list_by_symbol()
        lacking = select_worst(rows)
        _show_table(console, lacking[:MAX_TABLE_ROWS], SYMBOL_COLUMNS)
        hidden = f"{format_count(len(lacking) - MAX_TABLE_ROWS, 'more symbol')} · " if lacking[MAX_TABLE_ROWS:] else ""
        console.print(f"{hidden}{format_count(len(rows) - len(lacking), 'symbol')} complete", highlight=False)
        show_heatmap(console, history.table.build_heatmap())


def show_differences(echo: Callable[[str], Any], differences: Sequence[CensusDifference]) -> None:
    """Say whether a count of all bars differed from the census, and where."""
    if not differences:
        echo("recount: the census is that of the stored bars")
        return
    echo(f"recount: {format_count(len(differences), 'month')} of symbols differed, counted again:")
    for one in differences[:MAX_DIFFERENCES]:
        counts = f"{one.counted} in the census, {one.stored} in the store"
        echo(f"  symbol_id {one.symbol_id} {one.interval} {one.month:%Y-%m}: {counts}")
    if len(differences) > MAX_DIFFERENCES:
        echo(f"  … and {len(differences) - MAX_DIFFERENCES:,} more")


def describe_difference(one: CensusDifference) -> dict[str, Any]:
    """A difference as a JSON object."""
    sides = {"in_census": one.counted, "in_store": one.stored}
    counts = {side: dict(zip(COUNTS, values, strict=True)) for side, values in sides.items()}
    return {"symbol_id": one.symbol_id, "interval": one.interval, "month": f"{one.month:%Y-%m}", **counts}


def _show_answer(console: Console, history: WholeHistory) -> None:
    answer = history.answer
    symbols = format_count(answer.symbols, "symbol")
    console.print(
        f"{answer.exchange} {answer.interval}: {answer.describe()} ({symbols})", style="bold", highlight=False
    )
    if answer.unmeasured_months:
        console.print(
            "the job verify_window examines what is left; at once: backfill-assets census --update", highlight=False
        )


def _show_table(console: Console, rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]]) -> None:
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = [column for column in columns if column[1] not in _OPTIONAL or any(row[column[1]] for row in rows)]
    for title, field in shown:
        table.add_column(title, justify="left" if isinstance(rows[0][field], str) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(format_cell(row[field], field) for _, field in shown))
    console.print(table)
