"""Reads BACKFILL_CALENDAR_FILE: corrections of the calendar of the default exchange, as JSON.

Corrections of all exchanges are in BACKFILL_MARKETS_FILE, which ``markets_file`` reads.
"""

from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.profile import CalendarOverrides

MAX_CALENDAR_BYTES = 1_000_000
CALENDAR_EXAMPLE = '{"closures": ["2026-01-09"], "early_closes": {"2026-07-02": "13:00"}}'


def read_calendar_text(file: Path) -> str:
    """The text of a file, which is of the documented form.

    Raises:
        UsageError: the file cannot be read, or is not JSON of the documented form.
    """
    prefix = f"BACKFILL_CALENDAR_FILE {file} cannot be used: "
    try:
        text = read_limited_text(file)
        parse_calendar(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{prefix}{place and place + ': '}{first['msg']}; example: {CALENDAR_EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{prefix}{error}") from None
    return text


@lru_cache(maxsize=4)  # the same text gives the same value
def parse_calendar(text: str) -> CalendarOverrides:
    """The closures and early closes of a text.

    Raises:
        ValidationError: it is not JSON of the documented form.
    """
    return TypeAdapter(CalendarOverrides).validate_json(text, strict=False, extra="forbid")


def read_limited_text(file: Path) -> str:
    """The text of ``file``; a ValueError if it has more than ``MAX_CALENDAR_BYTES``, as a device has."""
    with file.open("rb") as opened:
        content = opened.read(MAX_CALENDAR_BYTES + 1)
    if len(content) > MAX_CALENDAR_BYTES:
        raise ValueError(f"it has more than {MAX_CALENDAR_BYTES:,} bytes")
    return content.decode("utf-8")
