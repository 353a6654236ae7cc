"""Each permit is given back exactly once, whatever happens to the request or to us."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import QuotaExhausted, ServerFault
from backfill_assets.eodhd.rate_limiter import RequestRecord
from backfill_assets_tests.integration.scripted_vendor import HTML, Say, ScriptedVendor

TOKEN = "t0ken"  # noqa: S105 - made up


class StrictGate:
    """Counts permits; optionally slow to settle, or closed."""

    def __init__(self, *, slow: float = 0.0, closed_after: int | None = None) -> None:
        self.slow, self.closed_after = slow, closed_after
        self.given: list[int] = []
        self.settled: dict[int, RequestRecord] = {}
        self.settling = asyncio.Event()

    async def acquire(self, calls: int) -> object:
        if self.closed_after is not None and len(self.given) >= self.closed_after:
            raise QuotaExhausted("the day's calls are spent")
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
    story: Callable[[EodhdClient, ScriptedVendor, StrictGate], Awaitable[None]],
    gate: Callable[[], StrictGate] = StrictGate,
) -> StrictGate:
    async def play() -> StrictGate:
        strict = gate()
        async with ScriptedVendor(answer) as vendor:
            us = EodhdClient(base_url=vendor.url, token=TOKEN, rate_limiter=strict, attempts=3, backoff_seconds=(0, 0))
            async with us:
                await story(us, vendor, strict)
        assert sorted(strict.settled) == list(range(1, len(strict.given) + 1))
        return strict

    return asyncio.run(play())


def test_every_attempt_has_a_permit_of_its_own() -> None:
    async def story(us: EodhdClient, vendor: ScriptedVendor, gate: StrictGate) -> None:
        with pytest.raises(ServerFault):
            await us.fetch_daily("A.US")

    gate = run(Say(502, b"", HTML), story)
    assert gate.given == [1, 1, 1]


def test_cancelled_while_the_vendor_thinks() -> None:
    async def story(us: EodhdClient, vendor: ScriptedVendor, gate: StrictGate) -> None:
        task = asyncio.ensure_future(us.fetch_intraday("A.US", "5m", 1, 2))
        await vendor.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(gate.settled) == 1

    gate = run(Say(silent=True, stall=True), story)
    record = gate.settled[1]
    assert (record.status, record.error, record.calls) == (None, "CancelledError", 5)


def test_cancelled_again_while_settling() -> None:
    async def story(us: EodhdClient, vendor: ScriptedVendor, gate: StrictGate) -> None:
        task = asyncio.ensure_future(us.fetch_intraday("A.US", "5m", 1, 2))
        await gate.settling.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gate.settled == {}  # goes on in the background; leaving the client waits for it

    gate = run(Say(), story, lambda: StrictGate(slow=0.05))
    assert gate.settled[1].status == 200


def test_a_closed_gate_ends_the_retries() -> None:
    async def story(us: EodhdClient, vendor: ScriptedVendor, gate: StrictGate) -> None:
        with pytest.raises(QuotaExhausted):
            await us.fetch_daily("A.US")
        assert len(vendor.targets) == 1

    run(Say(502, b"", HTML), story, lambda: StrictGate(closed_after=1))


def test_a_surprise_while_reading_is_settled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(us: EodhdClient, vendor: ScriptedVendor, gate: StrictGate) -> None:
        def surprise(_: bytes) -> list[int]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await us._request("eod", surprise, 1, ticker="A.US")

    gate = run(Say(), story)
    assert gate.settled[1].error == "ZeroDivisionError"
