"""The ASGI application: which endpoint answers what, over one world and one clock."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from backfill_assets.sandbox.accounts import Account
from backfill_assets.sandbox.clock import Clock
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.eod import Daily
from backfill_assets.sandbox.endpoints.intraday import Rows, intraday
from backfill_assets.sandbox.endpoints.intraday_archive import Archive
from backfill_assets.sandbox.endpoints.live import Live
from backfill_assets.sandbox.endpoints.reference import Reference
from backfill_assets.sandbox.endpoints.replay import Recordings
from backfill_assets.sandbox.endpoints.user import user
from backfill_assets.sandbox.server.control import Controls
from backfill_assets.sandbox.server.faults import Mischief
from backfill_assets.sandbox.server.gateway import Endpoint, Front
from backfill_assets.sandbox.server.stats import Stats
from backfill_assets.sandbox.wire.request import Asked
from backfill_assets.sandbox.wire.responses import Answer, forbidden
from backfill_assets.sandbox.world.simulation import World

DEMO_TICKERS = frozenset(f"{symbol}.US" for symbol in ("AAPL", "MSFT", "AMZN", "TSLA", "VTI"))


class Application:
    """Everything a sandbox serves.

    Attributes:
        clock: its time.
        world: its market.
        stats: what it was asked.
        mischief: what goes wrong.
        front: the door to the API.
    """

    def __init__(self, config: SandboxConfig) -> None:
        recordings = None if config.replay is None else Recordings(config.replay)
        self.clock = Clock(config.now, config.clock_rate)
        self.world = World(config, None if recordings is None else recordings.symbols)
        self.stats = Stats(config.window_seconds)
        self.mischief = Mischief(config.faults, config.seed)
        endpoints = _endpoints(config, self.world, recordings or Archive(config, self.world))
        self.front = Front(config, self.clock, self.stats, self.mischief, endpoints)
        self._controls: ASGIApp = Controls(self.stats, self.mischief, self.clock).application()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        chosen = self._controls if scope["path"].startswith("/__") else self.front
        await chosen(scope, receive, send)


def _endpoints(config: SandboxConfig, world: World, rows: Rows) -> dict[str, Endpoint]:
    live, daily, reference = Live(config, world), Daily(config, world), Reference(config, world)

    async def served_intraday(asked: Asked, _: Account) -> Answer:
        return await intraday(asked, rows, config.traits)

    async def served_user(asked: Asked, account: Account) -> Answer:
        return user(asked, account)

    return {
        "intraday": _for_demo(served_intraday),
        "real-time": _for_demo(_served(live.real_time)),
        "us-quote-delayed": _for_demo(_served(live.delayed)),
        "eod": _for_demo(_served(daily.eod)),
        "eod-bulk-last-day": _for_demo(_served(daily.bulk)),
        "exchange-symbol-list": _for_demo(_served(reference.symbols)),
        "exchange-details": _for_demo(_served(reference.details)),
        "symbol-change-history": _for_demo(_served(reference.changes)),
        "user": served_user,
        "internal-user": served_user,
    }


def _served(handler: Callable[[Asked], Answer | Awaitable[Answer]]) -> Endpoint:
    """An endpoint that does not look at the account."""

    async def served(asked: Asked, _: Account) -> Answer:
        answer = handler(asked)
        return answer if isinstance(answer, Answer) else await answer

    return served


def _for_demo(endpoint: Endpoint) -> Endpoint:
    """Let the demo token see its five tickers and nothing else."""

    async def guarded(asked: Asked, account: Account) -> Answer:
        tickers = {ticker.upper() for ticker in (asked.argument, *asked.symbols()) if ticker}
        if asked.demo and not (tickers and tickers <= DEMO_TICKERS):
            raise forbidden()
        return await endpoint(asked, account)

    return guarded
