"""Rates of data in a sandbox that are possible but improbable: wrong values that no single row betrays. Values only.

They are drawn in ``world.oddity_draws`` and put into rows in ``world.implausible_rows``. Rows that break a rule by
themselves, and other irregularities, are in ``sandbox.config``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum


class OddityKind(StrEnum):
    """What is wrong with a session; each value is also the name of its rate in ``OddityRates``."""

    EXACT_RUNNING_TOTALS = "exact_running_totals"
    SLIPPING_RUNNING_TOTALS = "slipping_running_totals"
    EXCESSIVE_RUNNING_TOTALS = "excessive_running_totals"
    UNSTEADY_RUNNING_TOTALS = "unsteady_running_totals"
    LONE_RUNNING_TOTAL = "lone_running_total"
    FIELD_SPIKE = "field_spike"
    ROW_SPIKE = "row_spike"
    STALE_OPEN = "stale_open"
    SCALED_ROWS = "scaled_rows"
    SCALED_FROM_ROW = "scaled_from_row"
    REPEATED_SESSION = "repeated_session"
    SHIFTED_SESSION = "shifted_session"
    FROZEN_SESSION = "frozen_session"
    DOUBLED_VOLUMES = "doubled_volumes"
    OVERNIGHT_STEP = "overnight_step"
    SPLIT_WITHOUT_STEP = "split_without_step"
    BEFORE_LISTING = "before_listing"


class Mending(StrEnum):
    """How a wrong session can be put right.

    MENDED: 5m has the right values after some days; until then 1m has no rows there.
    OTHER_FEED: 5m stays wrong, 1m is right.
    STANDS: 5m stays wrong, and 1m has no rows there.
    BOTH_FEEDS: both stay wrong, with the same values.
    """

    MENDED = "mended"
    OTHER_FEED = "other_feed"
    STANDS = "stands"
    BOTH_FEEDS = "both_feeds"


@dataclass(frozen=True)
class OddityRates:
    """Probabilities of improbable data; all are off by default. At most one kind affects a ticker's session.

    Per ticker and session, if nothing else is said. Running totals stand in six to twelve 5m rows instead of the row's
    own volume; prices are right.

    Attributes:
        seed: varies what is wrong without varying the true bars.
        exact_running_totals: the session's volume so far.
        slipping_running_totals: up to 1.5 % below it.
        excessive_running_totals: up to twice as much.
        unsteady_running_totals: from 0.6 to 1.4 times as much, so that later ones may be smaller.
        lone_running_total: a single row, from half of the total to 1.2 times as much.
        field_spike: one price of one row is 1.02 to 100 times too high or too low. A tenth are in the first row, a
            tenth in the last.
        row_spike: the same with all four prices.
        stale_open: the first row opens at the close of the session before.
        scaled_rows: the prices of 3 to 20 rows are multiplied by a power of ten or by a share ratio.
        scaled_from_row: the same from one row on.
        repeated_session: the prices are those of one of the 20 sessions before, the volumes are its own.
        shifted_session: the same, 1 to 12 rows earlier or later.
        frozen_session: each price is the close of the session before, the volumes are 0.
        doubled_volumes: per ticker and half-year: two to six weeks with twice the volume.
        overnight_step: the intraday prices of one to five sessions are multiplied by a share ratio, ``/eod`` is right.
        split_without_step: per split: the intraday prices of the first one to five sessions are still the old ones.
        before_listing: per ticker with a first day: ten sessions before it have rows, of something at a tenth of the
            price.
        other_feed_share: share with ``Mending.OTHER_FEED``, the others being ``MENDED``.
        stands_share: share with ``Mending.STANDS``.
        both_feeds_share: share with ``Mending.BOTH_FEEDS``.
        mended_after_days: bounds of the days from publication to the right values.
    """

    seed: int = 0
    exact_running_totals: float = 0.0
    slipping_running_totals: float = 0.0
    excessive_running_totals: float = 0.0
    unsteady_running_totals: float = 0.0
    lone_running_total: float = 0.0
    field_spike: float = 0.0
    row_spike: float = 0.0
    stale_open: float = 0.0
    scaled_rows: float = 0.0
    scaled_from_row: float = 0.0
    repeated_session: float = 0.0
    shifted_session: float = 0.0
    frozen_session: float = 0.0
    doubled_volumes: float = 0.0
    overnight_step: float = 0.0
    split_without_step: float = 0.0
    before_listing: float = 0.0
    other_feed_share: float = 1 / 3
    stands_share: float = 1 / 3
    both_feeds_share: float = 0.0
    mended_after_days: tuple[float, float] = (0.1, 2.0)

    @property
    def by_kind(self) -> Mapping[OddityKind, float]:
        """The rate of each kind that is on."""
        return {kind: rate for kind in OddityKind if (rate := getattr(self, kind.value)) > 0}

    @staticmethod
    def build_all(per_session: float, per_period: float = 0.2) -> "OddityRates":
        """Build rates with every kind on: one for what is drawn per session, one for what is drawn otherwise."""
        per_periods = ("doubled_volumes", "split_without_step", "before_listing")
        kinds = {kind.value for kind in OddityKind}
        rates = {name: per_period if name in per_periods else per_session for name in sorted(kinds)}
        return replace(OddityRates(), **rates)  # type: ignore[arg-type]

    @staticmethod
    def build_only(kind: OddityKind, mending: Mending = Mending.STANDS, rate: float = 1.0) -> "OddityRates":
        """Build rates with one kind on, put right in one way."""
        shares = {f"{way.value}_share": float(way is mending) for way in Mending if way is not Mending.MENDED}
        return replace(OddityRates(), **{kind.value: rate}, **shares)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Oddity:
    """What a sandbox made wrong in one session of one ticker.

    Attributes:
        kind: what is wrong.
        symbol: the ticker.
        day: the session.
        stamps: opens of the 5m rows with a wrong value, epoch seconds UTC, ascending.
        factor: the wrong value of the row that is furthest off, relative to the right one; of a price if any differs,
            else of the volume.
        mending: how it is put right.
        mended_at: when 5m has the right values, epoch seconds UTC; infinite if never.
    """

    kind: OddityKind
    symbol: str
    day: date
    stamps: tuple[int, ...]
    factor: float
    mending: Mending
    mended_at: float
