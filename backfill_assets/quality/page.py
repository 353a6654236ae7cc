"""The report as one HTML file that needs nothing else; what it tells is ``summary``'s, how it looks is the template's.

Every text is escaped by the template engine; the picture is our own SVG. No script, nothing is loaded.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backfill_assets.quality.formats import COLUMNS, cell
from backfill_assets.quality.heatmap import MEANINGS, Heatmap
from backfill_assets.quality.pictures import heatmap_svg, summary_of
from backfill_assets.quality.summary import Summary

TEMPLATE = "report.html.jinja"
MOST_ROWS_AS_TEXT = 600
TILES = (  # title, field of the report, whether it is shown when it is 0
    ("expected", "expected_bars", True),
    ("with a bar", "bar_count", True),
    ("missing", "estimated_missing_bars", True),
    ("pending", "pending_bars", True),
    ("no trade", "no_trade_bars", False),
    ("given up", "vendor_gap_bars", False),
    ("provisional", "provisional_bars", False),
    ("unverified", "unverified_bars", False),
    ("suspect", "suspect_bars", False),
)


def to_html(summary: Summary) -> str:
    """The page."""
    engine = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    engine.filters["moment"] = _moment
    engine.filters["thousands"] = "{:,}".format
    template = engine.from_string((files("backfill_assets.quality") / TEMPLATE).read_text("utf-8"))
    worst = summary.worst()
    return template.render(
        s=summary,
        # of our own making; matplotlib escapes its texts
        svg=Markup(heatmap_svg(summary.heatmap)),  # noqa: S704 # nosec B704
        shown=summary_of(summary.heatmap),
        legend=[(c.word, MEANINGS[c]) for c in summary.heatmap.used()],
        tiles=list(_tiles(summary)),
        as_text=list(_as_text(summary.heatmap)),
        worst=worst,
        columns=[c for c in COLUMNS if any(getattr(row, c[1]) for row in worst) or c[1] == "symbol"],
        cell=cell,
    )


def _tiles(summary: Summary) -> Iterator[tuple[str, int, bool]]:
    for title, field, always in TILES:
        count = summary.total(field)
        if count or always:
            yield title, count, bool(count) and field == "estimated_missing_bars"


def _as_text(heatmap: Heatmap) -> Iterator[tuple[str, str]]:
    """What the sessions are that are not complete, for each symbol that lacks something; the others in groups."""
    rows = heatmap.lacking().worst_first(MOST_ROWS_AS_TEXT)
    for row, symbol in enumerate(rows.symbols):
        yield symbol, _told(rows, row)
    rest = heatmap.lacking(no=True)
    alike = Counter(_told(rest, row) for row in range(len(rest.symbols)))
    for told, symbols in alike.most_common():
        yield f"{symbols:,} other symbols" if symbols > 1 else "1 other symbol", told


def _told(heatmap: Heatmap, row: int) -> str:
    return ", ".join(f"{what.word} {_span(first, last, many)}" for what, first, last, many in heatmap.stretches(row))


def _span(first: date, last: date, sessions: int) -> str:
    return f"{first}" if sessions == 1 else f"{first} to {last} ({sessions})"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
