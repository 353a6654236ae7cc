"""Chooses the exchange that answers a request: by the ticker's suffix, or by the code in the path."""

from collections.abc import Callable
from dataclasses import replace

from backfill_assets.sandbox.accounts import TokenAccount
from backfill_assets.sandbox.server.gateway import Endpoint
from backfill_assets.sandbox.wire.request import ParsedRequest, find_exchange
from backfill_assets.sandbox.wire.responses import SuccessResponse
from backfill_assets.sandbox.world.exchange_worlds import ExchangeWorlds
from backfill_assets.sandbox.world.simulation import World

# The others are the US's alone, or the same for all: live quotes of other exchanges are "NA", their whole-exchange and
# delayed quotes and changes of symbols do not exist (docs/vendor.md §3.5, §4, §5.8).
_BY_EXCHANGE = (
    "intraday",
    "eod",
    "splits",
    "div",
    "eod-bulk-last-day",
    "exchange-symbol-list",
    "exchange-details",
)


class ExchangeRouter:
    """Passes requests to the endpoints of their exchange; those of an unknown one to the first, which refuses them.

    Attributes:
        endpoints: by name.
    """

    def __init__(
        self,
        worlds: ExchangeWorlds,
        first: str,
        endpoints: dict[str, Endpoint],
        build: Callable[[World], dict[str, Endpoint]],
    ) -> None:
        self._worlds, self._first, self._build = worlds, first, build
        self._by_exchange = {first: endpoints}
        self.endpoints = {**endpoints, **{name: self._route(name) for name in _BY_EXCHANGE}}

    def _route(self, name: str) -> Endpoint:
        async def handle(request: ParsedRequest, account: TokenAccount) -> SuccessResponse:
            exchange = find_exchange(request.endpoint, request.path_argument)
            if exchange not in self._worlds.codes:
                exchange = self._first
            return await self._get_endpoints(exchange)[name](replace(request, exchange=exchange), account)

        return handle

    def _get_endpoints(self, exchange: str) -> dict[str, Endpoint]:
        if exchange not in self._by_exchange:
            self._by_exchange[exchange] = self._build(self._worlds.get_world(exchange))
        return self._by_exchange[exchange]
