"""The error for each status and body of docs/vendor.md §1.5; Retry-After in both forms."""

from datetime import UTC, datetime

import pytest

from backfill_assets.eodhd.error_mapping import (
    extract_vendor_message,
    find_error_in_body,
    map_status_to_error,
    parse_retry_after,
)
from backfill_assets.market import vendor_errors

QUOTA = "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
PLAN = "Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, "Unauthenticated", vendor_errors.TokenRefused),
        (401, "", vendor_errors.TokenRefused),
        (403, "Unauthenticated", vendor_errors.TokenRefused),
        (402, QUOTA, vendor_errors.QuotaExhausted),
        (402, "", vendor_errors.QuotaExhausted),
        (403, PLAN, vendor_errors.PlanRefused),
        (403, "Forbidden", vendor_errors.TickerRefused),
        (403, '{"message":"Forbidden"}', vendor_errors.TickerRefused),
        (403, "<html><title>403 Forbidden</title></html>", vendor_errors.RequestRefused),
        (403, "something else", vendor_errors.RequestRefused),
        (404, "Ticker Not Found.", vendor_errors.UnknownTicker),
        (404, "<html><title>404</title></html>", vendor_errors.UnknownTicker),
        (422, '{"errors":{"to":["Max period length is 600 days"]}}', vendor_errors.RequestRefused),
        (422, '{"errors":{"ticker":["The ticker format is invalid."]}}', vendor_errors.InvalidTicker),
        (422, "Unprocessable", vendor_errors.InvalidTicker),
        (422, "<html><title>422</title></html>", vendor_errors.RequestRefused),
        (407, "", vendor_errors.ProxyRefused),
        (400, "bad", vendor_errors.RequestRefused),
        (408, "", vendor_errors.ServerFault),
        (429, "Too Many Requests", vendor_errors.RateLimited),
        (429, "<html></html>", vendor_errors.RateLimited),
        (500, "", vendor_errors.ServerFault),
        (502, "<html><title>502 Bad Gateway</title></html>", vendor_errors.ServerFault),
        (503, "", vendor_errors.ServerFault),
        (199, "", vendor_errors.BrokenAnswer),
    ],
)
def test_status_and_body_determine_the_error(status: int, body: str, kind: type[vendor_errors.VendorError]) -> None:
    error = map_status_to_error(status, extract_vendor_message(body.encode()))
    assert type(error) is kind
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("status", "body", "is_from_vendor"),
    [
        (404, "Ticker Not Found.", True),
        (404, '{"error":"Symbol unknown"}', True),
        (404, "Not Found", False),
        (404, "<html><title>ticker not found</title></html>", False),
        (404, '{"error":"Not Found"}', False),
        (404, "", False),
        (403, "Forbidden", False),
        (403, "<html><title>Blocked by your administrator</title></html>", False),
        (422, '{"errors":{"ticker":["The ticker format is invalid."]}}', True),
        (422, '{"errors":{"to":["Max period length is 600 days"]}}', True),
        (422, "", False),
        (400, "bad", False),
        (401, "Unauthenticated", True),
    ],
)
def test_refusal_that_a_proxy_or_another_server_could_send_is_not_taken_for_the_vendors(
    status: int, body: str, is_from_vendor: bool
) -> None:
    assert map_status_to_error(status, extract_vendor_message(body.encode())).is_from_vendor is is_from_vendor


def test_forbidden_ticker_of_the_demo_token_is_the_vendors_refusal() -> None:
    assert map_status_to_error(403, "Forbidden", is_demo_token=True).is_from_vendor


def test_request_without_ticker_never_gives_a_ticker_error() -> None:
    assert type(map_status_to_error(404, "", is_ticker_request=False)) is vendor_errors.RequestRefused
    assert type(map_status_to_error(403, "Forbidden", is_ticker_request=False)) is vendor_errors.AccessRefused
    assert (
        type(map_status_to_error(402, "Available in paid plans", is_ticker_request=False)) is vendor_errors.PlanRefused
    )
    assert type(map_status_to_error(402, QUOTA, is_ticker_request=False)) is vendor_errors.QuotaExhausted


def test_demo_token_refusal_is_a_ticker_error() -> None:
    assert type(map_status_to_error(403, "Unauthenticated", is_demo_token=True)) is vendor_errors.TickerRefused
    assert (
        type(map_status_to_error(403, "Unauthenticated", is_demo_token=True, is_ticker_request=False))
        is vendor_errors.TokenRefused
    )


def test_error_contains_the_vendors_message() -> None:
    body = b'{"errors":{"to":["Max period length is 600 days"],"from":["Max period length is 600 days"]}}'
    message = "to: Max period length is 600 days; from: Max period length is 600 days"
    assert extract_vendor_message(body) == message
    assert message in str(map_status_to_error(422, extract_vendor_message(body)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b"  Two\r\n  lines ", "Two lines"),
        (b"<html><head><title>502 Bad\nGateway</title></head></html>", "an HTML page: 502 Bad Gateway"),
        (b"<p>hi</p>", "an HTML page"),
        (b'{"error":"no","code":1}', "no"),
        (b'{"errors":["a","b"]}', "a, b"),
        (b'{"x":1}', ""),
        (b"[1]", "[1]"),
        (b"\xff\xfe\x00", "\ufffd\ufffd"),
    ],
)
def test_vendor_message_is_one_line(body: bytes, message: str) -> None:
    assert extract_vendor_message(body) == message


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"error": "Unauthenticated", "code": 401}, vendor_errors.TokenRefused),
        ({"error": QUOTA, "code": "402"}, vendor_errors.QuotaExhausted),
        ({"error": "Ticker Not Found", "code": 404}, vendor_errors.UnknownTicker),
        ({"error": "slow down", "code": 429}, vendor_errors.RateLimited),
        ({"message": "oops", "code": 500}, vendor_errors.ServerFault),
        ({"errors": {"to": ["bad"]}}, vendor_errors.RequestRefused),
        ({"error": "mystery"}, vendor_errors.BrokenAnswer),
        ({"error": "mystery", "code": 7}, vendor_errors.BrokenAnswer),
    ],
)
def test_error_envelope_is_mapped_by_its_code(
    payload: dict[str, object], kind: type[vendor_errors.VendorError]
) -> None:
    assert type(find_error_in_body(payload)) is kind


@pytest.mark.parametrize(
    "payload", [{"code": "AAPL.US", "close": 1}, {"code": 404}, {}, {"error": None, "apiRequests": 1}]
)
def test_other_objects_are_not_error_envelopes(payload: dict[str, object]) -> None:
    assert find_error_in_body(payload) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Tue, 24 Nov 2026 12:01:30 GMT", 90.0),
        ("Tue, 24 Nov 2026 12:01:30 -0000", 90.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        (None, None),
        ("Tue, 99 Nov 2026 12:01:30 GMT", None),
    ],
)
def test_retry_after_as_seconds_or_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds
