"""The vendor's answers: bodies, content types and headers as recorded (EODHD.md §1)."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from backfill_assets.sandbox.wire.encoding import csv_bytes, json_bytes

JSON = "application/json"
HTML = "text/html; charset=UTF-8"
CSV = "text/csv; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"

QUOTA_GONE = "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"  # two spaces
FREE_PLAN = "Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"
FREE_WARNING = "Data is limited by one year as you have free subscription."
BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.19.10</center>\r\n</body>\r\n</html>\r\n"
)
MAINTENANCE = b"<html><head><title>EODHD</title></head><body><h1>We'll be back soon!</h1></body></html>"


@dataclass(frozen=True)
class Answer:
    """A successful answer and what it costs.

    ``compressible`` ones are gzipped when the client allows it: ``/eod`` is, ``/intraday`` is not.
    """

    body: bytes
    calls: int
    content_type: str = JSON
    compressible: bool = False


class Refusal(Exception):  # noqa: N818 - an answer, not a mistake of ours
    """Any answer but 200; an unknown symbol still costs a call."""

    def __init__(self, status: int, body: bytes | str, content_type: str = HTML, calls: int = 0) -> None:
        super().__init__(status)
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.content_type = content_type
        self.calls = calls


def unauthenticated() -> Refusal:
    """A missing or wrong token."""
    return Refusal(401, "Unauthenticated", TEXT)


def quota_gone() -> Refusal:
    """No calls left today."""
    return Refusal(402, QUOTA_GONE)


def forbidden() -> Refusal:
    """The demo token asked for another symbol."""
    return Refusal(403, "Forbidden")


def not_found() -> Refusal:
    """An unknown ticker; body unrecorded."""
    return Refusal(404, "Ticker Not Found.", calls=1)


def no_endpoint() -> Refusal:
    """A path the vendor does not have."""
    return Refusal(404, "<html><body><h1>404 Not Found</h1></body></html>")


def invalid(**fields: str) -> Refusal:
    """Parameters that cannot be meant; the shape is the recorded one."""
    errors = {name: [message] for name, message in fields.items()}
    return Refusal(422, json_bytes({"errors": errors}), JSON)


def too_many() -> Refusal:
    """The minute window is full; body unrecorded."""
    return Refusal(429, "Too Many Requests")


def rows_answer(items: list[Any], calls: int, *, csv: bool, compressible: bool = False) -> Answer:
    """A list of rows (dicts or structs) in the format asked for."""
    if csv:
        return Answer(csv_bytes(items), calls, CSV, compressible)
    return Answer(json_bytes(items), calls, JSON, compressible)


def response(
    body: bytes, status: int, content_type: str, headers: dict[str, str], kind: type[Response] = Response
) -> Response:
    """An HTTP answer with the vendor's headers; without a length, so it is sent in chunks."""
    common = {"server": "nginx/1.19.10", "cache-control": "no-cache, private", "content-type": content_type}
    made = kind(body, status, {**common, **headers})
    del made.headers["content-length"]
    return made
