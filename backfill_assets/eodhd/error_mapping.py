"""Mapping of HTTP statuses and bodies to errors (docs/vendor.md §1.5).

Bodies are classified by their words, not by their content type: refusals come as plain text even with ``fmt=json``, and
several content types are unknown (docs/vendor.md §6.2).
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import msgspec

from backfill_assets.market.vendor_errors import (
    AccessRefused,
    BrokenAnswer,
    InvalidTicker,
    PlanRefused,
    ProxyRefused,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerFault,
    TickerRefused,
    TokenRefused,
    UnknownTicker,
    VendorError,
)

_MAX_MESSAGE_CHARS = 10_000  # messages are shortened further after the token is removed
_PLAN_PATTERN = re.compile(r"allowed for|free user|subscri|upgrade|\bplans?\b|package", re.IGNORECASE)
# Whether a 404 speaks of a ticker, and whether a 422 names a parameter other than the ticker. The vendor's texts are
# unknown (docs/vendor.md §6.1), so words that any of its versions may use count.
_UNKNOWN_TICKER_PATTERN = re.compile(
    r"\b(ticker|symbol|code)s?\b.*\b(not found|unknown|invalid|not exist)", re.IGNORECASE
)
_OTHER_PARAMETER_PATTERN = re.compile(r"(^|; )(from|to|interval|period|date|order|filter|fmt|api_token)\b[^;:]*:")
# A maintenance page of the vendor, or another server at a wrong address.
_PAGE_ADVICE = "check EODHD_BASE_URL and any proxy; if they are right, the fault is at the vendor: run again later"
_HTML_PREFIX = "an HTML page"
# The vendor's words in an answer with status 200. A quota stops all requests of the day, so all three must be named.
_QUOTA_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (r"exceed|reached|used up|exhausted", r"\b(daily|per day|a day|today)\b", r"\b(limits?|quota)\b")
)
_REQUEST_LIMIT_PATTERN = re.compile(
    r"too many (requests|attempts)|\brate.?limit|(exceed|reached).{0,60}\b(per|a|each) minute", re.IGNORECASE
)
_FREE_PLAN_PATTERN = re.compile(r"allowed for|free users", re.IGNORECASE)
_NOT_IN_PLAN_PATTERN = re.compile(
    r"\b(not|isn't|upgrade|requires?|only)\b.{0,60}\b(plan|subscription|package)\b", re.IGNORECASE
)
_TAG_PATTERN = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_QUOTA_WORD_PATTERN = re.compile(r"exceed|limit|quota", re.IGNORECASE)
_TITLE_PATTERN = re.compile(r"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def map_status_to_error(
    status: int,
    vendor_message: str,
    *,
    is_ticker_request: bool = True,
    is_demo_token: bool = False,
    retry_after: float | None = None,
) -> VendorError:
    """Map a status and the vendor's message to an error.

    Args:
        status: HTTP status, or the ``code`` of an error envelope.
        vendor_message: the vendor's text, from ``extract_vendor_message``.
        is_ticker_request: whether the request was for a ticker.
        is_demo_token: whether the token is the vendor's ``demo``.
        retry_after: seconds to wait, if the response named them.
    """
    message = f"HTTP status {status}" + (f" ({vendor_message})" if vendor_message else "")
    error = _choose_error(status, message, vendor_message, is_ticker_request, is_demo_token, retry_after)
    error.is_from_vendor = _is_from_vendor(error, status, vendor_message, is_demo_token)
    return error


def _choose_error(
    status: int,
    message: str,
    vendor_message: str,
    is_ticker_request: bool,
    is_demo_token: bool,
    retry_after: float | None,
) -> VendorError:
    if status == 429:
        return RateLimited(message, retry_after=retry_after)
    if status >= 500 or status in {408, 425}:
        return ServerFault(message, retry_after=retry_after)
    if status == 401:
        return TokenRefused(message)
    if status == 402:
        return _map_payment_required(message, vendor_message, is_ticker_request)
    if status == 403:
        return _map_forbidden(message, vendor_message, is_ticker_request, is_demo_token)
    if status == 404 and is_ticker_request:
        return UnknownTicker(message)
    if status == 407:
        return ProxyRefused(message)
    if status == 422 and is_ticker_request and not _names_other_parameter(vendor_message):
        return InvalidTicker(message)
    return RequestRefused(message) if 300 <= status < 500 else BrokenAnswer(message)


def _names_other_parameter(vendor_message: str) -> bool:
    """Whether a 422 is about a parameter that this program chose, or is no answer of the vendor's."""
    return vendor_message.startswith(_HTML_PREFIX) or bool(_OTHER_PARAMETER_PATTERN.search(vendor_message))


