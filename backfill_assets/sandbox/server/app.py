"""The ASGI application: connects paths to the endpoints of each exchange's world, over one clock."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from backfill_assets.sandbox.accounts import TokenAccount
from backfill_assets.sandbox.clock import SandboxClock
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.clock_archive import ClockArchive
from backfill_assets.sandbox.endpoints.dividends import DividendEndpoints
from backfill_assets.sandbox.endpoints.eod import EodEndpoints
from backfill_assets.sandbox.endpoints.exchange_hours import serve_exchange_hours
from backfill_assets.sandbox.endpoints.intraday import IntradaySource, serve_intraday
from backfill_assets.sandbox.endpoints.intraday_archive import IntradayArchive
from backfill_assets.sandbox.endpoints.live import LiveEndpoints
from backfill_assets.sandbox.endpoints.reference import ReferenceEndpoints
from backfill_assets.sandbox.endpoints.replay import Recordings
from backfill_assets.sandbox.endpoints.splits import SplitEndpoints
from backfill_assets.sandbox.endpoints.user import serve_user
from backfill_assets.sandbox.server.control import ControlEndpoints
from backfill_assets.sandbox.server.exchange_router import ExchangeRouter
from backfill_assets.sandbox.server.faults import FaultInjector
from backfill_assets.sandbox.server.gateway import Endpoint, Gateway
from backfill_assets.sandbox.server.stats import RequestStats
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import SuccessResponse, forbidden_error, validation_error
from backfill_assets.sandbox.world.exchange_worlds import ExchangeWorlds
from backfill_assets.sandbox.world.simulation import World

DEMO_TICKERS = frozenset(f"{symbol}.US" for symbol in ("AAPL", "MSFT", "AMZN", "TSLA", "VTI"))


class Application:
    """The whole sandbox as one ASGI application: the API under ``/api``, its own endpoints under ``/__``.

    Attributes:
        clock: the sandbox's clock.
        worlds: the simulated markets.
        world: the market of the US.
        stats: counts of requests.
        fault_injector: chooses the fault of each request.
        gateway: the application under ``/api``.
    """

    def __init__(self, config: SandboxConfig) -> None:
        recordings = None if config.replay is None else Recordings(config.replay)
        self.clock = SandboxClock(config.now, config.clock_rate)
        self.worlds = ExchangeWorlds(config, None if recordings is None else recordings.symbols)
        self.world = self.worlds.get_world(config.exchange)
        self.stats = RequestStats(config.window_seconds)
        self.fault_injector = FaultInjector(config.faults, config.seed)
        endpoints = _build_endpoints(config, self.world, recordings or IntradayArchive(config, self.world))
        if config.exchanges:
            endpoints = ExchangeRouter(self.worlds, config.exchange, endpoints, _build_exchange_endpoints).endpoints
        self.gateway = Gateway(config, self.clock, self.stats, self.fault_injector, endpoints)
        self._control_app: ASGIApp = ControlEndpoints(self.stats, self.fault_injector, self.clock).build_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the gateway or to the control endpoints."""
        target = self._control_app if scope["path"].startswith("/__") else self.gateway
        await target(scope, receive, send)


def _build_exchange_endpoints(world: World) -> dict[str, Endpoint]:
    """The endpoints of an exchange beside the US."""
    clock = world.config.feed.clock
    archive = IntradayArchive(world.config, world) if clock is None else ClockArchive(world.config, world, clock)
    return _build_endpoints(world.config, world, archive)


def _build_endpoints(config: SandboxConfig, world: World, source: IntradaySource) -> dict[str, Endpoint]:
    live, daily, splits, dividends, reference = (
        LiveEndpoints(config, world),
        EodEndpoints(config, world),
        SplitEndpoints(config, world),
        DividendEndpoints(world),
        ReferenceEndpoints(config, world),
    )

    async def handle_intraday(request: ParsedRequest, _: TokenAccount) -> SuccessResponse:
        return await serve_intraday(request, source, config.quirks)

    async def handle_user(request: ParsedRequest, account: TokenAccount) -> SuccessResponse:
        return serve_user(request, account)

    invalid = config.absences.invalid
    return {
        "intraday": _restrict_demo_token(_refuse_invalid_symbols(handle_intraday, invalid)),
        "real-time": _restrict_demo_token(_adapt_handler(live.serve_real_time)),
        "us-quote-delayed": _restrict_demo_token(_adapt_handler(live.serve_delayed)),
        "eod": _restrict_demo_token(_refuse_invalid_symbols(_adapt_handler(daily.serve_eod), invalid)),
        "eod-bulk-last-day": _restrict_demo_token(_adapt_handler(daily.serve_bulk)),
        "splits": _restrict_demo_token(_refuse_invalid_symbols(_adapt_handler(splits.serve_splits), invalid)),
        "div": _restrict_demo_token(_refuse_invalid_symbols(_adapt_handler(dividends.serve_dividends), invalid)),
        "exchange-symbol-list": _restrict_demo_token(_adapt_handler(reference.serve_symbols)),
        "exchanges-list": _restrict_demo_token(_adapt_handler(reference.serve_exchanges)),
        "exchange-details": _restrict_demo_token(_adapt_handler(reference.serve_exchange_details)),
        "symbol-change-history": _restrict_demo_token(_adapt_handler(reference.serve_symbol_changes)),
        "v2": _restrict_demo_token(_adapt_handler(serve_exchange_hours)),
        "user": handle_user,
        "internal-user": handle_user,
    }


def _adapt_handler(handler: Callable[[ParsedRequest], SuccessResponse | Awaitable[SuccessResponse]]) -> Endpoint:
    """Make an endpoint of a handler that does not need the account."""

    async def handle(request: ParsedRequest, _: TokenAccount) -> SuccessResponse:
        response = handler(request)
        return response if isinstance(response, SuccessResponse) else await response

    return handle


def _restrict_demo_token(endpoint: Endpoint) -> Endpoint:
    """Limit the demo token to its five tickers."""

    async def handle_if_allowed(request: ParsedRequest, account: TokenAccount) -> SuccessResponse:
        tickers = {ticker.upper() for ticker in (request.path_argument, *request.split_tickers()) if ticker}
        if request.is_demo_token and not (tickers and tickers <= DEMO_TICKERS):
            raise forbidden_error()
        return await endpoint(request, account)

    return handle_if_allowed


def _refuse_invalid_symbols(endpoint: Endpoint, symbols: frozenset[str]) -> Endpoint:
    """Refuse ``symbols`` with 422."""

    async def handle_if_valid(request: ParsedRequest, account: TokenAccount) -> SuccessResponse:
        if request.parse_symbol() in symbols:
            raise validation_error(ticker="The ticker format is invalid.")
        return await endpoint(request, account)

    return handle_if_valid
