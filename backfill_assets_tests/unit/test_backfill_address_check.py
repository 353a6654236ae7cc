"""Which refusals count as evidence about a ticker, and when a run ends because nothing there is the vendor."""

import pytest

from backfill_assets.backfill.fetch.address_check import MAX_DOUBTFUL_REFUSALS, AddressCheck
from backfill_assets.market.vendor_errors import (
    PlanRefused,
    RequestRefused,
    ServerFault,
    TickerRefused,
    UnknownTicker,
    VendorError,
    WrongAddress,
)

URL = "https://host.example"


def make_error(kind: type[VendorError], *, is_from_vendor: bool = False) -> VendorError:
    error = kind("HTTP status 40x")
    error.is_from_vendor = is_from_vendor
    return error


@pytest.mark.parametrize(
    ("kind", "has_account", "has_answer", "is_trusted"),
    [
        (UnknownTicker, False, False, False),
        (UnknownTicker, True, False, True),
        (UnknownTicker, False, True, True),
        (TickerRefused, True, False, False),  # a token of another plan
        (TickerRefused, True, True, True),
    ],
)
def test_refusal_in_unknown_words_counts_beside_a_sign_of_the_vendor(
    kind: type[VendorError], has_account: bool, has_answer: bool, is_trusted: bool
) -> None:
    address = AddressCheck(URL, has_account, has_answer)
    assert address.is_trusted(make_error(kind)) is is_trusted
    assert address.is_trusted(make_error(kind, is_from_vendor=True))


@pytest.mark.parametrize(
    ("kind", "has_account", "fault"),
    [
        (UnknownTicker, False, WrongAddress),
        (RequestRefused, False, WrongAddress),
        (TickerRefused, False, WrongAddress),
        (TickerRefused, True, PlanRefused),
        (UnknownTicker, True, None),
        (ServerFault, False, None),
    ],
)
def test_refusals_of_everything_are_one_fault(
    kind: type[VendorError], has_account: bool, fault: type[VendorError] | None
) -> None:
    address = AddressCheck(URL, has_account)
    address.record_error(make_error(kind))
    address.record_error(make_error(kind))
    found = address.find_fault()
    assert (type(found) if found else None) is fault
    if found:
        assert "all 2 requests for bars, the first with HTTP status 40x" in str(found)
    address.record_answer()
    assert address.find_fault() is None


def test_run_stops_after_many_doubtful_refusals_without_an_answer() -> None:
    address = AddressCheck(URL)
    for _ in range(MAX_DOUBTFUL_REFUSALS):
        assert not address.is_hopeless
        address.record_error(make_error(UnknownTicker))
    assert address.is_hopeless
    address.record_error(make_error(UnknownTicker, is_from_vendor=True))
    assert not address.is_hopeless
