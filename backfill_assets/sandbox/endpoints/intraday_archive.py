"""What ``/intraday`` holds at a moment: published rows, already encoded."""

from collections.abc import Iterator
from datetime import date

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.encoding import ByteCache, IntradayRow, build_intraday_rows, encode_json_fragment
from backfill_assets.sandbox.world.publication import PublicationStage
from backfill_assets.sandbox.world.simulation import World


class IntradayArchive:
    """Generated intraday rows of a world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._world = world
        self._whole_prices_as_int = config.quirks.whole_prices_as_int
        self._cache = ByteCache()

    def is_known(self, symbol: str, today: date) -> bool:
        """Whether the vendor has heard of ``symbol``."""
        return self._world.listings.is_known(symbol, today)

    def iter_json_fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """The rows in ``[start, end]`` as JSON, a fragment per published session."""
        for session, stage in self._iter_published(symbol, interval, start, end, now):
            if self._is_inside(session, start, end):
                yield self._encode_session(symbol, session, interval, stage)
            else:
                yield encode_json_fragment(self._select_rows(symbol, session, interval, stage, start, end))

    def iter_rows(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[IntradayRow]]:
        """The same rows, not yet encoded."""
        for session, stage in self._iter_published(symbol, interval, start, end, now):
            yield self._select_rows(symbol, session, interval, stage, start, end)

    def _iter_published(
        self, symbol: str, interval: str, start: int, end: int, now: float
    ) -> Iterator[tuple[Session, PublicationStage]]:
        session_index = self._world.session_index
        latest = min(end, int(now))
        for session in session_index.sessions[session_index.slice_overlapping(start, latest)]:
            stage = self._world.get_publication_times(symbol, session, interval).get_stage(now)
            if stage is not None:
                yield session, stage

    def _is_inside(self, session: Session, start: int, end: int) -> bool:
        """Whether all rows the session can have lie in the window."""
        return start <= session.open.timestamp() - 19800 and session.close.timestamp() + 14400 <= end

    def _encode_session(self, symbol: str, session: Session, interval: str, stage: PublicationStage) -> bytes:
        cache_key = (symbol, session.day, interval, stage)
        cached = self._cache.get(cache_key)
        if cached is None:
            rows = self._world.get_published_rows(symbol, session, interval, stage)
            cached = encode_json_fragment(build_intraday_rows(rows, self._whole_prices_as_int))
            self._cache.put(cache_key, cached)
        return cached

    def _select_rows(
        self, symbol: str, session: Session, interval: str, stage: PublicationStage, start: int, end: int
    ) -> list[IntradayRow]:
        rows = self._world.get_published_rows(symbol, session, interval, stage)
        return build_intraday_rows(
            rows.select((rows.timestamps >= start) & (rows.timestamps <= end)), self._whole_prices_as_int
        )
