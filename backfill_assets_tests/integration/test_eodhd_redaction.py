"""The token appears nowhere: not in DEBUG logs, exceptions and their causes, or records."""

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
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets_tests.integration.scripted_vendor import HTML, JSON, Say, ScriptedVendor
from backfill_assets_tests.integration.unlimited_rate_limiter import UnlimitedRateLimiter
from backfill_assets_tests.waiting import LONGEST_SECONDS

TOKEN = "65f0+c3/d.91 ae=77"  # noqa: S105 - made up; needs escaping in a URL
FORMS = {TOKEN, quote(TOKEN), quote(TOKEN, safe=""), quote_plus(TOKEN), TOKEN[:6]}
ECHO = f"bad api_token={quote_plus(TOKEN)} or {TOKEN}"
AWAY = {"location": f"http://localhost:9/api?api_token={quote(TOKEN, safe='')}&fmt=json"}

PATHS = {
    "ok": Say(),
    "401": Say(401, ECHO.encode(), HTML),
    "402": Say(402, ECHO.encode(), HTML),
    "403": Say(403, b"Forbidden", HTML),
    "403 plan": Say(403, f"Only EOD data allowed for free users {ECHO}".encode(), HTML),
    "404": Say(404, f"<html><title>{ECHO}</title></html>".encode(), HTML),
    "422": Say(422, f'{{"errors":{{"api_token":["{ECHO}"]}}}}'.encode(), JSON),
    "cut within the token": Say(422, b"x" * 250 + TOKEN.encode(), HTML),
    "escaped": Say(422, json.dumps({"error": ECHO}).replace("/", "\\/").encode(), JSON),
    "429": Say(429, ECHO.encode(), HTML, headers={"retry-after": "0"}),
    "500": Say(500, ECHO.encode(), HTML),
    "html": Say(200, ECHO.encode(), HTML),
    "not json": Say(200, ECHO.encode(), JSON),
    "envelope": Say(200, f'{{"error":"{ECHO}","code":422}}'.encode(), JSON),
    "nameless envelope": Say(200, f'{{"error":"{ECHO}"}}'.encode(), JSON),
    "cut": Say(200, b"[", JSON, cut=True),
    "not gzip": Say(200, b"[", JSON, headers={"content-encoding": "gzip"}),
    "hangs up": Say(silent=True),
    "stalls": Say(stall=True),
    "redirect": Say(302, b"", HTML, headers=AWAY),
    "bad redirect": Say(302, b"", HTML, headers={"location": f"http://[{quote_plus(TOKEN)}"}),
    "echoed header": Say(500, b"", HTML, headers={"x-echo": TOKEN}),
}
ASKS: list[Callable[[EodhdClient], Awaitable[object]]] = [
    lambda us: us.fetch_intraday("AAPL.US", "5m", 1, 2),
    lambda us: us.fetch_quotes(["A.US", "B.US"]),
    lambda us: us.fetch_account(),
    lambda us: us.fetch_symbols("US"),
    lambda us: us.fetch_daily("A.US"),
    lambda us: us.fetch_bulk_daily("US"),
    lambda us: us.fetch_symbol_changes(date(2026, 1, 1), date(2026, 1, 2)),
]


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Every log record at DEBUG, formatted, with its arguments."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name} {self.format(record)} {record.args!r} {record.msg!r}")

    root, ear = logging.getLogger(), Ear()
    before = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(ear)
    root.setLevel(before)


def everything(error: BaseException) -> Iterator[str]:
    """All texts of an exception, its causes and its context."""
    yield from traceback.format_exception(error)
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        todo += [one.__cause__, one.__context__]
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)))
        request = getattr(one, "_request", None)
        if isinstance(request, httpx.Request):
            yield str(request.url)
    yield repr(pickle.dumps(error))
    yield str(copy.copy(error))


def leaks(texts: list[str]) -> list[str]:
    return [text for text in texts if any(form in text for form in FORMS)]


async def ask_all(url: str, transport: httpx.AsyncBaseTransport | None, stalls: bool) -> tuple[list[str], int]:
    rate_limiter = UnlimitedRateLimiter()
    texts: list[str] = []
    failures = 0
    us = EodhdClient(
        base_url=url,
        token=SecretStr(TOKEN),
        rate_limiter=rate_limiter,
        attempts=2,
        backoff_seconds=(0, 0),
        timeout_seconds=0.05 if stalls else LONGEST_SECONDS,
        transport=transport,
    )
    async with us:
        texts.append(repr(us))
        for ask in ASKS[:1] if stalls else ASKS:
            try:
                await ask(us)
            except VendorError as error:
                failures += 1
                texts += everything(error)
    return texts + [repr(record) for record in rate_limiter.records], failures


@pytest.mark.parametrize("path", PATHS)
def test_no_error_path_shows_the_token(path: str, said: list[str]) -> None:
    async def play() -> tuple[list[str], int, list[str]]:
        async with ScriptedVendor(PATHS[path]) as vendor:
            texts, failures = await ask_all(vendor.url, None, path == "stalls")
            return texts, failures, [vendor.query(n)["api_token"] for n in range(len(vendor.targets))]

    texts, failures, sent = asyncio.run(play())
    assert failures > 0  # even where all is well: [] is no account
    assert set(sent) == {TOKEN}  # it did go over the wire
    assert any("httpcore" in line for line in said)  # and the logs were on
    assert leaks(texts) == []
    assert leaks(said) == []


@pytest.mark.parametrize(
    "kind", [httpx.ConnectError, httpx.ReadTimeout, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ReadError]
)
def test_no_transport_error_shows_the_token(kind: type[httpx.TransportError], said: list[str]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise kind(f"cannot reach {request.url}", request=request)

    texts, failures = asyncio.run(ask_all("http://vendor.test/api", httpx.MockTransport(fail), False))
    assert failures == len(ASKS)
    assert leaks(texts) == []
    assert leaks(said) == []


def test_redaction_keeps_echoes_out_of_the_httpcore_log(said: list[str]) -> None:
    record = logging.LogRecord("httpx", logging.INFO, "", 0, "GET %s", (f"/x?api_token={TOKEN}&a=1",), None)
    redaction = TokenRedactor(SecretStr("other"))
    assert redaction.filter(record)
    assert record.getMessage() == "GET /x?api_token=*** ae=77&a=1"  # any token; a space ends it
    assert TokenRedactor(SecretStr(TOKEN)).redact(f"<{quote_plus(TOKEN)}>") == "<***>"


def test_closed_client_removes_its_log_filters() -> None:
    before = [list(logging.getLogger(name).filters) for name in ("httpx", "httpcore.http11")]
    asyncio.run(ask_all("http://x/api", httpx.MockTransport(lambda _: httpx.Response(404)), False))
    assert [list(logging.getLogger(name).filters) for name in ("httpx", "httpcore.http11")] == before
