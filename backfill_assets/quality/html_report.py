"""The report as one self-contained HTML file, without scripts.

The data come from ``html_report_data``, the layout is in ``report.html.jinja``; of several exchanges,
``reports.html.jinja`` puts its blocks together. The template engine escapes every text; the image is an SVG of this
package. A page stays under 2 MB for any number of symbols, sessions and findings, and states what it omits.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from backfill_assets.market.bars.source_rows import describe_reject
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.exchanges.price_units import describe_price_unit
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.quality.action_entries import KIND_NAMES
from backfill_assets.quality.checks import format_result
from backfill_assets.quality.exchange_criteria import combine_exchanges
from backfill_assets.quality.exchange_reports import show_in_zone
from backfill_assets.quality.heatmap import CELL_MEANINGS, Heatmap
from backfill_assets.quality.heatmap_image import render_heatmap_svg, summarize_heatmap
from backfill_assets.quality.heatmap_marks import MARK_LABEL, MARK_MEANING
from backfill_assets.quality.html_report_data import MAX_ACTIONS, ReportData
from backfill_assets.quality.month_strip import MONTHS
from backfill_assets.quality.report_formats import REPORT_COLUMNS, format_cell

TEMPLATE, PAGE_OF_EXCHANGES = "report.html.jinja", "reports.html.jinja"
EXCHANGE_BLOCKS = ("summary", "months", "criteria", "map", "actions", "worst", "changes", "live")  # of the template
SHARED_BLOCKS = ("outlook", "budget", "decisions", "findings")
MAX_SESSIONS, MAX_PAGE_ROWS = 60, 500  # of the heat map
MAX_GROUPS = 50  # of symbols with equal sessions, in the text form of the heat map
MAX_FINDINGS = 300
MAX_DECISIONS = 100
TILES = (  # title, field of SymbolReport, whether it is shown if it is 0
    ("expected", "expected_bars", True),
    ("with a bar", "bar_count", True),
    ("missing", "estimated_missing_bars", True),
    ("pending", "pending_bars", True),
    ("no trade", "no_trade_bars", False),
    ("vendor gap", "vendor_gap_bars", False),
    ("provisional", "provisional_bars", False),
    ("unverified", "unverified_bars", False),
    ("suspect", "suspect_bars", False),
)


def to_html(summary: ReportData) -> str:
    """Render the HTML page of one exchange."""
    template = _load_template(TEMPLATE, summary.style, summary.market)
    title = f"{summary.sum_field('estimated_missing_bars'):,} bars missing · {summary.style.format_minute(summary.now)}"
    return template.render(_build_context(summary, title))


def to_html_of_exchanges(pages: Sequence[ReportData]) -> str:
    """Render one HTML page of several exchanges: what they share once, and a part for each."""
    missing = sum(page.sum_field("estimated_missing_bars") for page in pages)
    title = f"{missing:,} bars missing · {UTC_STYLE.format_minute(pages[0].now)}"
    shared, context = _load_template(TEMPLATE, UTC_STYLE, pages[0].market), _build_context(pages[0], title)
    sections = [
        (page, _render_blocks(_load_template(TEMPLATE, page.style, page.market), page, EXCHANGE_BLOCKS))
        for page in pages
    ]
    return _load_template(PAGE_OF_EXCHANGES, UTC_STYLE, pages[0].market).render(
        pages=pages,
        first=pages[0],
        missing=missing,
        whole=combine_exchanges({page.market.exchange: page.criteria for page in pages}),
        sections=sections,
        head=render_block(shared, "head", context),
        runs=render_block(shared, "runs", context),
        shared=Markup().join(render_block(shared, name, context) for name in SHARED_BLOCKS),
    )


def _load_template(name: str, style: MomentStyle, market: MarketProfile) -> Template:
    """A template that shows moments in ``style``, and why rows of ``market`` were rejected."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["result"] = format_result
    environment.filters["moment"] = style.format_minute
    environment.filters["thousands"] = "{:,}".format
    environment.filters["price_unit"] = describe_price_unit
    environment.filters["reject_reason"] = partial(describe_reject, market=market)
    return environment.from_string((files("backfill_assets.quality") / name).read_text("utf-8"))


