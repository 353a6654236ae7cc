"""Which slots a read accepts: what ``require``, ``provisional`` and ``unverified`` mean, and what is said otherwise.

``health`` counts the slots; the errors are in ``errors``.
"""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.reading.errors import IncompleteBars, PendingSessions
from backfill_assets.reading.health import ReadHealth
from backfill_assets.reading.problems import OddSlots, Problems
from backfill_assets.reading.request import ReadRequest, Require

_ADVICE = {
    SlotState.UNVERIFIED: (
        "another program wrote them: unverified=True accepts them, backfill-assets run --verify-existing compares them"
    ),
    SlotState.PROVISIONAL: "they are not final: provisional=True accepts them",
    SlotState.VENDOR_GAP: 'the vendor does not have them: require="explained" accepts that',
}


@dataclass(frozen=True, eq=False)
class Refusal:
    """The odd slots that a read does not accept.

    Attributes:
        slots: all of them.
        is_waiting: whether each only waits for the vendor: it is no fault that the bar is not there yet.
    """

    slots: OddSlots
    is_waiting: Bools

    def find_rows(self, grid: SlotGrid) -> Int64:
        """The positions of the symbols that they belong to, ascending."""
        return np.unique(grid.split_slot_keys(self.slots.slot_key)[0])


def find_refused(odd: OddSlots, request: ReadRequest) -> Refusal:
    """The odd slots that are not as ``request`` demands."""
    chosen = np.flatnonzero(~_is_accepted(odd, request))
    refused = odd.select(chosen)
    is_early = (refused.state == SlotState.PROVISIONAL) & ~refused.is_overdue
    return Refusal(refused, (refused.state == SlotState.PENDING) | is_early)


def _is_accepted(odd: OddSlots, request: ReadRequest) -> Bools:
    if request.require is Require.ANY:
        return np.ones(len(odd.slot_key), bool)
    accepted: Bools = odd.state == SlotState.NO_TRADE
    if request.require is Require.EXPLAINED:
        accepted |= odd.is_explained
    if request.provisional:
        accepted |= odd.state == SlotState.PROVISIONAL
    if request.unverified:
        accepted |= odd.state == SlotState.UNVERIFIED
    return accepted


def raise_refused(refusal: Refusal, health: ReadHealth, request: ReadRequest) -> NoReturn:
    """Say what is in the way of a read; ``health`` is that of all its symbols.

    Raises:
        PendingSessions: all slots only wait for the vendor.
        IncompleteBars: some do not.
    """
    slots, grid = refusal.slots, health.grid
    problems = Problems(slots, health.symbols, grid)
    row, ordinal = grid.split_slot_keys(slots.slot_key)
    sessions = tuple(health.sessions[at] for at in np.unique(grid.session_index[ordinal]).tolist())
    found = f"{_count(len(slots.slot_key), 'slot')} in {_count(len(sessions), 'session')} of"
    found += f" {_count(len(np.unique(row)), 'symbol')}"
    if not refusal.is_waiting.all():
        raise IncompleteBars(f"the bars are not {request.require}: {found}{_advise(slots)}", problems, health)
    planned = slots.next_request_at[np.isfinite(slots.next_request_at)]
    next_at = max(to_datetime(int(planned.min())), health.measured_at) if len(planned) else None
    when = f"; the next request is due at {_get_style(request).format_moment(next_at)}" if next_at else ""
    raise PendingSessions(f"the sessions are not published yet: {found}{when}", problems, health, sessions, next_at)


def _get_style(request: ReadRequest) -> MomentStyle:
    """Of the US in UTC, whatever else is enabled: a reader's process need not know what is."""
    return UTC_STYLE if request.exchange == DEFAULT_EXCHANGE else MomentStyle(request.market)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _advise(slots: OddSlots) -> str:
    """What to do if all of them are in one state for which there is an argument."""
    states = np.unique(slots.state)
    advice = _ADVICE.get(SlotState(int(states[0]))) if len(states) == 1 else None
    return f"; {advice}" if advice else ""
