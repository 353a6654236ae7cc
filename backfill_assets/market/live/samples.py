"""Live samples: what one reading of the day so far is, and which readings say nothing about a session.

A *sample table* is a DataFrame with the columns of ``COLUMNS``: ``ticker`` (any integer key), ``stamp``
(the vendor's own, epoch seconds UTC), ``open high low close`` and ``volume``; all but ``close`` cover
the day up to the stamp. Absent is NaN. Building bars from samples is in ``provisional``.
"""

from datetime import datetime, timedelta
from enum import IntEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backfill_assets.market.bars.source_rows import PRICE_LIMIT, PRICES
from backfill_assets.market.calendar.sessions import Session

COLUMNS = ("ticker", "stamp", *PRICES, "volume")
AFTER_CLOSE = timedelta(hours=2)  # the vendor freezes half an hour after the close (EODHD.md §3)
CLOCKS_DIFFER = timedelta(minutes=2)
_WHOLE_LIMIT = 2.0**53


class Kind(IntEnum):
    """What a reading is.

    ``FRESH`` is a sample of the session; ``REPEAT`` one that is known already; ``OTHER_SESSION`` is
    stamped in another session, as all are before the market opens; ``ABSENT`` is the vendor's "NA";
    ``BROKEN`` cannot be (no price, high below low, a stamp in the future).
    """

    FRESH = 0
    REPEAT = 1
    OTHER_SESSION = 2
    ABSENT = 3
    BROKEN = 4


def recognise(samples: pd.DataFrame, known: pd.DataFrame, session: Session, now: datetime) -> NDArray[np.int8]:
    """The ``Kind`` of each of ``samples`` (a sample table), read at ``now``.

    ``known`` are the session's samples from before. A stamp that came before is a repeat, unless its
    volume has grown: then the minute was not over, and the newer reading counts.
    """
    stamp = samples["stamp"].to_numpy(float)
    kind = np.full(len(samples), Kind.FRESH, np.int8)
    kind[_is_repeat(samples, known)] = Kind.REPEAT
    kind[_is_broken(samples) | (stamp > (now + CLOCKS_DIFFER).timestamp())] = Kind.BROKEN
    inside = (stamp > session.open.timestamp()) & (stamp <= (session.close + AFTER_CLOSE).timestamp())
    kind[~inside & (kind != Kind.BROKEN)] = Kind.OTHER_SESSION
    kind[samples[list(COLUMNS)].isna().any(axis=1).to_numpy()] = Kind.ABSENT
    return kind


def united(known: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    """Both as one sample table, ordered by ticker and stamp, the newer reading of a stamp in place of the older."""
    both = pd.concat([known[list(COLUMNS)], fresh[list(COLUMNS)]], ignore_index=True) if len(known) else fresh
    both = both.drop_duplicates(["ticker", "stamp"], keep="last")
    return both.sort_values(["ticker", "stamp"], ignore_index=True)


def _is_repeat(samples: pd.DataFrame, known: pd.DataFrame) -> NDArray[np.bool_]:
    before = known.set_index(["ticker", "stamp"])["volume"]
    stored = before.reindex(pd.MultiIndex.from_frame(samples[["ticker", "stamp"]])).to_numpy(float)
    repeat: NDArray[np.bool_] = samples["volume"].to_numpy(float) <= stored
    return repeat


def _is_broken(samples: pd.DataFrame) -> NDArray[np.bool_]:
    prices = samples[list(PRICES)].to_numpy(float)
    volume = samples["volume"].to_numpy(float)
    broken: NDArray[np.bool_] = (
        ((prices <= 0) | (prices >= PRICE_LIMIT)).any(axis=1)
        | (samples["high"].to_numpy(float) < samples["low"].to_numpy(float))
        | (volume < 0)
        | (volume >= _WHOLE_LIMIT)
        | (volume != np.floor(volume))
    )
    return broken
