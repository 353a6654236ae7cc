"""Which exchange a command about stored bars, universes and certificates means, if it is not named.

What is stored can be read and certified of any supported exchange, whether BACKFILL_EXCHANGES enables it or not.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import F
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.config.settings import Settings
    from backfill_assets.market.calendar.tickers import Ticker
    from backfill_assets.store.postgres.connection import Connection

MAX_SHOWN = 20  # characters of what is no code


class SupportedExchangeType(click.ParamType[str]):
    """The vendor's code of a supported exchange."""

    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse an exchange that is not supported, with the reason."""
        from backfill_assets.market.exchanges.registry import get_profile  # not loaded for --help

        code = str(value).strip().upper()
        try:
            return get_profile(code[:MAX_SHOWN]).exchange
        except UsageError as error:
            self.fail(str(error), param, ctx)


def add_exchange_choice(default: str) -> Callable[[F], F]:
    """``--exchange``; ``default`` says what is meant without it."""

    def add(command: F) -> F:
        option = click.option(
            "--exchange",
            type=SupportedExchangeType(),
            help=f"The vendor's code of the exchange, for example LSE.  [default: {default}]",
        )
        return option(command)

    return add


def list_chosen(settings: "Settings", exchange: str | None) -> tuple[str, ...]:
    """The exchange of ``--exchange``, else those of BACKFILL_EXCHANGES."""
    return (exchange,) if exchange else tuple(settings.exchanges)


def choose_of_universe(connection: "Connection", settings: "Settings", exchange: str | None, name: str) -> str:
    """The exchange of ``--exchange``, else the only enabled one that has a universe of this name, else the US.

    Raises:
        UsageError: several exchanges other than the US have one.
    """
    from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
    from backfill_assets.store.universes import list_universes

    enabled = list_chosen(settings, exchange)
    if len(enabled) == 1:
        return enabled[0]
    holders = [code for code in enabled if name in {universe.name for universe in list_universes(connection, code)}]
    if len(holders) == 1:
        return holders[0]
    if not holders or DEFAULT_EXCHANGE in holders:
        return DEFAULT_EXCHANGE if DEFAULT_EXCHANGE in enabled else enabled[0]
    raise UsageError(f"{', '.join(holders)} have a universe {name!r} each; say which is meant with --exchange")


def require_one_exchange(tickers: "tuple[Ticker, ...]") -> str:
    """The exchange of the tickers of a universe.

    Raises:
        UsageError: they are of several.
    """
    exchanges = sorted({ticker.exchange for ticker in tickers})
    if len(exchanges) > 1:
        raise UsageError(
            f"a universe has symbols of one exchange, and these are of {', '.join(exchanges)}; add one universe for"
            " each, they may have the same name"
        )
    return exchanges[0]
