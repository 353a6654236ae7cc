"""The adaptive limit of requests in flight, on a clock that the test moves."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit


class Clock:
    """Time as the test says; each look is a moment later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def fly(
    scene: Callable[[AdaptiveConcurrencyLimit], Awaitable[None]], start: int = 16, most: int = 48
) -> AdaptiveConcurrencyLimit:
    """Play a scene with a new flight; one that hangs fails."""

    async def play() -> AdaptiveConcurrencyLimit:
        flight = AdaptiveConcurrencyLimit(start, most, Clock())
        await asyncio.wait_for(scene(flight), 5)
        return flight

    return asyncio.run(play())


async def answered(flight: AdaptiveConcurrencyLimit, times: int) -> None:
    for _ in range(times):
        await flight.release(await flight.acquire(), refused=False)


async def refused(flight: AdaptiveConcurrencyLimit, times: int) -> None:
    for _ in range(times):
        await flight.release(await flight.acquire(), refused=True)


async def settle() -> None:
    """Let every task that can proceed do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("start", "most", "limit"), [(16, 48, 16), (64, 48, 48), (1, 1, 1), (0, 48, 1)])
def test_limit_starts_within_bounds(start: int, most: int, limit: int) -> None:
    assert AdaptiveConcurrencyLimit(start, most).limit == limit


@pytest.mark.parametrize(("good", "limit"), [(0, 16), (1, 17), (10, 26), (32, 48), (100, 48)])
def test_limit_grows_by_one_per_success_up_to_the_maximum(good: int, limit: int) -> None:
    assert fly(lambda flight: answered(flight, good)).limit == limit


@pytest.mark.parametrize(
    ("start", "bursts", "limit"), [(16, 1, 8), (16, 2, 4), (16, 4, 1), (16, 9, 1), (5, 1, 2), (1, 1, 1)]
)
def test_limit_halves_with_each_later_refusal_but_stays_at_least_one(start: int, bursts: int, limit: int) -> None:
    assert fly(lambda flight: refused(flight, bursts), start=start).limit == limit


def test_burst_of_refusals_halves_the_limit_once() -> None:
    async def scene(flight: AdaptiveConcurrencyLimit) -> None:
        begun = [await flight.acquire() for _ in range(10)]
        for began in begun:
            await flight.release(began, refused=True)
        assert flight.limit == 8
        await refused(flight, 1)
        assert flight.limit == 4

    fly(scene)


def test_successes_within_a_burst_still_count() -> None:
    async def scene(flight: AdaptiveConcurrencyLimit) -> None:
        begun = [await flight.acquire() for _ in range(6)]
        for number, began in enumerate(begun):
            await flight.release(began, refused=number % 2 == 0)

    assert fly(scene).limit == 8 + 3


def test_limit_grows_again_after_halving() -> None:
    async def scene(flight: AdaptiveConcurrencyLimit) -> None:
        await refused(flight, 1)
        await answered(flight, 100)

    assert fly(scene).limit == 48


@pytest.mark.parametrize(("start", "most", "under_way"), [(3, 48, 3), (3, 2, 2), (0, 5, 1)])
def test_requests_in_flight_never_exceed_the_limit(start: int, most: int, under_way: int) -> None:
    async def scene(flight: AdaptiveConcurrencyLimit) -> None:
        entered: list[float] = []

        async def work() -> None:
            entered.append(await flight.acquire())

        tasks = start_all([work() for _ in range(10)])
        await settle()
        assert len(entered) == under_way
        await give_up(tasks)

    fly(scene, start, most)


def start_all(work: list[Coroutine[Any, Any, None]]) -> list["asyncio.Task[None]"]:
    return [asyncio.create_task(one) for one in work]


async def give_up(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("refuse", [False, True])
def test_all_waiting_requests_proceed_eventually(refuse: bool) -> None:
    done: list[int] = []

    async def scene(flight: AdaptiveConcurrencyLimit) -> None:
        async def work(number: int) -> None:
            began = await flight.acquire()
            await asyncio.sleep(0)
            await flight.release(began, refused=refuse)
            done.append(number)

        await asyncio.gather(*(work(number) for number in range(50)))

    fly(scene, start=2)
    assert sorted(done) == list(range(50))


@pytest.mark.parametrize(("refuse", "entered"), [(False, (2, 4)), (True, (0, 1))])
def test_response_admits_as_many_requests_as_fit(refuse: bool, entered: tuple[int, int]) -> None:
    async def scene(flight: AdaptiveConcurrencyLimit) -> None:
        inside: list[float] = []

        async def work() -> None:
            inside.append(await flight.acquire())

        begun = [await flight.acquire() for _ in range(4)]
        waiting = start_all([work() for _ in range(9)])
        await settle()
        assert inside == []
        await flight.release(begun[0], refused=refuse)
        await settle()
        first = len(inside)
        await flight.release(begun[1], refused=False)
        await settle()
        assert (first, len(inside)) == entered
        await give_up(waiting)

    fly(scene, start=4)


def test_cancelled_waiter_takes_no_place() -> None:
    async def scene(flight: AdaptiveConcurrencyLimit) -> None:
        began = await flight.acquire()
        waiting = asyncio.create_task(flight.acquire())
        await settle()
        await give_up([waiting])  # type: ignore[list-item]
        await flight.release(began, refused=True)
        await flight.release(await flight.acquire(), refused=True)

    assert fly(scene, start=1).limit == 1
