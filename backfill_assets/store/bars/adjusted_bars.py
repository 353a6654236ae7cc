"""Reads bars as ``backfill.adjusted_bars`` computes them, as arrays.

The arithmetic, and which actions count, is in the schema (docs/adjusted_prices.md). Raw bars are read in
``panel_reader``.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import psycopg

from backfill_assets.errors import BackfillError
from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.vendor import DateArray
from backfill_assets.store.postgres.array_reader import read_columns, to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

_SQLSTATE_OF_MISSING_FACTOR = "BF001"
_MESSAGE = re.compile(
    r"(?P<ticker>.+) before (?P<ex_date>\d{4}-\d\d-\d\d) cannot be adjusted for its (?P<kind>\S+): (?P<reason>.+)"
)
_PRICES_AND_VOLUME = ("open", "high", "low", "close", "volume")
_COLUMN_TYPES = {
    **{"symbol_id": ">i4", "start": ">i8", "session_day": ">i4"},
    **dict.fromkeys(_PRICES_AND_VOLUME, ">f8"),
    "is_final": ">i1",
}
# The moments only narrow what is read: a session date may begin on the date before in UTC, or end on the one after.
_SELECT_BARS = """
SELECT symbol_id, "timestamp" AS start, session_day, coalesce(open_price, 'NaN') AS open,
       coalesce(high_price, 'NaN') AS high, coalesce(low_price, 'NaN') AS low, coalesce(close_price, 'NaN') AS close,
       coalesce(volume, 'NaN') AS volume, is_final IS NOT FALSE AS is_final
FROM backfill.adjusted_bars(%(adjustment)s, %(point_in_time)s)
WHERE symbol_id = ANY (%(ids)s::int[]) AND interval_type = ANY (%(spellings)s::text[])
  AND "timestamp" >= %(first)s::date - interval '1 day' AND "timestamp" < %(after)s::date + interval '1 day'
  AND session_day >= %(first)s AND session_day < %(after)s
ORDER BY symbol_id, "timestamp"
"""


class MissingFactor(BackfillError):  # noqa: N818 - names what is missing
    """A bar was to be adjusted for an action whose factor is not known.

    Attributes:
        ticker: whose bar it is.
        ex_date: earlier bars need the factor.
        kind: of the action: ``split``, ``dividend``, ``spin-off``; ``splits`` or ``dividends`` were never read.
        reason: why it is not known.
    """

    def __init__(self, ticker: str, ex_date: date, kind: str, reason: str, remedy: str) -> None:
        super().__init__(f"{ticker} before {ex_date} cannot be adjusted for its {kind}: {reason}. {remedy}")
        self.ticker, self.ex_date, self.kind, self.reason = ticker, ex_date, kind, reason


@dataclass(frozen=True, eq=False)
class AdjustedBars:
    """Bars of some symbols, ordered by symbol and time; parallel arrays.

    Attributes:
        symbol_id: the ticker that they are stored under.
        start: epoch seconds, UTC.
        session_day: the date in the exchange's time zone (``datetime64[D]``).
        open: adjusted, like ``high``, ``low``, ``close`` and ``volume``; NaN where another program stored null. Volumes
            are not rounded.
        is_final: False for provisional bars.
    """

    symbol_id: Int64
    start: Int64
    session_day: DateArray
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    is_final: Bools

    def __len__(self) -> int:
        return len(self.symbol_id)


def read_adjusted_bars(
    connection: Connection,
    symbol_ids: Collection[int],
    interval: Interval,
    first: date,
    last: date,
    adjustment: Adjustment,
    point_in_time: datetime | None = None,
) -> AdjustedBars:
    """The stored bars of some symbols and session dates, also provisional and suspect ones, as they are adjusted.

    Args:
        connection: with a transaction open; it has failed after an error.
        symbol_ids: the symbols; their bars must fit into memory, 65 bytes each.
        interval: of the bars, in any of its spellings.
        first: the first session date, in the time zone of each symbol's exchange.
        last: the last one.
        adjustment: what for.
        point_in_time: the moment whose knowledge counts (UTC); None is what holds now.

    Raises:
        MissingFactor: one of the bars needs a factor that is not known.
    """
    values = {
        "adjustment": str(adjustment),
        "point_in_time": point_in_time,
        "ids": sorted(symbol_ids),
        "spellings": list(interval.spellings),
        "first": first,
        "after": last + timedelta(days=1),
    }
    with translate_missing_factor():
        columns = read_columns(connection, _SELECT_BARS, values, _COLUMN_TYPES)
    return AdjustedBars(
        symbol_id=columns["symbol_id"].astype(np.int64),
        start=to_whole_unix_seconds(columns["start"]),
        session_day=np.datetime64("2000-01-01", "D") + columns["session_day"].astype("timedelta64[D]"),
        **{name: columns[name].astype(np.float64) for name in _PRICES_AND_VOLUME},
        is_final=columns["is_final"].astype(bool),
    )


@contextmanager
def translate_missing_factor() -> Iterator[None]:
    """Turn the error of the schema's functions into ``MissingFactor``."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == _SQLSTATE_OF_MISSING_FACTOR:
            raise _build_missing_factor(error) from error
        raise


def _build_missing_factor(error: psycopg.Error) -> MissingFactor:
    """The error of the schema's functions with SQLSTATE of a missing factor as one of this package."""
    found = _MESSAGE.fullmatch(error.diag.message_primary or "")
    assert found is not None  # noqa: S101 - the schema's own function wrote it
    day = date.fromisoformat(found["ex_date"])
    return MissingFactor(found["ticker"], day, found["kind"], found["reason"], error.diag.message_hint or "")
