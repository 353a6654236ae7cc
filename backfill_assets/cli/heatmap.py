"""The heat-map in a terminal: a row a symbol, a character a session. Decides nothing."""

from rich.console import Console
from rich.text import Text

from backfill_assets.quality.heatmap import CELL_LETTERS, Cell, Heatmap

MAX_HEATMAP_ROWS = 40  # rows before the rest is summed up
STYLES = {
    CELL_LETTERS[Cell.HOLE]: "bold red",
    CELL_LETTERS[Cell.PARTIAL]: "yellow",
    CELL_LETTERS[Cell.GIVEN_UP]: "magenta",
    CELL_LETTERS[Cell.PROVISIONAL]: "blue",
}


def show_heatmap(console: Console, heatmap: Heatmap) -> None:
    """The symbols that lack something, the worst first, over as many of the newest sessions as fit; and a legend."""
    with_gaps = heatmap.filter_by_gaps().sort_worst_first(MAX_HEATMAP_ROWS)
    if not with_gaps.symbols:
        return
    label_width = max(len(symbol) for symbol in with_gaps.symbols) + 2
    shown = with_gaps.select_newest(max(1, console.width - label_width))
    console.print()
    span = f"{shown.days[0]} to {shown.days[-1]}" if len(shown.days) > 1 else f"{shown.days[0]}"
    console.print(f"session by session, {span} (a character each):", highlight=False)
    for symbol, letters in zip(shown.symbols, shown.render_lines(), strict=True):
        line = Text(f"{symbol:<{label_width}}")
        for letter in letters:
            line.append(letter, STYLES.get(letter))
        console.print(line, soft_wrap=True)
    complete_count = len(heatmap.symbols) - int(heatmap.has_gaps().sum())
    hidden_count = len(heatmap.symbols) - complete_count - len(shown.symbols)
    hidden_text = f"… and {hidden_count:,} more · " if hidden_count else ""
    console.print(
        f"{hidden_text}{complete_count:,} of {len(heatmap.symbols):,} symbols lack nothing that is due", highlight=False
    )
    used = [cell for cell in shown.list_used_cells() if cell is not Cell.NOT_LISTED]
    console.print("   ".join(f"{CELL_LETTERS[cell]} {cell.label}" for cell in used), style="dim", highlight=False)
