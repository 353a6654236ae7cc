"""Draws which sessions of which tickers have improbable data, of which kind, and how they are put right.

What the rows then look like is in ``implausible_rows``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.oddities import Mending, OddityKind
from backfill_assets.sandbox.world.listings import ListingHistory
from backfill_assets.sandbox.world.random_draws import draw_between, draw_unit, make_generator
from backfill_assets.sandbox.world.session_index import SessionIndex

BEFORE_LISTING_SESSIONS = 10
_LONGEST_STEP = 5  # sessions
_DOUBLED_DAYS = (14.0, 43.0)
SHARE_RATIOS = (2.0, 3.0, 4.0, 5.0, 10.0, 1.5, 0.5, 0.25, 0.2, 0.1)


@dataclass(frozen=True)
class DrawnOddity:
    """A kind that affects a session.

    Attributes:
        kind: what is wrong.
        mending: how it is put right.
        parts: seed material, the same for every session that one occurrence covers.
    """

    kind: OddityKind
    mending: Mending
    parts: tuple[str | int, ...]

    def make_generator(self) -> np.random.Generator:
        """Make the generator of everything else that is drawn for it."""
        return make_generator("oddity", *self.parts)


class OddityDraws:
    """Draws for the sessions of one sandbox."""

    def __init__(self, config: SandboxConfig, listings: ListingHistory, session_index: SessionIndex) -> None:
        self._config, self._listings, self._session_index = config, listings, session_index
        self._rates = config.quirks.oddities
        self._by_kind = self._rates.by_kind
        self._find_parts: dict[OddityKind, Callable[[str, Session], tuple[str | int, ...] | None]] = {
            OddityKind.DOUBLED_VOLUMES: self._find_doubled,
            OddityKind.OVERNIGHT_STEP: self._find_step,
            OddityKind.SPLIT_WITHOUT_STEP: self._find_split,
            OddityKind.BEFORE_LISTING: self._find_before_listing,
        }

    def draw(self, symbol: str, session: Session) -> DrawnOddity | None:
        """Draw what is wrong with a session: the first kind that affects it, None if none does."""
        if not self._by_kind:
            return None
        is_listed = self._listings.is_listed_on(symbol, session.day)
        for kind in self._by_kind:
            if is_listed == (kind is OddityKind.BEFORE_LISTING):
                continue
            find = self._find_parts.get(kind)
            parts = find(symbol, session) if find else self._find_drawn(kind, symbol, session.day)
            if parts is not None:
                return DrawnOddity(kind, self._draw_mending(parts), parts)
        return None

    def _draw_mending(self, parts: tuple[str | int, ...]) -> Mending:
        drawn = draw_unit("mending", *parts)
        for mending, share in (
            (Mending.OTHER_FEED, self._rates.other_feed_share),
            (Mending.STANDS, self._rates.stands_share),
            (Mending.BOTH_FEEDS, self._rates.both_feeds_share),
        ):
            if drawn < share:
                return mending
            drawn -= share
        return Mending.MENDED

    def _make_parts(self, kind: OddityKind, symbol: str, day: date) -> tuple[str | int, ...]:
        root = self._listings.get_root(symbol)
        return (self._config.seed, self._rates.seed, kind.value, root, day.toordinal())

    def _find_drawn(self, kind: OddityKind, symbol: str, day: date) -> tuple[str | int, ...] | None:
        parts = self._make_parts(kind, symbol, day)
        return parts if draw_unit(*parts) < self._by_kind[kind] else None

    def _find_doubled(self, symbol: str, session: Session) -> tuple[str | int, ...] | None:
        half_year = date(session.day.year, 1 if session.day.month < 7 else 7, 1)
        parts = self._find_drawn(OddityKind.DOUBLED_VOLUMES, symbol, half_year)
        if parts is None:
            return None
        first = half_year + timedelta(days=int(130 * draw_unit("first", *parts)))
        days = timedelta(days=int(draw_between(_DOUBLED_DAYS, "days", *parts)))
        return parts if first <= session.day < first + days else None

    def _find_step(self, symbol: str, session: Session) -> tuple[str | int, ...] | None:
        for age in range(_LONGEST_STEP):
            first = self._session_index.find_earlier(session, age)
            if first is None or not self._listings.is_listed_on(symbol, first.day):
                return None
            parts = self._find_drawn(OddityKind.OVERNIGHT_STEP, symbol, first.day)
            if parts is not None and age < self._draw_length(parts):
                return parts
        return None

    def _find_split(self, symbol: str, session: Session) -> tuple[str | int, ...] | None:
        split = self._listings.find_latest_split(symbol, session.day)
        if split is None:
            return None
        parts = self._find_drawn(OddityKind.SPLIT_WITHOUT_STEP, symbol, split.ex_date)
        if parts is None:
            return None
        before = self._session_index.find_earlier(session, self._draw_length(parts))
        return parts if before is None or before.day < split.ex_date else None

    def _find_before_listing(self, symbol: str, session: Session) -> tuple[str | int, ...] | None:
        first_day = self._listings.get_first_day(symbol)
        later = self._session_index.find_later(session, BEFORE_LISTING_SESSIONS)
        if not self._listings.has_first_day(symbol) or not session.day < first_day <= later.day:
            return None
        return self._find_drawn(OddityKind.BEFORE_LISTING, symbol, first_day)

    def _draw_length(self, parts: tuple[str | int, ...]) -> int:
        return 1 + int(_LONGEST_STEP * draw_unit("sessions", *parts))
