"""The whole history as one self-contained HTML file, without scripts; it looks as the report of a window does.

The layout is in ``history.html.jinja``. The template engine escapes every text; the images are SVGs of this package.
"""

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from backfill_assets.market.calendar.moment_style import UTC_STYLE
from backfill_assets.quality.census.overview import StoreOverview
from backfill_assets.quality.census.report import (
    MONTH_COLUMNS,
    SYMBOL_COLUMNS,
    WholeHistory,
    format_cell,
    select_worst,
)
from backfill_assets.quality.heatmap import Heatmap
from backfill_assets.quality.heatmap_image import render_heatmap_svg, summarize_heatmap
from backfill_assets.quality.html_report import MAX_PAGE_ROWS, TEMPLATE, render_block
from backfill_assets.quality.month_strip import MONTHS, build_month_strip

_MAX_WORST = 100  # symbols in the table


def to_html(histories: Sequence[WholeHistory]) -> str:
    """Render the page, with a part for each exchange."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["moment"] = UTC_STYLE.format_minute
    environment.filters["thousands"] = "{:,}".format
    folder = files("backfill_assets.quality")
    environment.filters.update(dict.fromkeys(("result", "price_unit", "reject_reason"), str))  # of blocks left out
    report = environment.from_string((folder / TEMPLATE).read_text("utf-8"))
    title = "; ".join(f"{one.answer.exchange}: {one.answer.describe()}" for one in histories)
    page = environment.from_string((folder / "history.html.jinja").read_text("utf-8"))
    return page.render(
        head=render_block(report, "head", {"page_title": title}),
        histories=histories,
        strip=partial(_render_strip, report),
        columns=MONTH_COLUMNS,
        symbol_columns=SYMBOL_COLUMNS,
        cell=format_cell,
        svg=_draw,
        summarize=summarize_heatmap,
        worst=_list_worst,
    )


def _render_strip(report: Template, history: WholeHistory) -> Markup:
    overview = StoreOverview(strip=build_month_strip(history.table.list_by_month()))  # the answer is the page's heading
    context = {"s": {"whole": overview}, "suffix": f"-{history.answer.exchange}", "month_names": MONTHS}
    return render_block(report, "months", context)


def _draw(heatmap: Heatmap) -> Markup:
    svg = render_heatmap_svg(heatmap, max_rows=MAX_PAGE_ROWS)
    return Markup(svg)  # noqa: S704 # nosec B704 - our own SVG; matplotlib escapes its texts


def _list_worst(history: WholeHistory) -> list[dict[str, Any]]:
    return select_worst(history.table.list_by_symbol())[:_MAX_WORST]
