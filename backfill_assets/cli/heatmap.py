"""The heat-map in a terminal: a row a symbol, a character a session. Decides nothing."""

from rich.console import Console
from rich.text import Text

from backfill_assets.quality.heatmap import LETTERS, Cell, Heatmap

SHOWN = 40  # rows before the rest is summed up
STYLES = {
    LETTERS[Cell.HOLE]: "bold red",
    LETTERS[Cell.PARTIAL]: "yellow",
    LETTERS[Cell.GIVEN_UP]: "magenta",
    LETTERS[Cell.PROVISIONAL]: "blue",
}


def show_heatmap(console: Console, heatmap: Heatmap) -> None:
    """The symbols that lack something, the worst first, over as many of the newest sessions as fit; and a legend."""
    lacking = heatmap.lacking().worst_first(SHOWN)
    if not lacking.symbols:
        return
    label = max(len(symbol) for symbol in lacking.symbols) + 2
    shown = lacking.newest(max(1, console.width - label))
    console.print()
    span = f"{shown.days[0]} to {shown.days[-1]}" if len(shown.days) > 1 else f"{shown.days[0]}"
    console.print(f"session by session, {span} (a character each):", highlight=False)
    for symbol, letters in zip(shown.symbols, shown.lines(), strict=True):
        line = Text(f"{symbol:<{label}}")
        for letter in letters:
            line.append(letter, STYLES.get(letter))
        console.print(line, soft_wrap=True)
    whole = len(heatmap.symbols) - int(heatmap.lacks().sum())
    more = len(heatmap.symbols) - whole - len(shown.symbols)
    rest = f"… and {more:,} more · " if more else ""
    console.print(f"{rest}{whole:,} of {len(heatmap.symbols):,} symbols lack nothing that is due", highlight=False)
    used = [cell for cell in shown.used() if cell is not Cell.NOT_LISTED]
    console.print("   ".join(f"{LETTERS[cell]} {cell.word}" for cell in used), style="dim", highlight=False)
