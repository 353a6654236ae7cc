"""Validation and normalisation of single values: times, lists, cron expressions, URLs, host names, secrets in files.

Which settings there are is in ``config.fields``. Nothing here reads the environment. Secrets in files are read in
``config.secret_files``.
"""

import json
import re
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import FIRST_YEAR, LAST_YEAR
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.universe_names import RULE, is_universe_name, split_universe_name

VENDOR_HOST = "eodhd.com"
LOCAL_HOST = "127.0.0.1"
_LOCAL_NAMES = {"localhost", "::1"}
_HOST_LABEL = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST_PATTERN = re.compile(rf"(?=.{{1,253}}$)({_HOST_LABEL}(\.{_HOST_LABEL})*\.?|[0-9a-f:.]*:[0-9a-f:.]*)")
_URL_PATTERN = re.compile(r"[a-z0-9+.-]+://\S+", re.IGNORECASE)
_CRON_FIELD = re.compile(r"[0-9a-z*,/-]+", re.IGNORECASE)
_CRON_FIELD_COUNT = 5
_OWNER = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}|team:\S(.*\S)?")  # as Dagster checks them


def validate_moment(moment: datetime) -> datetime:
    """``moment`` in UTC.

    Raises:
        ValueError: it has no time zone, or lies outside the years that the calendars cover.
    """
    if moment.tzinfo is None:
        raise ValueError("needs a time zone")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"must lie between {FIRST_YEAR} and {LAST_YEAR}")
    return moment.astimezone(UTC)


def validate_backoff_seconds(seconds: tuple[float, float]) -> tuple[float, float]:
    """``seconds`` unchanged; a ValueError unless they are two pauses, the shorter first."""
    if not 0 <= seconds[0] <= seconds[1] <= 600:
        raise ValueError("must be two numbers of seconds, the smaller first, from 0 to 600")
    return seconds


def validate_ladder_hours(hours: tuple[float, ...]) -> tuple[float, ...]:
    """``hours`` unchanged; a ValueError unless each is a delay of at most a week."""
    if not hours or not all(0 < h <= 168 for h in hours):
        raise ValueError("must be one or more numbers of hours, each above 0 and at most 168")
    return hours


def validate_interval_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` unchanged; a ValueError unless they are distinct names of intervals."""
    if not names or len(set(names)) < len(names) or not set(names) <= set(INTERVALS):
        raise ValueError(f"must be one or more of {', '.join(INTERVALS)}, each once")
    return names


def validate_exchanges(codes: tuple[str, ...]) -> tuple[str, ...]:
    """``codes`` unchanged; a ValueError unless they are distinct codes of supported exchanges."""
    for code in codes:
        try:
            get_profile(code)
        except UsageError as error:
            raise ValueError(str(error)) from None
    if not codes or len(set(codes)) < len(codes):
        raise ValueError("must be one or more exchanges, each once")
    return codes


def validate_universe_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` unchanged; a ValueError unless they are distinct names that can be part of an asset's key.

    A name may have its exchange before it, as in ``LSE/model``.
    """
    parts = [split_universe_name(name) for name in names]
    if len(set(names)) < len(names) or not all(is_universe_name(universe) for _, universe in parts):
        raise ValueError(f"must be names of {RULE}, and each once")
    if exchanges := tuple(dict.fromkeys(exchange for exchange, _ in parts if exchange is not None)):
        validate_exchanges(exchanges)
    return names


def validate_session_start(day: date) -> date:
    """``day`` unchanged; a ValueError outside the years that the calendars cover."""
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"must lie between {FIRST_YEAR} and {LAST_YEAR}")
    return day


def validate_owners(owners: tuple[str, ...]) -> tuple[str, ...]:
    """``owners`` unchanged; a ValueError unless each is an e-mail address or team:NAME, as Dagster wants them."""
    if not all(_OWNER.fullmatch(owner) for owner in owners):
        raise ValueError("must be e-mail addresses and names of teams such as team:market-data")
    return owners


def validate_cron(line: str) -> str:
    """``line`` unchanged; a ValueError unless it has the five fields of a cron expression.

    The values of the fields are checked by Dagster, when the definitions are loaded.
    """
    fields = line.split()
    if len(fields) != _CRON_FIELD_COUNT or not all(_CRON_FIELD.fullmatch(field) for field in fields):
        raise ValueError("must be a cron expression of five fields")
    return line


def validate_round_seconds(seconds: int) -> int:
    """``seconds`` unchanged; a ValueError unless rounds of that length fit into half an hour."""
    if 1800 % seconds:
        raise ValueError("must divide 1800 (half an hour)")
    return seconds


def parse_list(value: Any) -> Any:
    """The parts of a JSON list, or of a text separated by spaces; a value that is not text is returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip().startswith("[") else value.split()
    except (ValueError, RecursionError):
        raise ValueError("is not valid JSON") from None


