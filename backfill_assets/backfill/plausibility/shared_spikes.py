"""Confirms spikes that a part of the whole market has in the same slot: a real event, and no error of single names."""

from datetime import datetime

import numpy as np

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.exchanges.profile import MarketProfile, VolumeKind
from backfill_assets.market.plausibility.price_spikes import MIN_SHARED_NAMES, Spike, find_shared_spikes
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.bars.bar_stats import count_symbols_with_bar
from backfill_assets.store.evidence.doubts import Outcome, StoredDoubt, end_doubts, list_doubts
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols

MAX_CURRENCY_MOVE = 2.0  # within a bar, and back: no currency halves and recovers at once
SHARED = "at least 1 % of the market had the same spike at that time"


def confirm_shared_spikes(connection: Connection, grid: SlotGrid, now: datetime) -> int:
    """End the spikes of the grid that the market shares; returns how many. Earlier ones of the slot count, too.

    The market is every active symbol of the grid's exchange, whichever of them a run is about.
    """
    market = grid.sessions[0].market
    symbol_ids = [symbol.symbol_id for symbol in list_symbols(connection, market.exchange)]
    days = [session.day for session in grid.sessions]
    marking = list_doubts(connection, symbol_ids, grid.interval, days[0], days[-1])
    open_spikes = [
        doubt for doubt in marking if doubt.rule is Rule.PRICE_SPIKE and doubt.outcome is not Outcome.DECIDED
    ]
    if not open_spikes:
        return 0
    first, last = min(d.session_day for d in open_spikes), max(d.session_day for d in open_spikes)
    seen = [
        doubt
        for doubt in list_doubts(connection, symbol_ids, grid.interval, first, last, with_ended=True)
        if doubt.rule is Rule.PRICE_SPIKE and doubt.outcome is not Outcome.MENDED and _may_be_real(doubt, market)
    ]
    if len({doubt.symbol_id for doubt in seen}) < MIN_SHARED_NAMES:
        return 0
    slots = sorted({doubt.first_slot for doubt in seen})
    counts = count_symbols_with_bar(connection, symbol_ids, grid.interval, slots)
    starts = np.array([int(slot.timestamp()) for slot in slots], np.int64)
    names = np.array([counts.get(slot, 0) for slot in slots], np.int64)
    is_shared = find_shared_spikes([_build_spike(doubt) for doubt in seen], starts, names)
    shared_ids = {doubt.doubt_id for doubt, shared in zip(seen, is_shared.tolist(), strict=True) if shared}
    ended = sorted(shared_ids & {doubt.doubt_id for doubt in open_spikes})
    return end_doubts(connection, ended, Outcome.CONFIRMED, SHARED, now, marks_bar=False)


def _may_be_real(doubt: StoredDoubt, market: MarketProfile) -> bool:
    """Whether a market can have the price: a feed of currencies has lows near 0 of many pairs at once."""
    before, after, low, high = (doubt.figures.get(name) for name in ("close_before", "low_after", "low", "high"))
    beside = [float(price) for price in (before, after) if price is not None]
    if market.volume_kind is not VolumeKind.NONE or low is None or high is None or not beside:
        return True
    return float(low) * MAX_CURRENCY_MOVE >= min(beside) and float(high) <= MAX_CURRENCY_MOVE * max(beside)


def _build_spike(doubt: StoredDoubt) -> Spike:
    return Spike(doubt.symbol_id, int(doubt.first_slot.timestamp()), str(doubt.figures.get("direction")))
