"""The token is in no DEBUG log, exception, cause of an exception or record."""

import asyncio
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from urllib.parse import quote, quote_plus

import httpx
import pytest
from pydantic import SecretStr

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.redaction import TokenRedactor
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets_tests.integration.scripted_vendor import HTML, JSON, ScriptedResponse, ScriptedVendor
from backfill_assets_tests.integration.unlimited_rate_limiter import UnlimitedRateLimiter
from backfill_assets_tests.waiting import LONGEST_SECONDS

TOKEN = "65f0+c3/d.91 ae=77"  # noqa: S105 - made up; needs escaping in a URL
FORMS = {TOKEN, quote(TOKEN), quote(TOKEN, safe=""), quote_plus(TOKEN), TOKEN[:6]}
TOKEN_TEXT = f"bad api_token={quote_plus(TOKEN)} or {TOKEN}"
REDIRECT = {"location": f"http://localhost:9/api?api_token={quote(TOKEN, safe='')}&fmt=json"}

RESPONSES = {
    "ok": ScriptedResponse(),
    "401": ScriptedResponse(401, TOKEN_TEXT.encode(), HTML),
    "402": ScriptedResponse(402, TOKEN_TEXT.encode(), HTML),
    "403": ScriptedResponse(403, b"Forbidden", HTML),
    "403 plan": ScriptedResponse(403, f"Only EOD data allowed for free users {TOKEN_TEXT}".encode(), HTML),
    "404": ScriptedResponse(404, f"<html><title>{TOKEN_TEXT}</title></html>".encode(), HTML),
    "422": ScriptedResponse(422, f'{{"errors":{{"api_token":["{TOKEN_TEXT}"]}}}}'.encode(), JSON),
    "cut within the token": ScriptedResponse(422, b"x" * 250 + TOKEN.encode(), HTML),
    "escaped": ScriptedResponse(422, json.dumps({"error": TOKEN_TEXT}).replace("/", "\\/").encode(), JSON),
    "429": ScriptedResponse(429, TOKEN_TEXT.encode(), HTML, headers={"retry-after": "0"}),
    "500": ScriptedResponse(500, TOKEN_TEXT.encode(), HTML),
    "html": ScriptedResponse(200, TOKEN_TEXT.encode(), HTML),
    "not json": ScriptedResponse(200, TOKEN_TEXT.encode(), JSON),
    "envelope": ScriptedResponse(200, f'{{"error":"{TOKEN_TEXT}","code":422}}'.encode(), JSON),
    "envelope without a code": ScriptedResponse(200, f'{{"error":"{TOKEN_TEXT}"}}'.encode(), JSON),
    "cut": ScriptedResponse(200, b"[", JSON, cut=True),
    "not gzip": ScriptedResponse(200, b"[", JSON, headers={"content-encoding": "gzip"}),
    "connection closed": ScriptedResponse(no_status_line=True),
    "stalled": ScriptedResponse(stall=True),
    "redirect": ScriptedResponse(302, b"", HTML, headers=REDIRECT),
    "bad redirect": ScriptedResponse(302, b"", HTML, headers={"location": f"http://[{quote_plus(TOKEN)}"}),
    "echoed header": ScriptedResponse(500, b"", HTML, headers={"x-echo": TOKEN}),
}
REQUESTS: list[Callable[[EodhdClient], Awaitable[object]]] = [
    lambda client: client.fetch_intraday("AAPL.US", "5m", 1, 2),
    lambda client: client.fetch_quotes(["A.US", "B.US"]),
    lambda client: client.fetch_account(),
    lambda client: client.fetch_symbols("US"),
    lambda client: client.fetch_daily("A.US"),
    lambda client: client.fetch_bulk_daily("US"),
    lambda client: client.fetch_splits("A.US"),
    lambda client: client.fetch_bulk_splits("US", date(2026, 1, 1)),
    lambda client: client.fetch_dividends("A.US"),
    lambda client: client.fetch_bulk_dividends("US", date(2026, 1, 1)),
    lambda client: client.fetch_symbol_changes(date(2026, 1, 1), date(2026, 1, 2)),
]


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """Every log record at DEBUG level, formatted, with its arguments."""
    lines: list[str] = []

    class ListHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name} {self.format(record)} {record.args!r} {record.msg!r}")

    root, handler = logging.getLogger(), ListHandler()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(before)


