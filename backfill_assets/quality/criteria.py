"""The success criteria: functions of a coverage, of the request log and of the live samples.

Each returns a figure, its threshold and the worst offenders, without vendor calls. Which checks there are is in
``checks``; checks of the bars themselves are in ``bar_validity``.
"""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np

from backfill_assets.config.counts import format_count
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.calendar.windows import DEFAULT_HOURS
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.live.sampling_schedule import find_sampled_session
from backfill_assets.store.live.rounds import find_symbols_added_since, read_first_round_time
from backfill_assets.store.live.slots import read_untraded_slots
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.request_log import count_rate_limited

MAX_OFFENDERS = 20
Severity: TypeAlias = Literal["warning", "error"]
LIVE_GRACE_SECONDS = 1800  # after a slot's end its live bar is overdue
JUDGED_STATES = (  # the other slots are not due yet or excluded from the criteria
    SlotState.PRESENT,
    SlotState.UNVERIFIED,
    SlotState.SUSPECT,
    SlotState.NO_TRADE,
    SlotState.MISSING,
)


@dataclass(frozen=True, slots=True)
class Criterion:
    """The result of one check.

    Attributes:
        name: of the check.
        passed: whether the check passed.
        figure: the measured value.
        threshold: the highest value that passes.
        meaning: the figure in words.
        offenders: the tickers (or bars, closes) that fail, worst first, at most 20.
        not_judged: symbols that the vendor does not serve; their absent bars do not count.
        judged: whether there was anything to compare. If not, ``passed`` is true, because nothing failed, and
            ``meaning`` says why.
    """

    name: str
    passed: bool
    figure: float
    threshold: float
    meaning: str
    offenders: tuple[str, ...] = ()
    not_judged: int = 0
    judged: bool = True

    @classmethod
    def create_not_judged(cls, name: str, reason: str, *, threshold: float = 0) -> "Criterion":
        """The result of a check that had nothing to compare, for this reason."""
        return cls(name, True, 0, threshold, f"not judged: {reason}", judged=False)

    def add_not_judged(self, count: int) -> "Criterion":
        """The result with the number of symbols that were not judged; also in words, if there are any."""
        if not count:
            return self
        meaning = f"{self.meaning}; {format_count(count, 'symbol')} not judged (no intraday data)"
        return replace(self, not_judged=count, meaning=meaning)

    def as_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self)


def evaluate_rate_limits(database: Database) -> Criterion:
    """``no_rate_limit_errors`` on the request log of the past 24 hours, by the real clock."""
    until = datetime.now(UTC)
    with database.transaction() as connection:
        rate_limited, requests = count_rate_limited(connection, until - timedelta(hours=24), until)
    return check_no_rate_limit_errors(rate_limited, requests)


def evaluate_live(database: Database, coverage: Coverage) -> Criterion:
    """Evaluate ``live_keeps_up`` over the window of a coverage."""
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
    """Criterion 1: every active symbol has a bar in the window; not judged if no bar is overdue yet.

    Around the clock a window that reaches the present counts bars of exactly the past 48 hours.
    """
    begin = _find_recent_begin(coverage)
    without_bars = np.flatnonzero((coverage.last_bar_at < begin) & (_count_missing_since(coverage, begin) > 0))
    if not len(without_bars) and (reason := _explain_nothing_due(coverage)):
        return Criterion.create_not_judged("every_symbol_has_recent_bars", reason)
    return Criterion(
        name="every_symbol_has_recent_bars",
        passed=not len(without_bars),
        figure=len(without_bars),
        threshold=0,
        meaning=f"{len(without_bars):,} of {format_count(len(coverage.symbols), 'symbol')} "
        f"{'has' if len(without_bars) == 1 else 'have'} no bar in the {'window' if not begin else 'past 48 h'}",
        offenders=_list_tickers(coverage, without_bars),
    )


def _find_recent_begin(coverage: Coverage) -> int:
    """From when bars count as recent, epoch seconds; 0: all of the window."""
    begin = int((coverage.now - timedelta(hours=DEFAULT_HOURS)).timestamp())
    grid = coverage.grid
    return begin if grid.is_around_the_clock and grid.starts[0] < begin < grid.starts[-1] else 0


def _count_missing_since(coverage: Coverage, begin: int) -> Int64:
    """``estimated_missing_bars`` of each symbol, of slots from ``begin`` on; shape (symbols,)."""
    if not begin:
        return coverage.missing
    slots, states = coverage.open_slots, coverage.slot_states
    is_missing = (states.state == SlotState.MISSING) | (states.overdue & (states.state == SlotState.PROVISIONAL))
    is_missing &= coverage.grid.starts[slots.ordinal] >= begin
    return np.bincount(slots.row[is_missing], minlength=len(coverage.symbols))


def check_no_missing_bars(coverage: Coverage, *, tolerance: int = 0) -> Criterion:
    """Criterion 2: ``estimated_missing_bars`` is at most ``tolerance`` for every symbol."""
    worst_first = np.argsort(-coverage.missing, kind="stable")
    offenders = worst_first[coverage.missing[worst_first] > tolerance]
    total = int(coverage.missing.sum())
    if not total and not coverage.counts[:, JUDGED_STATES].any():
        reason = _explain_nothing_due(coverage) or "every overdue bar is a vendor_gap"
        return Criterion.create_not_judged("no_missing_bars", reason, threshold=tolerance)
    return Criterion(
        name="no_missing_bars",
        passed=not len(offenders),
        figure=total,
        threshold=tolerance,
        meaning=f"{format_count(total, 'bar is', 'bars are')} missing in {format_count(len(offenders), 'symbol')}",
        offenders=tuple(
            f"{coverage.symbols[row].ticker} ({coverage.missing[row]})" for row in offenders[:MAX_OFFENDERS]
        ),
    )


