"""The client against the sandbox over HTTP: every endpoint, and both sides count the same calls."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import numpy as np
import pytest

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.market import vendor_errors
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.sandbox.config import DataQuirks, Faults, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.integration.unlimited_rate_limiter import UnlimitedRateLimiter

NOW = datetime(2026, 6, 3, 12, tzinfo=UTC)
MONDAY = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
DAY = 86_400
T = TypeVar("T")


def run_request(
    sandbox: Sandbox, request: Callable[[EodhdClient], Awaitable[T]], **options: Any
) -> tuple[T, UnlimitedRateLimiter]:
    rate_limiter = UnlimitedRateLimiter()
    arguments: dict[str, Any] = {"token": "t0ken", "purpose": Purpose.GAP, "backoff_seconds": (0.0, 0.0)} | options

    async def run() -> T:
        async with EodhdClient(base_url=sandbox.base_url, rate_limiter=rate_limiter, **arguments) as client:
            return await request(client)

    return asyncio.run(run()), rate_limiter


async def request_every_endpoint(client: EodhdClient) -> dict[str, Any]:
    return {
        "intraday": await client.fetch_intraday("AAPL.US", "5m", MONDAY, MONDAY + DAY),
        "quote": await client.fetch_quotes(["AAPL.US"]),
        "quotes": await client.fetch_quotes(["AAPL.US", "MSFT.US", "NOPE.US"]),
        "exchange": await client.fetch_exchange_quotes(),
        "symbols": await client.fetch_symbols("US"),
        "delisted": await client.fetch_symbols("US", delisted=True),
        "eod": await client.fetch_daily("AAPL.US", date(2026, 5, 26), date(2026, 6, 1)),
        "bulk": await client.fetch_bulk_daily("US", date(2026, 6, 1)),
        "splits": await client.fetch_splits("AAPL.US"),
        "recent splits": await client.fetch_splits("AAPL.US", date(2026, 1, 1)),
        "splits of a day": await client.fetch_bulk_splits("US", date(2024, 6, 10)),
        "changes": await client.fetch_symbol_changes(date(2026, 1, 1), date(2026, 6, 1)),
        "user": await client.fetch_account(),
    }


@pytest.mark.parametrize("quirks_on", [False, True])
def test_every_endpoint_is_parsed_and_its_calls_are_counted(quirks_on: bool) -> None:
    quirks = DataQuirks(
        upper_case_codes=quirks_on,
        details_as_lists=quirks_on,
        string_timestamps=float(quirks_on),
        whole_prices_as_int=quirks_on,
        duplicate_splits=float(quirks_on),
    )
    config = SandboxConfig(now=NOW, clock_rate=0, quirks=quirks, renamed={"OLD": ("MSFT", date(2026, 3, 2))})
    with Sandbox(config) as sandbox:
        results, rate_limiter = run_request(sandbox, request_every_endpoint)
        stats = sandbox.stats()
    assert len(results["intraday"]) == 79
    assert np.isnan(results["intraday"].volume).sum() == 1
    assert [quote.code for quote in results["quote"]] == ["AAPL.US"]
    assert results["quote"][0].timestamp is not None
    assert [quote.close is None for quote in results["quotes"]] == [False, False, True]
    assert len(results["exchange"]) >= 30
    assert "AAPL" in {listed.code for listed in results["symbols"]}
    assert results["eod"].date.tolist()[-1] == date(2026, 6, 1)
    assert len(results["eod"]) == 5 - (date(2026, 5, 26).weekday() == 0)
    assert "AAPL" in results["bulk"].code.tolist()
    splits, split_count = results["splits"], 2 if quirks_on else 1
    assert [(row.ex_date, row.new_shares, row.old_shares) for row in splits.rows] == [
        (date(2020, 8, 31), 4, 1)
    ] * split_count
    assert len(results["recent splits"]) == 0
    assert [row.code for row in results["splits of a day"].rows] == ["NVDA"] * split_count
    assert [(c.old_symbol, c.new_symbol) for c in results["changes"]] == [("OLD", "MSFT")]
    assert results["user"].api_requests == sum(e.calls for e in rate_limiter.records)
    assert stats["requests"] == len(rate_limiter.records)
    assert all(e.error is None and e.rate_limit == 1200 and e.body_bytes > 0 for e in rate_limiter.records)


@pytest.mark.parametrize(
    ("config", "token", "ticker", "kind"),
    [
        (SandboxConfig(now=NOW, tokens=frozenset({"good"})), "bad", "AAPL.US", vendor_errors.TokenRefused),
        (SandboxConfig(now=NOW), "demo", "SPY.US", vendor_errors.TickerRefused),
        (SandboxConfig(now=NOW, free_tokens=frozenset({"free"})), "free", "AAPL.US", vendor_errors.PlanRefused),
        (SandboxConfig(now=NOW, daily=3), "good", "AAPL.US", vendor_errors.QuotaExhausted),
        (SandboxConfig(now=NOW), "good", "NOPE.US", vendor_errors.UnknownTicker),
    ],
)
def test_permanent_error_is_raised_after_one_request(
    config: SandboxConfig, token: str, ticker: str, kind: type[vendor_errors.VendorError]
) -> None:
    async def send_request(client: EodhdClient) -> IntradayRows:
        return await client.fetch_intraday(ticker, "5m", MONDAY, MONDAY + DAY)

    with Sandbox(config) as sandbox:
        with pytest.raises(kind, match=ticker):
            run_request(sandbox, send_request, token=token)
        assert sandbox.stats()["requests"] == 1


def test_unknown_interval_error_contains_the_text_of_the_vendor() -> None:
    async def send_request(client: EodhdClient) -> IntradayRows:
        return await client.fetch_intraday("AAPL.US", "d", MONDAY, MONDAY + DAY)

    with Sandbox(SandboxConfig(now=NOW)) as sandbox, pytest.raises(vendor_errors.RequestRefused, match="interval"):
        run_request(sandbox, send_request)


def test_long_range_is_split_into_several_requests() -> None:
    async def send_request(client: EodhdClient) -> list[IntradayRows]:
        longest = [("5m", 600), ("1m", 120)]
        return [
            await client.fetch_intraday("AAPL.US", interval, MONDAY - days * DAY - 5 * DAY, MONDAY + DAY)
            for interval, days in longest
        ]

    with Sandbox(SandboxConfig(now=NOW, clock_rate=0)) as sandbox:
        parts, rate_limiter = run_request(sandbox, send_request)
        assert sandbox.stats()["requests"] == 4
    assert [e.status for e in rate_limiter.records] == [200] * 4
    for rows in parts:
        assert (np.diff(rows.timestamp) > 0).all()


def test_all_rows_arrive_despite_faults() -> None:
    faults = Faults(status_502=0.2, cut_body=0.05, html_200=0.05, timeout=0.02, status_429=0.03)

    async def send_request(client: EodhdClient) -> list[IntradayRows]:
        # This process is also the server. More concurrent requests would time out without a fault.
        limit = asyncio.Semaphore(10)

        async def fetch_ticker(ticker: str) -> IntradayRows:
            async with limit:
                return await client.fetch_intraday(ticker, "5m", MONDAY, MONDAY + DAY)

        tickers = [f"{listed.code}.US" for listed in await client.fetch_symbols("US")]
        return list(await asyncio.gather(*(fetch_ticker(ticker) for ticker in tickers)))

    with Sandbox(SandboxConfig(now=NOW, clock_rate=0, symbols=100)) as sandbox:
        without_faults, _ = run_request(sandbox, send_request)
        sandbox.reset_stats()
        sandbox.set_faults(**{k: v for k, v in vars(faults).items() if v and not k.endswith("seconds")})
        with_faults, rate_limiter = run_request(sandbox, send_request, attempts=12, timeout_seconds=4)
        assert sandbox.stats()["requests"] == len(rate_limiter.records)
    assert len(with_faults) == len(without_faults) >= 100
    for expected, rows in zip(without_faults, with_faults, strict=True):
        for name in ("timestamp", "open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(getattr(expected, name), getattr(rows, name))
    failed = {e.error for e in rate_limiter.records}
    assert {"ServerFault", "BrokenAnswer"} <= failed
