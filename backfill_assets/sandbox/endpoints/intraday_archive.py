"""Generated rows of ``/intraday``, limited to what is published at a given time, with a cache of encoded sessions."""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from msgspec.structs import replace

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.intraday_rows import IntradayRow, build_intraday_rows, format_vendor_datetime
from backfill_assets.sandbox.endpoints.withheld_rows import WithheldRows
from backfill_assets.sandbox.wire.encoding import encode_json_fragment
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns
from backfill_assets.sandbox.world.publication import PublicationStage
from backfill_assets.sandbox.world.random_draws import draw_unit
from backfill_assets.sandbox.world.simulation import World


class ByteCache:
    """Cache of encoded rows; above ``max_bytes`` the least recently used entries are removed."""

    def __init__(self, max_bytes: int = 64_000_000) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._items: OrderedDict[Any, bytes] = OrderedDict()

    def get(self, key: Any) -> bytes | None:
        """Get the bytes of ``key``, or None."""
        item = self._items.get(key)
        if item is not None:
            self._items.move_to_end(key)
        return item

    def put(self, key: Any, item: bytes) -> None:
        """Store ``item`` under ``key``."""
        self._size_bytes -= len(self._items.get(key, b""))
        self._items[key] = item
        self._size_bytes += len(item)
        while self._size_bytes > self._max_bytes:
            self._size_bytes -= len(self._items.popitem(last=False)[1])


class IntradayArchive:
    """Source of the generated intraday rows of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._world = world
        self._seed, self._quirks = config.seed, config.quirks
        self._without_rows = config.absences.without_intraday
        self._withheld = WithheldRows(config.withheld)
        self._cache = ByteCache()

    def is_known(self, symbol: str, today: date) -> bool:
        """Whether the vendor knows ``symbol`` on ``today``."""
        return self._world.listings.is_known(symbol, today)

    def iter_json_fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """Iterate over the rows in ``[start, end]`` as JSON, one fragment per published session."""
        for holder, session, stage in self._iter_published(symbol, interval, start, end, now):
            if self._is_inside(session, start, end) and not self._withheld.has_any(holder):
                yield self._encode_session(holder, session, interval, stage)
            else:
                yield encode_json_fragment(self._select_rows(holder, session, interval, stage, (start, end), now))

    def iter_rows(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[IntradayRow]]:
        """Iterate over the same rows as objects."""
        for holder, session, stage in self._iter_published(symbol, interval, start, end, now):
            yield self._select_rows(holder, session, interval, stage, (start, end), now)

    def _iter_published(
        self, code: str, interval: str, start: int, end: int, now: float
    ) -> Iterator[tuple[str, Session, PublicationStage]]:
        """Iterate over the published sessions with the symbol that ``code`` stood for in them."""
        if code in self._without_rows:
            return
        listings, session_index = self._world.listings, self._world.session_index
        served = listings.list_served_holders(code, datetime.fromtimestamp(now, UTC).date())
        latest = min(end, int(now))
        for session in session_index.sessions[session_index.slice_overlapping(start, latest)]:
            holder = listings.find_holder(code, session.day)
            stage = self._world.get_publication_times(holder, session, interval).get_stage(now)
            if stage is not None and holder in served:
                yield holder, session, stage

    def _is_inside(self, session: Session, start: int, end: int) -> bool:
        """Whether the range contains every possible row of the session, extended hours included."""
        session_index = self._world.session_index
        first = session.open.timestamp() - session_index.before_seconds
        last = session.close.timestamp() + session_index.after_seconds
        return start <= first and last <= end

    def _encode_session(self, symbol: str, session: Session, interval: str, stage: PublicationStage) -> bytes:
        cache_key = (symbol, session.day, interval, stage)
        cached = self._cache.get(cache_key)
        if cached is None:
            rows = self._world.get_published_rows(symbol, session, interval, stage)
            cached = encode_json_fragment(self._build_rows(symbol, session, rows))
            self._cache.put(cache_key, cached)
        return cached

    def _select_rows(
        self,
        symbol: str,
        session: Session,
        interval: str,
        stage: PublicationStage,
        bounds: tuple[int, int],
        now: float,
    ) -> list[IntradayRow]:
        rows = self._world.get_published_rows(symbol, session, interval, stage)
        selected = rows.select((rows.timestamps >= bounds[0]) & (rows.timestamps <= bounds[1]))
        selected = selected.select(~self._withheld.find(symbol, selected.timestamps, now))
        return self._build_rows(symbol, session, selected)

    def _build_rows(self, symbol: str, session: Session, columns: IntradayColumns) -> list[IntradayRow]:
        rows = build_intraday_rows(columns, self._quirks.whole_prices_as_int)
        if rows and self._has_unreadable_timestamp(symbol, session):
            rows.append(replace(rows[-1], timestamp=0, datetime=format_vendor_datetime(0)))
        return rows

    def _has_unreadable_timestamp(self, symbol: str, session: Session) -> bool:
        probability = self._quirks.unreadable_timestamps
        parts = (self._seed, "unreadable timestamp", self._world.listings.get_root(symbol), session.day.toordinal())
        return probability > 0 and draw_unit(*parts) < probability
