"""Rows of a market that never closes at night: each depends on seed, ticker, interval and stamp only.

So any range costs what it is long, and nothing is kept. When rows appear is in ``endpoints.clock_archive``.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.sandbox.around_the_clock import AroundTheClock, ClockVolumes
from backfill_assets.sandbox.world.intraday_columns import (
    NO_ROWS,
    NULL_VOLUME,
    IntradayColumns,
    concatenate_rows,
    make_flat_row,
    sort_by_timestamp,
)
from backfill_assets.sandbox.world.minute_paths import truncate_to_float32
from backfill_assets.sandbox.world.random_draws import draw_unit, draw_units, hash_parts
from backfill_assets.sandbox.world.session_index import SessionIndex

STEP_SECONDS = {"1m": 60, "5m": 300, "1h": 3600}
DAY_SECONDS = 86400
_NEW_YORK = ZoneInfo("America/New_York")
_REPEATED_HOUR = (3600, 7200)  # seconds of the day
_OFF_GRID_SECOND = 3 * 3600 + 29 * 60
_PERIODS = np.array([0.7, 5.0, 31.0, 290.0, 2100.0])[:, None]  # hours
_AMPLITUDES = np.array([0.02, 0.06, 0.16, 0.4, 1.0])[:, None]  # of the swing
_SMALL_PRICE, _SMALL_DIGITS = 0.01, 8
_VOLUME_UNIT = 1024  # observed: every volume is a multiple, since it is the difference of two 32-bit floats
_DRAWS = 8  # numbers per row: four of prices, then volume, its absence, the row's, and an oddity


class ClockRows:
    """The rows of one market's pairs, in published order; ``session_index`` says when it is open."""

    def __init__(self, traits: AroundTheClock, seed: int, session_index: SessionIndex) -> None:
        self._traits, self._seed, self._session_index = traits, seed, session_index
        self._get_phases = lru_cache(maxsize=None)(self._draw_phases)

    def build(self, symbol: str, interval: str, start: int, end: int) -> IntradayColumns:
        """Build the rows with stamps in ``[start, end]``, epoch seconds."""
        if (symbol, interval) in self._traits.missing:
            return NO_ROWS
        ended = self._traits.ended.get((symbol, interval))
        if ended is not None:
            end = min(end, _find_midnight(ended) - 1)
        step = STEP_SECONDS[interval]
        stamps = np.arange(-(-start // step) * step, end + 1, step, dtype=np.int64)
        if len(stamps) == 0:
            return NO_ROWS
        rows = self._draw(symbol, interval, stamps, "")
        extra = [*self._repeat_hours(symbol, interval, stamps), *self._add_off_grid(symbol, interval, start, end)]
        return sort_by_timestamp(concatenate_rows(rows, *extra)) if extra else rows

    def _draw(self, symbol: str, interval: str, stamps: Int64, purpose: str) -> IntradayColumns:
        traits, step = self._traits, STEP_SECONDS[interval]
        key = np.array([hash_parts(self._seed, "clock rows", symbol, interval, purpose)], np.uint64)
        drawn = draw_units(key, stamps // 60, _DRAWS)
        moments, is_closed = self._stop_while_closed(stamps)
        noise = np.where(is_closed, traits.closed_noise, traits.noise.get(interval, 0.0))
        prices = self._draw_prices(symbol, moments, step, noise, drawn)
        lows = traits.near_zero_lows.get(interval, 0.0)
        prices[2] = np.where(drawn[7] < lows, prices[2] * 1e-4, prices[2])
        prices = self._round(prices)
        is_zero = is_closed & ((drawn[7] > 1.0 - traits.zero_rows) | self._is_repeated(stamps))
        prices[:, is_zero if traits.zero_rows else np.zeros(len(stamps), bool)] = 0.0
        volumes = self._draw_volumes(symbol, drawn)
        is_null = drawn[6] > 1.0 - traits.null_rows
        prices[:, is_null], volumes[is_null] = np.nan, NULL_VOLUME
        return IntradayColumns(stamps, prices, volumes).select(drawn[6] >= traits.absent_rows)

    def _draw_prices(self, symbol: str, moments: Int64, step: int, noise: Floats, drawn: Floats) -> Floats:
        opens, closes = (self._compute_path(symbol, at) for at in (moments, moments + step))
        opens, closes = opens * (1 + noise * (drawn[0] - 0.5)), closes * (1 + noise * (drawn[1] - 0.5))
        highs = np.maximum(opens, closes) * (1 + noise * np.maximum(drawn[2] - 0.4, 0))
        lows = np.minimum(opens, closes) * (1 - noise * np.maximum(drawn[3] - 0.4, 0))
        return np.stack([opens, highs, lows, closes])

    def _compute_path(self, symbol: str, moments: Int64) -> Floats:
        phases, price = self._get_phases(symbol)
        waves = _AMPLITUDES * np.sin(2 * np.pi * (moments / 3600.0 / _PERIODS + phases))
        path: Floats = price * np.exp(self._traits.swing * waves.sum(axis=0))
        return path

    def _draw_phases(self, symbol: str) -> tuple[Floats, float]:
        """The phases of the waves, shape (waves, 1), and the typical price."""
        phases = np.array([[draw_unit(self._seed, "phase", symbol, wave)] for wave in range(len(_PERIODS))])
        drawn_price = float(np.exp(6.0 * draw_unit(self._seed, "price", symbol) - 2.0))
        return phases, self._traits.prices.get(symbol, drawn_price)

    def _stop_while_closed(self, stamps: Int64) -> tuple[Int64, Bools]:
        """The moments whose prices rows have, and whether the market is closed: then prices stand still."""
        index = self._session_index
        at = np.searchsorted(index.opens, stamps, side="right") - 1
        is_closed = (at < 0) | (stamps >= index.closes[np.maximum(at, 0)])
        return np.where(is_closed & (at >= 0), index.closes[np.maximum(at, 0)], stamps), is_closed

    def _round(self, prices: Floats) -> Floats:
        digits = np.floor(np.log10(np.maximum(prices, 1e-12)))
        scale = 10.0 ** (_SMALL_DIGITS - 1 - digits)
        rounded = np.round(prices, self._traits.decimals)
        usual = truncate_to_float32(rounded) if self._traits.decimals > 5 else rounded
        result: Floats = np.where(prices < _SMALL_PRICE, np.round(prices * scale) / scale, usual)
        return result

    def _draw_volumes(self, symbol: str, drawn: Floats) -> Int64:
        if self._traits.volumes is ClockVolumes.QUOTE_CURRENCY:
            size = 1.0 + 2.0 * draw_unit(self._seed, "size", symbol)
            volumes = _VOLUME_UNIT * (10.0 ** (size + 2.5 * drawn[4])).astype(np.int64)
        else:
            volumes = (1 + 300 * drawn[4]).astype(np.int64)
        hidden: Int64 = np.where(drawn[5] < self._traits.null_volumes, NULL_VOLUME, volumes)
        return hidden

    def _is_repeated(self, stamps: Int64) -> Bools:
        """Whether stamps lie in the hour that the change of clocks in New York disturbs."""
        days, seconds = np.divmod(stamps, DAY_SECONDS)
        changes = [day for day in np.unique(days).tolist() if _has_clock_change(day)]
        disturbed: Bools = np.isin(days, changes) & (seconds >= _REPEATED_HOUR[0]) & (seconds < _REPEATED_HOUR[1])
        return disturbed

    def _repeat_hours(self, symbol: str, interval: str, stamps: Int64) -> list[IntradayColumns]:
        repeated = stamps[self._is_repeated(stamps)] if self._traits.repeats_hour else stamps[:0]
        return [self._draw(symbol, interval, repeated, "again")] if len(repeated) else []

    def _add_off_grid(self, symbol: str, interval: str, start: int, end: int) -> list[IntradayColumns]:
        if interval != "5m" or not self._traits.off_grid_days:
            return []
        days = range(start // DAY_SECONDS, end // DAY_SECONDS + 1)
        stamps = [
            day * DAY_SECONDS + _OFF_GRID_SECOND
            for day in days
            if draw_unit(self._seed, "off grid", symbol, day) < self._traits.off_grid_days
        ]
        return [self._make_flat(symbol, stamp) for stamp in stamps if start <= stamp <= end]

    def _make_flat(self, symbol: str, stamp: int) -> IntradayColumns:
        price = self._round(self._compute_path(symbol, np.array([stamp], np.int64))[None, :])
        return make_flat_row(stamp, float(price[0, 0]))


@lru_cache(maxsize=4096)
def _has_clock_change(day: int) -> bool:
    """Whether New York's clocks change on a UTC day, counted from 1970."""
    noon = datetime.fromtimestamp(day * DAY_SECONDS + DAY_SECONDS // 2, UTC)
    before = noon - timedelta(days=1)
    return noon.astimezone(_NEW_YORK).utcoffset() != before.astimezone(_NEW_YORK).utcoffset()


def _find_midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
