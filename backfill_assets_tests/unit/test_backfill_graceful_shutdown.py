"""Signals cancel the work and let it clean up first, whatever their handlers raise."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import raise_interrupts_as

from backfill_assets.backfill.fetch.graceful_shutdown import (
    TERMINATION_SIGNALS,
    await_shielded,
    run_with_graceful_shutdown,
)

ENDLESS = 3600


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signalled(number: signal.Signals, put_away: list[str], *, hard: bool = False) -> None:
    """Work that is signalled, and needs another turn of the loop to put its things away."""

    async def work() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, number)
        try:
            await asyncio.sleep(ENDLESS)
        finally:
            if hard:
                signal.raise_signal(number)
            await asyncio.sleep(0)
            put_away.append("stored")

    run_with_graceful_shutdown(work())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dagster_termination_is_raised_after_cleanup(number: signal.Signals) -> None:
    put_away: list[str] = []
    with pytest.raises(DagsterExecutionInterruptedError), raise_interrupts_as(DagsterExecutionInterruptedError):
        signalled(number, put_away)
    assert put_away == ["stored"]


def test_ctrl_c_raises_keyboard_interrupt_after_cleanup() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    put_away: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGINT, put_away)
    assert put_away == ["stored"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_work_ends_even_if_the_handler_raises_nothing() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGHUP, [])
    assert heard == [signal.SIGHUP]


def test_second_signal_ends_the_work_at_once() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    put_away: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGINT, put_away, hard=True)
    assert put_away == []


def test_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def work() -> str:
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(0)
        return "done"

    assert run_with_graceful_shutdown(work()) == "done"


def test_cancelled_caller_waits_for_the_shielded_task() -> None:
    async def work() -> tuple[bool, str]:
        go = asyncio.Event()

        async def storing() -> str:
            await go.wait()
            return "stored"

        task = asyncio.create_task(storing())
        waiter = asyncio.create_task(await_shielded(task))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.sleep(0)
        assert not waiter.done()
        go.set()
        (ended,) = await asyncio.gather(waiter, return_exceptions=True)
        return isinstance(ended, asyncio.CancelledError), task.result()

    assert asyncio.run(work()) == (True, "stored")


def test_cancellation_without_a_signal_is_raised() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_with_graceful_shutdown(work())
