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
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives; a signal that would end the process cancels it first, a second one does not wait.

    Only handlers are kept waiting: signals that are ignored, or kill, do so as before.

    Raises:
        BaseException: whatever the handler of the signal raises; ``KeyboardInterrupt`` where it raises nothing.
    """
    caught: list[int] = []
    try:
        return asyncio.run(_with_order(work, caught))
    except asyncio.CancelledError:
        if not caught:
            raise
    signal.raise_signal(caught[0])
    raise KeyboardInterrupt


async def finished(task: "asyncio.Task[T]") -> T:
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


async def _with_order(work: Coroutine[Any, Any, T], caught: list[int]) -> T:
    with _cancelling(asyncio.get_running_loop(), asyncio.current_task(), caught):
        return await work


@contextmanager
def _cancelling(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any] | None", caught: list[int]) -> Iterator[None]:
    if task is None or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has to do with signals
        return
    before = {number: signal.getsignal(number) for number in ENDINGS}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}

    def cancel(number: int, frame: FrameType | None) -> None:
        if caught:
            handlers[signal.Signals(number)](number, frame)
        caught.append(number)
        loop.call_soon_threadsafe(task.cancel)

    try:
        for number in handlers:
            signal.signal(number, cancel)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
