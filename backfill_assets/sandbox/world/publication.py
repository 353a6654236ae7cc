"""When a session of a ticker appears in ``/intraday``, and when it changes afterwards.

Times are epoch seconds of the sandbox's clock. Rows are made in ``simulation``.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from math import inf
from typing import NamedTuple

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.random_draws import draw_between, draw_unit
from backfill_assets.sandbox.world.session_index import SessionIndex

HOUR_SECONDS, DAY_SECONDS = 3600.0, 86400.0
_VENDOR_GAP_DAYS = (14.0, 45.0)


class PublicationStage(NamedTuple):
    """The state of a published session.

    Attributes:
        share: the part of the session that is published; 1.0 is all.
        revised: whether the rows have their final values.
        repaired: whether running totals in the volumes are corrected.
        mended: whether improbable values that the vendor corrects are corrected.
    """

    share: float
    revised: bool
    repaired: bool
    mended: bool = True


FINAL_STAGE = PublicationStage(1.0, True, True)


@dataclass(frozen=True)
class PublicationTimes:
    """The times at which one session of one ticker changes at one interval, epoch seconds; inf is never.

    Attributes:
        first_at: when rows first appear.
        first_share: the part of the session that appears then; 1.0 is all.
        complete_at: when all of it is published.
        revised_at: when a few values change; ``first_at`` if they never do.
        repaired_at: when running totals in the volumes are corrected.
        mended_at: when improbable values that the vendor corrects are corrected.
    """

    first_at: float
    first_share: float
    complete_at: float
    revised_at: float
    repaired_at: float
    mended_at: float

    def get_stage(self, now: float) -> PublicationStage | None:
        """Get the stage at ``now``; None: nothing is published yet."""
        if now < self.first_at:
            return None
        share = 1.0 if now >= self.complete_at else self.first_share
        return PublicationStage(share, now >= self.revised_at, now >= self.repaired_at, now >= self.mended_at)


NEVER_PUBLISHED = PublicationTimes(inf, 1.0, inf, inf, inf, inf)


class PublicationSchedule:
    """Computes the publication times of one sandbox; ``root`` is the first name of a ticker."""

    def __init__(self, config: SandboxConfig, session_index: SessionIndex) -> None:
        self._config = config
        self._session_index = session_index

    def get_times(self, symbol: str, root: str, session: Session, interval: str) -> PublicationTimes:
        """Get the publication times of ``session``."""
        if self.is_never_published(symbol, root, session.day, interval):
            return NEVER_PUBLISHED
        first_at = self._compute_first_at(symbol, root, session, interval)
        seed, quirks, day = self._config.seed, self._config.quirks, session.day.toordinal()
        first_share, complete_at = 1.0, first_at
        if draw_unit(seed, "partial", root, day) < quirks.partial_publication:
            first_share = draw_between((0.35, 0.95), seed, "share", root, day)
            complete_at = first_at + HOUR_SECONDS * draw_between(
                quirks.partial_publication_hours, seed, "whole", root, day
            )
        revised_at = first_at
        if draw_unit(seed, "revised", root, day, interval) < quirks.revisions:
            revised_at = complete_at + DAY_SECONDS * draw_between(quirks.revision_days, seed, "revised at", root, day)
        repaired_at = inf if quirks.repaired_after_days is None else first_at + DAY_SECONDS * quirks.repaired_after_days
        mended_at = first_at
        if quirks.oddities.by_kind:
            mended_after = draw_between(quirks.oddities.mended_after_days, seed, "mended", root, day)
            mended_at += DAY_SECONDS * mended_after
        return PublicationTimes(first_at, first_share, complete_at, revised_at, repaired_at, mended_at)

    def is_never_published(self, symbol: str, root: str, day: date, interval: str) -> bool:
        """Whether ``day`` never appears: by configuration, or because it lies in a vendor gap."""
        if (symbol, day) in self._config.publication.never_published:
            return True
        if not self._config.quirks.vendor_gaps:
            return False
        this_half_year = date(day.year, 1 if day.month < 7 else 7, 1)
        previous_half_year = date(day.year - (day.month < 7), 7 if day.month < 7 else 1, 1)
        return any(
            self._is_in_vendor_gap(root, half_year, day, interval) for half_year in (previous_half_year, this_half_year)
        )

    def _is_in_vendor_gap(self, root: str, half_year: date, day: date, interval: str) -> bool:
        parts = (self._config.seed, "hole", root, half_year.toordinal(), interval)
        if draw_unit(*parts) >= self._config.quirks.vendor_gaps:
            return False
        first = half_year + timedelta(days=int(180 * draw_unit("first", *parts)))
        return first <= day < first + timedelta(days=int(draw_between(_VENDOR_GAP_DAYS, "days", *parts)))

    def _compute_first_at(self, symbol: str, root: str, session: Session, interval: str) -> float:
        rules, seed, day = self._config.publication, self._config.seed, session.day.toordinal()
        sessions_late = rules.sessions_late.get(symbol, 0)
        close = (
            self._session_index.find_later(session, sessions_late).regular_close
            if sessions_late
            else session.regular_close
        )
        hours = self._draw_hours(root, day)
        if interval == "1m":
            hours += rules.one_minute_delay_hours
        minutes = (
            draw_unit(seed, "minutes", root, day) * rules.ticker_delay_minutes if rules.ticker_delay_minutes else 0.0
        )
        return close.timestamp() + HOUR_SECONDS * hours + 60 * minutes

    def _draw_hours(self, root: str, day: int) -> float:
        """The hours from the regular close to publication, before what is added to them."""
        rules, seed = self._config.publication, self._config.seed
        owner = root if rules.draw_per_ticker else ""
        drawn: tuple[str | int, ...] = (day, owner) if rules.own_hours_within is None else (root,)
        bounds, draw = rules.hours_after_close, draw_unit(seed, "scattered", *drawn)
        for share, among in rules.scattered:
            if draw >= 0:
                bounds, draw = among, draw - share
        hours = draw_between(bounds, seed, "published", *drawn)
        if rules.own_hours_within is not None:
            width = rules.own_hours_within
            hours += draw_between((-width, width), seed, "around its own hours", root, day)
        return hours
