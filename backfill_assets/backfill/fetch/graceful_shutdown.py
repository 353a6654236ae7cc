"""Graceful shutdown: on a signal, send nothing more, take what is paid for, clean up, then deliver the signal.

A signal handler that raises, such as the command line's and Dagster's, raises wherever the event loop happens to be.
The loop then cancels every task at once, including those that wait for responses that are already paid for, and the
one that stores them.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
TERMINATION_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_stop_callbacks: ContextVar[list[Callable[[], None]] | None] = ContextVar("_stop_callbacks", default=None)
_log = logging.getLogger(__name__)


class GracefulShutdown:
    """Delays termination signals while it is entered; leaving it delivers the first one to its handler.

    Work that ``run`` carries out is told to send nothing more, and is cancelled ``grace_seconds`` after the signal. A
    second signal is delivered at once. Only signals with a Python handler are delayed; ignored signals and default
    actions work as before.

    Raises:
        BaseException: on leaving, what the signal's handler raises; ``KeyboardInterrupt`` if it raises nothing.
    """

    def __init__(self, grace_seconds: float = 0) -> None:
        self._grace_seconds = grace_seconds
        self._received: int | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._on_signal: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other thread receives signals
            current = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
            self._handlers = {number: handler for number, handler in current.items() if callable(handler)}
            for number in self._handlers:
                signal.signal(number, self._handle_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        is_ended_by_signal = error is None or isinstance(error, asyncio.CancelledError)
        if self._received is not None and is_ended_by_signal:
            signal.raise_signal(self._received)
            raise KeyboardInterrupt

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in an event loop and return its result, also of work that a signal cut short.

        Raises:
            asyncio.CancelledError: it was not done within the grace period.
        """
        return asyncio.run(self._run_cancellable(work))

    async def _run_cancellable(self, work: Coroutine[Any, Any, T]) -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        callbacks: list[Callable[[], None]] = []
        token = _stop_callbacks.set(callbacks)

        def stop() -> None:
            if self._grace_seconds and callbacks:
                _log.warning("told to stop; answers that are paid for are awaited for %g s", self._grace_seconds)
            for callback in callbacks:
                callback()
            if task is not None:
                loop.call_later(self._grace_seconds if callbacks else 0, task.cancel)

        def stop_soon() -> None:
            loop.call_soon_threadsafe(stop)

        self._on_signal = stop_soon
        if self._received is not None:
            stop_soon()
        try:
            return await work
        finally:
            self._on_signal = None
            _stop_callbacks.reset(token)

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            self._handlers[number](number, frame)
        self._received = number
        if self._on_signal is not None:
            self._on_signal()


def run_with_graceful_shutdown(work: Coroutine[Any, Any, T], grace_seconds: float = 0) -> T:
    """Run ``work`` and return its result; on a termination signal as in ``GracefulShutdown``.

    Raises:
        BaseException: what the signal's handler raises; ``KeyboardInterrupt`` if it raises nothing.
    """
    with GracefulShutdown(grace_seconds) as shutdown:
        return shutdown.run(work)


@contextmanager
def call_on_stop(callback: Callable[[], None]) -> Iterator[None]:
    """While this is open, a termination signal calls ``callback`` in the event loop: it must end what is waited for."""
    callbacks = _stop_callbacks.get()
    if callbacks is None:  # not in ``GracefulShutdown.run``
        yield
        return
    callbacks.append(callback)
    try:
        yield
    finally:
        callbacks.remove(callback)


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
