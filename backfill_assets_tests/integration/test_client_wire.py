"""Every status and body of EODHD.md §1 over real HTTP: which error, how many attempts, what it cost."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import httpx
import pytest

from backfill_assets.eodhd import errors
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import VendorError
from backfill_assets.eodhd.gate import Exchange, OpenGate
from backfill_assets_tests.integration.scripted_vendor import HTML, Say, ScriptedVendor

BAR = {"timestamp": 1780343700, "open": 1, "high": 2, "low": 1, "close": 2, "volume": 5}
GOOD = Say(body=json.dumps([BAR]).encode())
TEXT = "text/plain; charset=UTF-8"
PLAN = b"Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"
QUOTA = b"You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
TOO_LONG = b'{"errors":{"to":["Max period length is 600 days"],"from":["Max period length is 600 days"]}}'


def client(url: str, gate: OpenGate, **options: Any) -> EodhdClient:
    given: dict[str, Any] = {"token": "s3cret", "backoff_seconds": (0.0, 0.0), "timeout_seconds": 5} | options
    return EodhdClient(base_url=url, gate=gate, **given)


def intraday(vendor: EodhdClient) -> Awaitable[Any]:
    return vendor.intraday("AAPL.US", "5m", 1780320600, 1780344000)


def talk(
    *answers: Say, ask: Callable[[EodhdClient], Awaitable[Any]] = intraday, **options: Any
) -> tuple[Any, list[Exchange], ScriptedVendor]:
    """The result or VendorError of ``ask`` against a vendor that gives ``answers``."""

    async def conversation() -> tuple[Any, list[Exchange], ScriptedVendor]:
        gate = OpenGate()
        async with ScriptedVendor(*answers) as vendor, client(vendor.url, gate, **options) as us:
            try:
                result = await ask(us)
            except VendorError as error:
                result = error
        assert gate.admitted == len(gate.exchanges)
        return result, gate.exchanges, vendor

    return asyncio.run(conversation())


@pytest.mark.parametrize(
    ("say", "kind", "calls"),
    [
        (Say(401, b"Unauthenticated", TEXT), errors.TokenRefused, 0),
        (Say(403, b"Unauthenticated", TEXT), errors.TokenRefused, 0),
        (Say(402, QUOTA, HTML), errors.QuotaExhausted, 0),
        (Say(403, PLAN, HTML), errors.PlanRefused, 0),
        (Say(403, b"Forbidden", TEXT), errors.TickerRefused, 0),
        (Say(404, b"Ticker Not Found.", HTML), errors.UnknownTicker, 1),
        (Say(404, b'{"error":"x"}'), errors.UnknownTicker, 1),
        (Say(422, TOO_LONG), errors.RequestRefused, 0),
        (Say(body=b'{"error":"Unauthenticated","code":401}'), errors.TokenRefused, 5),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_permanent_refusals_are_asked_once(say: Say, kind: type[VendorError], calls: int) -> None:
    error, exchanges, _ = talk(say)
    assert type(error) is kind
    assert str(error).startswith("AAPL.US /intraday: ")
    assert [(e.calls, e.error, e.rows, e.endpoint, e.ticker) for e in exchanges] == [
        (calls, kind.__name__, None, "/intraday", "AAPL.US")
    ]


def test_a_refusal_carries_the_vendors_words() -> None:
    error, _, _ = talk(Say(422, TOO_LONG))
    assert "to: Max period length is 600 days" in str(error)


@pytest.mark.parametrize(
    ("say", "kind", "calls"),
    [
        (Say(429, b"Too Many Attempts.", HTML), errors.RateLimited, 0),
        (Say(500, b"", HTML), errors.ServerFault, 0),
        (Say(502, b"<html><title>502 Bad Gateway</title></html>", HTML), errors.ServerFault, 0),
        (Say(502, b"<html>", HTML, cut=True), errors.ServerFault, 0),
        (Say(200, b"<html>We'll be back</html>", HTML), errors.BrokenAnswer, 5),
        (Say(200, b"[]", HTML), errors.BrokenAnswer, 5),
        (Say(200, b"<html>", TEXT), errors.BrokenAnswer, 5),
        (Say(200, b"", "application/json"), errors.BrokenAnswer, 5),
        (Say(200, b'[{"timestamp":1', cut=True), errors.BrokenAnswer, 5),
        (Say(200, b"not gzip", headers={"content-encoding": "gzip"}), errors.BrokenAnswer, 5),
        (Say(200, b'{"foo":1}'), errors.BrokenAnswer, 5),
        (Say(silent=True), errors.Unreachable, 0),
    ],
)
def test_transient_failures_are_asked_again_and_then_raised(say: Say, kind: type[VendorError], calls: int) -> None:
    error, exchanges, vendor = talk(say, attempts=3)
    assert type(error) is kind
    assert (error.endpoint, error.ticker) == ("/intraday", "AAPL.US")
    assert [(e.calls, e.error) for e in exchanges] == [(calls, kind.__name__)] * 3
    assert len(vendor.targets) == 3


def test_a_failure_that_passes_is_forgotten() -> None:
    rows, exchanges, _ = talk(Say(502, b"", HTML), Say(cut=True), Say(429, b"", HTML), GOOD)
    assert rows.timestamp.tolist() == [1780343700]
    assert [(e.status, e.calls, e.rows) for e in exchanges] == [
        (502, 0, None),
        (200, 5, None),
        (429, 0, None),
        (200, 5, 1),
    ]
    last = exchanges[-1]
    assert (last.size, last.rate_limit, last.rate_remaining) == (len(GOOD.body), 1200, 1197)
    assert last.error is None
    assert last.seconds > 0
    assert last.started_at.utcoffset() is not None


@pytest.mark.parametrize("say", [Say(silent=True, stall=True), Say(body=b"[", stall=True)])
def test_a_stalled_answer_is_given_up_and_may_have_cost_all(say: Say) -> None:
    error, exchanges, _ = talk(say, attempts=1, timeout_seconds=0.2)
    assert type(error) is errors.Unreachable
    assert "0.2 s" in str(error)
    assert [e.calls for e in exchanges] == [5]


def test_nobody_there_costs_nothing_and_exits_6() -> None:
    async def ask() -> tuple[VendorError, list[Exchange]]:
        gate = OpenGate()
        async with ScriptedVendor(GOOD) as vendor:
            url = vendor.url
        async with client(url, gate, attempts=2) as us:
            with pytest.raises(errors.Unreachable) as caught:
                await intraday(us)
        return caught.value, gate.exchanges

    error, exchanges = asyncio.run(ask())
    assert error.exit_code == 6
    assert [(e.status, e.calls) for e in exchanges] == [(None, 0)] * 2


@pytest.mark.parametrize(
    ("headers", "expected"), [({"retry-after": "0.2"}, 0.2), ({"retry-after": "x"}, None), ({}, None)]
)
def test_retry_after_is_recorded_and_kept(headers: dict[str, str], expected: float | None) -> None:
    error, exchanges, _ = talk(Say(429, b"", HTML, headers=headers), attempts=1)
    assert error.retry_after == expected
    assert [e.retry_after for e in exchanges] == [expected]


def test_retry_after_is_waited_for() -> None:
    rows, exchanges, _ = talk(Say(503, b"", HTML, headers={"retry-after": "0.2"}), GOOD)
    assert len(rows) == 1
    first, second = exchanges
    assert (second.started_at - first.started_at).total_seconds() >= 0.2


def test_more_patience_than_we_have_is_left_to_the_caller() -> None:
    error, exchanges, _ = talk(Say(429, b"", HTML, headers={"retry-after": "3600"}))
    assert error.retry_after == 3600
    assert len(exchanges) == 1


def test_a_redirect_to_another_host_is_not_followed() -> None:
    async def ask() -> tuple[VendorError, list[str]]:
        async with ScriptedVendor(GOOD) as elsewhere:
            away = {"location": elsewhere.url.replace("127.0.0.1", "localhost") + "/x"}
            async with (
                ScriptedVendor(Say(302, b"", HTML, headers=away)) as vendor,
                client(vendor.url, OpenGate()) as us,
            ):
                with pytest.raises(errors.RequestRefused) as caught:
                    await intraday(us)
            return caught.value, elsewhere.targets

    error, elsewhere = asyncio.run(ask())
    assert "redirects (302) to localhost" in str(error)
    assert elsewhere == []


@pytest.mark.parametrize(("location", "host"), [("/login", "itself"), ("", "itself")])
def test_no_redirect_is_followed(location: str, host: str) -> None:
    error, exchanges, _ = talk(Say(301, b"", HTML, headers={"location": location}))
    assert type(error) is errors.RequestRefused
    assert host in str(error)
    assert [e.calls for e in exchanges] == [0]


def test_the_token_is_sent_with_every_request_and_to_this_host_only() -> None:
    _, _, vendor = talk(Say(502), GOOD)
    assert [vendor.query(n)["api_token"] for n in (0, 1)] == ["s3cret"] * 2
    assert vendor.query(0)["fmt"] == "json"
    assert vendor.paths() == ["/api/intraday/AAPL.US"] * 2

    async def strayed() -> str:
        async with ScriptedVendor(GOOD) as vendor, ScriptedVendor(GOOD) as other:
            async with client(vendor.url, OpenGate()) as us:
                await us._http.get(other.url + "/x")
            return other.targets[0]

    assert asyncio.run(strayed()) == "/api/x"


def test_a_connection_is_kept() -> None:
    async def twice() -> list[str]:
        seen: list[str] = []
        async with ScriptedVendor(GOOD) as vendor, client(vendor.url, OpenGate()) as us:
            for _ in range(3):
                await intraday(us)
                pool = us._http._transport._inner._pool  # type: ignore[attr-defined]
                seen.append(str(len(pool.connections)))
        return seen

    assert asyncio.run(twice()) == ["1"] * 3


@pytest.mark.parametrize("token", ["", "  \n"])
def test_an_empty_token_is_refused_at_once(token: str) -> None:
    with pytest.raises(errors.TokenRefused, match="EODHD_API_TOKEN"):
        client("http://127.0.0.1:1/api", OpenGate(), token=token)


DAY = 86_400


@pytest.mark.parametrize(
    ("interval", "days", "requests"),
    [("5m", 600, 1), ("5m", 601, 2), ("5m", 1300, 3), ("1m", 120, 1), ("1m", 121, 2), ("1h", 7200, 1), ("15m", 121, 2)],
)
def test_long_spans_are_split(interval: str, days: int, requests: int) -> None:
    start, end = 1_600_000_000, 1_600_000_000 + days * DAY
    _, exchanges, vendor = talk(GOOD, ask=lambda us: us.intraday("A.US", interval, start, end))
    spans = [(int(vendor.query(n)["from"]), int(vendor.query(n)["to"])) for n in range(requests)]
    assert len(vendor.targets) == requests
    assert [e.calls for e in exchanges] == [5] * requests
    longest = {"5m": 600, "1h": 7200}.get(interval, 120) * DAY
    assert all(to - first <= longest for first, to in spans)
    assert spans[0][0] == start
    assert spans[-1][1] >= end
    assert [first for first, _ in spans[1:]] == [to for _, to in spans[:-1]]


@pytest.mark.parametrize("inclusive", [True, False])
def test_split_spans_give_every_row_once_whether_to_is_inclusive_or_not(inclusive: bool) -> None:
    start, end = 1_600_000_000, 1_600_000_000 + 1000 * DAY
    stamps = [start + day * DAY for day in range(1001)]

    def answer(request: httpx.Request) -> httpx.Response:
        first, to = int(request.url.params["from"]), int(request.url.params["to"])
        inside = [s for s in [*stamps, end + 1] if first <= s < to + inclusive]
        return httpx.Response(200, json=[{**BAR, "timestamp": stamp} for stamp in inside])

    async def ask() -> list[int]:
        async with client("http://x/api", OpenGate(), transport=httpx.MockTransport(answer)) as us:
            rows = await us.intraday("A.US", "5m", start, end)
        return [int(stamp) for stamp in rows.timestamp]

    assert asyncio.run(ask()) == stamps


def test_a_reversed_span_is_a_mistake_of_ours() -> None:
    async def ask() -> None:
        async with client("http://127.0.0.1:1/api", OpenGate()) as us:
            await us.intraday("A.US", "5m", 2, 1)

    with pytest.raises(ValueError, match="before the start"):
        asyncio.run(ask())


ACCOUNT = Say(body=b'{"apiRequests":3,"apiRequestsDate":"2026-11-24","dailyRateLimit":100000,"extraLimit":0}')


@pytest.mark.parametrize("first", [Say(404, b"", HTML), Say(403, b"Forbidden", TEXT), Say(422, b"{}"), Say(body=b"[]")])
def test_the_account_has_two_names(first: Say) -> None:
    account, exchanges, vendor = talk(first, ACCOUNT, ask=lambda us: us.user(), attempts=1)
    assert (account.api_requests, account.api_requests_date) == (3, date(2026, 11, 24))
    assert vendor.paths() == ["/api/user", "/api/internal-user"]
    assert [e.calls for e in exchanges] == [0, 0]


def test_a_refused_token_needs_no_second_name() -> None:
    error, _, vendor = talk(Say(401, b"Unauthenticated", TEXT), ask=lambda us: us.user())
    assert type(error) is errors.TokenRefused
    assert len(vendor.targets) == 1


def test_a_refused_batch_is_asked_in_halves() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        names = [request.url.path.rsplit("/", 1)[1], *filter(None, request.url.params.get("s", "").split(","))]
        if "BAD.US" in names:
            return httpx.Response(403, text="Forbidden")
        rows = [{"code": name, "timestamp": 1, "close": 1} for name in names]
        return httpx.Response(200, json=rows if len(rows) > 1 else rows[0])

    gate = OpenGate()

    async def ask() -> Any:
        async with client("http://x/api", gate, transport=httpx.MockTransport(answer)) as us:
            return await us.quotes(["A.US", "B.US", "BAD.US", "C.US"])

    found = asyncio.run(ask())
    assert [(quote.code, quote.is_absent) for quote in found] == [
        ("A.US", False),
        ("B.US", False),
        ("BAD.US", True),
        ("C.US", False),
    ]
    assert sum(e.calls for e in gate.exchanges) == 3


def test_paths_parameters_and_prices_of_the_other_endpoints() -> None:
    day = date(2026, 7, 9)
    asked: list[tuple[Callable[[EodhdClient], Awaitable[Any]], str, dict[str, str], int]] = [
        (lambda us: us.quote("A/B.US"), "/api/real-time/A%2FB.US", {}, 1),
        (lambda us: us.quotes(["A.US", "B.US"]), "/api/real-time/A.US", {"s": "B.US"}, 2),
        (lambda us: us.quotes_of_exchange(), "/api/real-time/AAPL.US", {"ex": "US"}, 100),
        (lambda us: us.symbols("US"), "/api/exchange-symbol-list/US", {}, 1),
        (
            lambda us: us.symbols("US", delisted=True, kind="etf"),
            "/api/exchange-symbol-list/US",
            {"delisted": "1", "type": "etf"},
            1,
        ),
        (lambda us: us.eod("A.US"), "/api/eod/A.US", {}, 1),
        (lambda us: us.eod("A.US", day, day), "/api/eod/A.US", {"from": "2026-07-09", "to": "2026-07-09"}, 1),
        (lambda us: us.bulk_eod("US"), "/api/eod-bulk-last-day/US", {}, 100),
        (lambda us: us.bulk_eod("US", day), "/api/eod-bulk-last-day/US", {"date": "2026-07-09"}, 100),
        (
            lambda us: us.symbol_changes(day, day),
            "/api/symbol-change-history",
            {"from": "2026-07-09", "to": "2026-07-09"},
            5,
        ),
    ]
    for ask, path, query, calls in asked:
        _, exchanges, vendor = talk(Say(), ask=ask)
        assert vendor.paths() == [path]
        assert vendor.query(0) == {**query, "fmt": "json", "api_token": "s3cret"}
        assert [e.calls for e in exchanges] == [calls]


def test_a_missing_quote_is_an_absent_one() -> None:
    quote, _, _ = talk(Say(), ask=lambda us: us.quote("A.US"))
    assert (quote.code, quote.is_absent) == ("A.US", True)
