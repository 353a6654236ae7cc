"""The vendor's answers: bodies, content types and headers as recorded (docs/vendor.md §1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from backfill_assets.sandbox.wire.encoding import encode_csv, encode_json

JSON = "application/json"
HTML = "text/html; charset=UTF-8"
CSV = "text/csv; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"

QUOTA_EXCEEDED_TEXT = (
    "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"  # two spaces
)
FREE_PLAN_TEXT = "Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"
FREE_PLAN_DAYS = 365
FREE_PLAN_WARNING = "Data is limited by one year as you have free subscription."
BAD_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.19.10</center>\r\n</body>\r\n</html>\r\n"
)
MAINTENANCE_PAGE = b"<html><head><title>EODHD</title></head><body><h1>We'll be back soon!</h1></body></html>"


@dataclass(frozen=True)
class SuccessResponse:
    """A successful answer and its price in calls.

    A ``compressible`` body is gzipped if the client allows it: ``/eod`` is, ``/intraday`` is not.
    """

    body: bytes
    calls: int
    content_type: str = JSON
    compressible: bool = False


class ErrorResponse(Exception):  # noqa: N818 - an answer of the vendor, not an error of this program
    """An answer with another status than 200, and its price: an unknown symbol costs one call."""

    def __init__(self, status: int, body: bytes | str, content_type: str = HTML, calls: int = 0) -> None:
        super().__init__(status)
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.content_type = content_type
        self.calls = calls


def unauthenticated_error() -> ErrorResponse:
    """Build the 401 for a missing or wrong token."""
    return ErrorResponse(401, "Unauthenticated", TEXT)


def quota_exceeded_error() -> ErrorResponse:
    """Build the 402 for a used-up quota."""
    return ErrorResponse(402, QUOTA_EXCEEDED_TEXT)


def forbidden_error() -> ErrorResponse:
    """Build the 403 for the demo token and a ticker outside its list."""
    return ErrorResponse(403, "Forbidden")


def ticker_not_found_error() -> ErrorResponse:
    """Build the 404 for an unknown ticker; the real body is unknown (docs/vendor.md §6.1)."""
    return ErrorResponse(404, "Ticker Not Found.", calls=1)


def unknown_endpoint_error() -> ErrorResponse:
    """Build the 404 for an unknown path."""
    return ErrorResponse(404, "<html><body><h1>404 Not Found</h1></body></html>")


def validation_error(**fields: str) -> ErrorResponse:
    """Build the 422 for invalid parameters, in the recorded form."""
    errors = {name: [message] for name, message in fields.items()}
    return ErrorResponse(422, encode_json({"errors": errors}), JSON)


def rate_limit_error() -> ErrorResponse:
    """Build the 429 for a full window; the real body is unknown (docs/vendor.md §6.3)."""
    return ErrorResponse(429, "Too Many Requests")


def build_rows_response(items: list[Any], calls: int, *, csv: bool, compressible: bool = False) -> SuccessResponse:
    """Build an answer of rows (dicts or structs) as CSV or JSON."""
    if csv:
        return SuccessResponse(encode_csv(items), calls, CSV, compressible)
    return SuccessResponse(encode_json(items), calls, JSON, compressible)


def get_plan_warning(plan_limit_days: int) -> str:
    """Get the warning of a plan that is limited to so many days. Only the text for a year is the vendor's."""
    return FREE_PLAN_WARNING if plan_limit_days == FREE_PLAN_DAYS else f"Data is limited by {plan_limit_days} days."


def build_limited_response(
    items: list[Any], warning: str, calls: int, *, csv: bool, compressible: bool = False
) -> SuccessResponse:
    """Build an answer whose last row, or only row, carries ``warning`` (docs/vendor.md §1.7)."""
    rows: list[dict[str, Any]] = msgspec.to_builtins(items)
    rows = [*rows[:-1], {**rows[-1], "warning": warning}] if rows else [{"warning": warning}]
    return build_rows_response(rows, calls, csv=csv, compressible=compressible)


def build_http_response(
    body: bytes,
    status: int,
    content_type: str,
    headers: dict[str, str],
    response_class: Callable[..., Response] = Response,
) -> Response:
    """Build an HTTP answer with the vendor's headers; it has no length, so the server sends it in chunks."""
    common = {"server": "nginx/1.19.10", "cache-control": "no-cache, private", "content-type": content_type}
    http_response = response_class(body, status, {**common, **headers})
    del http_response.headers["content-length"]
    return http_response
