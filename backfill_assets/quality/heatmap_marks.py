"""Marks in the image of a heat map: a dark corner where something happened besides, and in an SVG its text on hover.

Where cells lie is decided in ``heatmap_image``; what is marked, in ``action_entries``.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

MARK_LABEL = "corporate action"
MARK_MEANING = "the dark corner marks an ex-date: point at it to read the action; the table of actions lists them"
MAX_MARKS, MAX_TITLES = 6_000, 300  # in an SVG, of the worst symbols: a page stays under 2 MB
_CORNER = 7  # pixels
_INK, _EDGE = "#16191d", "#ffffff"  # with an edge all around: readable on every cell, on light and on dark pages


def draw_corner(tile: NDArray[np.uint8]) -> None:
    """Draw the mark into the pixels of one cell, shape (high, wide, 4), of which the last row and column are a gap."""
    high, wide = tile.shape[0] - 1, tile.shape[1] - 1
    y, x = np.mgrid[:high, :wide]
    from_corner = (wide - 1 - x) + y
    inner = tile[:high, :wide]
    inner[from_corner <= _CORNER] = [*bytes.fromhex(_EDGE[1:]), 255]
    inner[(from_corner < _CORNER) & (x < wide - 1) & (y > 0)] = [*bytes.fromhex(_INK[1:]), 255]


def render_marks(places: Sequence[tuple[int, int, str]], width: int, height: int) -> str:
    """SVG elements of marks: a corner in each cell, and its text while the pointer is over it.

    Args:
        places: (left, top, text) of each cell, in pixels.
        width: of a cell with the gap to the next one.
        height: likewise.
    """
    if not places:
        return ""
    # one path for all: as pixels, a thousand marks would take 80 kB
    corners = "".join(
        f"M{left + width - _CORNER - 1} {top}h{_CORNER}v{_CORNER}z" for left, top, _ in places[:MAX_MARKS]
    )
    titles = "".join(
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}"><title>{escape(text)}</title></rect>'
        for left, top, text in places[:MAX_TITLES]
    )
    return f'<path d="{corners}" fill="{_INK}" stroke="{_EDGE}"/><g fill="transparent">{titles}</g>'
