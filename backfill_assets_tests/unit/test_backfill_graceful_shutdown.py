"""Signals cancel the work, which cleans up first, regardless of what their handlers raise."""

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

LONG_SECONDS = 3600


@pytest.fixture(autouse=True)
def _restore_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_signalled_work(number: signal.Signals, cleaned_up: list[str], *, repeat_signal: bool = False) -> None:
    """Run work that receives a signal and needs another iteration of the event loop to clean up.

    With ``repeat_signal`` a second signal arrives during the cleanup.
    """

    async def work() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, number)
        try:
            await asyncio.sleep(LONG_SECONDS)
        finally:
            if repeat_signal:
                signal.raise_signal(number)
            await asyncio.sleep(0)
            cleaned_up.append("stored")

    run_with_graceful_shutdown(work())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dagster_termination_is_raised_after_cleanup(number: signal.Signals) -> None:
    cleaned_up: list[str] = []
    with pytest.raises(DagsterExecutionInterruptedError), raise_interrupts_as(DagsterExecutionInterruptedError):
        run_signalled_work(number, cleaned_up)
    assert cleaned_up == ["stored"]


def test_ctrl_c_raises_keyboard_interrupt_after_cleanup() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cleaned_up: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_signalled_work(signal.SIGINT, cleaned_up)
    assert cleaned_up == ["stored"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_work_ends_even_if_the_handler_does_not_raise() -> None:
    received: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: received.append(number))
    with pytest.raises(KeyboardInterrupt):
        run_signalled_work(signal.SIGHUP, [])
    assert received == [signal.SIGHUP]


def test_second_signal_ends_the_work_at_once() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cleaned_up: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_signalled_work(signal.SIGINT, cleaned_up, repeat_signal=True)
    assert cleaned_up == []


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
