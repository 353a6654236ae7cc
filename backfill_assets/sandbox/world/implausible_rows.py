"""Puts improbable values into the rows of a session. Which sessions are affected is drawn in ``oddity_draws``.

Functions change the 5m rows; 1m follows from them in ``carry_to_minutes``. They keep the number of rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.sandbox.oddities import Mending, OddityKind
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns, concatenate_rows, sort_by_timestamp
from backfill_assets.sandbox.world.minute_paths import FIVE_MINUTES, truncate_to_float32
from backfill_assets.sandbox.world.oddity_draws import SHARE_RATIOS, DrawnOddity

MAX_ROWS_SHIFTED = 12
MAX_SESSIONS_BACK = 20
_REPEATED = (OddityKind.REPEATED_SESSION, OddityKind.SHIFTED_SESSION)
_POWERS_OF_TEN = (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001)
_LOWEST_SCALED_PRICE = 0.05
_BEFORE_LISTING_FACTOR = 0.1
# The ratio of inexact running totals to the exact ones, as bounds.
_TOTAL_FACTORS = {
    OddityKind.EXACT_RUNNING_TOTALS: (1.0, 1.0),
    OddityKind.SLIPPING_RUNNING_TOTALS: (0.985, 1.0),
    OddityKind.EXCESSIVE_RUNNING_TOTALS: (1.0, 2.0),
    OddityKind.UNSTEADY_RUNNING_TOTALS: (0.6, 1.4),
    OddityKind.LONE_RUNNING_TOTAL: (0.5, 1.2),
}


@dataclass(frozen=True)
class Surroundings:
    """What the wrong values of a session may be taken from.

    Attributes:
        close_before: official close of the session before, at that day's prices.
        split_ratio: of the ticker's latest split, new shares per old one; 1 without one.
        get_rows_before: gets the 5m rows so many sessions before; empty if the ticker was not listed.
    """

    close_before: float
    split_ratio: float
    get_rows_before: Callable[[int], IntradayColumns]


def make_implausible(drawn: DrawnOddity, rows: IntradayColumns, surroundings: Surroundings) -> IntradayColumns:
    """Make the wrong 5m rows of a session from the right ones with a trade; the stamps stay."""
    if len(rows) == 0:
        return rows
    rng, kind = drawn.make_generator(), drawn.kind
    if kind in _TOTAL_FACTORS:
        return _replace(rows, volumes=_accumulate(rng, kind, rows.volumes))
    if kind is OddityKind.DOUBLED_VOLUMES:
        return _replace(rows, volumes=2 * rows.volumes)
    if kind is OddityKind.FROZEN_SESSION:
        prices = truncate_to_float32(np.full(rows.prices.shape, surroundings.close_before))
        return _replace(rows, prices=prices, volumes=np.zeros_like(rows.volumes))
    if kind in _REPEATED:
        return _replace(rows, prices=_repeat(rng, rows, surroundings, is_shifted=kind is OddityKind.SHIFTED_SESSION))
    return _replace(rows, prices=_publish_prices(rows, _PRICE_CHANGES[kind](rng, rows, surroundings)))


def find_changed(right: IntradayColumns, wrong: IntradayColumns) -> Bools:
    """Find the rows in which a price or the volume is wrong, shape (rows,)."""
    changed: Bools = (right.prices != wrong.prices).any(axis=0) | (right.volumes != wrong.volumes)
    return changed


def carry_to_minutes(
    minutes: IntradayColumns, right: IntradayColumns, wrong: IntradayColumns, mending: Mending
) -> IntradayColumns:
    """Make the 1m rows of a session whose 5m rows are wrong.

    1m has no rows there, or one row for each wrong 5m row with its values (``Mending.BOTH_FEEDS``).
    """
    if mending is Mending.OTHER_FEED:
        return minutes
    changed = wrong.select(find_changed(right, wrong))
    windows = minutes.timestamps - minutes.timestamps % FIVE_MINUTES
    others = minutes.select(~np.isin(windows, changed.timestamps))
    return sort_by_timestamp(concatenate_rows(others, changed)) if mending is Mending.BOTH_FEEDS else others


def compute_factor(right: IntradayColumns, wrong: IntradayColumns) -> float:
    """Compute the ratio of wrong to right that is furthest from 1: of prices, of volumes if no price is wrong."""
    is_price = bool((right.prices != wrong.prices).any())
    ratios = wrong.prices / right.prices if is_price else wrong.volumes / np.maximum(right.volumes, 1)
    distance = np.abs(np.log(np.maximum(ratios, 1e-9)))
    return float(ratios.ravel()[int(distance.argmax())])


def _replace(rows: IntradayColumns, prices: Floats | None = None, volumes: Int64 | None = None) -> IntradayColumns:
    return IntradayColumns(
        rows.timestamps, rows.prices if prices is None else prices, rows.volumes if volumes is None else volumes
    )


def _publish_prices(rows: IntradayColumns, prices: Floats) -> Floats:
    """Convert the prices that are not those of ``rows`` as the vendor does; they stay above 0."""
    published: Floats = np.where(prices == rows.prices, prices, np.maximum(truncate_to_float32(prices), 1e-4))
    return published


def _accumulate(rng: np.random.Generator, kind: OddityKind, volumes: Int64) -> Int64:
    """Give some rows a running total; a single one has ten rows before it and one after it."""
    is_lone = kind is OddityKind.LONE_RUNNING_TOTAL
    candidates = np.arange(10, len(volumes) - 1) if is_lone else np.arange(1, len(volumes))
    chosen = rng.permutation(candidates)[: 1 if is_lone else int(rng.integers(6, 13))]
    totals = np.cumsum(np.maximum(volumes, 0))[chosen] * rng.uniform(*_TOTAL_FACTORS[kind], len(chosen))
    result = volumes.copy()
    result[chosen] = np.maximum(totals, 1).astype(np.int64)
    return result


def _spike_field(rng: np.random.Generator, rows: IntradayColumns, _: Surroundings) -> Floats:
    """One price of one row; high or low follow where it would leave the row's range."""
    at, field, factor = _choose_row(rng, len(rows)), int(rng.integers(4)), _draw_spike(rng)
    size = max(factor, 1 / factor)
    factor = size if field == 1 else 1 / size if field == 2 else factor
    prices = rows.prices.copy()
    prices[field, at] *= factor
    return _widen(prices, at)


