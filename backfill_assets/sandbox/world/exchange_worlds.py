"""The markets of one sandbox, one for each exchange. A market is built when it is first asked for."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from threading import RLock

from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.actions import ActionRates
from backfill_assets.sandbox.config import DataQuirks, ExchangeConfig, SandboxConfig
from backfill_assets.sandbox.exchange_traits import build_feed, get_traits
from backfill_assets.sandbox.world.random_draws import hash_parts
from backfill_assets.sandbox.world.simulation import World

_FUND = "0P00007962"
_YEARS_AHEAD = 2  # of the sandbox's start: building the calendar of every exchange for longer takes seconds


class ExchangeWorlds:
    """The markets by the vendor's code; safe to use from several threads.

    Attributes:
        codes: of every exchange that is served.
    """

    def __init__(self, config: SandboxConfig, symbols: Iterable[str] | None = None) -> None:
        self._config = config
        self._lock = RLock()
        self._worlds = {config.exchange: World(config, symbols)}
        self.codes = (config.exchange, *config.exchanges)

    def get_world(self, exchange: str) -> World:
        """Get the market of one of ``codes``."""
        with self._lock:
            if exchange not in self._worlds:
                self._worlds[exchange] = World(build_exchange_config(self._config, exchange))
            return self._worlds[exchange]


def build_realistic_exchange(exchange: str, symbols: int) -> ExchangeConfig:
    """An exchange with the usual irregularities: a name with few trades, a fund, and in London foreign lines.

    Volumes that are running totals were seen in the US alone (docs/vendor.md §2.14), and are there alone. Pairs of
    currencies and coins have the irregularities of their feed instead.
    """
    traits = get_traits(exchange)
    if traits.has_pairs:
        return ExchangeConfig(symbols=symbols)
    familiar = traits.familiar[:symbols]
    return ExchangeConfig(
        symbols=symbols,
        quirks=replace(DataQuirks.build_realistic(), close_print=False, cumulative_volume_months=0.0),
        action_rates=ActionRates.build_realistic(),
        thin=frozenset(familiar[-1:]),
        absences=Absences(daily_only=frozenset({_FUND})),
        foreign_copies=2 * symbols if exchange == "LSE" else 0,
    )


def build_exchange_config(config: SandboxConfig, exchange: str) -> SandboxConfig:
    """The configuration of one exchange's market alone.

    It draws with a seed of its own, so that equal symbols of two exchanges have nothing in common.
    """
    own: ExchangeConfig = config.exchanges[exchange]
    feed = own.feed or build_feed(exchange)
    start = config.now or datetime.now(UTC)
    return replace(
        config,
        exchange=exchange,
        exchanges={},
        seed=hash_parts(config.seed, "exchange", exchange) >> 1,
        symbols=own.symbols,
        more_symbols=own.more_symbols,
        foreign_copies=own.foreign_copies,
        feed=feed,
        overrides=own.overrides,
        publication=own.publication,
        quirks=own.quirks,
        thin=own.thin,
        absences=own.absences,
        listed=own.listed,
        delisted=own.delisted,
        renamed={},
        recycled={},
        actions=own.actions,
        action_rates=own.action_rates,
        splits={},
        spinoffs={},
        currencies=own.currencies,
        history_from=own.history_from or config.history_from,
        history_to=date(start.year + _YEARS_AHEAD, 12, 31),
        withheld=own.withheld,
        replay=None,
    )
