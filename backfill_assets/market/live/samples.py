"""Live samples: live quotes of a session, each with the day's prices and volume so far.

A *sample table* is a DataFrame with the columns of ``SAMPLE_COLUMNS``: ``symbol_id`` (any integer key), ``stamp``
(the vendor's time of the quote, epoch seconds UTC), ``open high low close`` and ``volume``. All but ``close``, the last
price, cover the day up to the stamp. Absent values are NaN. Building bars from samples is in ``provisional_bars``.
"""

from datetime import datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from backfill_assets.market.arrays import Bools, Int8
from backfill_assets.market.bars.source_rows import PRICE_LIMIT, PRICES
from backfill_assets.market.calendar.sessions import Session

if TYPE_CHECKING:  # slow to load, and only what samples live quotes needs it
    import pandas as pd

SAMPLE_COLUMNS = ("symbol_id", "stamp", *PRICES, "volume")
MAX_STAMP_AFTER_CLOSE = timedelta(hours=2)  # examples stop half an hour after the close (docs/vendor.md §3.4)
CLOCK_TOLERANCE = timedelta(minutes=2)
_VOLUME_LIMIT = 2.0**53


class SampleKind(IntEnum):
    """What a live quote is.

    ``FRESH`` is a new sample of the session. ``REPEAT`` is already known. ``OTHER_SESSION`` is stamped in another
    session, as all quotes are before the open. ``ABSENT`` is the vendor's "NA". ``BROKEN`` is invalid: a price that is
    not positive, a high below the low, a stamp in the future.
    """

    FRESH = 0
    REPEAT = 1
    OTHER_SESSION = 2
    ABSENT = 3
    BROKEN = 4


def classify_samples(samples: "pd.DataFrame", known_samples: "pd.DataFrame", session: Session, now: datetime) -> Int8:
    """The ``SampleKind`` of each of ``samples`` (a sample table), read at ``now``; shape (samples,).

    ``known_samples`` are the session's earlier samples. A quote with a known stamp is a repeat, unless its volume has
    grown: then the minute was not over, and the newer quote counts.
    """
    stamp = samples["stamp"].to_numpy(float)
    kind = np.full(len(samples), SampleKind.FRESH, np.int8)
    kind[_is_repeat(samples, known_samples)] = SampleKind.REPEAT
    kind[_is_broken(samples) | (stamp > (now + CLOCK_TOLERANCE).timestamp())] = SampleKind.BROKEN
    in_session = (stamp > session.open.timestamp()) & (stamp <= (session.close + MAX_STAMP_AFTER_CLOSE).timestamp())
    kind[~in_session & (kind != SampleKind.BROKEN)] = SampleKind.OTHER_SESSION
    kind[samples[list(SAMPLE_COLUMNS)].isna().any(axis=1).to_numpy()] = SampleKind.ABSENT
    return kind


def merge_samples(known_samples: "pd.DataFrame", new_samples: "pd.DataFrame") -> "pd.DataFrame":
    """Both as one sample table, ordered by symbol_id and stamp. Of two with one stamp the new one counts."""
    import pandas as pd

    merged = (
        pd.concat([known_samples[list(SAMPLE_COLUMNS)], new_samples[list(SAMPLE_COLUMNS)]], ignore_index=True)
        if len(known_samples)
        else new_samples
    )
    merged = merged.drop_duplicates(["symbol_id", "stamp"], keep="last")
    return merged.sort_values(["symbol_id", "stamp"], ignore_index=True)


def _is_repeat(samples: "pd.DataFrame", known_samples: "pd.DataFrame") -> Bools:
    import pandas as pd

    known_volumes = known_samples.set_index(["symbol_id", "stamp"])["volume"]
    known_volume = known_volumes.reindex(pd.MultiIndex.from_frame(samples[["symbol_id", "stamp"]])).to_numpy(float)
    repeat: Bools = samples["volume"].to_numpy(float) <= known_volume
    return repeat


def _is_broken(samples: "pd.DataFrame") -> Bools:
    prices = samples[list(PRICES)].to_numpy(float)
    volume = samples["volume"].to_numpy(float)
    broken: Bools = (
        ((prices <= 0) | (prices >= PRICE_LIMIT)).any(axis=1)
        | (samples["high"].to_numpy(float) < samples["low"].to_numpy(float))
        | (volume < 0)
        | (volume >= _VOLUME_LIMIT)
        | (volume != np.floor(volume))
    )
    return broken
