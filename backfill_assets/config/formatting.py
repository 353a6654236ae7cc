"""How the value of a setting is written: in the environment, in lists of settings and in examples.

Reading values is in ``settings``, checking them in ``validators``.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE

HIDDEN_SECRET = "***"  # noqa: S105 - what is shown instead of a secret


def format_value(value: Any, *, show_secrets: bool = False) -> str:
    """``value`` as a user would write it into the environment; secrets as ``***`` unless ``show_secrets``."""
    plain = _to_plain(value, show_secrets=show_secrets)
    return plain if isinstance(plain, str) else json.dumps(plain)


def explain_not_collected(exchange: str, collected: Sequence[str], *others: str) -> str:
    """That BACKFILL_EXCHANGES, which names ``collected``, lacks an exchange and perhaps others, and what to do."""
    lacking = (exchange, *others)
    named, them = (f"exchanges {', '.join(lacking)} are", "them") if others else (f"exchange {exchange} is", "it")
    us = DEFAULT_EXCHANGE if others else "it"
    plain = f"; symbols without a suffix are of {us}" if DEFAULT_EXCHANGE in lacking else ""
    return (
        f"{named} not collected, only {', '.join(collected)}{plain}; to collect {them} set"
        f" BACKFILL_EXCHANGES='{format_value((*collected, *lacking))}'"
    )


def find_example(field: FieldInfo) -> str | None:
    """A valid value for ``field``, as text; None where the error message of the type already describes it."""
    if field.examples:
        return str(field.examples[0])
    if field.annotation is bool:
        return "true"
    return format_value(field.default) if isinstance(field.default, tuple) and field.default else None


def _to_plain(value: Any, *, show_secrets: bool) -> Any:
    """``value`` in types of JSON; whole floats as integers."""
    match value:
        case bool() | int() | str():
            return value
        case float():
            return int(value) if value.is_integer() else value
        case tuple() | list():
            return [_to_plain(part, show_secrets=show_secrets) for part in value]
        case SecretStr():
            return value.get_secret_value() if show_secrets else HIDDEN_SECRET
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
