"""Currencies and the units that prices count: pence, cents and agorot beside pounds, rand and shekels. Pure.

Bars stay in the unit that the vendor gives; nothing is converted. What is known of a symbol is in
``store.price_units``, the usual unit of an exchange in its profile.
"""

from backfill_assets.market.exchanges.profile import MarketProfile

SUBUNITS = {"GBX": "GBP", "ZAC": "ZAR", "ILA": "ILS"}  # a hundredth of the currency
_SPELLINGS = {"GBp": "GBX", "ZAc": "ZAC"}  # in small letters the last one stands for the hundredth


def read_price_unit(text: str | None) -> str | None:
    """The unit that a currency field of the vendor's means; None if it is none. Blanks around it do not matter."""
    stripped = (text or "").strip()
    unit = _SPELLINGS.get(stripped, stripped.upper())
    return unit if len(unit) == 3 and unit.isalpha() and unit.isascii() else None


def get_currency(unit: str) -> str:
    """The currency of a unit: GBP for GBX."""
    return SUBUNITS.get(unit, unit)


def describe_price_unit(market: MarketProfile) -> str:
    """What most prices of the exchange count, in words."""
    return market.price_unit or ("unknown" if market.has_actions else "the second currency of each pair")


def has_subunit(market: MarketProfile) -> bool:
    """Whether prices of the exchange usually count a hundredth of its currency, so that some may count the whole."""
    return market.price_unit in SUBUNITS
