"""How scarce requests are shared among exchanges: properties that hold for any needs."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.market.exchange_order import ExchangeOrder, Need, allot_requests, share_fairly, share_in_order

COUNTS = st.integers(0, 60)
NEEDS = st.dictionaries(
    st.sampled_from(["US", "LSE", "XETRA", "AU", "KO", "TO"]), st.builds(Need, COUNTS, COUNTS, COUNTS), min_size=1
)
ORDERS = st.sampled_from(ExchangeOrder)


def split_allotment(need: Need, allotted: int) -> tuple[int, int, int]:
    """Of what an exchange gets, how much is for what is overdue, soon overdue, and history."""
    overdue = min(need.overdue, allotted)
    soon = min(need.soon, allotted - overdue)
    return overdue, soon, allotted - overdue - soon


@given(needs=NEEDS, available=st.integers(0, 500), order=ORDERS)
def test_nothing_is_left_while_somebody_wants_it_and_nobody_gets_more(
    needs: dict[str, Need], available: int, order: ExchangeOrder
) -> None:
    allotted = allot_requests(needs, available, order)
    wanted = {exchange: need.overdue + need.soon + need.history for exchange, need in needs.items()}
    assert all(0 <= allotted[exchange] <= wanted[exchange] for exchange in needs)
    assert sum(allotted.values()) == min(available, sum(wanted.values()))


@given(needs=NEEDS, available=st.integers(0, 500), order=ORDERS)
def test_nobodys_overdue_session_waits_while_history_is_filled(
    needs: dict[str, Need], available: int, order: ExchangeOrder
) -> None:
    allotted = allot_requests(needs, available, order)
    parts = {exchange: split_allotment(need, allotted[exchange]) for exchange, need in needs.items()}
    if any(parts[exchange][0] < need.overdue for exchange, need in needs.items()):
        assert all(soon == history == 0 for _, soon, history in parts.values())
    if any(parts[exchange][1] < need.soon for exchange, need in needs.items()):
        assert all(history == 0 for _, _, history in parts.values())


@given(needs=NEEDS, available=st.integers(0, 500), order=ORDERS)
def test_an_exchange_that_waits_has_no_less_than_another_one(
    needs: dict[str, Need], available: int, order: ExchangeOrder
) -> None:
    allotted = allot_requests(needs, available, order)
    overdue = {exchange: split_allotment(need, allotted[exchange])[0] for exchange, need in needs.items()}
    for exchange, need in needs.items():
        if overdue[exchange] < need.overdue:
            assert max(overdue.values()) <= overdue[exchange] + 1  # one that cannot be divided


@given(wanted=st.dictionaries(st.sampled_from("ABCDEF"), COUNTS, min_size=1), available=st.integers(0, 300))
def test_shares_are_max_min(wanted: dict[str, int], available: int) -> None:
    shares = share_fairly(wanted, available)
    assert list(shares) == list(wanted)
    waiting = [name for name in wanted if shares[name] < wanted[name]]
    assert sum(shares.values()) == min(available, sum(wanted.values()))
    assert all(max(shares.values()) - shares[name] <= 1 for name in waiting)


@given(wanted=st.dictionaries(st.sampled_from("ABCDEF"), COUNTS, min_size=1), available=st.integers(0, 300))
def test_in_the_listed_order_an_exchange_waits_for_those_before_it(wanted: dict[str, int], available: int) -> None:
    shares = share_in_order(wanted, available)
    names = list(wanted)
    for earlier, later in pairwise(names):
        assert shares[earlier] == wanted[earlier] or shares[later] == 0


def test_one_exchange_gets_what_there_is() -> None:
    assert allot_requests({"US": Need(3, 2, 90)}, 20, ExchangeOrder.FAIR) == {"US": 20}


def test_history_goes_to_the_first_one_listed_or_is_shared() -> None:
    needs = {"US": Need(10, 0, 500), "LSE": Need(4, 2, 500)}
    assert allot_requests(needs, 100, ExchangeOrder.LISTED) == {"US": 94, "LSE": 6}
    assert allot_requests(needs, 100, ExchangeOrder.FAIR) == {"US": 52, "LSE": 48}
