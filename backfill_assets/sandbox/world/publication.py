"""When a session of a ticker appears in ``/intraday``, and how it changes afterwards.

Times are epoch seconds of the sandbox's clock. Nothing here holds a row.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from math import inf
from typing import NamedTuple

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.random_draws import between, unit
from backfill_assets.sandbox.world.session_index import Timetable

HOUR, DAY = 3600.0, 86400.0
_HOLE_DAYS = (14.0, 45.0)


class Stage(NamedTuple):
    """How far a session is: the share of it that is there, and whether errors were put right."""

    share: float
    revised: bool
    repaired: bool


FINAL = Stage(1.0, True, True)


@dataclass(frozen=True)
class Release:
    """The history of one session of one ticker at one interval.

    Attributes:
        first: when rows first appear.
        share: the part of the session that appears then; 1.0 is all.
        whole: when all of it is there.
        revised: when a few values change; ``first`` if they never do.
        repaired: when session-cumulative volumes are put right.
    """

    first: float
    share: float
    whole: float
    revised: float
    repaired: float

    def stage(self, now: float) -> Stage | None:
        """What there is at ``now``; None: nothing yet."""
        if now < self.first:
            return None
        share = 1.0 if now >= self.whole else self.share
        return Stage(share, now >= self.revised, now >= self.repaired)


NEVER = Release(inf, 1.0, inf, inf, inf)


class Press:
    """Decides every release of one sandbox; ``root`` is a ticker's name that no renaming changes."""

    def __init__(self, config: SandboxConfig, timetable: Timetable) -> None:
        self._config = config
        self._timetable = timetable

    def release(self, symbol: str, root: str, session: Session, interval: str) -> Release:
        """When and how ``session`` appears."""
        if self.is_withheld(symbol, root, session.day, interval):
            return NEVER
        first = self._first(symbol, root, session, interval)
        seed, traits, day = self._config.seed, self._config.traits, session.day.toordinal()
        share, whole = 1.0, first
        if unit(seed, "partial", root, day) < traits.partial:
            share = between((0.35, 0.95), seed, "share", root, day)
            whole = first + HOUR * between(traits.partial_hours, seed, "whole", root, day)
        revised = first
        if unit(seed, "revised", root, day, interval) < traits.revisions:
            revised = whole + DAY * between(traits.revision_days, seed, "revised at", root, day)
        repaired = inf if traits.repaired_days is None else first + DAY * traits.repaired_days
        return Release(first, share, whole, revised, repaired)

    def is_withheld(self, symbol: str, root: str, day: date, interval: str) -> bool:
        """Whether ``day`` never appears: told so, or inside one of the ticker's holes."""
        if (symbol, day) in self._config.publication.withheld:
            return True
        if not self._config.traits.holes:
            return False
        here = date(day.year, 1 if day.month < 7 else 7, 1)
        before = date(day.year - (day.month < 7), 7 if day.month < 7 else 1, 1)
        return any(self._in_hole_of(root, half, day, interval) for half in (before, here))

    def _in_hole_of(self, root: str, half: date, day: date, interval: str) -> bool:
        parts = (self._config.seed, "hole", root, half.toordinal(), interval)
        if unit(*parts) >= self._config.traits.holes:
            return False
        first = half + timedelta(days=int(180 * unit("first", *parts)))
        return first <= day < first + timedelta(days=int(between(_HOLE_DAYS, "days", *parts)))

    def _first(self, symbol: str, root: str, session: Session, interval: str) -> float:
        plan, seed, day = self._config.publication, self._config.seed, session.day.toordinal()
        late = plan.sessions_late.get(symbol, 0)
        close = self._timetable.later(session, late).regular_close if late else session.regular_close
        whose = root if plan.per_ticker else ""
        hours = between(plan.session_hours, seed, "published", day, whose)
        if interval == "1m":
            hours += plan.minute_hours
        minutes = unit(seed, "minutes", root, day) * plan.ticker_minutes if plan.ticker_minutes else 0.0
        return close.timestamp() + HOUR * hours + 60 * minutes
