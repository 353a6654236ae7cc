"""The adaptive limit of requests in flight, on a clock that the test moves."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit


class Clock:
    """A clock that advances by one second at each call."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def run_with_limit(
    scenario: Callable[[AdaptiveConcurrencyLimit], Awaitable[None]], start: int = 16, maximum: int = 48
) -> AdaptiveConcurrencyLimit:
    """Run a scenario with a new limiter; fail if it takes more than 5 s."""

    async def run() -> AdaptiveConcurrencyLimit:
        limiter = AdaptiveConcurrencyLimit(start, maximum, Clock())
        await asyncio.wait_for(scenario(limiter), 5)
        return limiter

    return asyncio.run(run())


async def release_successes(limiter: AdaptiveConcurrencyLimit, times: int) -> None:
    for _ in range(times):
        await limiter.release(await limiter.acquire(), refused=False)


async def release_refusals(limiter: AdaptiveConcurrencyLimit, times: int) -> None:
    for _ in range(times):
        await limiter.release(await limiter.acquire(), refused=True)


async def run_pending_tasks() -> None:
    """Give every task that can proceed the time to do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("start", "maximum", "limit"), [(16, 48, 16), (64, 48, 48), (1, 1, 1), (0, 48, 1)])
def test_limit_starts_within_bounds(start: int, maximum: int, limit: int) -> None:
    assert AdaptiveConcurrencyLimit(start, maximum).limit == limit


@pytest.mark.parametrize(("successes", "limit"), [(0, 16), (1, 17), (10, 26), (32, 48), (100, 48)])
def test_limit_grows_by_one_per_success_up_to_the_maximum(successes: int, limit: int) -> None:
    assert run_with_limit(lambda limiter: release_successes(limiter, successes)).limit == limit


@pytest.mark.parametrize(
    ("start", "refusals", "limit"), [(16, 1, 8), (16, 2, 4), (16, 4, 1), (16, 9, 1), (5, 1, 2), (1, 1, 1)]
)
def test_limit_halves_with_each_later_refusal_but_stays_at_least_one(start: int, refusals: int, limit: int) -> None:
    assert run_with_limit(lambda limiter: release_refusals(limiter, refusals), start=start).limit == limit


def test_burst_of_refusals_halves_the_limit_once() -> None:
    async def scenario(limiter: AdaptiveConcurrencyLimit) -> None:
        starts = [await limiter.acquire() for _ in range(10)]
        for began in starts:
            await limiter.release(began, refused=True)
        assert limiter.limit == 8
        await release_refusals(limiter, 1)
        assert limiter.limit == 4

    run_with_limit(scenario)


def test_successes_within_a_burst_of_refusals_raise_the_limit() -> None:
    async def scenario(limiter: AdaptiveConcurrencyLimit) -> None:
        starts = [await limiter.acquire() for _ in range(6)]
        for number, began in enumerate(starts):
            await limiter.release(began, refused=number % 2 == 0)

    assert run_with_limit(scenario).limit == 8 + 3


def test_limit_grows_again_after_halving() -> None:
    async def scenario(limiter: AdaptiveConcurrencyLimit) -> None:
        await release_refusals(limiter, 1)
        await release_successes(limiter, 100)

    assert run_with_limit(scenario).limit == 48


@pytest.mark.parametrize(("start", "maximum", "in_flight"), [(3, 48, 3), (3, 2, 2), (0, 5, 1)])
def test_requests_in_flight_never_exceed_the_limit(start: int, maximum: int, in_flight: int) -> None:
    async def scenario(limiter: AdaptiveConcurrencyLimit) -> None:
        entered: list[float] = []

        async def work() -> None:
            entered.append(await limiter.acquire())

        tasks = start_tasks([work() for _ in range(10)])
        await run_pending_tasks()
        assert len(entered) == in_flight
        await cancel_all(tasks)

    run_with_limit(scenario, start, maximum)


def start_tasks(work: list[Coroutine[Any, Any, None]]) -> list["asyncio.Task[None]"]:
    return [asyncio.create_task(one) for one in work]


async def cancel_all(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("is_refused", [False, True])
def test_all_waiting_requests_proceed_eventually(is_refused: bool) -> None:
    done: list[int] = []

    async def scenario(limiter: AdaptiveConcurrencyLimit) -> None:
        async def work(number: int) -> None:
            began = await limiter.acquire()
            await asyncio.sleep(0)
            await limiter.release(began, refused=is_refused)
            done.append(number)

        await asyncio.gather(*(work(number) for number in range(50)))

    run_with_limit(scenario, start=2)
    assert sorted(done) == list(range(50))


@pytest.mark.parametrize(("is_refused", "entered"), [(False, (2, 4)), (True, (0, 1))])
def test_response_admits_as_many_requests_as_the_limit_allows(is_refused: bool, entered: tuple[int, int]) -> None:
    async def scenario(limiter: AdaptiveConcurrencyLimit) -> None:
        admitted: list[float] = []

        async def work() -> None:
            admitted.append(await limiter.acquire())

        starts = [await limiter.acquire() for _ in range(4)]
        waiting = start_tasks([work() for _ in range(9)])
        await run_pending_tasks()
        assert admitted == []
        await limiter.release(starts[0], refused=is_refused)
        await run_pending_tasks()
        first = len(admitted)
        await limiter.release(starts[1], refused=False)
        await run_pending_tasks()
        assert (first, len(admitted)) == entered
        await cancel_all(waiting)

    run_with_limit(scenario, start=4)


def test_cancelled_waiter_does_not_count_as_in_flight() -> None:
    async def scenario(limiter: AdaptiveConcurrencyLimit) -> None:
        began = await limiter.acquire()
        waiting = asyncio.create_task(limiter.acquire())
        await run_pending_tasks()
        await cancel_all([waiting])  # type: ignore[list-item]
        await limiter.release(began, refused=True)
        await limiter.release(await limiter.acquire(), refused=True)

    assert run_with_limit(scenario, start=1).limit == 1
