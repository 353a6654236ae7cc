"""Attempts of one request: which errors are retried, the delays between attempts, and what each attempt costs.

The vendor is a function behind httpx's own test transport; the delays are read from the log.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

import httpx
import pytest
from pydantic import SecretStr

from backfill_assets.eodhd.attempts import ApiRequest
from backfill_assets.eodhd.redaction import TokenRedactor
from backfill_assets.eodhd.retries import MAX_RETRY_AFTER_SECONDS, RetryingSender
from backfill_assets.eodhd.vendor_http import VendorHttp
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    ProxyRefused,
    RequestRefused,
    ServerFault,
    TransientError,
    UnknownTicker,
    Unreachable,
    VendorError,
)
from backfill_assets_tests.integration.unlimited_rate_limiter import UnlimitedRateLimiter

TOKEN = "secret-4711"  # noqa: S105 - of a test
REQUEST = ApiRequest("intraday", "/intraday/AAPL.US", 5, lambda body: body.decode(), Purpose.GAP, ticker="AAPL.US")
OK, FAULT = httpx.Response(200, text="[]"), httpx.Response(502)
FIRST_SECONDS, MOST_SECONDS = 0.004, 0.01


def send(
    handler: Callable[[httpx.Request], httpx.Response],
    max_attempts: int = 4,
    backoff_seconds: tuple[float, float] = (FIRST_SECONDS, MOST_SECONDS),
) -> tuple[str | VendorError, UnlimitedRateLimiter]:
    """The parsed response or the error, and the rate limiter with a record for each attempt."""
    rate_limiter = UnlimitedRateLimiter()

    async def run() -> str | VendorError:
        sender = RetryingSender(
            VendorHttp("https://vendor/api", SecretStr(TOKEN), httpx.MockTransport(handler)),
            rate_limiter,
            TokenRedactor(SecretStr(TOKEN)),
            timeout_seconds=60,
            max_attempts=max_attempts,
            backoff_seconds=backoff_seconds,
            is_demo_token=False,
        )
        try:
            return await sender.send(REQUEST)
        except VendorError as error:
            return error

    return asyncio.run(run()), rate_limiter


def reply(*responses: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    """A handler that returns ``responses`` in order, then the last one again and again."""
    remaining = list(responses)
    return lambda _: remaining.pop(0) if len(remaining) > 1 else remaining[0]


def list_delays(records: Sequence[logging.LogRecord]) -> list[float]:
    """The delays before further attempts, as logged."""
    return [record.args[1] for record in records if "failed, next in" in record.msg and isinstance(record.args, tuple)]  # type: ignore[misc]


def test_request_is_sent_again_after_a_fault_of_the_server() -> None:
    result, rate_limiter = send(reply(FAULT, FAULT, OK))
    assert result == "[]"
    assert [(record.status, record.calls) for record in rate_limiter.records] == [(502, 0), (502, 0), (200, 5)]


def test_last_error_is_raised_after_the_last_attempt() -> None:
    result, rate_limiter = send(reply(FAULT), max_attempts=3)
    assert isinstance(result, ServerFault)
    assert len(rate_limiter.records) == 3


@pytest.mark.parametrize(
    ("response", "error", "calls"),
    [
        (httpx.Response(404, text="Ticker Not Found."), UnknownTicker, 1),
        (httpx.Response(302, headers={"location": "https://other/"}), RequestRefused, 0),
    ],
)
def test_permanent_error_is_not_retried(response: httpx.Response, error: type[VendorError], calls: int) -> None:
    result, rate_limiter = send(reply(response))
    assert isinstance(result, error)
    assert [record.calls for record in rate_limiter.records] == [calls]


def test_html_page_instead_of_data_counts_as_a_paid_response() -> None:
    result, rate_limiter = send(reply(httpx.Response(200, html="<p>Maintenance</p>")), max_attempts=1)
    assert isinstance(result, BrokenAnswer)
    assert [record.calls for record in rate_limiter.records] == [5]


def test_delays_double_up_to_the_longest_with_a_random_upper_half(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "backfill_assets.eodhd.retries"):
        send(reply(FAULT), max_attempts=5)
    ceilings = [FIRST_SECONDS, 2 * FIRST_SECONDS, MOST_SECONDS, MOST_SECONDS]
    delays = list_delays(caplog.records)
    assert len(delays) == len(ceilings)
    assert all(ceiling / 2 <= delay <= ceiling for delay, ceiling in zip(delays, ceilings, strict=True))


def test_retry_after_is_waited_in_full_before_the_random_delay(caplog: pytest.LogCaptureFixture) -> None:
    limited = httpx.Response(429, headers={"retry-after": "0.05"})
    with caplog.at_level(logging.INFO, "backfill_assets.eodhd.retries"):
        result, rate_limiter = send(reply(limited, OK))
    assert result == "[]"
    assert [record.retry_after for record in rate_limiter.records] == [0.05, None]
    (delay,) = list_delays(caplog.records)
    assert 0.05 + FIRST_SECONDS / 2 <= delay <= 0.05 + FIRST_SECONDS


def test_longer_retry_after_is_raised_at_once() -> None:
    limited = httpx.Response(429, headers={"retry-after": str(MAX_RETRY_AFTER_SECONDS + 1)})
    result, rate_limiter = send(reply(limited, OK))
    assert isinstance(result, TransientError)
    assert result.retry_after == MAX_RETRY_AFTER_SECONDS + 1
    assert len(rate_limiter.records) == 1


@pytest.mark.parametrize(
    ("error", "calls"), [(httpx.ReadTimeout("slow"), 5), (httpx.ConnectTimeout("slow"), 0), (httpx.ReadError("cut"), 0)]
)
def test_only_a_request_that_was_sent_and_timed_out_may_be_billed(error: httpx.TransportError, calls: int) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    result, rate_limiter = send(fail, max_attempts=1)
    assert isinstance(result, Unreachable)
    assert [record.calls for record in rate_limiter.records] == [calls]


def test_error_names_the_request_and_not_the_token() -> None:
    result, _ = send(reply(httpx.Response(502, text=f"cannot serve api_token={TOKEN}")), max_attempts=1)
    assert TOKEN not in str(result)
    assert "AAPL.US" in str(result)


@pytest.mark.parametrize(
    ("words", "kind", "attempts"),
    [
        ("407 Proxy Authentication Required", ProxyRefused, 1),
        ("403 Forbidden", ProxyRefused, 1),
        ("503 Service Unavailable", Unreachable, 4),
        ("429 Too Many Requests", Unreachable, 4),
    ],
)
def test_proxy_that_opens_no_tunnel_is_tried_again_only_if_its_fault_may_pass(
    words: str, kind: type[VendorError], attempts: int
) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ProxyError(words)

    error, rate_limiter = send(refuse)
    assert type(error) is kind
    assert words in str(error)
    assert [record.calls for record in rate_limiter.records] == [0] * attempts
