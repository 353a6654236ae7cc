"""The heat-map as a picture: SVG for a page, PNG for metadata.

Drawn with matplotlib's objects, without pyplot, so that nothing of the process is shared. A cell has a colour that
colour-blind people tell apart and a pattern, so that it can be told without colour. Symbols come in blocks of 50 rows
under their dates; few sessions leave room for several blocks side by side.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backfill_assets.quality.heatmap import Cell, Heatmap

Pixels = NDArray[np.uint8]
WIDE, HIGH = 14, 13  # pixels of a cell, the gap around it included
ROWS, FEWEST_ROWS = 50, 30  # of a block
LABEL, DATES, GAP, LEGEND_ROW = 74, 64, 20, 22
NARROWEST, PAGE = 760, 1120  # pixels; beyond the latter no second block stands beside the first
MOST_ROWS = 600
MOST_ROWS_OF_METADATA, MOST_SESSIONS_OF_METADATA = 150, 60
DPI = 72  # a point is a pixel
INK = "#0b0c0d"  # becomes the page's text colour in an SVG
_COLOURS = {  # of the cell, and of its pattern
    Cell.HOLE: ("#c8371b", "#ffffff"),
    Cell.PARTIAL: ("#f2b632", "#8a5a00"),
    Cell.GIVEN_UP: ("#6e5494", "#d9ccf0"),
    Cell.PROVISIONAL: ("#8fc4ee", "#14507f"),
    Cell.PENDING: ("#8c959f", "#8c959f"),
    Cell.NO_TRADE: ("#c9ced6", "#57606a"),
    Cell.COMPLETE: ("#6fbfa8", "#6fbfa8"),
}
_DRAWING = Lock()  # the SVG backend takes its options from the process


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows ``first`` to ``last`` of a heat-map, at ``x``, ``y`` (pixels from the top left) of the picture."""

    first: int
    last: int
    x: int
    y: int


def heatmap_svg(heatmap: Heatmap, *, most_rows: int = MOST_ROWS) -> str:
    """An ``<svg>`` element whose text takes the page's colour; the worst ``most_rows`` rows first."""
    written = io.StringIO()
    options: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "backfill", "svg.image_inline": True}
    with _DRAWING, mpl.rc_context(options):
        figure = _figure(heatmap, most_rows)
        figure.savefig(written, format="svg", dpi=DPI, metadata={"Date": None})
    text = written.getvalue()
    _, _, body = text[text.index("<svg") :].partition(">")
    width, height = (round(side * DPI) for side in figure.get_size_inches())
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg {spaces} width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-hidden="true">'
    return head + body.replace(INK, "currentColor")


def heatmap_png(heatmap: Heatmap, *, most_rows: int = MOST_ROWS) -> bytes:
    """A PNG on white; the worst ``most_rows`` rows first."""
    figure = _figure(heatmap, most_rows)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return written.getvalue()


def heatmap_markdown(heatmap: Heatmap, *, most_rows: int = MOST_ROWS_OF_METADATA) -> str:
    """The PNG as a Markdown picture that needs no other file, under 500 kB: the newest 60 sessions, and their text."""
    shown = heatmap.newest(MOST_SESSIONS_OF_METADATA)
    data = base64.b64encode(heatmap_png(shown, most_rows=most_rows)).decode()
    return f"![{summary_of(shown)}](data:image/png;base64,{data})"


def summary_of(heatmap: Heatmap) -> str:
    """What a heat-map shows, in one sentence."""
    counts = ", ".join(f"{count:,} {cell.word}" for cell, count in heatmap.counts().items())
    days = f", {heatmap.days[0]} to {heatmap.days[-1]}" if heatmap.days else ""
    return f"{len(heatmap.symbols):,} symbols × {len(heatmap.days):,} sessions{days}: {counts or 'nothing'}"


def _figure(heatmap: Heatmap, most_rows: int) -> Figure:
    shown = heatmap.worst_first(most_rows)
    rows, sessions = shown.cells.shape
    blocks = list(_blocks(rows, sessions))
    width = max([b.x + LABEL + sessions * WIDE + GAP for b in blocks] + [NARROWEST])
    height = max([b.y + DATES + (b.last - b.first) * HIGH for b in blocks] + [LEGEND_ROW]) + 4
    figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor="none")
    left_out = f"the worst {rows:,} of {len(heatmap.symbols):,} symbols" if rows < len(heatmap.symbols) else ""
    _legend(figure, heatmap, left_out)
    for block in blocks:
        _draw(figure, shown, block)
    return figure


