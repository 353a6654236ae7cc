"""The heat map as an image: SVG for the HTML report, PNG for Dagster's metadata.

Drawn with matplotlib's objects, without pyplot, which keeps state in the process. Each kind of cell has a colour that
colour-blind readers can distinguish and a pattern that is readable without colour. Symbols are in blocks of 50 rows
under their dates; with few sessions several blocks fit side by side. Marks are drawn by ``heatmap_marks``.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backfill_assets.config.counts import format_count
from backfill_assets.quality.heatmap import Cell, Heatmap
from backfill_assets.quality.heatmap_marks import MARK_LABEL, draw_corner, render_marks

Pixels = NDArray[np.uint8]
CELL_WIDTH, CELL_HEIGHT = 14, 13  # pixels, including the gap to the next cell
BLOCK_ROWS, MIN_BLOCK_ROWS = 50, 30
LABEL_WIDTH, DATES_HEIGHT, BLOCK_GAP, LEGEND_HEIGHT = 74, 64, 20, 22
MIN_WIDTH, PAGE_WIDTH = 760, 1120  # pixels; blocks are placed side by side up to the latter
MAX_ROWS = 600
MAX_METADATA_ROWS, MAX_METADATA_SESSIONS = 150, 60
DPI = 72  # a point is a pixel
TEXT_COLOR = "#0b0c0d"  # becomes the page's text colour in an SVG
_CELL_COLORS = {  # fill and pattern
    Cell.MISSING: ("#c8371b", "#ffffff"),
    Cell.PARTIAL: ("#f2b632", "#8a5a00"),
    Cell.VENDOR_GAP: ("#6e5494", "#d9ccf0"),
    Cell.SUSPECT: ("#f3b8d4", "#8a1f56"),
    Cell.PROVISIONAL: ("#8fc4ee", "#14507f"),
    Cell.PENDING: ("#8c959f", "#8c959f"),
    Cell.NO_TRADE: ("#c9ced6", "#57606a"),
    Cell.COMPLETE: ("#6fbfa8", "#6fbfa8"),
}
_RENDER_LOCK = Lock()  # matplotlib's options are global to the process


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows ``first`` to ``last`` (exclusive) of a heat map, drawn at ``x``, ``y`` (pixels from the top left)."""

    first: int
    last: int
    x: int
    y: int


def render_heatmap_svg(heatmap: Heatmap, *, max_rows: int = MAX_ROWS) -> str:
    """An ``<svg>`` element of the worst ``max_rows`` rows; its text has the colour of the page."""
    buffer = io.StringIO()
    options: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "backfill", "svg.image_inline": True}
    with _RENDER_LOCK, mpl.rc_context(options):
        figure = _build_figure(heatmap, max_rows, with_marks=False)
        figure.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None})
    text = buffer.getvalue()
    _, _, body = text[text.index("<svg") :].partition(">")
    width, height = (round(side * DPI) for side in figure.get_size_inches())
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg {namespaces} width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-hidden="true">'
    marks = render_marks(list(_place_marks(heatmap.sort_worst_first(max_rows))), CELL_WIDTH, CELL_HEIGHT)
    return head + body.replace(TEXT_COLOR, "currentColor").replace("</svg>", f"{marks}</svg>")


def _place_marks(shown: Heatmap) -> Iterator[tuple[int, int, str]]:
    """Left, top and text of each mark; those of the worst symbols first."""
    blocks = list(_layout_blocks(*shown.cells.shape))
    for row, session, text in shown.list_marks():
        (block,) = (b for b in blocks if b.first <= row < b.last)
        left = block.x + LABEL_WIDTH + session * CELL_WIDTH
        top = block.y + DATES_HEIGHT + (row - block.first) * CELL_HEIGHT
        yield left, top, f"{shown.symbols[row]} {shown.days[session]}: {text}"


def render_heatmap_png(heatmap: Heatmap, *, max_rows: int = MAX_ROWS) -> bytes:
    """A PNG of the worst ``max_rows`` rows on white."""
    figure = _build_figure(heatmap, max_rows)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def render_heatmap_markdown(heatmap: Heatmap, *, max_rows: int = MAX_METADATA_ROWS) -> str:
    """The PNG of the newest 60 sessions as an inline Markdown image with alternative text, under 500 kB."""
    shown = heatmap.select_newest(MAX_METADATA_SESSIONS)
    data = base64.b64encode(render_heatmap_png(shown, max_rows=max_rows)).decode()
    return f"![{summarize_heatmap(shown)}](data:image/png;base64,{data})"


