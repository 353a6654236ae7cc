"""Runs a sandbox in a thread (tests) or until a signal (command line). Which address it listens on: ``listener``."""

import signal
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread
from types import FrameType
from typing import Any, Self

import uvicorn

from backfill_assets.sandbox.clock import SandboxClock
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.app import Application
from backfill_assets.sandbox.server.faults import apply_changes
from backfill_assets.sandbox.server.listener import build_base_url, open_listener
from backfill_assets.sandbox.world.exchange_worlds import ExchangeWorlds
from backfill_assets.sandbox.world.simulation import World

_GRACE_SECONDS = 2
_KEEP_ALIVE_SECONDS = 75  # nginx's; longer than clients keep idle connections, so none is reused while it closes


class Sandbox:
    """A simulated vendor; a context manager that serves while it is entered.

    Attributes:
        base_url: URL of the API, like ``http://127.0.0.1:43121/api``; empty before the context is entered.
        world: the simulated market of the US.
        worlds: the markets of all exchanges.
        clock: the sandbox's clock.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._application = Application(config)
        self.world: World = self._application.world
        self.worlds: ExchangeWorlds = self._application.worlds
        self.clock: SandboxClock = self._application.clock
        self.base_url = ""

    def __enter__(self) -> Self:
        """Listen, and serve from a thread; clients can connect when this returns.

        Raises:
            UsageError: the host is no address of this machine, or the port is taken.
        """
        listener = open_listener(self._config.host, self._config.port)
        self.base_url = build_base_url(listener)
        settings = uvicorn.Config(
            self._application,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        self._server = uvicorn.Server(settings)
        self._thread = Thread(target=self._server.run, args=([listener],), name="sandbox", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, end requests in flight, and wait for the thread."""
        self._application.gateway.interruptible_wait.interrupt()
        self._server.should_exit = True
        self._thread.join()

    def stats(self) -> dict[str, Any]:
        """Return the counts of requests, as ``GET /__stats`` does."""
        return self._application.stats.as_dict()

    def reset_stats(self) -> None:
        """Set all counts to zero."""
        self._application.stats.reset()

    def set_faults(self, **changes: float | bool) -> None:
        """Change some faults (fields of ``Faults``); the others stay.

        Raises:
            ValueError: unknown fault or invalid value.
        """
        fault_injector = self._application.fault_injector
        fault_injector.faults = apply_changes(fault_injector.faults, changes)

    def move_clock(self, to: datetime) -> None:
        """Move the sandbox's clock to ``to`` (aware)."""
        self.clock.move(to)


def serve(config: SandboxConfig, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` receives the base URL. Main thread only.

    Raises:
        UsageError: the host is no address of this machine, or the port is taken.
    """
    stop = Event()

    def request_stop(_: int, __: FrameType | None) -> None:
        stop.set()

    previous_handlers = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Sandbox(config) as sandbox:
            announce(sandbox.base_url)
            stop.wait()
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
