"""Every status and body of docs/vendor.md §1.5 over real HTTP: which error, how many attempts, what it cost."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.market import vendor_errors
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets_tests.integration.scripted_vendor import HTML, Say, ScriptedVendor
from backfill_assets_tests.integration.unlimited_rate_limiter import UnlimitedRateLimiter
from backfill_assets_tests.waiting import LONGEST_SECONDS

BAR = {"timestamp": 1780343700, "open": 1, "high": 2, "low": 1, "close": 2, "volume": 5}
GOOD = Say(body=json.dumps([BAR]).encode())
TEXT = "text/plain; charset=UTF-8"
PLAN = b"Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"
QUOTA = b"You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
TOO_LONG = b'{"errors":{"to":["Max period length is 600 days"],"from":["Max period length is 600 days"]}}'


def client(url: str, rate_limiter: UnlimitedRateLimiter, **options: Any) -> EodhdClient:
    given: dict[str, Any] = {
        "token": "s3cret",
        "backoff_seconds": (0.0, 0.0),
        "timeout_seconds": LONGEST_SECONDS,
    } | options
    return EodhdClient(base_url=url, rate_limiter=rate_limiter, **given)


def intraday(vendor: EodhdClient) -> Awaitable[Any]:
    return vendor.fetch_intraday("AAPL.US", "5m", 1780320600, 1780344000)


def talk(
    *answers: Say, ask: Callable[[EodhdClient], Awaitable[Any]] = intraday, **options: Any
) -> tuple[Any, list[RequestRecord], ScriptedVendor]:
    """The result or VendorError of ``ask`` against a vendor that gives ``answers``."""

    async def conversation() -> tuple[Any, list[RequestRecord], ScriptedVendor]:
        rate_limiter = UnlimitedRateLimiter()
        async with ScriptedVendor(*answers) as vendor, client(vendor.url, rate_limiter, **options) as us:
            try:
                result = await ask(us)
            except VendorError as error:
                result = error
        assert rate_limiter.acquired == len(rate_limiter.records)
        return result, rate_limiter.records, vendor

    return asyncio.run(conversation())


@pytest.mark.parametrize(
    ("say", "kind", "calls"),
    [
        (Say(401, b"Unauthenticated", TEXT), vendor_errors.TokenRefused, 0),
        (Say(403, b"Unauthenticated", TEXT), vendor_errors.TokenRefused, 0),
        (Say(402, QUOTA, HTML), vendor_errors.QuotaExhausted, 0),
        (Say(403, PLAN, HTML), vendor_errors.PlanRefused, 0),
        (Say(403, b"Forbidden", TEXT), vendor_errors.TickerRefused, 0),
        (Say(404, b"Ticker Not Found.", HTML), vendor_errors.UnknownTicker, 1),
        (Say(404, b'{"error":"x"}'), vendor_errors.UnknownTicker, 1),
        (Say(422, TOO_LONG), vendor_errors.RequestRefused, 0),
        (Say(body=b'{"error":"Unauthenticated","code":401}'), vendor_errors.TokenRefused, 5),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_permanent_errors_are_not_retried(say: Say, kind: type[VendorError], calls: int) -> None:
    error, records, _ = talk(say)
    assert type(error) is kind
    assert str(error).startswith("AAPL.US /intraday: ")
    assert [(record.calls, record.error, record.rows, record.endpoint, record.ticker) for record in records] == [
        (calls, kind.__name__, None, "/intraday", "AAPL.US")
    ]


def test_error_contains_the_vendors_text() -> None:
    error, _, _ = talk(Say(422, TOO_LONG))
    assert "to: Max period length is 600 days" in str(error)


@pytest.mark.parametrize(
    ("say", "kind", "calls"),
    [
        (Say(429, b"Too Many Attempts.", HTML), vendor_errors.RateLimited, 0),
        (Say(500, b"", HTML), vendor_errors.ServerFault, 0),
        (Say(502, b"<html><title>502 Bad Gateway</title></html>", HTML), vendor_errors.ServerFault, 0),
        (Say(502, b"<html>", HTML, cut=True), vendor_errors.ServerFault, 0),
        (Say(200, b"<html>We'll be back</html>", HTML), vendor_errors.BrokenAnswer, 5),
        (Say(200, b"[]", HTML), vendor_errors.BrokenAnswer, 5),
        (Say(200, b"<html>", TEXT), vendor_errors.BrokenAnswer, 5),
        (Say(200, b"", "application/json"), vendor_errors.BrokenAnswer, 5),
        (Say(200, b'[{"timestamp":1', cut=True), vendor_errors.BrokenAnswer, 5),
        (Say(200, b"not gzip", headers={"content-encoding": "gzip"}), vendor_errors.BrokenAnswer, 5),
        (Say(200, b'{"foo":1}'), vendor_errors.BrokenAnswer, 5),
        (Say(silent=True), vendor_errors.Unreachable, 0),
    ],
)
def test_transient_errors_are_retried_and_then_raised(say: Say, kind: type[VendorError], calls: int) -> None:
    error, records, vendor = talk(say, attempts=3)
    assert type(error) is kind
    assert (error.endpoint, error.ticker) == ("/intraday", "AAPL.US")
    assert [(record.calls, record.error) for record in records] == [(calls, kind.__name__)] * 3
    assert len(vendor.targets) == 3


def test_success_after_failures_is_returned() -> None:
    rows, records, _ = talk(Say(502, b"", HTML), Say(cut=True), Say(429, b"", HTML), GOOD)
    assert rows.timestamp.tolist() == [1780343700]
    assert [(record.status, record.calls, record.rows) for record in records] == [
        (502, 0, None),
        (200, 5, None),
        (429, 0, None),
        (200, 5, 1),
    ]
    last = records[-1]
    assert (last.body_bytes, last.rate_limit, last.rate_remaining) == (len(GOOD.body), 1200, 1197)
    assert last.error is None
    assert last.seconds > 0
    assert last.started_at.utcoffset() is not None


@pytest.mark.parametrize("say", [Say(silent=True, stall=True), Say(body=b"[", stall=True)])
def test_stalled_response_times_out_and_counts_as_billed(say: Say) -> None:
    error, records, _ = talk(say, attempts=1, timeout_seconds=1)
    assert type(error) is vendor_errors.Unreachable
    assert "within 1 s" in str(error)
    assert [record.calls for record in records] == [5]


def test_unreachable_vendor_costs_nothing_and_exits_6() -> None:
    async def ask() -> tuple[VendorError, list[RequestRecord]]:
        rate_limiter = UnlimitedRateLimiter()
        async with ScriptedVendor(GOOD) as vendor:
            url = vendor.url
        async with client(url, rate_limiter, attempts=2) as us:
            with pytest.raises(vendor_errors.Unreachable) as caught:
                await intraday(us)
        return caught.value, rate_limiter.records

    error, records = asyncio.run(ask())
    assert error.exit_code == 6
    assert [(record.status, record.calls) for record in records] == [(None, 0)] * 2


@pytest.mark.parametrize(
    ("headers", "expected"), [({"retry-after": "0.2"}, 0.2), ({"retry-after": "x"}, None), ({}, None)]
)
def test_retry_after_is_recorded(headers: dict[str, str], expected: float | None) -> None:
    error, records, _ = talk(Say(429, b"", HTML, headers=headers), attempts=1)
    assert error.retry_after == expected
    assert [record.retry_after for record in records] == [expected]


def test_retry_waits_for_retry_after() -> None:
    rows, records, _ = talk(Say(503, b"", HTML, headers={"retry-after": "0.2"}), GOOD)
    assert len(rows) == 1
    first, second = records
    assert (second.started_at - first.started_at).total_seconds() >= 0.2


def test_too_long_retry_after_is_raised() -> None:
    error, records, _ = talk(Say(429, b"", HTML, headers={"retry-after": "3600"}))
    assert error.retry_after == 3600
    assert len(records) == 1


def test_redirect_to_another_host_is_not_followed() -> None:
    async def ask() -> tuple[VendorError, list[str]]:
        async with ScriptedVendor(GOOD) as elsewhere:
            away = {"location": elsewhere.url.replace("127.0.0.1", "localhost") + "/x"}
            async with (
                ScriptedVendor(Say(302, b"", HTML, headers=away)) as vendor,
                client(vendor.url, UnlimitedRateLimiter()) as us,
            ):
                with pytest.raises(vendor_errors.RequestRefused) as caught:
                    await intraday(us)
            return caught.value, elsewhere.targets

    error, elsewhere = asyncio.run(ask())
    assert "redirect (302) to localhost" in str(error)
    assert elsewhere == []


@pytest.mark.parametrize(
    ("status", "location", "host"),
    [(301, "/login", "the same host"), (301, "", "the same host"), (300, "http://x:port", "an invalid address")],
)
def test_no_redirect_is_followed(status: int, location: str, host: str) -> None:
    error, records, _ = talk(Say(status, b"", HTML, headers={"location": location}))
    assert type(error) is vendor_errors.RequestRefused
    assert host in str(error)
    assert [record.calls for record in records] == [0]


def test_token_is_sent_with_every_request_to_this_host_only() -> None:
    _, _, vendor = talk(Say(502), GOOD)
    assert [vendor.query(n)["api_token"] for n in (0, 1)] == ["s3cret"] * 2
    assert vendor.query(0)["fmt"] == "json"
    assert vendor.paths() == ["/api/intraday/AAPL.US"] * 2

    async def strayed() -> str:
        async with ScriptedVendor(GOOD) as vendor, ScriptedVendor(GOOD) as other:
            async with client(vendor.url, UnlimitedRateLimiter()) as us:
                await us._http.get(other.url + "/x")
            return other.targets[0]

    assert asyncio.run(strayed()) == "/api/x"


def test_connections_are_reused_and_limited() -> None:
    async def connections() -> list[int]:
        seen: list[int] = []
        async with ScriptedVendor(GOOD) as vendor, client(vendor.url, UnlimitedRateLimiter(), max_connections=4) as us:
            for _ in range(3):
                await intraday(us)
            seen.append(vendor.connections)
            for _ in range(3):
                await asyncio.gather(*(intraday(us) for _ in range(10)))
            seen.append(vendor.connections)
        return seen

    assert asyncio.run(connections()) == [1, 4]


@pytest.mark.parametrize("token", ["", "  \n"])
def test_empty_token_is_refused_at_once(token: str) -> None:
    with pytest.raises(vendor_errors.TokenRefused, match="EODHD_API_TOKEN"):
        client("http://127.0.0.1:1/api", UnlimitedRateLimiter(), token=token)


@pytest.mark.parametrize("warning", ["limited for s3cret", "limited\nfor api_token=s3cret"])
def test_warning_is_one_line_without_the_token(warning: str) -> None:
    rows, _, _ = talk(Say(body=json.dumps([{**BAR, "warning": warning}]).encode()))
    assert rows.warning in {"limited for ***", "limited for api_token=***"}