def check_newest_bar_is_fresh(coverage: Coverage, style: MomentStyle = UTC_STYLE) -> Criterion:
    """Criterion 3: every symbol has its newest overdue bar.

    Freshness is in market time, not in hours by the clock: on a Monday morning Friday's last bar is fresh. ``style`` is
    how the newest overdue slot is shown.
    """
    newest = coverage.find_newest_missing()
    newest_overdue = coverage.find_newest_overdue()
    stale = np.flatnonzero((newest >= 0) & (newest > coverage.last_bar_at))
    if not len(stale) and (reason := _explain_nothing_due(coverage)):
        return Criterion.create_not_judged("newest_bar_is_fresh", reason)
    due_until = style.format_minute(to_datetime(newest_overdue)) if newest_overdue >= 0 else "none"
    return Criterion(
        name="newest_bar_is_fresh",
        passed=not len(stale),
        figure=len(stale),
        threshold=0,
        meaning=f"{format_count(len(stale), 'symbol ends', 'symbols end')} before the newest overdue slot, {due_until}",
        offenders=_list_tickers(coverage, stale),
    )


def check_live_keeps_up(
    coverage: Coverage, untraded: Set[tuple[int, int]], first_round: datetime | None, joined_at: Mapping[int, datetime]
) -> Criterion:
    """Only with live collection: every slot that ended more than 30 minutes ago has a provisional or final bar.

    Slots that already count as missing are left to ``no_missing_bars``. If there was no round yet, only slots of the
    session that is sampled now count, because it is not known when live collection was switched on.

    Args:
        coverage: the state of every slot in the window.
        untraded: slots in which the samples show no trade: (symbol_id, start in epoch seconds).
        first_round: time of the first round ever; earlier slots do not count. None if there was no round.
        joined_at: symbol_id → when the symbol was added; its earlier slots do not count.
    """
    slots, grid = coverage.open_slots, coverage.grid
    starts, ends = grid.starts[slots.ordinal], grid.ends[slots.ordinal]
    if first_round is None and (session := find_sampled_session(grid.sessions, coverage.now)):
        first_round = session.open
    first_round_epoch = first_round.timestamp() if first_round else np.inf
    expected_from = np.array(
        [_to_epoch_at_least(joined_at.get(s.symbol_id), first_round_epoch) for s in coverage.symbols]
    )
    is_unserved, due_before = coverage.absence_evidence.is_unserved, coverage.now.timestamp() - LIVE_GRACE_SECONDS
    first_expected = expected_from[~is_unserved].min(initial=np.inf)
    if not np.any((grid.ends <= due_before) & (grid.starts >= first_expected)):
        reason = "no slot since the first live round is due yet" if first_round else "there was no live round yet"
        return Criterion.create_not_judged("live_keeps_up", reason)
    is_expected = (coverage.slot_states.state == SlotState.PENDING) & (ends <= due_before)
    is_expected &= (starts >= expected_from[slots.row]) & ~is_unserved[slots.row]
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
        meaning=f"{format_count(sum(is_overdue), 'slot')} that ended more than {LIVE_GRACE_SECONDS // 60} minutes ago"
        f" {'has' if sum(is_overdue) == 1 else 'have'} no bar yet, in {format_count(len(offenders), 'symbol')}",
        offenders=tuple(
            f"{coverage.symbols[row].ticker} ({overdue_by_symbol[row]})" for row in offenders[:MAX_OFFENDERS]
        ),
    )


def _to_epoch_at_least(moment: datetime | None, lower_bound: float) -> float:
    return max(moment.timestamp(), lower_bound) if moment else lower_bound


def check_no_rate_limit_errors(rate_limited: int, requests: int) -> Criterion:
    """Criterion 4: the vendor rejected none of the ``requests`` of the past 24 hours for its rate limit."""
    if not requests:
        return Criterion.create_not_judged("no_rate_limit_errors", "no request was sent in the past 24 h")
    return Criterion(
        name="no_rate_limit_errors",
        passed=rate_limited == 0,
        figure=rate_limited,
        threshold=0,
        meaning=f"{rate_limited:,} of {format_count(requests, 'request')} of the past 24 h"
        f" {'was' if rate_limited == 1 else 'were'} rate limited",
    )


def _explain_nothing_due(coverage: Coverage) -> str:
    """Why there is no bar whose absence could count; empty if there is one."""
    if not len(coverage.symbols):
        return "there are no active symbols"
    if len(coverage.unserved_symbols) == len(coverage.symbols):
        return "the vendor has no intraday data of any symbol"
    return "no bar is overdue yet" if coverage.find_newest_overdue() < 0 else ""


def _list_tickers(coverage: Coverage, rows: "np.ndarray[Any, np.dtype[np.int64]]") -> tuple[str, ...]:
    return tuple(str(coverage.symbols[row].ticker) for row in rows[:MAX_OFFENDERS])