def _is_from_vendor(error: VendorError, status: int, vendor_message: str, is_demo_token: bool) -> bool:
    """Whether the body shows that the vendor refused, and not a proxy or another server (docs/vendor.md §6.1)."""
    if vendor_message.startswith(_HTML_PREFIX):
        return False
    if status == 404:
        return bool(_UNKNOWN_TICKER_PATTERN.search(vendor_message))
    if isinstance(error, TickerRefused):
        return is_demo_token
    if isinstance(error, RequestRefused | InvalidTicker):
        return status == 422 and bool(vendor_message)
    return True


def _map_payment_required(message: str, vendor_message: str, is_ticker_request: bool) -> VendorError:
    # a free key gets 402 on the bulk endpoint, too (docs/vendor.md §5.5); its text is unknown (§6.2)
    if not is_ticker_request and _PLAN_PATTERN.search(vendor_message) and "limit" not in vendor_message.lower():
        return PlanRefused(message)
    return QuotaExhausted(message)


def _map_forbidden(message: str, vendor_message: str, is_ticker_request: bool, is_demo_token: bool) -> VendorError:
    word = vendor_message.strip().rstrip(".").lower()
    if word == "unauthenticated":
        # demo token, other ticker: `Forbidden` was observed, `Unauthenticated` is documented (docs/vendor.md §1.5)
        return TickerRefused(message) if is_demo_token and is_ticker_request else TokenRefused(message)
    if _PLAN_PATTERN.search(vendor_message):
        return PlanRefused(message)
    if not is_ticker_request:
        return AccessRefused(message)
    return TickerRefused(message) if word == "forbidden" else RequestRefused(message)


def names_quota(vendor_message: str) -> bool:
    """Whether a refusal's text names the day's calls, as that of an exhausted quota does (docs/vendor.md §1.5)."""
    return bool(_QUOTA_WORD_PATTERN.search(vendor_message))


def find_error_in_body(payload: dict[str, Any]) -> VendorError | None:
    """The error in a JSON object: ``vendor_errors`` (422), or ``error`` with ``code``; None if there is none.

    The second form is documented and was never recorded (docs/vendor.md §6.4). A quote's ``code`` is not a number.
    """
    code = str(payload.get("code"))[:4]
    status = int(code) if code.isdecimal() else None
    is_numeric_error = status is not None and 300 <= status < 600 and "message" in payload
    if not (payload.get("error") or payload.get("errors") or is_numeric_error):
        return None
    vendor_message = _extract_message(payload)
    if status is not None:
        return map_status_to_error(status, vendor_message)
    if payload.get("errors"):
        return map_status_to_error(422, vendor_message)
    return map_words_to_error(vendor_message) or BrokenAnswer(f"an error inside status 200 ({vendor_message})")


def map_words_to_error(vendor_message: str, *, is_page: bool = False) -> VendorError | None:
    """The refusal that the vendor's words name in an answer with status 200; None if they name none.

    Only a limit or the plan is recognized by words alone: the quota of the day, the requests of a minute, and what the
    plan does not include. A page may also be the vendor's web site, which advertises plans.
    """
    message = f"status 200 with a refusal ({vendor_message})"
    if all(pattern.search(vendor_message) for pattern in _QUOTA_PATTERNS):
        return QuotaExhausted(message)
    if _REQUEST_LIMIT_PATTERN.search(vendor_message):
        return RateLimited(message)
    is_plan = _FREE_PLAN_PATTERN.search(vendor_message) or (not is_page and _NOT_IN_PLAN_PATTERN.search(vendor_message))
    return PlanRefused(message) if is_plan else None


