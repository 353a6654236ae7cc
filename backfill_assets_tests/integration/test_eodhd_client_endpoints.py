"""Each endpoint over real HTTP: paths, parameters, prices, splitting and batching."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from typing import Any

import httpx
import pytest

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.market import vendor_errors
from backfill_assets_tests.integration.scripted_vendor import HTML, ScriptedResponse
from backfill_assets_tests.integration.test_eodhd_client_errors import (
    BAR,
    BAR_RESPONSE,
    TEXT,
    create_client,
    run_request,
)
from backfill_assets_tests.integration.unlimited_rate_limiter import UnlimitedRateLimiter

DAY = 86_400


@pytest.mark.parametrize(
    ("interval", "days", "requests"),
    [("5m", 600, 1), ("5m", 601, 2), ("5m", 1300, 3), ("1m", 120, 1), ("1m", 121, 2), ("1h", 7200, 1), ("15m", 121, 2)],
)
def test_long_spans_are_split(interval: str, days: int, requests: int) -> None:
    start, end = 1_600_000_000, 1_600_000_000 + days * DAY
    _, records, vendor = run_request(
        BAR_RESPONSE, request=lambda client: client.fetch_intraday("A.US", interval, start, end)
    )
    spans = [(int(vendor.parse_query(n)["from"]), int(vendor.parse_query(n)["to"])) for n in range(requests)]
    assert len(vendor.targets) == requests
    assert [record.calls for record in records] == [5] * requests
    longest = {"5m": 600, "1h": 7200}.get(interval, 120) * DAY
    assert all(to - first <= longest for first, to in spans)
    assert spans[0][0] == start
    assert spans[-1][1] >= end
    assert [first for first, _ in spans[1:]] == [to for _, to in spans[:-1]]


@pytest.mark.parametrize("inclusive", [True, False])
def test_split_spans_return_every_row_once_whether_to_is_inclusive_or_not(inclusive: bool) -> None:
    start, end = 1_600_000_000, 1_600_000_000 + 1000 * DAY
    stamps = [start + day * DAY for day in range(1001)]

    def respond(request: httpx.Request) -> httpx.Response:
        first, to = int(request.url.params["from"]), int(request.url.params["to"])
        selected = [s for s in [*stamps, end + 1] if first <= s < to + inclusive]
        return httpx.Response(200, json=[{**BAR, "timestamp": stamp} for stamp in selected])

    async def send_request() -> list[int]:
        async with create_client(
            "http://x/api", UnlimitedRateLimiter(), transport=httpx.MockTransport(respond)
        ) as client:
            rows = await client.fetch_intraday("A.US", "5m", start, end)
        return [int(stamp) for stamp in rows.timestamp]

    assert asyncio.run(send_request()) == stamps


def test_reversed_span_raises_value_error() -> None:
    async def send_request() -> None:
        async with create_client("http://127.0.0.1:1/api", UnlimitedRateLimiter()) as client:
            await client.fetch_intraday("A.US", "5m", 2, 1)

    with pytest.raises(ValueError, match="before the start"):
        asyncio.run(send_request())


ACCOUNT = ScriptedResponse(
    body=b'{"apiRequests":3,"apiRequestsDate":"2026-11-24","dailyRateLimit":100000,"extraLimit":0}'
)


@pytest.mark.parametrize(
    "first",
    [
        ScriptedResponse(404, b"", HTML),
        ScriptedResponse(403, b"Forbidden", TEXT),
        ScriptedResponse(422, b"{}"),
        ScriptedResponse(body=b"[]"),
    ],
)
def test_account_falls_back_to_the_second_path(first: ScriptedResponse) -> None:
    account, records, vendor = run_request(first, ACCOUNT, request=lambda client: client.fetch_account(), attempts=1)
    assert (account.api_requests, account.api_requests_date) == (3, date(2026, 11, 24))
    assert vendor.list_paths() == ["/api/user", "/api/internal-user"]
    assert [record.calls for record in records] == [0, 0]


def test_refused_token_does_not_try_the_second_path() -> None:
    error, _, vendor = run_request(
        ScriptedResponse(401, b"Unauthenticated", TEXT), request=lambda client: client.fetch_account()
    )
    assert type(error) is vendor_errors.TokenRefused
    assert len(vendor.targets) == 1


def test_refused_batch_is_requested_in_halves() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        names = [request.url.path.rsplit("/", 1)[1], *filter(None, request.url.params.get("s", "").split(","))]
        if "BAD.US" in names:
            return httpx.Response(403, text="Forbidden")
        rows = [{"code": name, "timestamp": 1, "close": 1} for name in names]
        return httpx.Response(200, json=rows if len(rows) > 1 else rows[0])

    rate_limiter = UnlimitedRateLimiter()

    async def send_request() -> Any:
        async with create_client("http://x/api", rate_limiter, transport=httpx.MockTransport(respond)) as client:
            return await client.fetch_quotes(["A.US", "B.US", "BAD.US", "C.US"])

    quotes = asyncio.run(send_request())
    assert [(quote.code, quote.close) for quote in quotes] == [
        ("A.US", 1),
        ("B.US", 1),
        ("BAD.US", None),
        ("C.US", 1),
    ]
    assert sum(record.calls for record in rate_limiter.records) == 3


def test_paths_parameters_and_prices_of_the_other_endpoints() -> None:
    day = date(2026, 7, 9)
    requests: list[tuple[Callable[[EodhdClient], Awaitable[Any]], str, dict[str, str], int]] = [
        (lambda client: client.fetch_quotes(["A/B.US"]), "/api/real-time/A%2FB.US", {}, 1),
        (lambda client: client.fetch_quotes(["A.US", "B.US"]), "/api/real-time/A.US", {"s": "B.US"}, 2),
        (lambda client: client.fetch_exchange_quotes(), "/api/real-time/AAPL.US", {"ex": "US"}, 100),
        (lambda client: client.fetch_symbols("US"), "/api/exchange-symbol-list/US", {}, 1),
        (
            lambda client: client.fetch_symbols("US", delisted=True, symbol_type="etf"),
            "/api/exchange-symbol-list/US",
            {"delisted": "1", "type": "etf"},
            1,
        ),
        (lambda client: client.fetch_daily("A.US"), "/api/eod/A.US", {}, 1),
        (
            lambda client: client.fetch_daily("A.US", day, day),
            "/api/eod/A.US",
            {"from": "2026-07-09", "to": "2026-07-09"},
            1,
        ),
        (lambda client: client.fetch_bulk_daily("US"), "/api/eod-bulk-last-day/US", {}, 100),
        (lambda client: client.fetch_bulk_daily("US", day), "/api/eod-bulk-last-day/US", {"date": "2026-07-09"}, 100),
        (lambda client: client.fetch_splits("A.US"), "/api/splits/A.US", {}, 1),
        (lambda client: client.fetch_splits("A.US", day), "/api/splits/A.US", {"from": "2026-07-09"}, 1),
        (
            lambda client: client.fetch_bulk_splits("US", day),
            "/api/eod-bulk-last-day/US",
            {"date": "2026-07-09", "type": "splits"},
            100,
        ),
        (lambda client: client.fetch_dividends("A.US"), "/api/div/A.US", {}, 1),
        (lambda client: client.fetch_dividends("A.US", day), "/api/div/A.US", {"from": "2026-07-09"}, 1),
        (
            lambda client: client.fetch_bulk_dividends("US", day),
            "/api/eod-bulk-last-day/US",
            {"date": "2026-07-09", "type": "dividends"},
            100,
        ),
        (
            lambda client: client.fetch_symbol_changes(day, day),
            "/api/symbol-change-history",
            {"from": "2026-07-09", "to": "2026-07-09"},
            5,
        ),
    ]
    for request, path, query, calls in requests:
        _, records, vendor = run_request(ScriptedResponse(), request=request)
        assert vendor.list_paths() == [path]
        assert vendor.parse_query(0) == {**query, "fmt": "json", "api_token": "s3cret"}
        assert [record.calls for record in records] == [calls]


def test_bodies_are_freed_without_the_garbage_collector() -> None:
    """Commands collect rarely: long answers that wait for it would need more memory than all that is on its way."""
    body = b"[" + b" " * 2_000_000 + BAR_RESPONSE.body.strip()[1:]
    kept: list[int] = []

    async def fetch_repeatedly(client: EodhdClient) -> None:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(6):
            await client.fetch_intraday("A.US", "5m", 0, DAY)
        kept.append(tracemalloc.get_traced_memory()[0] - before)

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        run_request(replace(BAR_RESPONSE, body=body), request=fetch_repeatedly)
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept[0] < 2 * len(body)
