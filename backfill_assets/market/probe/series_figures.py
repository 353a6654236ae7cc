"""Counts what one symbol's rows show, whatever market they are of. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.probe.answers import AnsweredRows
from backfill_assets.market.probe.questions import is_weekend, to_day

FLOAT_STEP = 1024.0  # volumes of 32 bits in dollars, as recorded of crypto, are multiples of it
NEAR_ZERO = 0.1  # of the row's own open: no currency falls so far and comes back within a row


@dataclass(frozen=True, slots=True)
class SeriesFigures:
    """Counts of the rows of a series; those without any price are ``without_prices`` only.

    Attributes:
        symbol: without its exchange.
        interval: of the rows.
        days: the first and the last day (UTC) that were asked for.
        is_recent: whether they reach up to the request, so that the newest row tells how far the vendor is.
        rows: how many came.
        age: from the end of the newest row with a price until the request; None: there is none.
        without_prices: rows of nulls.
        null_flat: without a volume, at one price.
        null_moving: without a volume, at several prices.
        with_volume: with a volume above 0.
        fractional: with a fraction in the volume.
        in_float_steps: with a volume that is a multiple of 1,024.
        off_grid: at a time that is not one of the interval.
        repeated: at a time that another row has, too.
        weekend: while no currency is traded.
        weekend_moving: those of them at several prices.
        zero_prices: with a price of 0.
        near_zero_lows: with a low far below the open.
    """

    symbol: str
    interval: str
    days: tuple[date, date]
    is_recent: bool
    rows: int
    age: timedelta | None
    without_prices: int
    null_flat: int
    null_moving: int
    with_volume: int
    fractional: int
    in_float_steps: int
    off_grid: int
    repeated: int
    weekend: int
    weekend_moving: int
    zero_prices: int
    near_zero_lows: int

    @property
    def name(self) -> str:
        """``EURUSD 1m``."""
        return f"{self.symbol} {self.interval}"


def count_series(answer: AnsweredRows) -> SeriesFigures:
    """Count the rows of an answer."""
    rows, seconds = answer.rows, INTERVALS[answer.interval].seconds
    prices: Floats = np.column_stack([rows.open, rows.high, rows.low, rows.close]).reshape(-1, 4)
    has_prices = ~np.isnan(prices).any(axis=1)
    is_null = has_prices & np.isnan(rows.volume)
    is_moving = has_prices & (prices.max(axis=1, initial=-np.inf) > prices.min(axis=1, initial=np.inf))
    volume = np.where(has_prices, np.nan_to_num(rows.volume), 0.0)
    weekend = np.array([is_weekend(to_datetime(stamp)) for stamp in rows.timestamp.tolist()], bool)
    with np.errstate(invalid="ignore"):
        is_zero, is_near_zero = prices.min(axis=1, initial=np.inf) <= 0, rows.low < NEAR_ZERO * rows.open
    return SeriesFigures(
        symbol=answer.symbol,
        interval=answer.interval,
        days=(to_day(answer.first), to_day(answer.last)),
        is_recent=answer.asked_at - answer.last < timedelta(days=1),
        rows=len(rows),
        age=_compute_age(rows.timestamp[has_prices], seconds, answer.asked_at),
        without_prices=int((~has_prices).sum()),
        null_flat=int((is_null & ~is_moving).sum()),
        null_moving=int((is_null & is_moving).sum()),
        with_volume=int((volume > 0).sum()),
        fractional=int((volume != np.floor(volume)).sum()),
        in_float_steps=int(((volume > 0) & (volume % FLOAT_STEP == 0)).sum()),
        off_grid=int((rows.timestamp % seconds != 0).sum()),
        repeated=len(rows) - len(np.unique(rows.timestamp)),
        weekend=int(weekend.sum()),
        weekend_moving=int((weekend & is_moving).sum()),
        zero_prices=int((has_prices & is_zero).sum()),
        near_zero_lows=int((has_prices & ~is_zero & is_near_zero).sum()),
    )


def _compute_age(stamps: Int64, seconds: int, asked_at: datetime) -> timedelta | None:
    return asked_at - to_datetime(int(stamps.max()) + seconds) if len(stamps) else None