def _spike_row(rng: np.random.Generator, rows: IntradayColumns, _: Surroundings) -> Floats:
    prices = rows.prices.copy()
    prices[:, _choose_row(rng, len(rows))] *= _draw_spike(rng)
    return prices


def _open_at_close_before(_: np.random.Generator, rows: IntradayColumns, surroundings: Surroundings) -> Floats:
    prices = rows.prices.copy()
    prices[0, 0] = surroundings.close_before
    return _widen(prices, 0)


def _scale_rows(rng: np.random.Generator, rows: IntradayColumns, _: Surroundings) -> Floats:
    length = int(rng.integers(3, 21))
    first = int(rng.integers(0, max(len(rows) - length, 1)))
    return _scale(rng, rows.prices, slice(first, first + length))


def _scale_from_row(rng: np.random.Generator, rows: IntradayColumns, _: Surroundings) -> Floats:
    return _scale(rng, rows.prices, slice(int(rng.integers(1, max(len(rows), 2))), None))


def _repeat(rng: np.random.Generator, rows: IntradayColumns, surroundings: Surroundings, *, is_shifted: bool) -> Floats:
    earlier = surroundings.get_rows_before(int(rng.integers(1, MAX_SESSIONS_BACK + 1)))
    rows_later = int(rng.integers(1, MAX_ROWS_SHIFTED + 1)) * int(rng.choice((-1, 1))) if is_shifted else 0
    return _take_prices(rows, earlier, rows_later)


def _step_overnight(rng: np.random.Generator, rows: IntradayColumns, _: Surroundings) -> Floats:
    return rows.prices * float(rng.choice(SHARE_RATIOS))


def _ignore_split(_: np.random.Generator, rows: IntradayColumns, surroundings: Surroundings) -> Floats:
    return rows.prices * surroundings.split_ratio


def _trade_before_listing(_: np.random.Generator, rows: IntradayColumns, __: Surroundings) -> Floats:
    return rows.prices * _BEFORE_LISTING_FACTOR


_PRICE_CHANGES: dict[OddityKind, Callable[[np.random.Generator, IntradayColumns, Surroundings], Floats]] = {
    OddityKind.FIELD_SPIKE: _spike_field,
    OddityKind.ROW_SPIKE: _spike_row,
    OddityKind.STALE_OPEN: _open_at_close_before,
    OddityKind.SCALED_ROWS: _scale_rows,
    OddityKind.SCALED_FROM_ROW: _scale_from_row,
    OddityKind.OVERNIGHT_STEP: _step_overnight,
    OddityKind.SPLIT_WITHOUT_STEP: _ignore_split,
    OddityKind.BEFORE_LISTING: _trade_before_listing,
}


def _choose_row(rng: np.random.Generator, count: int) -> int:
    drawn = rng.random()
    return 0 if drawn < 0.1 else count - 1 if drawn < 0.2 else int(rng.integers(count))


def _draw_spike(rng: np.random.Generator) -> float:
    factor = float(np.exp(rng.uniform(np.log(1.02), np.log(100.0))))
    return factor if rng.random() < 0.5 else 1 / factor


def _widen(prices: Floats, at: int) -> Floats:
    """Make high and low hold the row's other prices."""
    prices[1, at], prices[2, at] = prices[:, at].max(), prices[:, at].min()
    return prices


def _scale(rng: np.random.Generator, prices: Floats, chosen: slice) -> Floats:
    factor = float(rng.choice(_POWERS_OF_TEN + SHARE_RATIOS))
    if float(prices[:, chosen].min()) * factor < _LOWEST_SCALED_PRICE:
        factor = 1 / factor
    result = prices.copy()
    result[:, chosen] *= factor
    return result


def _take_prices(rows: IntradayColumns, earlier: IntradayColumns, rows_later: int) -> Floats:
    """Take the prices of the earlier rows at the same time of day, or so many rows later; others stay.

    Time of day counts from the first row of each session.
    """
    if len(earlier) == 0:
        return rows.prices
    wanted = rows.timestamps - rows.timestamps[0] + rows_later * FIVE_MINUTES
    offsets = earlier.timestamps - earlier.timestamps[0]
    at = np.minimum(np.searchsorted(offsets, wanted), len(offsets) - 1)
    return np.where(offsets[at] == wanted, earlier.prices[:, at], rows.prices)
