"""The data-quality report: one row for each symbol over a window, as plain values.

``report_formats`` turns rows into text.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Any

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.timestamps import format_timestamp, to_datetime
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import STORED_STATES, SlotState


@dataclass(frozen=True, slots=True)
class SymbolReport:
    """How complete one symbol is over the window.

    Attributes:
        symbol: ticker without the exchange.
        exchange: of the ticker.
        interval: of the bars.
        bar_count: slots with a bar of any kind.
        first_timestamp: start of the first bar in the window, ISO 8601 UTC; None without a bar.
        last_timestamp: start of the last bar in the window.
        estimated_missing_bars: overdue slots without a final bar that are neither no_trade nor vendor_gap.
        expected_bars: slots of the window's sessions while the symbol was listed.
        pending_bars: slots without a bar that are not overdue.
        no_trade_bars: slots in which nothing traded.
        vendor_gap_bars: slots that the vendor never returned.
        provisional_bars: bars that are not final.
        unverified_bars: bars from external writers.
        suspect_bars: bars that may be wrong (docs/states.md).
        completeness: (bars + no_trade) / (expected − pending), 0 to 1; 1 if nothing is due.
        suspect_reasons: how many suspect bars each reason has: the code of a rule, or ``source_rows``.
        other_feed_bars: bars taken whole from the vendor's other feed, whose volumes are not comparable.
        listed_until: the last session of a ticker that has ended, ISO date; None for an active one.
    """

    symbol: str
    exchange: str
    interval: str
    bar_count: int
    first_timestamp: str | None
    last_timestamp: str | None
    estimated_missing_bars: int
    expected_bars: int
    pending_bars: int
    no_trade_bars: int
    vendor_gap_bars: int
    provisional_bars: int
    unverified_bars: int
    suspect_bars: int
    completeness: float
    other_feed_bars: int = 0
    suspect_reasons: Mapping[str, int] = field(default_factory=dict)
    listed_until: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return asdict(self)


def build_symbol_reports(
    coverage: Coverage,
    other_feed_bars: Mapping[int, int] = MappingProxyType({}),
    suspect_reasons: Mapping[int, Mapping[str, int]] = MappingProxyType({}),
    listing_ends: Mapping[int, date] = MappingProxyType({}),
) -> list[SymbolReport]:
    """One row for each symbol of the coverage, in its order.

    Args:
        coverage: the state of every slot.
        other_feed_bars: by symbol_id, as ``store.bars.other_feed_bars.count_other_feed_bars`` gives it.
        suspect_reasons: by symbol_id, as ``quality.plausibility.read_suspect_reasons`` gives it.
        listing_ends: symbol_id → last session, of tickers that have ended.
    """
    rows = [_build_row(coverage, position, other_feed_bars) for position in range(len(coverage.symbols))]
    for position, symbol in enumerate(coverage.symbols if listing_ends else ()):
        if last_day := listing_ends.get(symbol.symbol_id):
            rows[position] = replace(rows[position], listed_until=last_day.isoformat())
    reasons = [suspect_reasons.get(symbol.symbol_id, {}) for symbol in coverage.symbols]
    return [replace(row, suspect_reasons=found) if found else row for row, found in zip(rows, reasons, strict=True)]


def describe_suspect_bars(rows: Sequence[SymbolReport]) -> str:
    """How many bars may be wrong and why, in one line; empty without any. A bar can have several reasons."""
    suspect = [row for row in rows if row.suspect_bars]
    if not suspect:
        return ""
    reasons: Counter[str] = Counter()
    for row in suspect:
        reasons.update(row.suspect_reasons)
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    bars = sum(row.suspect_bars for row in suspect)
    return f"{format_count(bars, 'suspect bar')} of {format_count(len(suspect), 'symbol')} because of: {counts}"


def _build_row(coverage: Coverage, position: int, other_feed_bars: Mapping[int, int]) -> SymbolReport:
    counts = coverage.counts[position].tolist()
    expected, ticker = int(coverage.expected[position]), coverage.symbols[position].ticker
    bars = sum(counts[state] for state in STORED_STATES)
    due = expected - counts[SlotState.PENDING]
    return SymbolReport(
        symbol=ticker.symbol,
        exchange=ticker.exchange,
        interval=coverage.grid.interval.name,
        bar_count=bars,
        first_timestamp=_format_epoch(int(coverage.first_bar_at[position])),
        last_timestamp=_format_epoch(int(coverage.last_bar_at[position])),
        estimated_missing_bars=int(coverage.missing[position]),
        expected_bars=expected,
        pending_bars=counts[SlotState.PENDING],
        no_trade_bars=counts[SlotState.NO_TRADE],
        vendor_gap_bars=counts[SlotState.VENDOR_GAP],
        provisional_bars=counts[SlotState.PROVISIONAL],
        unverified_bars=counts[SlotState.UNVERIFIED],
        suspect_bars=counts[SlotState.SUSPECT],
        completeness=round((bars + counts[SlotState.NO_TRADE]) / due, 6) if due else 1.0,
        other_feed_bars=other_feed_bars.get(coverage.symbols[position].symbol_id, 0),
    )


def _format_epoch(epoch: int) -> str | None:
    return format_timestamp(to_datetime(epoch)) if epoch >= 0 else None