def summarize_heatmap(heatmap: Heatmap) -> str:
    """One sentence: symbols, sessions and the number of cells of each kind."""
    counts = ", ".join(f"{count:,} {cell.label}" for cell, count in heatmap.count_cells().items())
    first_and_last = [heatmap.format_day(day) for day in (*heatmap.days[:1], *heatmap.days[-1:])]
    days = f", {' to '.join(first_and_last)}" if heatmap.days else ""
    symbols, sessions = format_count(len(heatmap.symbols), "symbol"), format_count(len(heatmap.days), heatmap.unit)
    return f"{symbols} × {sessions}{days}: {counts or 'no cells'}"


def _build_figure(heatmap: Heatmap, max_rows: int, *, with_marks: bool = True) -> Figure:
    shown = heatmap.sort_worst_first(max_rows)
    rows, sessions = shown.cells.shape
    blocks = list(_layout_blocks(rows, sessions))
    width = max([b.x + LABEL_WIDTH + sessions * CELL_WIDTH + BLOCK_GAP for b in blocks] + [MIN_WIDTH])
    height = max([b.y + DATES_HEIGHT + (b.last - b.first) * CELL_HEIGHT for b in blocks] + [LEGEND_HEIGHT]) + 4
    figure = Figure((width / DPI, height / DPI), dpi=DPI, facecolor="none")
    note = f"worst {rows:,} of {len(heatmap.symbols):,} symbols" if rows < len(heatmap.symbols) else ""
    _draw_legend(figure, heatmap, note)
    for block in blocks:
        _draw_block(figure, shown if with_marks else replace(shown, marks={}), block)
    return figure