def validate_alert_urls(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """``urls`` unchanged; a ValueError, which shows none of them, unless all are URLs."""
    if not all(_URL_PATTERN.fullmatch(require_utf8(url).get_secret_value()) for url in urls):
        raise ValueError("must be one or more Apprise URLs, separated by spaces")
    return urls


def validate_alert_owners(owners: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """``owners`` unchanged; a ValueError, which shows none of them, unless all are UNIVERSE=URL."""
    for universe, separator, url in (require_utf8(owner).get_secret_value().partition("=") for owner in owners):
        if not separator or not _URL_PATTERN.fullmatch(url):
            raise ValueError("must be one or more UNIVERSE=URL, separated by spaces")
        validate_universe_names((universe,))
    return owners


def validate_heartbeat_url(url: SecretStr) -> SecretStr:
    """``url`` without surrounding white space; a ValueError, which does not show it, unless it is one of http(s)."""
    text = url.get_secret_value().strip()
    is_text_valid = re.fullmatch(r"https?://[!-~]+", text, re.IGNORECASE) is not None
    try:
        host = urlsplit(text).hostname if is_text_valid else None
    except ValueError:  # brackets of IPv6
        host = None
    if not host or not _HOST_PATTERN.fullmatch(host):
        raise ValueError("must be an http or https URL")
    return SecretStr(text)


def clean_secret(secret: SecretStr) -> SecretStr:
    """``secret`` without surrounding white space; a ValueError if it is blank or has unprintable characters."""
    text = secret.get_secret_value().strip()
    if not text:
        raise ValueError("is blank; set it to the secret, or unset it")
    if not text.isprintable():
        raise ValueError("contains a character that cannot be printed; copy the secret again")
    return SecretStr(text)


def require_utf8(secret: SecretStr) -> SecretStr:
    """``secret`` as it is; a ValueError if the environment gave bytes that are not UTF-8."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("contains bytes that are not UTF-8; write them as % codes") from None
    return secret


def validate_http_address(url: str) -> str:
    """``url`` without trailing slashes.

    Raises:
        ValueError: it is not an http(s) URL of a host, or contains credentials, a query or a fragment.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL")
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise ValueError("must be a URL without credentials, query or fragment")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or not _HOST_PATTERN.fullmatch(parts.hostname) or not re.fullmatch(r"[!-~]*", url):
        raise ValueError("must be a URL with a valid host and port")
    return url.rstrip("/")


def extract_host(url: str) -> str:
    """The host of ``url``, normalised by ``normalize_host``."""
    return normalize_host(urlsplit(url).hostname or "")


def normalize_host(host: str) -> str:
    """``host`` as it is recorded as the source of bars: one name for all the vendor's hosts, one for this machine.

    Raises:
        ValueError: it is not a host name.
    """
    normalized = host.strip().lower().rstrip(".")
    if not _HOST_PATTERN.fullmatch(normalized):
        raise ValueError("must be a host name")
    if normalized == VENDOR_HOST or normalized.endswith("." + VENDOR_HOST):
        return VENDOR_HOST
    return LOCAL_HOST if normalized in _LOCAL_NAMES or normalized.startswith("127.") else normalized