def find_refusal_in_rows(rows: Sequence[dict[str, Any]], warning: str | None) -> VendorError | None:
    """The refusal in a list that holds no data but the vendor's words: a single row, or a ``warning``.

    A warning about the plan is no refusal: it says that data are left out (docs/vendor.md §1.7).
    """
    if len(rows) == 1:
        return find_error_in_body(rows[0]) or map_words_to_error(_extract_message(rows[0]))
    limit = map_words_to_error(warning) if warning and not rows else None
    return limit if isinstance(limit, QuotaExhausted | RateLimited) else None


def map_body_to_error(body: bytes, *, is_html: bool = False) -> VendorError:
    """The error of a body with status 200 that holds no data: a refusal in words, or a broken answer that quotes it.

    ``is_html`` says that its content type is HTML, which it need not look like.
    """
    if not body.strip():
        return BrokenAnswer("an empty body with status 200")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return BrokenAnswer(f"status 200 with a body that is not text ({len(body)} bytes)")
    is_page = text.lstrip().startswith("<")
    words = to_single_line(_TAG_PATTERN.sub(" ", text) if is_page else text)
    is_data = text.lstrip().startswith(("[", "{"))  # a truncated answer; its values are no words of the vendor
    kind = "an HTML page instead of data" if is_page or is_html else "a truncated or non-JSON body"
    refusal = None if is_data else map_words_to_error(words, is_page=is_page or is_html)
    error = refusal or BrokenAnswer(f"status 200 with {kind} ({len(body)} bytes): {words}")
    if refusal is None and (is_page or is_html):
        error.advice = _PAGE_ADVICE
    return error


def map_shape_to_error(payload: object, expected: str) -> VendorError:
    """The error of JSON that is not what the endpoint returns; it quotes the vendor's words or the JSON itself."""
    words = _extract_words(payload) if isinstance(payload, dict) else payload if isinstance(payload, str) else ""
    words = to_single_line(words)
    return map_words_to_error(words) or BrokenAnswer(f"the body is not {expected}: {words or quote_json(payload)}")


def quote_json(payload: object) -> str:
    """JSON in one line, to be quoted in a message."""
    return to_single_line(msgspec.json.encode(payload).decode("utf-8", "replace"))


def extract_vendor_message(body: bytes) -> str:
    """The vendor's message in one line; for an HTML page its title."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE_PATTERN.search(text)
        return to_single_line(_HTML_PREFIX + (f": {title.group(1)}" if title else ""))
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return to_single_line(text)
    return _extract_message(payload) if isinstance(payload, dict) else to_single_line(text)


def _extract_message(payload: dict[str, Any]) -> str:
    errors = payload.get("errors")
    if isinstance(errors, dict) and errors:
        return to_single_line("; ".join(f"{name}: {_join_details(detail)}" for name, detail in errors.items()))
    for name in ("error", "errors", "message"):
        if payload.get(name):
            return to_single_line(_join_details(payload[name]))
    return ""


def _extract_words(payload: dict[str, Any]) -> str:
    """The vendor's message in an object, or all of its texts if none of its fields is known to hold the message."""
    texts = [text for text in payload.values() if isinstance(text, str)]
    return _extract_message(payload) or to_single_line(" ".join(texts))


def _join_details(details: object) -> str:
    return ", ".join(map(str, details)) if isinstance(details, list) else str(details)


def to_single_line(text: str) -> str:
    """A vendor's text without line breaks and control characters."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_MESSAGE_CHARS])
    return " ".join(line.split())


def parse_retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait from a ``Retry-After`` header, a number or an HTTP date; None if it is neither.

    None was ever recorded (docs/vendor.md §6.3), so both forms of the standard are accepted.
    """
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = _compute_seconds_until(header, now or datetime.now(UTC))
    return max(0.0, seconds) if isfinite(seconds) else None


def _compute_seconds_until(header: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return float("nan")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - now).total_seconds()
