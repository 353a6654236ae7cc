"""Every status and body of docs/vendor.md §1.5 over real HTTP: which error, how many attempts, what it cost."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.market import vendor_errors
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets_tests.integration.scripted_vendor import HTML, ScriptedResponse, ScriptedVendor
from backfill_assets_tests.integration.unlimited_rate_limiter import UnlimitedRateLimiter
from backfill_assets_tests.waiting import LONGEST_SECONDS

BAR = {"timestamp": 1780343700, "open": 1, "high": 2, "low": 1, "close": 2, "volume": 5}
BAR_RESPONSE = ScriptedResponse(body=json.dumps([BAR]).encode())
TEXT = "text/plain; charset=UTF-8"
PLAN_TEXT = b"Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"
QUOTA_TEXT = b"You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
RANGE_ERROR = b'{"errors":{"to":["Max period length is 600 days"],"from":["Max period length is 600 days"]}}'


def create_client(url: str, rate_limiter: UnlimitedRateLimiter, **options: Any) -> EodhdClient:
    arguments: dict[str, Any] = {
        "token": "s3cret",
        "backoff_seconds": (0.0, 0.0),
        "timeout_seconds": LONGEST_SECONDS,
    } | options
    return EodhdClient(base_url=url, rate_limiter=rate_limiter, purpose=Purpose.GAP, **arguments)


def fetch_aapl_rows(vendor: EodhdClient) -> Awaitable[Any]:
    return vendor.fetch_intraday("AAPL.US", "5m", 1780320600, 1780344000)


def run_request(
    *responses: ScriptedResponse, request: Callable[[EodhdClient], Awaitable[Any]] = fetch_aapl_rows, **options: Any
) -> tuple[Any, list[RequestRecord], ScriptedVendor]:
    """Send one request to a scripted vendor; return the result or VendorError, the records and the vendor."""

    async def run() -> tuple[Any, list[RequestRecord], ScriptedVendor]:
        rate_limiter = UnlimitedRateLimiter()
        async with ScriptedVendor(*responses) as vendor, create_client(vendor.url, rate_limiter, **options) as client:
            try:
                result = await request(client)
            except VendorError as error:
                result = error
        assert rate_limiter.acquired == len(rate_limiter.records)
        return result, rate_limiter.records, vendor

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("response", "kind", "calls"),
    [
        (ScriptedResponse(401, b"Unauthenticated", TEXT), vendor_errors.TokenRefused, 0),
        (ScriptedResponse(403, b"Unauthenticated", TEXT), vendor_errors.TokenRefused, 0),
        (ScriptedResponse(402, QUOTA_TEXT, HTML), vendor_errors.QuotaExhausted, 0),
        (ScriptedResponse(403, PLAN_TEXT, HTML), vendor_errors.PlanRefused, 0),
        (ScriptedResponse(403, b"Forbidden", TEXT), vendor_errors.TickerRefused, 0),
        (ScriptedResponse(404, b"Ticker Not Found.", HTML), vendor_errors.UnknownTicker, 1),
        (ScriptedResponse(404, b'{"error":"x"}'), vendor_errors.UnknownTicker, 1),
        (ScriptedResponse(422, RANGE_ERROR), vendor_errors.RequestRefused, 0),
        (ScriptedResponse(body=b'{"error":"Unauthenticated","code":401}'), vendor_errors.TokenRefused, 5),
        (ScriptedResponse(200, QUOTA_TEXT, TEXT), vendor_errors.QuotaExhausted, 5),
        (ScriptedResponse(200, QUOTA_TEXT, HTML), vendor_errors.QuotaExhausted, 5),
        (ScriptedResponse(200, PLAN_TEXT, HTML), vendor_errors.PlanRefused, 5),
        (
            ScriptedResponse(body=json.dumps([{**BAR, "timestamp": 1780343700000}]).encode()),
            vendor_errors.UnreadableRows,
            5,
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_errors_that_the_same_request_would_meet_again_are_not_retried(
    response: ScriptedResponse, kind: type[VendorError], calls: int
) -> None:
    error, records, _ = run_request(response)
    assert type(error) is kind
    assert str(error).startswith("AAPL.US /intraday: ")
    assert [(record.calls, record.error, record.rows, record.endpoint, record.ticker) for record in records] == [
        (calls, kind.__name__, None, "/intraday", "AAPL.US")
    ]


def test_error_contains_the_text_of_the_vendor() -> None:
    error, _, _ = run_request(ScriptedResponse(422, RANGE_ERROR))
    assert "to: Max period length is 600 days" in str(error)


@pytest.mark.parametrize(
    ("response", "kind", "calls"),
    [
        (ScriptedResponse(429, b"Too Many Attempts.", HTML), vendor_errors.RateLimited, 0),
        (ScriptedResponse(500, b"", HTML), vendor_errors.ServerFault, 0),
        (ScriptedResponse(502, b"<html><title>502 Bad Gateway</title></html>", HTML), vendor_errors.ServerFault, 0),
        (ScriptedResponse(502, b"<html>", HTML, cut=True), vendor_errors.ServerFault, 0),
        (ScriptedResponse(200, b"<html>We'll be back</html>", HTML), vendor_errors.BrokenAnswer, 5),
        (ScriptedResponse(200, b"[]", HTML), vendor_errors.BrokenAnswer, 5),
        (ScriptedResponse(200, b"Too Many Attempts.", HTML), vendor_errors.RateLimited, 5),
        (ScriptedResponse(200, b"<html>", TEXT), vendor_errors.BrokenAnswer, 5),
        (ScriptedResponse(200, b"", "application/json"), vendor_errors.BrokenAnswer, 5),
        (ScriptedResponse(200, b'[{"timestamp":1', cut=True), vendor_errors.BrokenAnswer, 5),
        (ScriptedResponse(200, b"not gzip", headers={"content-encoding": "gzip"}), vendor_errors.BrokenAnswer, 5),
        (ScriptedResponse(200, b'{"foo":1}'), vendor_errors.BrokenAnswer, 5),
        (ScriptedResponse(no_status_line=True), vendor_errors.Unreachable, 0),
    ],
)
def test_transient_errors_are_retried_and_then_raised(
    response: ScriptedResponse, kind: type[VendorError], calls: int
) -> None:
    error, records, vendor = run_request(response, attempts=3)
    assert type(error) is kind
    assert (error.endpoint, error.ticker) == ("/intraday", "AAPL.US")
    assert [(record.calls, record.error) for record in records] == [(calls, kind.__name__)] * 3
    assert len(vendor.targets) == 3


@pytest.mark.parametrize(
    "body", [b"no data for token s3cret today", json.dumps([{**BAR, "timestamp": "s3cret"}] * 2).encode()]
)
def test_a_broken_answer_is_quoted_without_the_token(body: bytes) -> None:
    error, _, _ = run_request(ScriptedResponse(200, body, TEXT), attempts=1)
    assert "***" in str(error)
    assert "s3cret" not in str(error)


def test_a_long_broken_answer_is_quoted_shortened() -> None:
    error, _, _ = run_request(ScriptedResponse(200, b"maintenance " * 1_000, TEXT), attempts=1)
    assert error.message.startswith(
        "status 200 with a truncated or non-JSON body (12000 bytes): maintenance maintenance"
    )
    assert len(error.message) == 300


def test_result_after_failed_attempts_is_returned() -> None:
    rows, records, _ = run_request(
        ScriptedResponse(502, b"", HTML), ScriptedResponse(cut=True), ScriptedResponse(429, b"", HTML), BAR_RESPONSE
    )
    assert rows.timestamp.tolist() == [1780343700]
    assert [(record.status, record.calls, record.rows) for record in records] == [
        (502, 0, None),
        (200, 5, None),
        (429, 0, None),
        (200, 5, 1),
    ]
    last = records[-1]
    assert (last.body_bytes, last.rate_limit, last.rate_remaining) == (len(BAR_RESPONSE.body), 1200, 1197)
    assert last.error is None
    assert last.seconds > 0
    assert last.started_at.utcoffset() is not None


@pytest.mark.parametrize(
    "response", [ScriptedResponse(no_status_line=True, stall=True), ScriptedResponse(body=b"[", stall=True)]
)
def test_stalled_response_times_out_and_counts_as_billed(response: ScriptedResponse) -> None:
    error, records, _ = run_request(response, attempts=1, timeout_seconds=1)
    assert type(error) is vendor_errors.Unreachable
    assert "within 1 s" in str(error)
    assert [record.calls for record in records] == [5]


def test_unreachable_vendor_costs_nothing_and_exits_6() -> None:
    async def send_request() -> tuple[VendorError, list[RequestRecord]]:
        rate_limiter = UnlimitedRateLimiter()
        async with ScriptedVendor(BAR_RESPONSE) as vendor:
            url = vendor.url
        async with create_client(url, rate_limiter, attempts=2) as client:
            with pytest.raises(vendor_errors.Unreachable) as raised:
                await fetch_aapl_rows(client)
        return raised.value, rate_limiter.records

    error, records = asyncio.run(send_request())
    assert error.exit_code == 6
    assert [(record.status, record.calls) for record in records] == [(None, 0)] * 2


@pytest.mark.parametrize(
    ("headers", "expected"), [({"retry-after": "0.2"}, 0.2), ({"retry-after": "x"}, None), ({}, None)]
)
def test_retry_after_is_recorded(headers: dict[str, str], expected: float | None) -> None:
    error, records, _ = run_request(ScriptedResponse(429, b"", HTML, headers=headers), attempts=1)
    assert error.retry_after == expected
    assert [record.retry_after for record in records] == [expected]


def test_retry_waits_for_retry_after() -> None:
    rows, records, _ = run_request(ScriptedResponse(503, b"", HTML, headers={"retry-after": "0.2"}), BAR_RESPONSE)
    assert len(rows) == 1
    first, second = records
    assert (second.started_at - first.started_at).total_seconds() >= 0.2


def test_long_retry_after_raises_the_error() -> None:
    error, records, _ = run_request(ScriptedResponse(429, b"", HTML, headers={"retry-after": "3600"}))
    assert error.retry_after == 3600
    assert len(records) == 1


def test_redirect_to_another_host_is_not_followed() -> None:
    async def send_request() -> tuple[VendorError, list[str]]:
        async with ScriptedVendor(BAR_RESPONSE) as other_host:
            headers = {"location": other_host.url.replace("127.0.0.1", "localhost") + "/x"}
            async with (
                ScriptedVendor(ScriptedResponse(302, b"", HTML, headers=headers)) as vendor,
                create_client(vendor.url, UnlimitedRateLimiter()) as client,
            ):
                with pytest.raises(vendor_errors.RequestRefused) as raised:
                    await fetch_aapl_rows(client)
            return raised.value, other_host.targets

    error, targets = asyncio.run(send_request())
    assert "redirect (302) to localhost" in str(error)
    assert targets == []


@pytest.mark.parametrize(
    ("status", "location", "host"),
    [(301, "/login", "the same host"), (301, "", "the same host"), (300, "http://x:port", "an invalid address")],
)
def test_no_redirect_is_followed(status: int, location: str, host: str) -> None:
    error, records, _ = run_request(ScriptedResponse(status, b"", HTML, headers={"location": location}))
    assert type(error) is vendor_errors.RequestRefused
    assert host in str(error)
    assert [record.calls for record in records] == [0]


def test_token_is_sent_with_every_request() -> None:
    _, _, vendor = run_request(ScriptedResponse(502), BAR_RESPONSE)
    assert [vendor.parse_query(n)["api_token"] for n in (0, 1)] == ["s3cret"] * 2
    assert vendor.parse_query(0)["fmt"] == "json"
    assert vendor.list_paths() == ["/api/intraday/AAPL.US"] * 2


@pytest.mark.parametrize("path", ["//localhost:9/x", "/https://localhost:9/x", "/@localhost:9/x"])
def test_no_path_leads_to_another_host(path: str) -> None:
    """The token goes to this one only."""

    async def send() -> str:
        async with ScriptedVendor(BAR_RESPONSE) as vendor, create_client(vendor.url, UnlimitedRateLimiter()) as client:
            async with client._http.stream(path, {}, httpx.Timeout(LONGEST_SECONDS)) as response:
                assert response.status_code == 200
            return vendor.list_paths()[0]

    assert asyncio.run(send()) == f"/api{path}"


def test_connections_are_reused_and_limited() -> None:
    async def count_connections() -> list[int]:
        counts: list[int] = []
        async with (
            ScriptedVendor(BAR_RESPONSE) as vendor,
            create_client(vendor.url, UnlimitedRateLimiter(), max_connections=4) as client,
        ):
            for _ in range(3):
                await fetch_aapl_rows(client)
            counts.append(vendor.connections)
            for _ in range(3):
                await asyncio.gather(*(fetch_aapl_rows(client) for _ in range(10)))
            counts.append(vendor.connections)
        return counts

    assert asyncio.run(count_connections()) == [1, 4]


@pytest.mark.parametrize("token", ["", "  \n"])
def test_empty_token_is_refused_at_once(token: str) -> None:
    with pytest.raises(vendor_errors.TokenRefused, match="EODHD_API_TOKEN"):
        create_client("http://127.0.0.1:1/api", UnlimitedRateLimiter(), token=token)


@pytest.mark.parametrize("warning", ["limited for s3cret", "limited\nfor api_token=s3cret"])
def test_warning_is_one_line_without_the_token(warning: str) -> None:
    rows, _, _ = run_request(ScriptedResponse(body=json.dumps([{**BAR, "warning": warning}]).encode()))
    assert rows.warning in {"limited for ***", "limited for api_token=***"}
