"""The data-quality report: one row for each symbol over a window, as plain values.

``report_formats`` turns rows into text.
"""

from dataclasses import asdict, dataclass
from typing import Any

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
        suspect_bars: bars that lack vendor rows, or that are built around a rejected one (docs/states.md).
        completeness: (bars + no_trade) / (expected − pending), 0 to 1; 1 if nothing is due.
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

    def as_dict(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return asdict(self)


def build_symbol_reports(coverage: Coverage) -> list[SymbolReport]:
    """One row for each symbol of the coverage, in its order."""
    return [_build_row(coverage, position) for position in range(len(coverage.symbols))]


def _build_row(coverage: Coverage, position: int) -> SymbolReport:
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
    )


def _format_epoch(epoch: int) -> str | None:
    return format_timestamp(to_datetime(epoch)) if epoch >= 0 else None
