"""The sandbox's own endpoints ``/__stats``, ``/__faults`` and ``/__clock``, which are not counted or billed."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from backfill_assets.sandbox.clock import SandboxClock
from backfill_assets.sandbox.server.faults import FaultInjector, apply_changes
from backfill_assets.sandbox.server.stats import RequestStats


class ControlEndpoints:
    """Handlers that read and change the state of one sandbox."""

    def __init__(self, stats: RequestStats, fault_injector: FaultInjector, clock: SandboxClock) -> None:
        self._stats, self._fault_injector, self._clock = stats, fault_injector, clock

    def build_app(self) -> Starlette:
        """Build the application with all routes."""
        return Starlette(
            routes=[
                Route("/__stats", self.read_stats),
                Route("/__stats/reset", self.reset_stats, methods=["POST"]),
                Route("/__faults", self.set_faults, methods=["POST"]),
                Route("/__clock", self.read_clock, methods=["GET"]),
                Route("/__clock", self.set_clock, methods=["POST"]),
            ]
        )

    async def read_stats(self, _: Request) -> Response:
        """Return all counts."""
        return JSONResponse(self._stats.as_dict())

    async def reset_stats(self, _: Request) -> Response:
        """Set all counts to zero."""
        self._stats.reset()
        return JSONResponse(self._stats.as_dict())

    async def set_faults(self, request: Request) -> Response:
        """Change the named faults; the others stay."""

        def change(body: dict[str, Any]) -> None:
            self._fault_injector.faults = apply_changes(self._fault_injector.faults, body)

        return await _apply_json(request, change, lambda: vars(self._fault_injector.faults))

    async def read_clock(self, _: Request) -> Response:
        """Return the sandbox's time and rate."""
        return JSONResponse(self._read_clock_state())

    async def set_clock(self, request: Request) -> Response:
        """Move the clock (``now``), change its rate (``rate``), or both."""
        return await _apply_json(request, self._move_clock, self._read_clock_state)

    def _move_clock(self, body: dict[str, Any]) -> None:
        if unknown := set(body) - {"now", "rate"}:
            raise ValueError(f"unknown field {', '.join(sorted(unknown))}; the clock has now and rate")
        if "now" in body:
            self._clock.move(datetime.fromisoformat(str(body["now"])))
        if "rate" in body:
            self._clock.set_rate(float(body["rate"]))

    def _read_clock_state(self) -> dict[str, Any]:
        return {"now": self._clock.now().isoformat(), "rate": self._clock.rate}


async def _apply_json(
    request: Request, apply: Callable[[dict[str, Any]], None], read_state: Callable[[], dict[str, Any]]
) -> Response:
    """Apply a JSON object; the answer is the new state, or 400 with the reason if the object is invalid."""
    try:
        apply(dict(await request.json()))
    except (ValueError, TypeError) as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse(read_state())
