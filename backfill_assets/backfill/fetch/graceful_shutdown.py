"""Work that a signal ends in order: it is cancelled, puts its things away, and only then the signal takes its way.

A handler that raises, as the command line's and Dagster's do, raises wherever the event loop happens to be; the loop
then cancels every task at once, also the one that stores what was fetched and paid for.
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
    """What ``work`` gives; a signal that would end the process cancels it first, a second one does not wait.

    Only handlers are kept waiting: signals that are ignored, or kill, do so as before.

    Raises:
        BaseException: whatever the handler of the signal raises; ``KeyboardInterrupt`` where it raises nothing.
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
    """What ``task`` gives; whoever waits for it and is cancelled meanwhile waits on, and is cancelled then."""
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
        yield  # only the main thread has to do with signals
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
