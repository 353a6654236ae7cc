"""The success criteria as plain functions of a coverage and the request log.

Each gives its figure, its threshold and the worst offenders; nothing here asks the vendor.
"""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.market.gaps.slot_states import State
from backfill_assets.market.live.sampling_schedule import sampled_session
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.live.rounds import first_round_at, joined_since
from backfill_assets.store.live.slots import quiet_slots
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.request_log import count_rate_limited

OFFENDERS = 20
LIVE_GRACE_SECONDS = 1800  # from a slot's end until its live bar is late


@dataclass(frozen=True, slots=True)
class Criterion:
    """One success criterion, judged.

    Attributes:
        name: as checks and documents call it.
        passed: whether it holds.
        figure: what was measured.
        threshold: what it is measured against.
        meaning: the figure in words.
        offenders: who breaks it, the worst first, 20 at most.
    """

    name: str
    passed: bool
    figure: float
    threshold: float
    meaning: str
    offenders: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The criterion as JSON shows it."""
        return asdict(self)


def judge(coverage: Coverage, rate_limited: int, requests: int, *, tolerance: int = 0) -> list[Criterion]:
    """All four criteria. ``rate_limited`` of ``requests`` were refused for the rate in the past 24 h."""
    return [
        every_symbol_has_recent_bars(coverage),
        no_missing_bars(coverage, tolerance=tolerance),
        newest_bar_is_fresh(coverage),
        no_rate_limit_errors(rate_limited, requests),
    ]


def judge_window(database: Database, coverage: Coverage, *, tolerance: int = 0, live: bool = False) -> list[Criterion]:
    """All four criteria of a window as the store shows them now; the request log is read on the real clock.

    With ``live`` (``settings.live``) a fifth: whether live collection keeps up.
    """
    until = datetime.now(UTC)
    with database.transaction() as connection:
        rate_limited, requests = count_rate_limited(connection, until - timedelta(hours=24), until)
    four = judge(coverage, rate_limited, requests, tolerance=tolerance)
    return [*four, judge_live(database, coverage)] if live else four


def judge_live(database: Database, coverage: Coverage) -> Criterion:
    """``live_keeps_up`` of a window as the store shows it now."""
    grid = coverage.grid
    if not grid.size:
        return live_keeps_up(coverage, frozenset(), None, {})
    first, last = (datetime.fromtimestamp(at, UTC) for at in (int(grid.starts[0]), int(grid.starts[-1])))
    with database.transaction() as connection:
        quiet = quiet_slots(connection, coverage.symbols, grid.interval, first, last)
        since = first_round_at(connection, grid.sessions[0].exchange)
        joined = joined_since(connection, coverage.symbols, first, grid.sessions[-1].open, coverage.now)
    return live_keeps_up(coverage, quiet, since, joined)


def every_symbol_has_recent_bars(coverage: Coverage) -> Criterion:
    """Criterion 1: every active symbol has a bar in the window, unless none can be there yet."""
    overdue = coverage.newest_overdue() >= 0
    without = np.flatnonzero((coverage.last < 0) & (coverage.missing > 0))
    return Criterion(
        name="every_symbol_has_recent_bars",
        passed=not len(without),
        figure=len(without),
        threshold=0,
        meaning=f"{len(without)} of {len(coverage.symbols)} symbols have no bar in the window"
        if overdue
        else "nothing is overdue yet",
        offenders=_tickers(coverage, without),
    )


def no_missing_bars(coverage: Coverage, *, tolerance: int = 0) -> Criterion:
    """Criterion 2: ``estimated_missing_bars`` is at most ``tolerance`` for every symbol."""
    worst_first = np.argsort(-coverage.missing, kind="stable")
    offenders = worst_first[coverage.missing[worst_first] > tolerance]
    total = int(coverage.missing.sum())
    return Criterion(
        name="no_missing_bars",
        passed=not len(offenders),
        figure=total,
        threshold=tolerance,
        meaning=f"{total} bars are missing, of {len(offenders)} symbols",
        offenders=tuple(f"{coverage.symbols[row].ticker} ({coverage.missing[row]})" for row in offenders[:OFFENDERS]),
    )


def newest_bar_is_fresh(coverage: Coverage) -> Criterion:
    """Criterion 3: no symbol's newest expected bar is missing, in market time.

    Recent means up to the newest slot that is overdue, not so many hours by the clock: a Monday
    morning is fresh with Friday's last bar.
    """
    newest = coverage.newest_missing()
    reach = coverage.newest_overdue()
    stale = np.flatnonzero((newest >= 0) & (newest > coverage.last))
    wanted = f"{datetime.fromtimestamp(reach, UTC):%Y-%m-%d %H:%M} UTC" if reach >= 0 else None
    return Criterion(
        name="newest_bar_is_fresh",
        passed=not len(stale),
        figure=len(stale),
        threshold=0,
        meaning=f"{len(stale)} symbols end before the newest slot that is due, {wanted}"
        if wanted
        else "nothing is overdue yet",
        offenders=_tickers(coverage, stale),
    )


def live_keeps_up(
    coverage: Coverage, quiet: Set[tuple[int, int]], since: datetime | None, joined: Mapping[int, datetime]
) -> Criterion:
    """Only with live collection: every slot that ended more than 30 minutes ago has a provisional bar or better.

    Not meant are slots whose absence counts already (``no_missing_bars`` has them), ``quiet`` ones (symbol_id and
    epoch seconds) in which samples show no trading, and those that began before the first round ever, ``since``, or
    before their ticker ``joined`` the universe (by symbol_id). Where no round was ever made, only those of the session
    are meant that is sampled now: when live collection was switched on is not known.
    """
    slots, grid = coverage.slots, coverage.grid
    starts, ends = grid.starts[slots.ordinal], grid.ends[slots.ordinal]
    if since is None and (session := sampled_session(grid.sessions, coverage.now)):
        since = session.open
    began = since.timestamp() if since else np.inf
    from_when = np.array([_epoch(joined.get(s.symbol_id), began) for s in coverage.symbols])
    owed = (coverage.classified.state == State.PENDING) & (ends + LIVE_GRACE_SECONDS <= coverage.now.timestamp())
    owed &= starts >= from_when[slots.row]
    ids = [coverage.symbols[row].symbol_id for row in slots.row[owed].tolist()]
    late = [key not in quiet for key in zip(ids, starts[owed].tolist(), strict=True)]
    per_row = np.bincount(slots.row[owed][np.array(late, bool)], minlength=len(coverage.symbols))
    worst_first = np.argsort(-per_row, kind="stable")
    offenders = worst_first[per_row[worst_first] > 0]
    return Criterion(
        name="live_keeps_up",
        passed=not sum(late),
        figure=sum(late),
        threshold=0,
        meaning=f"{sum(late)} slots that ended more than {LIVE_GRACE_SECONDS // 60} minutes ago have no bar yet,"
        f" of {len(offenders)} symbols",
        offenders=tuple(f"{coverage.symbols[row].ticker} ({per_row[row]})" for row in offenders[:OFFENDERS]),
    )


def _epoch(moment: datetime | None, earliest: float) -> float:
    return max(moment.timestamp(), earliest) if moment else earliest


def no_rate_limit_errors(rate_limited: int, requests: int) -> Criterion:
    """Criterion 4: the vendor refused no request for the rate."""
    return Criterion(
        name="no_rate_limit_errors",
        passed=rate_limited == 0,
        figure=rate_limited,
        threshold=0,
        meaning=f"{rate_limited} of {requests} requests of the past 24 h were refused for the rate",
    )


def _tickers(coverage: Coverage, rows: "np.ndarray[Any, np.dtype[np.int64]]") -> tuple[str, ...]:
    return tuple(str(coverage.symbols[row].ticker) for row in rows[:OFFENDERS])
