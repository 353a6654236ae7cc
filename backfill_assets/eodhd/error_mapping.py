"""Which status and body mean which error (EODHD.md §1).

Bodies are judged by what they say, not by their content type: refusals come as plain text,
whatever ``fmt`` asks for, and several content types are [U].
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import msgspec

from backfill_assets.eodhd.errors import (
    BrokenAnswer,
    PlanRefused,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerFault,
    TickerRefused,
    TokenRefused,
    UnknownTicker,
    VendorError,
)

_LONGEST = 10_000  # characters; what is shown is cut further, after the token is taken out
_PLAN_WORDS = re.compile(r"allowed for|free user|subscri|upgrade|\bplans?\b|package", re.IGNORECASE)
_TITLE = re.compile(r"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def refusal(
    status: int,
    said: str,
    *,
    of_ticker: bool = True,
    demo: bool = False,
    retry_after: float | None = None,
) -> VendorError:
    """The error that a status and the vendor's words mean.

    Args:
        status: HTTP status, or the ``code`` of an error envelope.
        said: the vendor's text, as ``vendor_text`` gives it.
        of_ticker: whether the request was about a ticker.
        demo: whether the token is the vendor's ``demo``.
        retry_after: seconds, where the answer said so.
    """
    what = f"the vendor answered {status}" + (f" ({said})" if said else "")
    if status == 429:
        return RateLimited(what, retry_after=retry_after)
    if status >= 500 or status in {408, 425}:
        return ServerFault(what, retry_after=retry_after)
    if status == 401:
        return TokenRefused(what)
    if status == 402:
        return _payment(what, said, of_ticker)
    if status == 403:
        return _forbidden(what, said, of_ticker, demo)
    if status == 404 and of_ticker:
        return UnknownTicker(what)
    return RequestRefused(what) if 300 <= status < 500 else BrokenAnswer(what)


def _payment(what: str, said: str, of_ticker: bool) -> VendorError:
    # a free key gets 402 on the bulk endpoint too (EODHD.md §5), with a text that is [U]
    if not of_ticker and _PLAN_WORDS.search(said) and "limit" not in said.lower():
        return PlanRefused(what)
    return QuotaExhausted(what)


def _forbidden(what: str, said: str, of_ticker: bool, demo: bool) -> VendorError:
    word = said.strip().rstrip(".").lower()
    if word == "unauthenticated":
        # demo with another symbol: `Forbidden` observed, `Unauthenticated` documented; both taken
        return TickerRefused(what) if demo and of_ticker else TokenRefused(what)
    if _PLAN_WORDS.search(said):
        return PlanRefused(what)
    if word == "forbidden" and of_ticker:
        return TickerRefused(what)
    return RequestRefused(what)


def envelope(payload: dict[str, Any]) -> VendorError | None:
    """The error inside a JSON object, if it is one: ``errors`` (422) or ``error`` with ``code``.

    The latter is documented and was never recorded [U]; a quote's ``code`` is a ticker, not a number.
    """
    code = str(payload.get("code"))[:4]
    status = int(code) if code.isdecimal() else None
    numbered = status is not None and 300 <= status < 600 and "message" in payload
    if not (payload.get("error") or payload.get("errors") or numbered):
        return None
    said = _words(payload)
    if status is not None:
        return refusal(status, said)
    if payload.get("errors"):
        return refusal(422, said)
    return BrokenAnswer(f"an error inside status 200 ({said})")


def vendor_text(body: bytes) -> str:
    """The vendor's words in one line; of a page only its title."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        return _line("an HTML page" + (f": {title.group(1)}" if title else ""))
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _line(text)
    return _words(payload) if isinstance(payload, dict) else _line(text)


def _words(payload: dict[str, Any]) -> str:
    errors = payload.get("errors")
    if isinstance(errors, dict) and errors:
        return _line("; ".join(f"{name}: {_listed(said)}" for name, said in errors.items()))
    for name in ("error", "errors", "message"):
        if payload.get(name):
            return _line(_listed(payload[name]))
    return ""


def _listed(said: object) -> str:
    return ", ".join(map(str, said)) if isinstance(said, list) else str(said)


def _line(text: str) -> str:
    line = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST])
    return " ".join(line.split())


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait from a ``Retry-After``: a number or an HTTP date; None where unreadable.

    No instance was ever recorded [U], so both forms of the standard are taken.
    """
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_until(header, now or datetime.now(UTC))
    return max(0.0, seconds) if isfinite(seconds) else None


def _seconds_until(header: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return float("nan")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - now).total_seconds()
