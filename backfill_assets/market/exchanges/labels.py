"""How texts name what is an exchange's: a day, a universe, an option, the file of corrections. Pure.

The US is left out everywhere, as before there were other exchanges.
"""

from datetime import date

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE


def format_exchange_day(exchange: str, day: date) -> str:
    """A day, as findings and decisions name it: ``2026-06-01``, and ``LSE 2026-06-01``."""
    return str(day) if exchange == DEFAULT_EXCHANGE else f"{exchange} {day}"


def parse_exchange_day(text: str) -> tuple[str, date]:
    """The exchange and the day of a text that ``format_exchange_day`` made."""
    exchange, _, day = text.rpartition(" ")
    return exchange or DEFAULT_EXCHANGE, date.fromisoformat(day)


def format_universe(exchange: str, name: str) -> str:
    """A universe: ``model``, and ``LSE/model``."""
    return name if exchange == DEFAULT_EXCHANGE else f"{exchange}/{name}"


def format_exchange_option(exchange: str) -> str:
    """What a command needs so that it is about the exchange: nothing, and `` --exchange LSE``."""
    return "" if exchange == DEFAULT_EXCHANGE else f" --exchange {exchange}"


def name_corrections_file(exchange: str) -> str:
    """The setting of the file in which a user corrects the calendar, and where in it."""
    return "BACKFILL_CALENDAR_FILE" if exchange == DEFAULT_EXCHANGE else f"BACKFILL_MARKETS_FILE under {exchange}"
