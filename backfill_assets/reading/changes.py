"""``read_changes``: which bars were added, revised or deleted between two moments, with old and new values.

The table as it was at one moment is read with ``known_at`` of ``read_bars``. A read never writes.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval, parse_interval
from backfill_assets.market.calendar.sessions import list_overlapping_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.reading.health import shorten_list
from backfill_assets.reading.moments import Moment, parse_moment
from backfill_assets.reading.opening import open_source, resolve_source
from backfill_assets.reading.request import (
    Format,
    parse_format,
    parse_symbols,
    require_exchange,
    require_text,
)
from backfill_assets.store.bars.bar_changes import (
    find_open_writers,
    is_standby,
    read_bar_changes,
)
from backfill_assets.store.bars.bar_versions import read_history_beginning
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.postgres.array_reader import to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import list_symbols

LONGEST_WAIT_SECONDS = 5.0  # for transactions of which it is hidden when they began; a write of bars takes less
_POLL_SECONDS = 0.05


@dataclass(frozen=True, eq=False)
class ChangesResult:
    """The bars that differ between two moments.

    Attributes:
        frame: one row for each of them, in the format asked for; see ``read_changes``.
        since: the first moment (UTC).
        until: the second one, to be given as ``since`` next time: whatever is still being written comes after it.
        unknown_before: if ``since`` is earlier: the moment from which on every change is kept (UTC). Of what was
            before, only revisions are known.
        held_back_by: the role whose write is not over, so that ``until`` lies before it and not at the moment asked
            for. Where it cannot be seen when that transaction began, ``until`` is ``since``, and nothing is returned.
    """

    frame: Any  # a pandas or polars DataFrame, or a pyarrow Table
    since: datetime
    until: datetime
    unknown_before: datetime | None = None
    held_back_by: str | None = None

    def __str__(self) -> str:
        text = f"{len(self.frame):,} bars changed between {self.since:%Y-%m-%d %H:%M:%S} and"
        text += f" {self.until:%Y-%m-%d %H:%M:%S} UTC"
        if self.unknown_before:
            text += f"; before {self.unknown_before:%Y-%m-%d %H:%M:%S} only revisions are known"
        if self.held_back_by:
            text += f"; held back by a write of {self.held_back_by} that is not over"
        return text


def read_changes(
    since: Moment,
    until: Moment | None = None,
    symbols: str | Ticker | Iterable[str | Ticker] | None = None,
    interval: str = DEFAULT_INTERVAL,
    exchange: str = DEFAULT_EXCHANGE,
    *,
    format: Format = "pandas",  # noqa: A002 - the word that users of data frames know
    settings: Settings | Engine | None = None,
) -> ChangesResult:
    """Read which bars of the store differ between two moments: the net change of each.

    Bars of other programs are left out; one of ours that another program overwrote counts as deleted, one that was
    taken over as added. No bar is lost between two calls if each takes the ``until`` of the one before: it lies before
    every write that is not over.

    Args:
        since: a date (midnight in the exchange's time zone) or a moment with a time zone.
        until: likewise; None, or a moment after what can be told, is the newest one that can be told.
        symbols: one ticker, or several; None: all of the exchange.
        interval: of the bars.
        exchange: the vendor's code; of tickers without a suffix.
        format: of the frame: "pandas", "polars" or "arrow".
        settings: an open engine; or settings, None being those of the environment, whose database is opened.

    Returns:
        The frame, by symbol and time: ``symbol``, ``timestamp`` and ``slot_end`` (UTC), ``session``, ``change``
        ("added", "revised", "deleted"; a provisional bar that became final is revised), ``cause`` (of the newest
        change: "updated", "revised", "relabeled", "verified", "overwritten", "edited", "moved", "deleted", "truncated";
        null for a bar that came new), ``changed_at`` (UTC), then open, high, low, close and volume as stored,
        ``source_interval`` and provisional, each with "old_" and with "new_" before its name, null where there was no
        bar.

    Raises:
        UsageError: an argument is wrong, a symbol is not in the store, or the server is a standby.
        DatabaseUnavailable: the database cannot be reached or used.
    """
    source, used = resolve_source(settings)
    tickers = None if symbols is None else parse_symbols(symbols, None, exchange)
    market = used.get_market(tickers[0].exchange if tickers else require_exchange(exchange))
    zone = market.zone
    first = parse_moment(since, "since", zone)
    last = None if until is None else parse_moment(until, "until", zone)
    if last is not None and last < first:
        raise UsageError(f"until {last} is before since {first}; give the earlier moment as since")
    asked, kind = parse_interval(require_text(interval, "interval")), parse_format(format)
    with open_source(source) as engine:
        moment, writer = _find_settled_moment(engine.database, first)
        held_back_by = writer if last is None or last > moment else None
        last = max(first, moment if last is None else min(last, moment))
        with engine.database.snapshot() as connection:
            (asked,) = adopt_spellings(connection, [asked])
            chosen = _find_symbols(connection, market.exchange, tickers)
            found = read_bar_changes(connection, [s.symbol_id for s in chosen], asked, first, last)
            beginning = read_history_beginning(connection)
    grid = _build_grid(market, asked, found["stamp"])
    from backfill_assets.reading.change_frames import build_change_frame  # loads pyarrow

    frame = build_change_frame(found, [str(s.ticker) for s in chosen], grid, kind)
    unknown_before = beginning if beginning is not None and first < beginning else None
    return ChangesResult(frame, first, last, unknown_before, held_back_by)


def _find_settled_moment(database: Database, since: datetime) -> tuple[datetime, str | None]:
    """The newest moment to which no open transaction can add a bar, and the role whose transaction is in the way.

    ``since`` if it stays hidden when one of them began.
    """
    with database.transaction() as connection:
        if is_standby(connection):
            raise UsageError(
                "the database is a standby, where it cannot be seen which writes are not over; read changes from the"
                " primary server"
            )
        found = find_open_writers(connection)
    left, deadline = found.undated, time.monotonic() + LONGEST_WAIT_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        with database.transaction() as connection:
            still = find_open_writers(connection).undated
        left = {key: role for key, role in left.items() if key in still}
    if left:
        return since, next(iter(left.values()))
    if found.since is None or found.since > found.read_at:
        return found.read_at, None
    return found.since - timedelta(microseconds=1), found.oldest


def _find_symbols(connection: Connection, exchange: str, tickers: Sequence[Ticker] | None) -> list[Symbol]:
    known = {symbol.ticker: symbol for symbol in list_symbols(connection, exchange, only_active=False)}
    if tickers is None:
        return list(known.values())
    if unknown := [str(ticker) for ticker in tickers if ticker not in known]:
        raise UsageError(f"the universe does not have {shorten_list(unknown)}; see: backfill-assets symbols list")
    return [known[ticker] for ticker in tickers]


def _build_grid(market: MarketProfile, interval: Interval, stamps: NDArray[np.int64]) -> SlotGrid:
    """The slots of the days of ``stamps``."""
    seconds = to_whole_unix_seconds(stamps)
    if not len(seconds):
        return build_slot_grid([], interval)
    first, last = (datetime.fromtimestamp(int(at), UTC) for at in (seconds.min(), seconds.max() + interval.seconds))
    return build_slot_grid(list_overlapping_sessions(market, first, last), interval)
