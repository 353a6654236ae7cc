"""The success criteria as plain functions of a coverage and the request log.

Each gives its figure, its threshold and the worst offenders; nothing here asks the vendor.
"""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.live.sampling_schedule import find_sampled_session
from backfill_assets.store.live.rounds import find_symbols_added_since, read_first_round_time
from backfill_assets.store.live.slots import read_untraded_slots
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.request_log import count_rate_limited

MAX_OFFENDERS = 20
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


def evaluate_criteria(coverage: Coverage, rate_limited: int, requests: int, *, tolerance: int = 0) -> list[Criterion]:
    """All four criteria. ``rate_limited`` of ``requests`` were refused for the rate in the past 24 h."""
    return [
        check_every_symbol_has_recent_bars(coverage),
        check_no_missing_bars(coverage, tolerance=tolerance),
        check_newest_bar_is_fresh(coverage),
        check_no_rate_limit_errors(rate_limited, requests),
    ]


def evaluate_window(
    database: Database, coverage: Coverage, *, tolerance: int = 0, live: bool = False
) -> list[Criterion]:
    """All four criteria of a window as the store shows them now; the request log is read on the real clock.

    With ``live`` (``settings.live``) a fifth: whether live collection keeps up.
    """
    until = datetime.now(UTC)
    with database.transaction() as connection:
        rate_limited, requests = count_rate_limited(connection, until - timedelta(hours=24), until)
    results = evaluate_criteria(coverage, rate_limited, requests, tolerance=tolerance)
    return [*results, evaluate_live(database, coverage)] if live else results


def evaluate_live(database: Database, coverage: Coverage) -> Criterion:
    """``live_keeps_up`` of a window as the store shows it now."""
    grid = coverage.grid
    if not grid.size:
        return check_live_keeps_up(coverage, frozenset(), None, {})
    first, last = grid.first_start, grid.last_start
    with database.transaction() as connection:
        untraded = read_untraded_slots(connection, coverage.symbols, grid.interval, first, last)
        first_round = read_first_round_time(connection, grid.sessions[0].exchange)
        joined_at = find_symbols_added_since(connection, coverage.symbols, first, grid.sessions[-1].open, coverage.now)
    return check_live_keeps_up(coverage, untraded, first_round, joined_at)


def check_every_symbol_has_recent_bars(coverage: Coverage) -> Criterion:
    """Criterion 1: every active symbol has a bar in the window, unless none can be there yet."""
    overdue = coverage.find_newest_overdue() >= 0
    without_bars = np.flatnonzero((coverage.last_bar_at < 0) & (coverage.missing > 0))
    return Criterion(
        name="every_symbol_has_recent_bars",
        passed=not len(without_bars),
        figure=len(without_bars),
        threshold=0,
        meaning=f"{len(without_bars)} of {len(coverage.symbols)} symbols have no bar in the window"
        if overdue
        else "nothing is overdue yet",
        offenders=_list_tickers(coverage, without_bars),
    )


def check_no_missing_bars(coverage: Coverage, *, tolerance: int = 0) -> Criterion:
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
        offenders=tuple(
            f"{coverage.symbols[row].ticker} ({coverage.missing[row]})" for row in offenders[:MAX_OFFENDERS]
        ),
    )


def check_newest_bar_is_fresh(coverage: Coverage) -> Criterion:
    """Criterion 3: no symbol's newest expected bar is missing, in market time.

    Recent means up to the newest slot that is overdue, not so many hours by the clock: a Monday
    morning is fresh with Friday's last bar.
    """
    newest = coverage.find_newest_missing()
    newest_overdue = coverage.find_newest_overdue()
    stale = np.flatnonzero((newest >= 0) & (newest > coverage.last_bar_at))
    due_until = f"{datetime.fromtimestamp(newest_overdue, UTC):%Y-%m-%d %H:%M} UTC" if newest_overdue >= 0 else None
    return Criterion(
        name="newest_bar_is_fresh",
        passed=not len(stale),
        figure=len(stale),
        threshold=0,
        meaning=f"{len(stale)} symbols end before the newest slot that is due, {due_until}"
        if due_until
        else "nothing is overdue yet",
        offenders=_list_tickers(coverage, stale),
    )


def check_live_keeps_up(
    coverage: Coverage, untraded: Set[tuple[int, int]], first_round: datetime | None, joined_at: Mapping[int, datetime]
) -> Criterion:
    """Only with live collection: every slot that ended more than 30 minutes ago has a provisional bar or better.

    Not meant are slots whose absence counts already (``no_missing_bars`` has them), ``quiet`` ones (symbol_id and
    epoch seconds) in which samples show no trading, and those that began before the first round ever, ``since``, or
    before their ticker ``joined`` the universe (by symbol_id). Where no round was ever made, only those of the session
    are meant that is sampled now: when live collection was switched on is not known.
    """
    slots, grid = coverage.open_slots, coverage.grid
    starts, ends = grid.starts[slots.ordinal], grid.ends[slots.ordinal]
    if first_round is None and (session := find_sampled_session(grid.sessions, coverage.now)):
        first_round = session.open
    first_round_epoch = first_round.timestamp() if first_round else np.inf
    expected_from = np.array(
        [_to_epoch_at_least(joined_at.get(s.symbol_id), first_round_epoch) for s in coverage.symbols]
    )
    is_expected = (coverage.slot_states.state == SlotState.PENDING) & (
        ends + LIVE_GRACE_SECONDS <= coverage.now.timestamp()
    )
    is_expected &= starts >= expected_from[slots.row]
    symbol_ids = [coverage.symbols[row].symbol_id for row in slots.row[is_expected].tolist()]
    is_overdue = [key not in untraded for key in zip(symbol_ids, starts[is_expected].tolist(), strict=True)]
    overdue_by_symbol = np.bincount(slots.row[is_expected][np.array(is_overdue, bool)], minlength=len(coverage.symbols))
    worst_first = np.argsort(-overdue_by_symbol, kind="stable")
    offenders = worst_first[overdue_by_symbol[worst_first] > 0]
    return Criterion(
        name="live_keeps_up",
        passed=not sum(is_overdue),
        figure=sum(is_overdue),
        threshold=0,
        meaning=f"{sum(is_overdue)} slots that ended more than {LIVE_GRACE_SECONDS // 60} minutes ago have no bar yet,"
        f" of {len(offenders)} symbols",
        offenders=tuple(
            f"{coverage.symbols[row].ticker} ({overdue_by_symbol[row]})" for row in offenders[:MAX_OFFENDERS]
        ),
    )


def _to_epoch_at_least(moment: datetime | None, lower_bound: float) -> float:
    return max(moment.timestamp(), lower_bound) if moment else lower_bound


def check_no_rate_limit_errors(rate_limited: int, requests: int) -> Criterion:
    """Criterion 4: the vendor refused no request for the rate."""
    return Criterion(
        name="no_rate_limit_errors",
        passed=rate_limited == 0,
        figure=rate_limited,
        threshold=0,
        meaning=f"{rate_limited} of {requests} requests of the past 24 h were refused for the rate",
    )


def _list_tickers(coverage: Coverage, rows: "np.ndarray[Any, np.dtype[np.int64]]") -> tuple[str, ...]:
    return tuple(str(coverage.symbols[row].ticker) for row in rows[:MAX_OFFENDERS])