def list_error_texts(error: BaseException) -> Iterator[str]:
    """List all texts of an exception, its causes and its contexts."""
    yield from traceback.format_exception(error)
    visited: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or current in visited:
            continue
        visited.append(current)
        pending += [current.__cause__, current.__context__]
        yield from (str(current), repr(current), repr(current.args), repr(vars(current)))
        request = getattr(current, "_request", None)
        if isinstance(request, httpx.Request):
            yield str(request.url)
    yield repr(pickle.dumps(error))
    yield str(copy.copy(error))


def find_token_in(texts: list[str]) -> list[str]:
    return [text for text in texts if any(form in text for form in FORMS)]


async def send_all_requests(
    url: str, transport: httpx.AsyncBaseTransport | None, stalls: bool
) -> tuple[list[str], int]:
    rate_limiter = UnlimitedRateLimiter()
    texts: list[str] = []
    failures = 0
    client = EodhdClient(
        base_url=url,
        token=SecretStr(TOKEN),
        rate_limiter=rate_limiter,
        purpose=Purpose.GAP,
        attempts=2,
        backoff_seconds=(0, 0),
        timeout_seconds=0.05 if stalls else LONGEST_SECONDS,
        transport=transport,
    )
    async with client:
        texts.append(repr(client))
        for request in REQUESTS[:1] if stalls else REQUESTS:
            try:
                await request(client)
            except VendorError as error:
                failures += 1
                texts += list_error_texts(error)
    return texts + [repr(record) for record in rate_limiter.records], failures


@pytest.mark.parametrize("name", RESPONSES)
def test_no_response_exposes_the_token(name: str, log_lines: list[str]) -> None:
    async def run() -> tuple[list[str], int, list[str]]:
        async with ScriptedVendor(RESPONSES[name]) as vendor:
            texts, failures = await send_all_requests(vendor.url, None, name == "stalled")
            return texts, failures, [vendor.parse_query(n)["api_token"] for n in range(len(vendor.targets))]

    texts, failures, sent_tokens = asyncio.run(run())
    assert failures > 0  # at least one: [] is not a valid account
    assert set(sent_tokens) == {TOKEN}  # the token was sent
    assert any("httpcore" in line for line in log_lines)  # DEBUG logging was on
    assert find_token_in(texts) == []
    assert find_token_in(log_lines) == []


@pytest.mark.parametrize(
    "kind", [httpx.ConnectError, httpx.ReadTimeout, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ReadError]
)
def test_no_transport_error_exposes_the_token(kind: type[httpx.TransportError], log_lines: list[str]) -> None:
    def raise_error(request: httpx.Request) -> httpx.Response:
        raise kind(f"cannot reach {request.url}", request=request)

    texts, failures = asyncio.run(send_all_requests("http://vendor.test/api", httpx.MockTransport(raise_error), False))
    assert failures == len(REQUESTS)
    assert find_token_in(texts) == []
    assert find_token_in(log_lines) == []


def test_redaction_replaces_tokens_in_httpx_log_records(log_lines: list[str]) -> None:
    record = logging.LogRecord("httpx", logging.INFO, "", 0, "GET %s", (f"/x?api_token={TOKEN}&a=1",), None)
    redaction = TokenRedactor(SecretStr("other"))
    assert redaction.filter(record)
    assert record.getMessage() == "GET /x?api_token=*** ae=77&a=1"  # any token; a space ends it
    assert TokenRedactor(SecretStr(TOKEN)).redact(f"<{quote_plus(TOKEN)}>") == "<***>"


def test_closed_client_removes_its_log_filters() -> None:
    before = [list(logging.getLogger(name).filters) for name in ("httpx", "httpcore.http11")]
    asyncio.run(send_all_requests("http://x/api", httpx.MockTransport(lambda _: httpx.Response(404)), False))
    assert [list(logging.getLogger(name).filters) for name in ("httpx", "httpcore.http11")] == before
