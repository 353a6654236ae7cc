"""The vendor's answers: bodies, content types and headers as recorded (EODHD.md §1)."""

from dataclasses import dataclass
from typing import Any

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
FREE_PLAN_WARNING = "Data is limited by one year as you have free subscription."
BAD_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.19.10</center>\r\n</body>\r\n</html>\r\n"
)
MAINTENANCE_PAGE = b"<html><head><title>EODHD</title></head><body><h1>We'll be back soon!</h1></body></html>"


@dataclass(frozen=True)
class SuccessResponse:
    """A successful answer and what it costs.

    ``compressible`` ones are gzipped when the client allows it: ``/eod`` is, ``/intraday`` is not.
    """

    body: bytes
    calls: int
    content_type: str = JSON
    compressible: bool = False


class ErrorResponse(Exception):  # noqa: N818 - an answer, not a mistake of ours
    """Any answer but 200; an unknown symbol still costs a call."""

    def __init__(self, status: int, body: bytes | str, content_type: str = HTML, calls: int = 0) -> None:
        super().__init__(status)
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.content_type = content_type
        self.calls = calls


def unauthenticated_error() -> ErrorResponse:
    """A missing or wrong token."""
    return ErrorResponse(401, "Unauthenticated", TEXT)


def quota_exceeded_error() -> ErrorResponse:
    """No calls left today."""
    return ErrorResponse(402, QUOTA_EXCEEDED_TEXT)


def forbidden_error() -> ErrorResponse:
    """The demo token asked for another symbol."""
    return ErrorResponse(403, "Forbidden")


def ticker_not_found_error() -> ErrorResponse:
    """An unknown ticker; body unrecorded."""
    return ErrorResponse(404, "Ticker Not Found.", calls=1)


def unknown_endpoint_error() -> ErrorResponse:
    """A path the vendor does not have."""
    return ErrorResponse(404, "<html><body><h1>404 Not Found</h1></body></html>")


def validation_error(**fields: str) -> ErrorResponse:
    """Parameters that cannot be meant; the shape is the recorded one."""
    errors = {name: [message] for name, message in fields.items()}
    return ErrorResponse(422, encode_json({"errors": errors}), JSON)


def rate_limit_error() -> ErrorResponse:
    """The minute window is full; body unrecorded."""
    return ErrorResponse(429, "Too Many Requests")


def build_rows_response(items: list[Any], calls: int, *, csv: bool, compressible: bool = False) -> SuccessResponse:
    """A list of rows (dicts or structs) in the format asked for."""
    if csv:
        return SuccessResponse(encode_csv(items), calls, CSV, compressible)
    return SuccessResponse(encode_json(items), calls, JSON, compressible)


def build_http_response(
    body: bytes, status: int, content_type: str, headers: dict[str, str], response_class: type[Response] = Response
) -> Response:
    """An HTTP answer with the vendor's headers; without a length, so it is sent in chunks."""
    common = {"server": "nginx/1.19.10", "cache-control": "no-cache, private", "content-type": content_type}
    http_response = response_class(body, status, {**common, **headers})
    del http_response.headers["content-length"]
    return http_response
