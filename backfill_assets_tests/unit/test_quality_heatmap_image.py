"""The heat map as an image: cells at their positions, readable without colour, small."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date, timedelta

import matplotlib.image
import numpy as np
import pytest

from backfill_assets.quality.heatmap import Cell, Heatmap
from backfill_assets.quality.heatmap_image import (
    BLOCK_GAP,
    CELL_HEIGHT,
    CELL_WIDTH,
    DATES_HEIGHT,
    LABEL_WIDTH,
    LEGEND_HEIGHT,
    render_heatmap_markdown,
    render_heatmap_png,
    render_heatmap_svg,
    summarize_heatmap,
)

FULL = (500, 60)


def make_heatmap(
    rows: int, sessions: int, cells: "np.ndarray[tuple[int, int], np.dtype[np.int8]] | None" = None
) -> Heatmap:
    days = tuple(date(2026, 3, 2) + timedelta(days=n) for n in range(sessions))
    if cells is None:
        cells = np.full((rows, sessions), Cell.COMPLETE, np.int8)
    return Heatmap(tuple(f"S{n:04}.US" for n in range(rows)), days, cells)


def make_noise(rows: int, sessions: int) -> Heatmap:
    """A heat map of random cells, which compresses badly."""
    return make_heatmap(rows, sessions, np.random.default_rng(1).integers(0, 8, (rows, sessions)).astype(np.int8))


def read_pixels(png: bytes) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]":
    return matplotlib.image.imread(io.BytesIO(png))


def get_tile(picture: "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]", row: int, session: int) -> bytes:
    y, x = LEGEND_HEIGHT + DATES_HEIGHT + row * CELL_HEIGHT, LABEL_WIDTH + session * CELL_WIDTH
    return (
        (picture[y + 1 : y + CELL_HEIGHT - 2, x + 1 : x + CELL_WIDTH - 2, :3] * 255).round().astype(np.uint8).tobytes()
    )


def test_each_kind_of_cell_has_its_own_colour_and_pattern() -> None:
    cells = np.array([[kind] * 4 for kind in Cell], np.int8)
    picture = read_pixels(render_heatmap_png(make_heatmap(len(Cell), 4, cells)))
    kinds = [get_tile(picture, row, 2) for row in range(len(Cell))]  # Cell is sorted worst first
    assert (
        len({*kinds}) == len(Cell) - 1
    )  # what is pending is an empty box, what is not listed is nothing: alike inside
    patterned = [kind for kind in kinds if len({kind[at : at + 3] for at in range(0, len(kind), 3)}) > 1]
    assert len(patterned) == 6  # missing, partial, vendor gap, suspect, provisional, no trade


def test_cells_are_drawn_at_their_positions() -> None:
    cells = np.full((3, 5), Cell.COMPLETE, np.int8)
    cells[0, 3] = cells[0, 4] = cells[1, 0] = Cell.MISSING
    picture = read_pixels(render_heatmap_png(make_heatmap(3, 5, cells)))
    missing, complete = get_tile(picture, 0, 3), get_tile(picture, 2, 0)
    found = [[get_tile(picture, row, session) == missing for session in range(5)] for row in range(3)]
    assert found == (cells == Cell.MISSING).tolist()
    assert missing != complete


def test_marks_are_drawn_over_their_cells_and_named_there_in_an_svg() -> None:
    cells = np.full((60, 5), Cell.COMPLETE, np.int8)
    cells[1, 0] = Cell.MISSING  # becomes the first row
    plain = make_heatmap(60, 5, cells)
    places = {
        ("S0001.US", plain.days[2]): "a <split>",
        ("S0059.US", plain.days[4]): "b",
        ("ELSE.US", plain.days[0]): "c",
    }
    marked = replace(plain, marks=places)
    before, after = read_pixels(render_heatmap_png(plain)), read_pixels(render_heatmap_png(marked))
    changed = (before != after).any(axis=2)
    changed[:LEGEND_HEIGHT] = False
    top = LEGEND_HEIGHT + DATES_HEIGHT
    first_y, first_x = np.argwhere(changed).min(axis=0)
    assert (first_y, (first_x - LABEL_WIDTH) // CELL_WIDTH) == (top, 2)
    root = ET.fromstring(render_heatmap_svg(marked))  # noqa: S314 - trusted
    space = "{http://www.w3.org/2000/svg}"
    titles = [(r.get("x"), r.get("y"), r[0].text) for r in root.iter(f"{space}rect") if len(r)]
    left, later_block = LABEL_WIDTH + 2 * CELL_WIDTH, LABEL_WIDTH + 5 * CELL_WIDTH + BLOCK_GAP
    assert titles[0] == (str(left), str(top), "S0001.US 2026-03-04: a <split>")
    assert titles[1][2] == "S0059.US 2026-03-06: b"
    assert int(str(titles[1][0])) == later_block + LABEL_WIDTH + 4 * CELL_WIDTH
    assert len(titles) == 2
    texts = [element.text for element in root.iter(f"{space}text")]
    assert "corporate action" in texts


def test_marks_stay_with_their_symbols_and_days() -> None:
    heatmap = replace(
        make_noise(20, 30), marks={("S0007.US", date(2026, 3, 31)): "x", ("S0007.US", date(2026, 3, 2)): "y"}
    )
    shown = heatmap.sort_worst_first(15).select_newest(10)
    ((row, session, text),) = shown.list_marks()
    assert (shown.symbols[row], shown.days[session], text) == ("S0007.US", date(2026, 3, 31), "x")


def test_markdown_image_is_a_small_png_with_alternative_text() -> None:
    markdown = render_heatmap_markdown(make_noise(5000, 250))
    assert len(markdown) < 500_000
    alt, data = re.fullmatch(r"!\[(.*)\]\(data:image/png;base64,(.*)\)", markdown).groups()  # type: ignore[union-attr]
    assert alt.startswith("5,000 symbols × 60 sessions, 2026-09-08 to 2026-11-06: ")
    assert read_pixels(base64.b64decode(data)).shape[0] > 1000


def test_svg_is_well_formed_small_and_uses_the_color_of_the_page() -> None:
    svg = render_heatmap_svg(make_noise(*FULL))
    assert len(svg) < 1_200_000
    root = ET.fromstring(svg)  # noqa: S314 - trusted
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"S0000", "S0499", "2026-03-02", "04-30", "missing"} <= set(texts)
    assert "currentColor" in svg
    assert "#0b0c0d" not in svg
    assert render_heatmap_svg(make_noise(*FULL)) == svg


def test_omitted_rows_are_mentioned() -> None:
    svg = render_heatmap_svg(make_heatmap(700, 3))
    assert "worst 600 of 700 symbols" in svg
    assert "the worst" not in render_heatmap_svg(make_heatmap(600, 3))


@pytest.mark.parametrize("name", ["<b>&", "$x$", "A$B_{1", "'\"><script>"])
def test_names_are_escaped(name: str) -> None:
    cells = np.array([[Cell.MISSING]], np.int8)
    root = ET.fromstring(render_heatmap_svg(Heatmap((name,), (date(2026, 6, 1),), cells)))  # noqa: S314 - trusted
    assert name in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (51, 2)])
def test_any_shape_can_be_drawn(shape: tuple[int, int]) -> None:
    picture = read_pixels(render_heatmap_png(make_heatmap(*shape)))
    assert picture.shape[1] >= 760
    ET.fromstring(render_heatmap_svg(make_heatmap(*shape)))  # noqa: S314 - trusted


def test_summary_sentence() -> None:
    cells = np.array([[Cell.MISSING, Cell.COMPLETE]], np.int8)
    shown = summarize_heatmap(make_heatmap(1, 2, cells))
    assert shown == "1 symbol × 2 sessions, 2026-03-02 to 2026-03-03: 1 missing, 1 complete"
    assert summarize_heatmap(make_heatmap(0, 0)) == "0 symbols × 0 sessions: no cells"
