"""The data-quality report: one row a symbol over a window, as plain values.

What a row means is DESIGN.md, "Report fields". Turning rows into text is in ``formats``.
"""

from dataclasses import asdict, dataclass
from typing import Any

from backfill_assets.market.calendar.timestamps import format_timestamp, to_datetime
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import STORED_STATES, SlotState


@dataclass(frozen=True, slots=True)
class SymbolReport:
    """How complete one symbol is over the window; counts are slots, stamps UTC and within it."""

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
        """The row as JSON shows it."""
        return asdict(self)


def build_symbol_reports(coverage: Coverage) -> list[SymbolReport]:
    """One row per symbol of the coverage, by symbol."""
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