def _layout_blocks(rows: int, sessions: int) -> Iterator[_Block]:
    if not sessions:
        return
    block_width = LABEL_WIDTH + sessions * CELL_WIDTH + BLOCK_GAP
    blocks_per_line = max(1, PAGE_WIDTH // block_width)
    rows_per_block = (
        max(MIN_BLOCK_ROWS, -(-rows // blocks_per_line))
        if rows <= blocks_per_line * 2 * BLOCK_ROWS and blocks_per_line > 1
        else BLOCK_ROWS
    )
    block_height = DATES_HEIGHT + rows_per_block * CELL_HEIGHT + BLOCK_GAP
    for number, first in enumerate(range(0, rows, rows_per_block)):
        line, column = divmod(number, blocks_per_line)
        yield _Block(
            first, min(first + rows_per_block, rows), column * block_width, LEGEND_HEIGHT + line * block_height
        )


def _add_image(figure: Figure, image: Pixels, x: int, y: int) -> Axes:
    """Axes in pixels with an image, its top left corner at ``x``, ``y`` from the figure's top left corner."""
    width, height = (side * DPI for side in figure.get_size_inches())
    high, wide, _ = image.shape
    axes = figure.add_axes((x / width, 1 - (y + high) / height, wide / width, high / height))
    axes.set_axis_off()
    axes.imshow(image, extent=(0, wide, high, 0), interpolation="none", aspect="auto")
    return axes


def _draw_block(figure: Figure, heatmap: Heatmap, block: _Block) -> None:
    axes = _add_image(figure, _render_cells(heatmap, block), block.x + LABEL_WIDTH, block.y + DATES_HEIGHT)
    style: dict[str, Any] = {"fontsize": 9, "color": TEXT_COLOR, "parse_math": False}
    suffix = _find_common_suffix(heatmap.symbols)
    for row, symbol in enumerate(heatmap.symbols[block.first : block.last]):
        axes.text(-5, (row + 0.5) * CELL_HEIGHT - 0.5, symbol.removesuffix(suffix), ha="right", va="center", **style)
    for session, label in enumerate(_format_date_labels(heatmap)):
        axes.text((session + 0.5) * CELL_WIDTH, -4, label, ha="center", va="bottom", rotation=90, **style)


def _find_common_suffix(tickers: Sequence[str]) -> str:
    """The exchange that all tickers end with, such as ``.US``, which a label leaves out; empty if they differ."""
    suffixes = {f".{ticker.rpartition('.')[2]}" for ticker in tickers}
    return suffixes.pop() if len(suffixes) == 1 else ""


def _format_date_labels(heatmap: Heatmap) -> list[str]:
    """Month and day, or the month; the first one of each year also has the year."""
    years = [day.year for day in heatmap.days]
    is_year_start = [index == 0 or year != years[index - 1] for index, year in enumerate(years)]
    short = "%m-%d" if heatmap.unit == "session" else "%m"
    return [
        heatmap.format_day(day) if is_start else f"{day:{short}}"
        for day, is_start in zip(heatmap.days, is_year_start, strict=True)
    ]


def _draw_legend(figure: Figure, heatmap: Heatmap, note: str) -> None:
    x = 2
    style: dict[str, Any] = {"ha": "left", "va": "center", "fontsize": 10, "color": TEXT_COLOR}
    for cell in heatmap.list_used_cells():
        if cell is not Cell.NOT_LISTED:
            axes = _add_image(figure, _CELL_TILES[cell], x, 4)
            axes.text(CELL_WIDTH + 4, CELL_HEIGHT / 2, cell.label, **style)
            x += CELL_WIDTH + 18 + round(6.5 * len(cell.label))
    if heatmap.list_marks():
        axes = _add_image(figure, _render_mark(), x, 4)
        axes.text(CELL_WIDTH + 4, CELL_HEIGHT / 2, MARK_LABEL, **style)
        x += CELL_WIDTH + 18 + round(6.5 * len(MARK_LABEL))
    if note:
        figure.text(
            (x + 8) / figure.get_figwidth() / DPI,
            1 - (4 + CELL_HEIGHT / 2) / figure.get_figheight() / DPI,
            note,
            **style,
        )


def _render_cells(heatmap: Heatmap, block: _Block) -> Pixels:
    tiles = _CELL_TILES[heatmap.cells[block.first : block.last]]  # rows, sessions, high, wide, colour
    rows, sessions = tiles.shape[:2]
    for row, session, _ in heatmap.list_marks():
        if block.first <= row < block.last:
            draw_corner(tiles[row - block.first, session])
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * CELL_HEIGHT, sessions * CELL_WIDTH, 4)


def _render_mark() -> Pixels:
    """A complete cell with a mark."""
    tile: Pixels = _CELL_TILES[Cell.COMPLETE].copy()
    draw_corner(tile)
    return tile


def _render_tile(cell: Cell) -> Pixels:
    """The pixels of one cell: fill and pattern, with a transparent gap to the right and below."""
    tile = np.zeros((CELL_HEIGHT, CELL_WIDTH, 4), np.uint8)
    if cell not in _CELL_COLORS:
        return tile
    fill, mark = (_parse_color(color) for color in _CELL_COLORS[cell])
    y, x = np.mgrid[: CELL_HEIGHT - 1, : CELL_WIDTH - 1]
    inner = tile[: CELL_HEIGHT - 1, : CELL_WIDTH - 1]
    inner[:] = fill
    is_edge = (x == 0) | (y == 0) | (x == CELL_WIDTH - 2) | (y == CELL_HEIGHT - 2)
    is_inside = (x > 1) & (x < CELL_WIDTH - 3) & (y > 1) & (y < CELL_HEIGHT - 3)
    patterns = {
        Cell.MISSING: ((abs(x - y) <= 1) | (abs(x + y - CELL_WIDTH + 2) <= 1)) & is_inside,
        Cell.PARTIAL: (x + y) % 6 < 2,
        Cell.VENDOR_GAP: ((x + y) % 6 == 0) | ((x - y) % 6 == 0),
        Cell.SUSPECT: (x % 4 == 1) & is_inside,
        Cell.PROVISIONAL: (x % 4 == 2) & (y % 4 == 2),
        Cell.PENDING: is_edge,
        Cell.NO_TRADE: (abs(y - CELL_HEIGHT // 2 + 1) <= 0.5) & (x > 2) & (x < CELL_WIDTH - 4),
    }
    if cell is Cell.PENDING:
        inner[~is_edge] = 0
    inner[patterns.get(cell, np.zeros_like(is_edge))] = mark
    return tile


def _parse_color(color: str) -> tuple[int, int, int, int]:
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue, 255


_CELL_TILES = np.stack([_render_tile(cell) for cell in Cell])
