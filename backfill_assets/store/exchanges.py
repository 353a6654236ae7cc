"""Parameters of SQL about one exchange: which rows of ``market_symbols`` are its own, and its time zone.

What the database itself knows of exchanges is written by ``postgres.exchange_profiles``. Symbols are in ``symbols``,
units of single symbols in ``price_units``.
"""

from collections.abc import Sequence

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.exchanges.names import list_exchange_names

# Whether a row of market_symbols is of the exchange whose names are given; as in normalize_market. The collation "C":
# in a Turkish one, i is no lower case of I.
IS_OF_EXCHANGE = r"""
upper(translate(coalesce(exchange, '') COLLATE "C", E' \t\r\n-._', '')) = ANY (%(names)s)
"""


def list_names(exchange: str) -> dict[str, list[str]]:
    """The parameter of ``IS_OF_EXCHANGE``: every name of the exchange in ``market_symbols``."""
    return {"names": sorted(list_exchange_names(exchange))}


def get_zone_name(sessions: Sequence[Session]) -> str:
    """The name of the time zone of an exchange's sessions; UTC without any, as then no date depends on it."""
    return sessions[0].market.zone.key if sessions else "UTC"
