"""Graceful shutdown: on a signal, cancel the work, let it clean up, then deliver the signal.

A signal handler that raises, such as the command line's and Dagster's, raises wherever the event loop happens to be.
The loop then cancels every task at once, including the one that stores responses that are already paid for.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
TERMINATION_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_with_graceful_shutdown(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` and return its result; the first termination signal cancels it, a second one ends it at once.

    Only signals with a Python handler are delayed. Ignored signals and default actions work as before.

    Raises:
        BaseException: what the signal's handler raises; ``KeyboardInterrupt`` if it raises nothing.
    """
    received: list[int] = []
    try:
        return asyncio.run(_run_cancellable(work, received))
    except asyncio.CancelledError:
        if not received:
            raise
    signal.raise_signal(received[0])
    raise KeyboardInterrupt


async def await_shielded(task: "asyncio.Task[T]") -> T:
    """Return the result of ``task``; a cancellation of the caller is delayed until the task has ended."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


async def _run_cancellable(work: Coroutine[Any, Any, T], received: list[int]) -> T:
    with _cancel_on_signal(asyncio.get_running_loop(), asyncio.current_task(), received):
        return await work


@contextmanager
def _cancel_on_signal(
    loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any] | None", received: list[int]
) -> Iterator[None]:
    if task is None or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    previous_handlers = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    handlers = {number: handler for number, handler in previous_handlers.items() if callable(handler)}

    def handle_signal(number: int, frame: FrameType | None) -> None:
        if received:
            handlers[signal.Signals(number)](number, frame)
        received.append(number)
        loop.call_soon_threadsafe(task.cancel)

    try:
        for number in handlers:
            signal.signal(number, handle_signal)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
