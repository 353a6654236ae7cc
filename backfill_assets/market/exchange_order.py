"""Which exchange gets how many requests when there are not enough for all of them: pure functions.

What is overdue comes first, shared fairly; then what becomes overdue before the budget is renewed; then history, in the
order of BACKFILL_EXCHANGE_ORDER. What exchanges need is measured in ``backfill.scarce_requests``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ExchangeOrder(StrEnum):
    """In which order exchanges get requests for their history; what is overdue is always shared fairly."""

    FAIR = "fair"  # as equal as their needs allow
    LISTED = "listed"  # all of the first one of BACKFILL_EXCHANGES, then the next one


@dataclass(frozen=True, slots=True)
class Need:
    """How many requests an exchange needs.

    Attributes:
        overdue: about sessions that are overdue, the recent ones.
        soon: about newer sessions, as far as they are overdue before the budget is renewed or can be requested now.
        history: about older sessions.
    """

    overdue: int = 0
    soon: int = 0
    history: int = 0


def allot_requests(needs: Mapping[str, Need], available: int, order: ExchangeOrder) -> dict[str, int]:
    """How many of the available requests each exchange gets, of its most urgent ones first.

    No exchange gets more than it needs, and none are left while one needs more.

    Args:
        needs: by exchange, in the order of BACKFILL_EXCHANGES.
        available: requests that the budget has left.
        order: of history.
    """
    share_history = share_fairly if order == ExchangeOrder.FAIR else share_in_order
    overdue = share_fairly({exchange: need.overdue for exchange, need in needs.items()}, available)
    left = available - sum(overdue.values())
    soon = share_fairly({exchange: need.soon for exchange, need in needs.items()}, left)
    left -= sum(soon.values())
    history = share_history({exchange: need.history for exchange, need in needs.items()}, left)
    return {exchange: overdue[exchange] + soon[exchange] + history[exchange] for exchange in needs}


def share_fairly(wanted: Mapping[str, int], available: int) -> dict[str, int]:
    """Max-min shares: an exchange that wants less than an equal share gets all of it, the others share the rest.

    What cannot be divided goes to those listed first, one each.
    """
    shares: dict[str, int] = {}
    left = max(0, available)
    ascending = sorted(wanted, key=lambda exchange: wanted[exchange])
    for position, exchange in enumerate(ascending):
        shares[exchange] = min(wanted[exchange], left // (len(ascending) - position))
        left -= shares[exchange]
    for exchange in wanted:
        if left and shares[exchange] < wanted[exchange]:
            shares[exchange] += 1
            left -= 1
    return {exchange: shares[exchange] for exchange in wanted}


def share_in_order(wanted: Mapping[str, int], available: int) -> dict[str, int]:
    """All that the first one wants, then the next one."""
    shares: dict[str, int] = {}
    left = max(0, available)
    for exchange, amount in wanted.items():
        shares[exchange] = min(amount, left)
        left -= shares[exchange]
    return shares
