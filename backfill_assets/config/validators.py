"""What the values of settings may look like: moments, steps, addresses and whose they are, secrets in files.

Which settings there are is in ``settings``. Nothing here reads the environment.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import FIRST_YEAR, LAST_YEAR

VENDOR_HOST = "eodhd.com"
LOCAL_HOST = "127.0.0.1"
_LOCAL_NAMES = {"localhost", "::1"}
_HOST_LABEL = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST_PATTERN = re.compile(rf"(?=.{{1,253}}$)({_HOST_LABEL}(\.{_HOST_LABEL})*\.?|[0-9a-f:.]*:[0-9a-f:.]*)")
_ADDRESS_PATTERN = re.compile(r"[a-z0-9+.-]+://\S+", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (  # what, lowest, highest, names from the lowest on
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _WEEKDAYS),
)
_CRON_PART_PATTERN = re.compile(
    r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,4}))?", re.IGNORECASE
)
_CRON_ADVICE = "must be a cron line of five fields, for example */15 * * * *"
_DAYS_OF_SHORT_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_MAX_SECRET_BYTES = 10_000  # bytes of a secret's file


def validate_moment(moment: datetime) -> datetime:
    """``moment`` in UTC; one without a zone, or that no calendar has, is a ValueError."""
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, for example 2026-06-03T12:00:00Z")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"must lie between {FIRST_YEAR} and {LAST_YEAR}")
    return moment.astimezone(UTC)


def validate_backoff_seconds(seconds: tuple[float, float]) -> tuple[float, float]:
    """The first and the longest pause, as given, or a ValueError."""
    if not 0 <= seconds[0] <= seconds[1] <= 600:
        raise ValueError("must be two numbers of seconds, the smaller first, from 0 to 600")
    return seconds


def validate_ladder_hours(hours: tuple[float, ...]) -> tuple[float, ...]:
    """The steps, as given, or a ValueError."""
    if not hours or not all(0 < h <= 168 for h in hours):
        raise ValueError("must be one or more numbers of hours, each above 0 and at most 168")
    return hours


def validate_interval_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, as given, or a ValueError."""
    if not names or len(set(names)) < len(names) or not set(names) <= set(INTERVALS):
        raise ValueError(f"must be one or more of {', '.join(INTERVALS)}, each once")
    return names


def validate_cron(line: str) -> str:
    """The line, as given, or a ValueError that says which of its fields is wrong.

    What passes, Dagster takes too; it takes some more (``L``, ``#``, ``@daily``). Its own judgement costs its import.
    """
    fields = line.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(_CRON_ADVICE)
    chosen_values = {
        field_rule[0]: _parse_cron_field(field, *field_rule)
        for field, field_rule in zip(fields, _CRON_FIELDS, strict=True)
    }
    longest_month = max(_DAYS_OF_SHORT_MONTHS.get(month, 31) for month in chosen_values["month"])
    if min(chosen_values["day of the month"]) > longest_month:
        raise ValueError(f"{_CRON_ADVICE}; the day never comes")
    return line


def _parse_cron_field(field: str, field_name: str, lowest: int, highest: int, names: tuple[str, ...]) -> list[int]:
    values = []
    for part in field.split(","):
        part_values = _parse_cron_part(part, lowest, highest, names)
        if not part_values:
            raise ValueError(f"{_CRON_ADVICE}; {part!r} is no {field_name} ({lowest} to {highest})")
        values += part_values
    return values


def _parse_cron_part(part: str, lowest: int, highest: int, names: tuple[str, ...]) -> list[int]:
    """What ``*``, ``a``, ``a-b`` (also over the end), and these with ``/step``, stand for; nothing if it is none."""
    match = _CRON_PART_PATTERN.fullmatch(part)
    step = int(match[3] or 1) if match else 0
    if not match or not 0 < step <= highest:
        return []
    numbers = {f"{number:02}": number for number in range(lowest, highest + 1)}
    numbers |= {name: lowest + at for at, name in enumerate(names)}
    first = numbers.get(match[1].lower().zfill(2)) if match[1] else lowest
    last = numbers.get(match[2].lower().zfill(2)) if match[2] else first if match[1] and not match[3] else highest
    if first is None or last is None:
        return []
    values = range(first, last + 1) if first <= last else [*range(first, highest + 1), *range(lowest, last + 1)]
    return list(values)[::step]


def validate_round_seconds(seconds: int) -> int:
    """The seconds, as given, or a ValueError."""
    if 1800 % seconds:
        raise ValueError("must divide 1800 (half an hour), for example 60, 300, 600 or 900")
    return seconds


def parse_list(value: Any) -> Any:
    """A JSON list, or words with spaces between them; anything else as it is."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.strip().startswith("[") else value.split()


def validate_alert_urls(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """The addresses, as given, or a ValueError that shows none of them."""
    if not all(_ADDRESS_PATTERN.fullmatch(url.get_secret_value()) for url in urls):
        raise ValueError("must be one or more addresses like mailto://… or slack://…, with spaces between them")
    return urls


def clean_secret(secret: SecretStr) -> SecretStr:
    """``secret`` without space around it; a ValueError if nothing is left, or what no secret holds."""
    text = secret.get_secret_value().strip()
    if not text:
        raise ValueError("is blank; unset it, or give the secret")
    if not text.isprintable():
        raise ValueError("holds a character that cannot be printed; copy it again")
    return SecretStr(text)


def validate_http_address(url: str) -> str:
    """``url`` without a slash at its end.

    Raises:
        ValueError: it is not an http(s) address, or holds what does not belong into one.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https address")
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise ValueError("must be an address without credentials, query or fragment")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or not _HOST_PATTERN.fullmatch(parts.hostname) or not re.fullmatch(r"[!-~]*", url):
        raise ValueError("must be an address that can be dialled, like https://eodhd.com/api")
    return url.rstrip("/")


def extract_host(url: str) -> str:
    """Whose answers come from ``url``: one name for the vendor's hosts, and one for this machine's."""
    return normalize_host(urlsplit(url).hostname or "")


def normalize_host(host: str) -> str:
    """``host`` as it is written beside bars.

    Raises:
        ValueError: it is no host name.
    """
    normalized = host.strip().lower().rstrip(".")
    if not _HOST_PATTERN.fullmatch(normalized):
        raise ValueError("must be a host name, like eodhd.com")
    if normalized == VENDOR_HOST or normalized.endswith("." + VENDOR_HOST):
        return VENDOR_HOST
    return LOCAL_HOST if normalized in _LOCAL_NAMES or normalized.startswith("127.") else normalized


def fill_secrets_from_files(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """``given`` with each NAME filled from the file that NAME_FILE names (the way of Docker secrets).

    Raises:
        ValueError: NAME is given too and differs, or the file cannot be read or is empty.
    """
    filled = dict(values)
    for name in names:
        if path := values.get(f"{name}_FILE"):
            filled[name] = _read_secret_file(Path(path), f"{name}_FILE")
            given_value = values.get(name)
            given_text = given_value.get_secret_value() if isinstance(given_value, SecretStr) else given_value
            if given_text and given_text.strip() != filled[name]:
                raise ValueError(f"{name} and {name}_FILE are both set and differ; set one of them")
    return filled


def _read_secret_file(path: Path, variable: str) -> str:
    try:
        with path.open("rb") as file:
            secret = file.read(_MAX_SECRET_BYTES + 1).decode().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ValueError(f"{variable} {path} cannot be read: {reason}") from None
    if not secret or len(secret) > _MAX_SECRET_BYTES or len(secret.splitlines()) > 1:
        raise ValueError(f"{variable} {path} must hold one line, the secret")
    return secret
