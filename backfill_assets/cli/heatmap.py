"""The heat map in a terminal: one row a symbol, one character a session. What they mean is in ``quality.heatmap``."""

from rich.console import Console
from rich.text import Text

from backfill_assets.config.counts import format_count
from backfill_assets.quality.heatmap import CELL_LETTERS, Cell, Heatmap

MAX_HEATMAP_ROWS = 40  # symbols; the others are only counted
STYLES = {
    CELL_LETTERS[Cell.MISSING]: "bold red",
    CELL_LETTERS[Cell.PARTIAL]: "yellow",
    CELL_LETTERS[Cell.VENDOR_GAP]: "magenta",
    CELL_LETTERS[Cell.SUSPECT]: "cyan",
    CELL_LETTERS[Cell.PROVISIONAL]: "blue",
}


def show_heatmap(console: Console, heatmap: Heatmap) -> None:
    """Print the symbols with gaps, worst first, for as many of the newest sessions as fit, and a legend."""
    with_gaps = heatmap.filter_by_gaps().sort_worst_first(MAX_HEATMAP_ROWS)
    if not with_gaps.symbols:
        return
    label_width = max(len(symbol) for symbol in with_gaps.symbols) + 2
    shown = with_gaps.select_newest(max(1, console.width - label_width))
    console.print()
    span = " to ".join(dict.fromkeys(shown.format_day(day) for day in (shown.days[0], shown.days[-1])))
    console.print(f"gaps by {shown.unit}, {span} (one character a {shown.unit}):", highlight=False)
    for symbol, letters in zip(shown.symbols, shown.render_lines(), strict=True):
        line = Text(f"{symbol:<{label_width}}")
        for letter in letters:
            line.append(letter, STYLES.get(letter))
        console.print(line, soft_wrap=True)
    gap_count = int(heatmap.has_gaps().sum())
    hidden_count = gap_count - len(shown.symbols)
    hidden_text = f"… and {hidden_count:,} more · " if hidden_count else ""
    count = format_count(len(heatmap.symbols), "symbol")
    console.print(f"{hidden_text}{gap_count:,} of {count} {'has' if gap_count == 1 else 'have'} gaps", highlight=False)
    used = [cell for cell in shown.list_used_cells() if cell is not Cell.NOT_LISTED]
    console.print("   ".join(f"{CELL_LETTERS[cell]} {cell.label}" for cell in used), style="dim", highlight=False)