def _blocks(rows: int, sessions: int) -> Iterator[_Block]:
    if not sessions:
        return
    wide = LABEL + sessions * WIDE + GAP
    across = max(1, PAGE // wide)
    each = max(FEWEST_ROWS, -(-rows // across)) if rows <= across * 2 * ROWS and across > 1 else ROWS
    high = DATES + each * HIGH + GAP
    for number, first in enumerate(range(0, rows, each)):
        down, along = divmod(number, across)
        yield _Block(first, min(first + each, rows), along * wide, LEGEND_ROW + down * high)


def _add_image(figure: Figure, image: Pixels, x: int, y: int) -> Axes:
    """Axes in pixels that hold an image, its top left at ``x``, ``y`` from the top left of the picture."""
    width, height = (side * DPI for side in figure.get_size_inches())
    high, wide, _ = image.shape
    axes = figure.add_axes((x / width, 1 - (y + high) / height, wide / width, high / height))
    axes.set_axis_off()
    axes.imshow(image, extent=(0, wide, high, 0), interpolation="none", aspect="auto")
    return axes


def _draw(figure: Figure, heatmap: Heatmap, block: _Block) -> None:
    axes = _add_image(figure, _image(heatmap.cells[block.first : block.last]), block.x + LABEL, block.y + DATES)
    style: dict[str, Any] = {"fontsize": 9, "color": INK, "parse_math": False}
    for row, symbol in enumerate(heatmap.symbols[block.first : block.last]):
        axes.text(-5, (row + 0.5) * HIGH - 0.5, symbol.removesuffix(".US"), ha="right", va="center", **style)
    for at, label in enumerate(_date_labels(heatmap)):
        axes.text((at + 0.5) * WIDE, -4, label, ha="center", va="bottom", rotation=90, **style)


def _date_labels(heatmap: Heatmap) -> list[str]:
    """Month and day, with the year where it begins."""
    years = [day.year for day in heatmap.days]
    begins = [at == 0 or year != years[at - 1] for at, year in enumerate(years)]
    return [f"{day}" if begin else f"{day:%m-%d}" for day, begin in zip(heatmap.days, begins, strict=True)]


def _legend(figure: Figure, heatmap: Heatmap, note: str) -> None:
    x = 2
    style: dict[str, Any] = {"ha": "left", "va": "center", "fontsize": 10, "color": INK}
    for cell in heatmap.used():
        if cell is not Cell.NOT_LISTED:
            axes = _add_image(figure, _TILES[cell], x, 4)
            axes.text(WIDE + 4, HIGH / 2, cell.word, **style)
            x += WIDE + 18 + round(6.5 * len(cell.word))
    if note:
        figure.text(
            (x + 8) / figure.get_figwidth() / DPI, 1 - (4 + HIGH / 2) / figure.get_figheight() / DPI, note, **style
        )


def _image(cells: NDArray[np.int8]) -> Pixels:
    rows, sessions = cells.shape
    tiles = _TILES[cells]  # rows, sessions, high, wide, colour
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * HIGH, sessions * WIDE, 4)


def _tile(cell: Cell) -> Pixels:
    """The pixels of one cell: its colour with its pattern in it, and a transparent gap to the right and below."""
    tile = np.zeros((HIGH, WIDE, 4), np.uint8)
    if cell not in _COLOURS:
        return tile
    fill, mark = (_rgba(colour) for colour in _COLOURS[cell])
    y, x = np.mgrid[: HIGH - 1, : WIDE - 1]
    inner = tile[: HIGH - 1, : WIDE - 1]
    inner[:] = fill
    edge = (x == 0) | (y == 0) | (x == WIDE - 2) | (y == HIGH - 2)
    within = (x > 1) & (x < WIDE - 3) & (y > 1) & (y < HIGH - 3)
    patterns = {
        Cell.HOLE: ((abs(x - y) <= 1) | (abs(x + y - WIDE + 2) <= 1)) & within,
        Cell.PARTIAL: (x + y) % 6 < 2,
        Cell.GIVEN_UP: ((x + y) % 6 == 0) | ((x - y) % 6 == 0),
        Cell.PROVISIONAL: (x % 4 == 2) & (y % 4 == 2),
        Cell.PENDING: edge,
        Cell.NO_TRADE: (abs(y - HIGH // 2 + 1) <= 0.5) & (x > 2) & (x < WIDE - 4),
    }
    if cell is Cell.PENDING:
        inner[~edge] = 0
    inner[patterns.get(cell, np.zeros_like(edge))] = mark
    return tile


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue, 255


_TILES = np.stack([_tile(cell) for cell in Cell])
