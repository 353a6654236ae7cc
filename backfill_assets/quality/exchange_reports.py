"""The report of several exchanges, and of one outside the US: grouped by exchange, with zone, currency and status.

The report of the US alone is ``report_formats``. Figures of two exchanges are never added up to a share.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.moment_style import MomentStyle
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.quality.action_entries import ActionEntry
from backfill_assets.quality.live_accuracy import LiveAccuracy
from backfill_assets.quality.report import SymbolReport
from backfill_assets.quality.report_formats import build_objects, to_markdown, write_csv
from backfill_assets.store.price_units import SymbolUnit

EXCHANGE_FIELDS = ("currency", "price_unit", "exchange_status")  # of a row, in JSON and CSV, after those of any report


@dataclass(frozen=True, eq=False)
class ExchangeReport:
    """The report of one exchange.

    Attributes:
        market: the exchange.
        rows: one for each symbol.
        units: by symbol, of those whose prices count something else than most of the exchange.
        notice: that it is experimental, in one line (``experimental``); empty for a verified one.
        live: by symbol, how accurate its live bars were.
        actions: of the window.
    """

    market: MarketProfile
    rows: Sequence[SymbolReport]
    units: Mapping[str, SymbolUnit] = field(default_factory=dict)
    notice: str = ""
    live: Mapping[str, LiveAccuracy] = field(default_factory=dict)
    actions: Sequence[ActionEntry] = ()

    @property
    def title(self) -> str:
        """``LSE · London Stock Exchange · prices in GBX``."""
        return format_exchange_title(self.market, {unit.price_unit for unit in self.units.values()})

    def describe_unit(self, symbol: str) -> dict[str, Any]:
        """The fields of ``EXCHANGE_FIELDS`` of a symbol."""
        unit = self.units.get(symbol)
        return {
            "currency": (unit and unit.currency) or self.market.currency,
            "price_unit": (unit and unit.price_unit) or self.market.price_unit,
            "exchange_status": str(self.market.status),
        }

    def build_objects(self) -> list[dict[str, Any]]:
        """The rows as JSON objects."""
        objects = build_objects(self.rows, self.live, self.actions)
        return [{**values, **self.describe_unit(values["symbol"])} for values in objects]


def format_exchange_title(market: MarketProfile, other_units: Iterable[str | None] = ()) -> str:
    """The heading of an exchange, with further units of symbols: ``LSE · London Stock Exchange · prices in GBX``."""
    units = list(dict.fromkeys([market.price_unit, *sorted({unit for unit in other_units if unit})]))
    named = " and ".join(unit for unit in units if unit)
    return " · ".join([market.exchange, market.name, *([f"prices in {named}"] if named else [])])


def to_json_of_exchanges(reports: Sequence[ExchangeReport]) -> str:
    """A JSON array with one object for each symbol, exchange by exchange; times are UTC."""
    return json.dumps([values for report in reports for values in report.build_objects()], indent=1)


def to_csv_of_exchanges(reports: Sequence[ExchangeReport]) -> str:
    """Comma-separated values with one header; times are UTC."""
    objects = ({**row.as_dict(), **report.describe_unit(row.symbol)} for report in reports for row in report.rows)
    return write_csv(objects, [*SymbolReport.__dataclass_fields__, *EXCHANGE_FIELDS])


def to_markdown_of_exchanges(reports: Sequence[ExchangeReport]) -> str:
    """A heading and a table for each exchange, with times in its zone."""
    return "\n".join(map(_format_section, reports))


def show_in_zone(rows: Sequence[SymbolReport], style: MomentStyle) -> list[SymbolReport]:
    """The rows with their times as a table under a heading shows them: in the exchange's zone."""
    return [_show_row_in_zone(row, style) for row in rows]


def summarize_exchanges(reports: Sequence[ExchangeReport]) -> str:
    """One line over all exchanges: how many bars each lacks, and of how many of its own symbols."""
    counts = {report.market.exchange: sum(row.estimated_missing_bars for row in report.rows) for report in reports}
    parts = [
        f"{report.market.exchange} {counts[report.market.exchange]:,} in"
        f" {sum(row.estimated_missing_bars > 0 for row in report.rows):,} of {format_count(len(report.rows), 'symbol')}"
        for report in reports
        if counts[report.market.exchange]
    ]
    missing = format_count(sum(counts.values()), "bar")
    return f"all exchanges: {missing} missing" + (f" ({' · '.join(parts)})" if parts else "")


def _format_section(report: ExchangeReport) -> str:
    style = MomentStyle(report.market)
    notice = f"{report.notice}\n\n" if report.notice else ""
    times = f"Times are those of {style.zone_name}.\n\n"
    return f"## {report.title}\n\n{notice}{times}{to_markdown(show_in_zone(report.rows, style))}"


def _show_row_in_zone(row: SymbolReport, style: MomentStyle) -> SymbolReport:
    first, last = (
        None if text is None else style.format_without_zone(datetime.fromisoformat(text))
        for text in (row.first_timestamp, row.last_timestamp)
    )
    return replace(row, first_timestamp=first, last_timestamp=last)
