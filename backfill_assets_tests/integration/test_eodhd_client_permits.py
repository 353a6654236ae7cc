"""Each permit is released exactly once, whatever happens to the request or the task."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import QuotaExhausted, ServerFault
from backfill_assets_tests.integration.scripted_vendor import HTML, Say, ScriptedVendor

TOKEN = "t0ken"  # noqa: S105 - made up


class StrictRateLimiter:
    """Counts permits; optionally slow to release, or exhausted."""

    def __init__(self, *, slow: float = 0.0, closed_after: int | None = None) -> None:
        self.slow, self.closed_after = slow, closed_after
        self.given: list[int] = []
        self.settled: dict[int, RequestRecord] = {}
        self.settling = asyncio.Event()

    async def acquire(self, calls: int) -> object:
        if self.closed_after is not None and len(self.given) >= self.closed_after:
            raise QuotaExhausted("daily call quota is used up")
        self.given.append(calls)
        return len(self.given)

    async def release(self, permit: object, record: RequestRecord) -> None:
        self.settling.set()
        await asyncio.sleep(self.slow)
        assert isinstance(permit, int)
        assert permit not in self.settled
        self.settled[permit] = record


def run(
    answer: Say,
    scenario: Callable[[EodhdClient, ScriptedVendor, StrictRateLimiter], Awaitable[None]],
    rate_limiter: Callable[[], StrictRateLimiter] = StrictRateLimiter,
) -> StrictRateLimiter:
    async def play() -> StrictRateLimiter:
        strict = rate_limiter()
        async with ScriptedVendor(answer) as vendor:
            us = EodhdClient(base_url=vendor.url, token=TOKEN, rate_limiter=strict, attempts=3, backoff_seconds=(0, 0))
            async with us:
                await scenario(us, vendor, strict)
        assert sorted(strict.settled) == list(range(1, len(strict.given) + 1))
        return strict

    return asyncio.run(play())


def test_every_attempt_has_its_own_permit() -> None:
    async def scenario(us: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        with pytest.raises(ServerFault):
            await us.fetch_daily("A.US")

    rate_limiter = run(Say(502, b"", HTML), scenario)
    assert rate_limiter.given == [1, 1, 1]


def test_permit_is_released_if_cancelled_before_the_response() -> None:
    async def scenario(us: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        task = asyncio.ensure_future(us.fetch_intraday("A.US", "5m", 1, 2))
        await vendor.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(rate_limiter.settled) == 1

    rate_limiter = run(Say(silent=True, stall=True), scenario)
    record = rate_limiter.settled[1]
    assert (record.status, record.error, record.calls) == (None, "CancelledError", 5)


def test_permit_is_released_if_cancelled_during_release() -> None:
    async def scenario(us: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        task = asyncio.ensure_future(us.fetch_intraday("A.US", "5m", 1, 2))
        await rate_limiter.settling.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rate_limiter.settled == {}  # continues in the background; closing the client waits for it

    rate_limiter = run(Say(), scenario, lambda: StrictRateLimiter(slow=0.05))
    assert rate_limiter.settled[1].status == 200


def test_exhausted_quota_ends_the_retries() -> None:
    async def scenario(us: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        with pytest.raises(QuotaExhausted):
            await us.fetch_daily("A.US")
        assert len(vendor.targets) == 1

    run(Say(502, b"", HTML), scenario, lambda: StrictRateLimiter(closed_after=1))


def test_permit_is_released_after_an_unexpected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(us: EodhdClient, vendor: ScriptedVendor, rate_limiter: StrictRateLimiter) -> None:
        def raise_unexpected_error(_: bytes) -> list[int]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await us._request("eod", raise_unexpected_error, 1, ticker="A.US")

    rate_limiter = run(Say(), scenario)
    assert rate_limiter.settled[1].error == "ZeroDivisionError"
