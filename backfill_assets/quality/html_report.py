"""The report as one HTML file that needs nothing else; what it tells is ``summary``'s, how it looks is the template's.

Every text is escaped by the template engine; the picture is our own SVG. No script, nothing is loaded. However many
symbols, sessions and findings there are, a page stays under 2 MB; it says what it leaves out.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from backfill_assets.quality.heatmap import MEANINGS, Heatmap
from backfill_assets.quality.heatmap_image import heatmap_svg, summary_of
from backfill_assets.quality.report_data import Summary
from backfill_assets.quality.report_formats import COLUMNS, cell

TEMPLATE = "report.html.jinja"
MOST_SESSIONS, MOST_ROWS, MOST_GROUPS = 60, 500, 50  # of the heat-map; groups of symbols that are alike, as text
MOST_FINDINGS = 300
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
    worst, heatmap = summary.worst(), summary.heatmap.newest(MOST_SESSIONS)
    return template.render(
        s=summary,
        # of our own making; matplotlib escapes its texts
        svg=Markup(heatmap_svg(heatmap, most_rows=MOST_ROWS)),  # noqa: S704 # nosec B704
        shown=summary_of(heatmap),
        sessions_shown=len(heatmap.days),
        legend=[(c.word, MEANINGS[c]) for c in heatmap.used()],
        tiles=list(_tiles(summary)),
        as_text=list(_as_text(heatmap)),
        worst=worst,
        most_findings=MOST_FINDINGS,
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
    lacking = heatmap.lacking()
    rows = lacking.worst_first(MOST_ROWS)
    for row, symbol in enumerate(rows.symbols):
        yield symbol, _told(rows, row)
    if more := len(lacking.symbols) - len(rows.symbols):
        yield _symbols(more, "more"), "something is lacking too"
    rest = heatmap.lacking(no=True)
    alike = Counter(_told(rest, row) for row in range(len(rest.symbols))).most_common()
    for told, symbols in alike[:MOST_GROUPS]:
        yield _symbols(symbols, "other"), told
    if more := sum(symbols for _, symbols in alike[MOST_GROUPS:]):
        yield _symbols(more, "other"), "nothing is lacking; each of them in its own way"


def _symbols(number: int, which: str) -> str:
    return f"{number:,} {which} symbol{'s' if number > 1 else ''}"


def _told(heatmap: Heatmap, row: int) -> str:
    return ", ".join(f"{what.word} {_span(first, last, many)}" for what, first, last, many in heatmap.stretches(row))


def _span(first: date, last: date, sessions: int) -> str:
    return f"{first}" if sessions == 1 else f"{first} to {last} ({sessions})"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
