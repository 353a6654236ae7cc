"""Puts one kind of improbable data into simulated markets, as the sandbox does, and says which of it must be found.

What is promised follows from what each rule states about itself; everything else is counted, too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, SessionPanel
from backfill_assets.sandbox.oddities import Mending, OddityKind
from backfill_assets.sandbox.world.implausible_rows import (
    MAX_ROWS_SHIFTED,
    MAX_SESSIONS_BACK,
    Surroundings,
    make_implausible,
)
from backfill_assets.sandbox.world.intraday_columns import NO_ROWS, IntradayColumns
from backfill_assets.sandbox.world.oddity_draws import BEFORE_LISTING_SESSIONS, DrawnOddity
from bench.plausibility.markets import Market

_RUNS = {OddityKind.OVERNIGHT_STEP: (1, 6), OddityKind.SPLIT_WITHOUT_STEP: (1, 6), OddityKind.DOUBLED_VOLUMES: (10, 31)}
_APART = 8  # sessions from one wrong session of a symbol to the next
_PRICES = PANEL_VALUES[:4]
_REPEATED = (OddityKind.REPEATED_SESSION, OddityKind.SHIFTED_SESSION)


@dataclass(frozen=True, eq=False)
class InjectedMarket:
    """A market in which one kind of data is wrong.

    Attributes:
        kind: what is wrong.
        right: the market as it was.
        wrong: the same with wrong rows.
        lives: listing lives of the lines.
        changed: which rows are wrong, shape (lines, 78).
        occurrence: which occurrence a line belongs to, −1 if none; a doubled volume lasts for weeks, for example.
    """

    kind: OddityKind
    right: Market
    wrong: Market
    lives: ListingLives
    changed: Bools
    occurrence: Int64


def inject(rng: np.random.Generator, market: Market, kind: OddityKind) -> InjectedMarket:
    """Make every eighth session or so wrong, or each occurrence of several sessions."""
    occurrence = _CHOOSERS.get(kind, _choose_sessions)(rng, market, kind)
    values = {name: getattr(market.rows, name).copy() for name in PANEL_VALUES}
    seed = int(rng.integers(2**62))
    for line in np.flatnonzero(occurrence >= 0).tolist():
        if kind in _REPEATED:
            _repeat_session(rng, market, kind, line, values)
            continue
        drawn = DrawnOddity(kind, Mending.STANDS, (seed, int(occurrence[line])))
        present = np.flatnonzero(~np.isnan(market.rows.close[line]))
        wrong = make_implausible(drawn, _get_rows(market.rows, line), _get_surroundings(market, line))
        for name, prices in zip(_PRICES, wrong.prices, strict=True):
            values[name][line, present] = prices
        values["volume"][line, present] = wrong.volumes
    wrong_rows = replace(market.rows, **values)
    changed = _find_changed(market.rows, wrong_rows)
    lives = _list_lives(market, occurrence) if kind is OddityKind.BEFORE_LISTING else None
    if lives is not None:
        changed |= (occurrence >= 0)[:, None] & market.rows.is_present
    return InjectedMarket(
        kind,
        market,
        replace(market, rows=wrong_rows),
        lives or ListingLives.create_unknown(len(market.rows)),
        changed,
        np.where(changed.any(axis=1), occurrence, -1),
    )


def _repeat_session(
    rng: np.random.Generator, market: Market, kind: OddityKind, line: int, values: dict[str, Floats]
) -> None:
    """Serve an earlier session again, with the rows that it has, at the same times or later or earlier.

    Each row keeps its own volume; rows that had none get one of the session's others.
    """
    earlier = line - int(rng.choice([back for back in range(1, MAX_SESSIONS_BACK + 1) if back % _APART]))
    rows, size = market.rows, int(market.rows.sizes[line])
    if earlier < line - line % market.sessions or rows.sizes[earlier] < size:
        return
    is_shifted = kind is OddityKind.SHIFTED_SESSION
    shift = int(rng.integers(1, MAX_ROWS_SHIFTED + 1)) * int(rng.choice((-1, 1))) if is_shifted else 0
    columns = np.arange(max(0, -shift), min(size, size - shift))
    for name in _PRICES:
        values[name][line] = np.nan
        values[name][line, columns] = getattr(rows, name)[earlier, columns + shift]
    present = ~np.isnan(values["close"][line])
    own = rows.volume[line]
    drawn = rng.choice(own[~np.isnan(own)], len(own))
    values["volume"][line] = np.where(present, np.where(np.isnan(own), drawn, own), np.nan)


def _find_changed(right: SessionPanel, wrong: SessionPanel) -> Bools:
    changed: Bools = np.zeros(right.close.shape, bool)
    for name in PANEL_VALUES:
        before, after = getattr(right, name), getattr(wrong, name)
        changed |= (before != after) & ~np.isnan(after)
    return changed


def _get_rows(panel: SessionPanel, line: int) -> IntradayColumns:
    present = np.flatnonzero(~np.isnan(panel.close[line]))
    prices = np.stack([getattr(panel, name)[line, present] for name in _PRICES])
    stamps = panel.opens[line] + present * panel.seconds
    return IntradayColumns(stamps, prices, panel.volume[line, present].astype(np.int64))


def _get_surroundings(market: Market, line: int) -> Surroundings:
    first = line - line % market.sessions
    days, position = market.days, line
    ratios = days.split_ratio[first : first + market.sessions]
    at = np.flatnonzero(ratios != 1)

    def get_rows_before(count: int) -> IntradayColumns:
        return _get_rows(market.rows, position - count) if position - count >= first else NO_ROWS

    before = market.rows.close[line - 1][~np.isnan(market.rows.close[line - 1])] if line > first else np.zeros(0)
    opened = market.rows.open[line][~np.isnan(market.rows.open[line])]
    close_before = before[-1] if len(before) else opened[0] if len(opened) else 1.0
    return Surroundings(float(close_before), float(ratios[at[0]]) if len(at) else 1.0, get_rows_before)


def _choose_sessions(rng: np.random.Generator, market: Market, _: OddityKind) -> Int64:
    """Every eighth session of a symbol, from a first one that is drawn."""
    symbols = len(market.rows) // market.sessions
    chosen = (np.arange(market.sessions) - rng.integers(0, _APART, (symbols, 1))) % _APART == 0
    chosen &= market.rows.is_present.any(axis=1).reshape(symbols, -1)
    return np.where(chosen.ravel(), np.arange(len(market.rows)), -1)


def _choose_runs(rng: np.random.Generator, market: Market, kind: OddityKind) -> Int64:
    """One run of sessions for each symbol, with 20 sessions before it where the symbol has so many."""
    symbols = len(market.rows) // market.sessions
    length = rng.integers(*_RUNS[kind], symbols)[:, None]
    before = min(20, market.sessions // 2)
    first = before + (rng.random((symbols, 1)) * np.maximum(market.sessions - before - length, 1)).astype(np.int64)
    if kind is OddityKind.SPLIT_WITHOUT_STEP:
        first = _find_splits(market)[:, None]
    session = np.arange(market.sessions)
    chosen = (session >= first) & (session < first + length) & (first > 0)
    return np.where(chosen.ravel(), np.repeat(np.arange(symbols), market.sessions), -1)


def _choose_before_listing(_: np.random.Generator, market: Market, __: OddityKind) -> Int64:
    symbols = len(market.rows) // market.sessions
    chosen = np.tile(np.arange(market.sessions) < min(BEFORE_LISTING_SESSIONS, market.sessions // 2), symbols)
    return np.where(chosen, np.repeat(np.arange(symbols), market.sessions), -1)


_CHOOSERS: dict[OddityKind, Callable[[np.random.Generator, Market, OddityKind], Int64]] = {
    OddityKind.OVERNIGHT_STEP: _choose_runs,
    OddityKind.SPLIT_WITHOUT_STEP: _choose_runs,
    OddityKind.DOUBLED_VOLUMES: _choose_runs,
    OddityKind.BEFORE_LISTING: _choose_before_listing,
}


def _find_splits(market: Market) -> Int64:
    """Position of each symbol's split among its sessions, 0 without one."""
    position: Int64 = (market.days.split_ratio.reshape(-1, market.sessions) != 1).argmax(axis=1)
    return position


def _list_lives(market: Market, occurrence: Int64) -> ListingLives:
    """Each symbol is listed from the first session that is right."""
    days = (market.rows.opens // 86_400).astype("datetime64[D]").reshape(-1, market.sessions)
    listed = (occurrence < 0).reshape(days.shape).argmax(axis=1)
    first = np.repeat(days[np.arange(len(days)), listed], market.sessions)
    return replace(ListingLives.create_unknown(len(first)), first_day=first)
