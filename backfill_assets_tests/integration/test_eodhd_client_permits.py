"""Each permit is released exactly once, whatever happens to the request or the task."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import QuotaExhausted, ServerFault
from backfill_assets_tests.integration.scripted_vendor import HTML, ScriptedResponse, ScriptedVendor

TOKEN = "t0ken"  # noqa: S105 - made up


class StrictRateLimiter:
    """Counts permits; optionally slow to release them, or exhausted after a number of permits."""

    def __init__(self, *, release_seconds: float = 0.0, exhausted_after: int | None = None) -> None:
        self.release_seconds, self.exhausted_after = release_seconds, exhausted_after
        self.acquired: list[int] = []
        self.released: dict[int, RequestRecord] = {}
        self.release_started = asyncio.Event()

    async def acquire(self, calls: int, purpose: Purpose) -> object:  # noqa: ARG002
        if self.exhausted_after is not None and len(self.acquired) >= self.exhausted_after:
            raise QuotaExhausted("daily call quota is used up")
        self.acquired.append(calls)
        return len(self.acquired)

    async def release(self, permit: object, record: RequestRecord) -> None:
        self.release_started.set()
        await asyncio.sleep(self.release_seconds)
        assert isinstance(permit, int)
        assert permit not in self.released
        self.released[permit] = record


def run_scenario(
    response: ScriptedResponse,
    scenario: Callable[[EodhdClient, ScriptedVendor, StrictRateLimiter], Awaitable[None]],
    rate_limiter: Callable[[], StrictRateLimiter] = StrictRateLimiter,
) -> StrictRateLimiter:
    async def run() -> StrictRateLimiter:
        strict = rate_limiter()
        async with ScriptedVendor(response) as vendor:
            client = EodhdClient(
                base_url=vendor.url,
                token=TOKEN,
                rate_limiter=strict,
                purpose=Purpose.GAP,
                attempts=3,
                backoff_seconds=(0, 0),
            )
            async with client:
                await scenario(client, vendor, strict)
        assert sorted(strict.released) == list(range(1, len(strict.acquired) + 1))
        return strict

    return asyncio.run(run())


def test_every_attempt_has_its_own_permit() -> None:
    async def scenario(client: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        with pytest.raises(ServerFault):
            await client.fetch_daily("A.US")

    rate_limiter = run_scenario(ScriptedResponse(502, b"", HTML), scenario)
    assert rate_limiter.acquired == [1, 1, 1]


def test_permit_is_released_if_cancelled_before_the_response() -> None:
    async def scenario(client: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        task = asyncio.ensure_future(client.fetch_intraday("A.US", "5m", 1, 2))
        await vendor.request_received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(rate_limiter.released) == 1

    rate_limiter = run_scenario(ScriptedResponse(no_status_line=True, stall=True), scenario)
    record = rate_limiter.released[1]
    assert (record.status, record.error, record.calls) == (None, "CancelledError", 5)


def test_permit_is_released_if_cancelled_during_release() -> None:
    async def scenario(client: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        task = asyncio.ensure_future(client.fetch_intraday("A.US", "5m", 1, 2))
        await rate_limiter.release_started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rate_limiter.released == {}  # continues in the background; closing the client waits for it

    rate_limiter = run_scenario(ScriptedResponse(), scenario, lambda: StrictRateLimiter(release_seconds=0.05))
    assert rate_limiter.released[1].status == 200


def test_exhausted_quota_ends_the_retries() -> None:
    async def scenario(client: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        with pytest.raises(QuotaExhausted):
            await client.fetch_daily("A.US")
        assert len(vendor.targets) == 1

    run_scenario(ScriptedResponse(502, b"", HTML), scenario, lambda: StrictRateLimiter(exhausted_after=1))


def test_permit_is_released_after_an_unexpected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        def raise_unexpected_error(_: bytes) -> list[int]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await client._request("eod", raise_unexpected_error, 1, ticker="A.US")

    rate_limiter = run_scenario(ScriptedResponse(), scenario)
    assert rate_limiter.released[1].error == "ZeroDivisionError"
