"""Applies the rules of plausibility to simulated markets as it is done in operation.

The vendor's rows are judged when they arrive, before anything is known of their days. When the days are settled, they
confirm some of those doubts, and the stored bars are judged.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.judgement import Form, JudgedPanel, find_doubts, select_judgements
from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.market.plausibility.price_spikes import Spike, find_shared_spikes
from backfill_assets.market.plausibility.row_rules import find_row_doubts
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.market.plausibility.settlement import DoubtedVolumes, is_price_confirmed, weigh_volumes
from bench.plausibility.markets import ROWS_OF_BAR, Market, aggregate_panel, get_grid


@dataclass(frozen=True, eq=False)
class JudgedMarket:
    """The doubts about a market.

    Attributes:
        doubts: those that mark bars.
        lines: the line of each.
        marked: the 5m rows that lie in a doubt, shape (lines, 78).
    """

    doubts: Sequence[Doubt]
    lines: Sequence[int]
    marked: Bools


def judge_on_arrival(market: Market, *, together: bool = False) -> JudgedMarket:
    """Judge the vendor's rows before their days are known.

    Each session comes in an answer of its own, as on usual days, or all of a symbol ``together``, as in a backfill.
    """
    rows = market.rows
    if together:
        return _make_judged(market, find_row_doubts(rows, DayFigures.create_unknown(len(rows))), [])
    alone = replace(rows, symbol_id=np.arange(len(rows)))
    found = find_row_doubts(alone, DayFigures.create_unknown(len(rows)))
    doubts = [replace(doubt, symbol_id=int(rows.symbol_id[doubt.symbol_id])) for doubt in found]
    return _make_judged(market, doubts, [])


def judge_when_settled(market: Market, arrived: JudgedMarket, lives: ListingLives) -> JudgedMarket:
    """Settle the doubts of the rows by their days and the market, and judge the stored bars."""
    bars = _withhold(aggregate_panel(market.rows), arrived)
    unshared = _drop_shared(arrived, bars)
    kept = _drop_confirmed(bars, market.days, unshared)
    given = JudgedPanel(bars, market.days, lives, np.ones(len(bars), bool))
    stored = find_doubts(given, select_judgements(Form.STORED, only=True))
    return _make_judged(market, kept, stored)


def mark_bars(marked_rows: Bools) -> Bools:
    """Mark the bars with a marked row, shape (lines, 13): a doubt makes the whole bar suspect."""
    marked: Bools = marked_rows.reshape(len(marked_rows), -1, ROWS_OF_BAR).any(axis=2)
    return marked


def _withhold(bars: SessionPanel, arrived: JudgedMarket) -> SessionPanel:
    """Take out of the bars' volumes what the rows prove not to be theirs."""
    volume = bars.volume.copy()
    for doubt, line in zip(arrived.doubts, arrived.lines, strict=True):
        volume[line, (doubt.first_stamp - int(bars.opens[line])) // bars.seconds] -= doubt.withheld_volume
    return replace(bars, volume=volume)


def _drop_confirmed(bars: SessionPanel, days: DayFigures, arrived: JudgedMarket) -> list[Doubt]:
    """Drop the doubts of rows that their settled days confirm; the volumes of a session are weighed together."""
    kept, volumes = [], defaultdict[int, list[Doubt]](list)
    for doubt, line in zip(arrived.doubts, arrived.lines, strict=True):
        if doubt.rule is Rule.VOLUME_RUNNING_TOTAL and not doubt.withheld_volume:
            volumes[line].append(doubt)
        elif not is_price_confirmed(doubt.rule, doubt.figures, days, line):
            kept.append(doubt)
    for line, doubts in volumes.items():
        doubted = [DoubtedVolumes(doubt.first_stamp, doubt.figures) for doubt in doubts]
        verdicts = weigh_volumes(doubted, bars, days, line)
        kept += [doubt for doubt, verdict in zip(doubts, verdicts, strict=True) if not verdict.is_confirmed]
    return kept


def _drop_shared(arrived: JudgedMarket, bars: SessionPanel) -> JudgedMarket:
    """Drop the spikes that a part of the market shares."""
    starts = get_grid().starts
    of_spikes = [doubt for doubt in arrived.doubts if doubt.rule is Rule.PRICE_SPIKE]
    spikes = [Spike(doubt.symbol_id, doubt.first_stamp, str(doubt.figures["direction"])) for doubt in of_spikes]
    names = np.full(len(starts), len(np.unique(bars.symbol_id)))
    is_shared = iter(find_shared_spikes(spikes, starts, names).tolist())
    kept = [
        (doubt, line)
        for doubt, line in zip(arrived.doubts, arrived.lines, strict=True)
        if doubt.rule is not Rule.PRICE_SPIKE or not next(is_shared)
    ]
    return replace(arrived, doubts=[doubt for doubt, _ in kept], lines=[line for _, line in kept])


def _make_judged(market: Market, of_rows: Sequence[Doubt], of_bars: Sequence[Doubt]) -> JudgedMarket:
    """Every session of a symbol in the panel has one line, without gaps between them."""
    rows, doubts = market.rows, [*of_rows, *of_bars]
    firsts = np.searchsorted(rows.symbol_id, np.array([doubt.symbol_id for doubt in doubts], np.int64))
    lines = [
        first + doubt.session - int(rows.session[first]) for first, doubt in zip(firsts.tolist(), doubts, strict=True)
    ]
    marked = np.zeros(rows.close.shape, bool)
    seconds = [rows.seconds] * len(of_rows) + [rows.seconds * ROWS_OF_BAR] * len(of_bars)
    for doubt, line, length in zip(doubts, lines, seconds, strict=True):
        begin = (doubt.first_stamp - int(rows.opens[line])) // rows.seconds
        end = (doubt.last_stamp + length - int(rows.opens[line])) // rows.seconds
        marked[line, max(begin, 0) : end] = True
    return JudgedMarket(doubts, lines, marked & rows.is_present)
