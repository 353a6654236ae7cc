"""What ``/intraday`` holds at a moment: published rows, already encoded."""

from collections.abc import Iterator
from datetime import date

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.encoding import Bar, Shelf, bars, fragment
from backfill_assets.sandbox.world.publication import Stage
from backfill_assets.sandbox.world.simulation import World


class Archive:
    """Generated intraday rows of a world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._world = world
        self._whole_as_int = config.traits.whole_as_int
        self._shelf = Shelf()

    def known(self, symbol: str, today: date) -> bool:
        """Whether the vendor has heard of ``symbol``."""
        return self._world.lives.known(symbol, today)

    def fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """The rows in ``[start, end]`` as JSON, a fragment per published session."""
        for session, stage in self._published(symbol, interval, start, end, now):
            if self._is_inside(session, start, end):
                yield self._whole(symbol, session, interval, stage)
            else:
                yield fragment(self._part(symbol, session, interval, stage, start, end))

    def bars(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[Bar]]:
        """The same rows, not yet encoded."""
        for session, stage in self._published(symbol, interval, start, end, now):
            yield self._part(symbol, session, interval, stage, start, end)

    def _published(
        self, symbol: str, interval: str, start: int, end: int, now: float
    ) -> Iterator[tuple[Session, Stage]]:
        timetable = self._world.timetable
        latest = min(end, int(now))
        for session in timetable.sessions[timetable.within(start, latest)]:
            stage = self._world.release(symbol, session, interval).stage(now)
            if stage is not None:
                yield session, stage

    def _is_inside(self, session: Session, start: int, end: int) -> bool:
        """Whether all rows the session can have lie in the window."""
        return start <= session.open.timestamp() - 19800 and session.close.timestamp() + 14400 <= end

    def _whole(self, symbol: str, session: Session, interval: str, stage: Stage) -> bytes:
        label = (symbol, session.day, interval, stage)
        kept = self._shelf.get(label)
        if kept is None:
            rows = self._world.rows(symbol, session, interval, stage)
            kept = fragment(bars(rows, self._whole_as_int))
            self._shelf.put(label, kept)
        return kept

    def _part(self, symbol: str, session: Session, interval: str, stage: Stage, start: int, end: int) -> list[Bar]:
        rows = self._world.rows(symbol, session, interval, stage)
        return bars(rows.where((rows.stamps >= start) & (rows.stamps <= end)), self._whole_as_int)
