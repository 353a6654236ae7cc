"""Which universes of which exchange have an asset ``complete_sessions``: what BACKFILL_UNIVERSES means."""

from collections.abc import Sequence

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.universe_names import ALL, split_universe_name


def list_gated_universes(settings: Settings) -> dict[str, Sequence[str]]:
    """By exchange, the universes that have an asset.

    ``all`` is one of every exchange, and ``LSE/model`` one of LSE. Without an exchange another universe is of the US,
    or of the only exchange. Certificates are about bars of the default interval: without its asset there are none.

    Raises:
        UsageError: the exchange of a universe is not collected, or not known.
    """
    gated: dict[str, list[str]] = {exchange: [] for exchange in settings.exchanges}
    for name in settings.universes if DEFAULT_INTERVAL in settings.intervals else ():
        exchange, universe = split_universe_name(name)
        exchanges = settings.exchanges if (exchange, universe) == (None, ALL) else (_choose(settings, exchange, name),)
        for chosen in exchanges:
            gated[chosen].append(universe)
    return {exchange: tuple(dict.fromkeys(universes)) for exchange, universes in gated.items()}


def _choose(settings: Settings, exchange: str | None, name: str) -> str:
    if exchange is None:
        only = settings.exchanges[0] if len(settings.exchanges) == 1 else None
        exchange = DEFAULT_EXCHANGE if DEFAULT_EXCHANGE in settings.exchanges else only
    if exchange is None:
        example = f"{settings.exchanges[0]}/{name}"
        raise UsageError(f"BACKFILL_UNIVERSES names {name} without its exchange; write for example {example}")
    if exchange not in settings.exchanges:
        raise UsageError(f"BACKFILL_UNIVERSES names {name}, but BACKFILL_EXCHANGES does not have {exchange}; add it")
    return exchange