def _render_blocks(template: Template, page: ReportData, names: Sequence[str]) -> Markup:
    context = _build_context(page, "", suffix=f"-{page.market.exchange}")
    return Markup().join(render_block(template, name, context) for name in names)


def render_block(template: Template, name: str, context: Mapping[str, Any]) -> Markup:
    """One block of a template."""
    text = "".join(template.blocks[name](template.new_context(dict(context))))
    return Markup(text)  # noqa: S704 # nosec B704 - the template has escaped its values


def _build_context(summary: ReportData, title: str, suffix: str = "") -> dict[str, Any]:
    """What the template shows; ``suffix`` tells apart the headings of several exchanges on a page."""
    worst, heatmap = summary.select_worst(), summary.heatmap.select_newest(MAX_SESSIONS)
    return {
        "s": summary,
        "page_title": title,
        "suffix": suffix,
        # our own SVG; matplotlib escapes its texts
        "svg": Markup(render_heatmap_svg(heatmap, max_rows=MAX_PAGE_ROWS)),  # noqa: S704 # nosec B704
        "shown": summarize_heatmap(heatmap),
        "sessions_shown": len(heatmap.days),
        "legend": list(_build_legend(heatmap)),
        "tiles": list(_build_tiles(summary)),
        "month_names": MONTHS,
        "as_text": list(_describe_rows(heatmap)),
        "worst": show_in_zone(worst, summary.style) if summary.style is not UTC_STYLE else worst,
        "most_actions": MAX_ACTIONS,
        "kind_names": KIND_NAMES,
        "most_findings": MAX_FINDINGS,
        "most_decisions": MAX_DECISIONS,
        "open_decisions": sorted(summary.decisions, key=lambda decision: not decision.is_waiting(summary.now)),
        "columns": [c for c in REPORT_COLUMNS if any(getattr(row, c[1]) for row in worst) or c[1] == "symbol"],
        "cell": format_cell,
    }


def _build_legend(heatmap: Heatmap) -> Iterator[tuple[str, str]]:
    for cell in heatmap.list_used_cells():
        yield cell.label, CELL_MEANINGS[cell]
    if heatmap.list_marks():
        yield MARK_LABEL, MARK_MEANING


def _build_tiles(summary: ReportData) -> Iterator[tuple[str, int, bool]]:
    for title, field, always in TILES:
        count = summary.sum_field(field)
        if count or always:
            yield title, count, bool(count) and field == "estimated_missing_bars"


def _describe_rows(heatmap: Heatmap) -> Iterator[tuple[str, str]]:
    """The heat map as text: a row for each symbol with gaps, and one for each group of equal symbols without gaps."""
    with_gaps = heatmap.filter_by_gaps()
    rows = with_gaps.sort_worst_first(MAX_PAGE_ROWS)
    for row, symbol in enumerate(rows.symbols):
        yield symbol, _describe_row(rows, row)
    if more := len(with_gaps.symbols) - len(rows.symbols):
        yield _format_symbol_count(more, "more"), "have gaps, too"
    without_gaps = heatmap.filter_by_gaps(invert=True)
    groups = Counter(_describe_row(without_gaps, row) for row in range(len(without_gaps.symbols))).most_common()
    for description, symbols in groups[:MAX_GROUPS]:
        yield _format_symbol_count(symbols, "other"), description
    if more := sum(symbols for _, symbols in groups[MAX_GROUPS:]):
        yield _format_symbol_count(more, "other"), "no gaps; their sessions differ"


def _format_symbol_count(number: int, qualifier: str) -> str:
    return f"{number:,} {qualifier} symbol{'s' if number > 1 else ''}"


def _describe_row(heatmap: Heatmap, row: int) -> str:
    return ", ".join(
        f"{what.label} {_format_day_range(first, last, many)}" for what, first, last, many in heatmap.iter_ranges(row)
    )


def _format_day_range(first: date, last: date, sessions: int) -> str:
    return f"{first}" if sessions == 1 else f"{first} to {last} ({sessions})"
