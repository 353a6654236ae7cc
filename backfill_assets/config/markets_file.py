"""Reads BACKFILL_MARKETS_FILE: what a user knows better than the profiles of exchanges, as TOML.

A table an exchange, by the vendor's code, with fields of its profile and corrections of its calendar (docs/markets.md).
What is wrong is named with its line. What the values may be is in ``market_fields``.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backfill_assets.config.calendar_file import parse_calendar, read_calendar_text, read_limited_text
from backfill_assets.config.market_fields import CORRECTIONS, OLDER_FORM, MarketCorrections
from backfill_assets.config.toml_lines import find_line
from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.profile import CalendarOverrides, MarketProfile
from backfill_assets.market.exchanges.registry import get_profile

MARKETS_EXAMPLE = "LSE.closing_seconds = 900"
_WORDS = {  # for what pydantic calls by names of Python
    "frozen_set_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "missing": "a value is absent",
}


def correct_profile(exchange: str, calendar_file: Path | None, markets_file: Path | None) -> MarketProfile:
    """The profile of an exchange with the corrections of both files; the same object while the files are the same.

    Args:
        exchange: the vendor's code.
        calendar_file: BACKFILL_CALENDAR_FILE, if it applies to the exchange.
        markets_file: BACKFILL_MARKETS_FILE; of one day it wins over the other file.

    Raises:
        UsageError: the exchange is not supported, or a file cannot be read or is not of the documented form.
    """
    calendar = read_calendar_text(calendar_file) if calendar_file else None
    markets = _read_markets_text(markets_file) if markets_file else None
    return _build_profile(exchange, calendar, markets)


def _read_markets_text(file: Path) -> str:
    """The text of the file, which is of the documented form."""
    prefix = f"BACKFILL_MARKETS_FILE {file} cannot be used: "
    try:
        text = read_limited_text(file)
        _parse_markets(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{prefix}{error}") from None
    except RecursionError:
        raise UsageError(f"{prefix}it is nested too deeply; example: {MARKETS_EXAMPLE}") from None
    return text


@lru_cache(maxsize=256)  # texts are few, exchanges are 40
def _build_profile(exchange: str, calendar: str | None, markets: str | None) -> MarketProfile:
    profile = get_profile(exchange)
    overrides = parse_calendar(calendar) if calendar is not None else profile.overrides
    corrections = _parse_markets(markets).get(exchange) if markets is not None else None
    if corrections is None:
        return replace(profile, overrides=overrides)
    return replace(
        profile,
        **corrections.list_fields(),
        needs_breaks=profile.needs_breaks and corrections.breaks is None,
        assumed=profile.assumed - corrections.list_known(),  # who sets a field knows it
        overrides=_merge_overrides(overrides, corrections),
    )


def _merge_overrides(overrides: CalendarOverrides, corrections: MarketCorrections) -> CalendarOverrides:
    closures = (overrides.closures - corrections.list_open_days()) | corrections.closures
    return CalendarOverrides(
        closures=closures,
        early_closes={**overrides.early_closes, **corrections.early_closes},
        late_opens={**overrides.late_opens, **corrections.late_opens},
        extra_sessions={**overrides.extra_sessions, **corrections.extra_sessions},
    )


@lru_cache(maxsize=4)  # the same text gives the same value
def _parse_markets(text: str) -> Mapping[str, MarketCorrections]:
    """The corrections of each exchange in a file.

    Raises:
        ValueError: the text is not of the documented form; the message names the line.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not valid TOML: {error}; example: {MARKETS_EXAMPLE}") from None
    return {exchange: _parse_table(text, exchange, table) for exchange, table in tables.items()}


def _parse_table(text: str, exchange: str, table: Any) -> MarketCorrections:
    try:
        profile = get_profile(exchange)
    except UsageError as error:
        raise ValueError(f"{_place(text, (exchange,))}{error}") from None
    if not isinstance(table, dict):
        raise ValueError(_explain(text, (exchange,), "must be a table of an exchange"))  # noqa: TRY004 - of the user's
    source = table.get("source_interval")
    if profile.is_source_fixed and source not in (None, profile.source_interval):
        reason = f"must stay {profile.source_interval}: the vendor's rows of other lengths come from another source"
        raise ValueError(_explain(text, (exchange, "source_interval"), reason, f'"{profile.source_interval}"'))
    try:
        return MarketCorrections.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        # What is wrong with the table as a whole is two forms of a field, or a day among closures that has hours, too.
        of_table = "daily_volume_tells" if first["type"] == OLDER_FORM else "closures"
        location = tuple(str(part) for part in first["loc"] if part != "[key]") or (of_table,)
        raise ValueError(_explain(text, (exchange, *location), _describe_fault(dict(first), location))) from None


def _describe_fault(error: Mapping[str, Any], location: tuple[str, ...]) -> str:
    if error["type"] != "extra_forbidden":
        return _WORDS.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    similar = get_close_matches(location[-1], CORRECTIONS, n=1)
    return f"there is no such field{f'; did you mean {similar[0]}?' if similar else ''}"


def _explain(text: str, location: tuple[str, ...], reason: str, value: str | None = None) -> str:
    field = location[1] if len(location) > 1 else ""
    example = f"{field} = {value}" if value else CORRECTIONS.get(field, MARKETS_EXAMPLE.partition(".")[2])
    return f"{_place(text, location)}{'.'.join(location)}: {reason}; example: {location[0]}.{example}"


def _place(text: str, location: tuple[str, ...]) -> str:
    line = find_line(text, location)
    return f"line {line}: " if line else ""
