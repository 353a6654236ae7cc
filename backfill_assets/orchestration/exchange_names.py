"""Names of what Dagster has once for each exchange, and what its catalog says of the exchange.

Those of the US are without a code: recorded events, cursors and alerts hang on names, and many stores have no other
exchange.
"""

from collections.abc import Mapping

import dagster as dg

from backfill_assets.market.calendar.moment_style import name_city
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.exchanges.profile import MarketProfile, VolumeKind
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE

GROUP = "market_data"
SYMBOL_DIMENSION, DAY_DIMENSION = "symbol", "day"
VOLUME, CLOSE = "volume", "close"
_VOLUMES = {
    VolumeKind.QUOTE_CURRENCY: "What was traded, in the quote currency, such as USD of BTC-USD; null where it is"
    " unknown.",
    VolumeKind.NONE: "Null: the vendor's volumes mean nothing on this exchange.",
}


def add_exchange(name: str, exchange: str) -> str:
    """``name`` for an exchange (the vendor's code): with the code behind, as in ``bars_30m_LSE``, but for the US."""
    return name if exchange == DEFAULT_EXCHANGE else f"{name}_{exchange}"


def build_bars_key(interval: str, exchange: str = DEFAULT_EXCHANGE) -> dg.AssetKey:
    """The key of the asset that holds an interval's bars of an exchange."""
    return dg.AssetKey(add_exchange(f"bars_{interval}", exchange))


def build_report_key(exchange: str = DEFAULT_EXCHANGE) -> dg.AssetKey:
    """The key of an exchange's data-quality report."""
    return dg.AssetKey(add_exchange("data_quality_report", exchange))


def build_symbol_dimension(exchange: str = DEFAULT_EXCHANGE) -> str:
    """The name of the dimension of symbols, and of the dynamic partitions in it, which the whole instance shares."""
    return add_exchange(SYMBOL_DIMENSION, exchange)


def name_exchange(market: MarketProfile) -> str:
    """An exchange for people: its code and its name."""
    return f"{market.exchange} ({market.name})"


def describe_market(market: MarketProfile) -> str:
    """What a description says of an exchange: nothing of the US, of others their name and whether they are proven."""
    if market.exchange == DEFAULT_EXCHANGE:
        return ""
    unproven = ", experimental: what the vendor's data mean here is assumed" if market.is_experimental else ""
    return f" Exchange {name_exchange(market)}{unproven}."


def describe_days(session: Session) -> str:
    """What a description says of days that have no night between them; nothing of others.

    Args:
        session: any full session of the exchange.
    """
    if not session.is_whole_day:
        return ""
    opens, closes = (moment.astimezone(session.market.zone) for moment in (session.open, session.regular_close))
    evening = " of the day before" if opens.date() < session.day else ""
    end = "24:00" if closes.date() > session.day else f"{closes:%H:%M}"
    return f" A day goes from {opens:%H:%M}{evening} to {end} ({name_city(session.market.zone)})."


def build_market_metadata(market: MarketProfile, exchanges: tuple[str, ...]) -> Mapping[str, str]:
    """The exchange's facts as metadata of an asset; none where the US is the only one of ``exchanges``."""
    if exchanges == (DEFAULT_EXCHANGE,):
        return {}
    facts = {
        "currency": market.currency,
        "price unit": market.price_unit,
        VOLUME: _VOLUMES.get(market.volume_kind),
        CLOSE: None if market.has_closing_rows else "The last price of the slot; the market has no official close.",
    }
    return {
        "exchange": name_exchange(market),
        "status of the exchange": str(market.status),
        "time zone": str(market.zone),
        **{name: value for name, value in facts.items() if value is not None},
    }
