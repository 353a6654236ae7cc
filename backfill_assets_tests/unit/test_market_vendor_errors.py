"""The classes of vendor errors: scope, exit code, text and pickling."""

import pickle

import pytest

from backfill_assets.market import vendor_errors
from backfill_assets.market.vendor_errors import PermanentError, TransientError, VendorError

STOPS_RUN = (
    vendor_errors.TokenRefused,
    vendor_errors.PlanRefused,
    vendor_errors.QuotaExhausted,
    vendor_errors.WrongAddress,
    vendor_errors.ProxyRefused,
)
TICKER_ONLY = (vendor_errors.TickerRefused, vendor_errors.UnknownTicker, vendor_errors.InvalidTicker)
EXIT_CODES = {vendor_errors.Unreachable: 6, vendor_errors.ProxyRefused: 6, vendor_errors.WrongAddress: 2}
ALL = [
    *STOPS_RUN,
    *TICKER_ONLY,
    vendor_errors.RequestRefused,
    vendor_errors.RateLimited,
    vendor_errors.ServerFault,
    vendor_errors.BrokenAnswer,
    vendor_errors.Unreachable,
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_error_has_scope_and_exit_code(kind: type[VendorError]) -> None:
    assert kind.stops_run == (kind in STOPS_RUN)
    expected = "run" if kind in STOPS_RUN else "ticker" if kind in TICKER_ONLY else "request"
    assert kind.scope == expected
    assert kind.exit_code == EXIT_CODES.get(kind, 4)
    assert issubclass(kind, PermanentError) != issubclass(kind, TransientError)


def test_text_has_ticker_endpoint_and_hint() -> None:
    error = vendor_errors.UnknownTicker("HTTP status 404")
    error.add_context("/intraday", "NOPE.US")
    assert str(error).startswith("NOPE.US /intraday: HTTP status 404; check the spelling")
    assert str(VendorError("no place")) == "no place"


def test_add_context_does_not_replace_endpoint_and_ticker() -> None:
    error = vendor_errors.ServerFault("x", endpoint="/eod", ticker="A.US")
    error.add_context("/user", None)
    assert (error.endpoint, error.ticker) == ("/eod", "A.US")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[VendorError]) -> None:
    error = kind("what")
    error.add_context("/intraday", "A.US")
    if isinstance(error, TransientError):
        error.retry_after = 2.5
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes of this test
    assert type(again) is kind
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
