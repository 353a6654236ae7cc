"""Tokens, limits, quota and faults over HTTP, with bodies and content types as in docs/vendor.md §1."""

import asyncio
import ssl
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.config import DataQuirks, Faults, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

TLS = ssl.create_default_context()  # made once: otherwise httpx makes one for each call
NOON = datetime(2026, 6, 3, 16, tzinfo=UTC)
MONDAY = 1780272000
QUOTA_EXCEEDED = "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
NOT_IN_FREE_PLAN = (
    "Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"
)


def build_config(**options: Any) -> SandboxConfig:
    return SandboxConfig(now=NOON, clock_rate=0.0, **options)


def get(sandbox: Sandbox, path: str, key: str | None = "x", **params: Any) -> httpx.Response:
    query = {"fmt": "json", **params, **({} if key is None else {"api_token": key})}
    return httpx.get(sandbox.base_url + path, params=query, timeout=LONGEST_SECONDS, verify=TLS)


def get_intraday(sandbox: Sandbox, ticker: str = "AAPL.US", key: str = "x") -> httpx.Response:
    return get(sandbox, f"/intraday/{ticker}", key, **{"from": MONDAY, "interval": "5m"})


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(build_config()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    shared_sandbox.set_faults(**vars(Faults()))
    shared_sandbox.reset_stats()
    return shared_sandbox


def test_missing_or_wrong_token_is_a_401_in_plain_text_without_rate_headers() -> None:
    with Sandbox(build_config(tokens=frozenset({"right"}))) as sandbox:
        for response in (get(sandbox, "/user", None), get(sandbox, "/user", "wrong"), get(sandbox, "/eod/NOPE", "")):
            assert (response.status_code, response.text) == (401, "Unauthenticated")
            assert response.headers["content-type"].startswith("text/plain")
            assert "x-ratelimit-limit" not in response.headers
        assert get(sandbox, "/user", "right").status_code == 200
        assert get(sandbox, "/user", "demo").status_code == 200
        assert sandbox.stats()["calls"] == 0


def test_demo_token_is_limited_to_five_tickers(sandbox: Sandbox) -> None:
    for symbol in ("AAPL", "MSFT", "AMZN", "TSLA", "VTI"):
        assert get_intraday(sandbox, f"{symbol}.US", "demo").status_code == 200
    batch = get(sandbox, "/real-time/AAPL.US", "demo", s="NVDA.US")
    for response in (get_intraday(sandbox, "NVDA.US", "demo"), batch, get(sandbox, "/exchange-symbol-list/US", "demo")):
        assert (response.status_code, response.text) == (403, "Forbidden")


def test_free_plan_has_end_of_day_data_only() -> None:
    with Sandbox(build_config(free_tokens=frozenset({"free"}))) as sandbox:
        for path in ("/intraday/AAPL.US", "/real-time/AAPL.US", "/us-quote-delayed"):
            response = get(sandbox, path, "free", s="AAPL.US")
            assert (response.status_code, response.text) == (403, NOT_IN_FREE_PLAN)
        assert get(sandbox, "/eod-bulk-last-day/US", "free").status_code == 402
        rows = get(sandbox, "/eod/AAPL.US", "free").json()
        assert rows[0]["date"] >= "2025-06-03"
        assert rows[-1]["warning"] == "Data is limited by one year as you have free subscription."
        assert "warning" not in rows[-2]
        assert [*get(sandbox, "/eod/AAPL.US", "free", to="2020-01-31").json()[0]] == ["warning"]
        within = get(sandbox, "/eod/AAPL.US", "free", **{"from": "2026-06-01"}).json()
        assert "warning" not in within[-1]
        assert get(sandbox, "/user", "free").json()["dailyRateLimit"] == 20


def test_free_plan_can_have_intraday_data_with_a_warning() -> None:
    quirks = DataQuirks(free_intraday=True)
    with Sandbox(build_config(free_tokens=frozenset({"free"}), quirks=quirks)) as sandbox:
        assert "warning" in get_intraday(sandbox, key="free").json()[-1]
        old = {"from": 1609459200, "to": 1612137600}
        assert [*get(sandbox, "/intraday/AAPL.US", "free", **old).json()[0]] == ["warning"]


def test_paid_plan_can_be_limited_to_some_days_with_a_warning() -> None:
    with Sandbox(build_config(quirks=DataQuirks(plan_limit_days=5))) as sandbox:
        rows = get(sandbox, "/intraday/AAPL.US", **{"from": MONDAY - 10 * 86400, "interval": "5m"}).json()
        assert rows[0]["timestamp"] >= NOON.timestamp() - 5 * 86400
        assert [row["warning"] for row in rows if "warning" in row] == ["Data is limited by 5 days."]
        assert "warning" in rows[-1]
        assert not [row for row in get_intraday(sandbox).json() if "warning" in row]
        daily = get(sandbox, "/eod/AAPL.US").json()
        assert daily[0]["date"] == "2026-05-29"
        assert daily[-1]["warning"] == "Data is limited by 5 days."


def test_unreadable_timestamps_are_in_additional_rows() -> None:
    with Sandbox(build_config(quirks=DataQuirks(unreadable_timestamps=1.0))) as sandbox:
        rows = get_intraday(sandbox).json()
        unreadable = [row for row in rows if row["timestamp"] == 0]
        assert len(unreadable) == 2
        with_unreadable = get_intraday(sandbox, "MSFT.US").json()
    with Sandbox(build_config()) as sandbox:
        assert get_intraday(sandbox).json() == [row for row in rows if row["timestamp"] > 0]
        assert len(get_intraday(sandbox, "MSFT.US").json()) == len(with_unreadable) - 2


def test_every_request_counts_in_the_rate_window_even_a_422() -> None:
    with Sandbox(build_config(per_minute=3, window_seconds=3600.0)) as sandbox:
        responses = [get_intraday(sandbox), get(sandbox, "/intraday/AAPL.US", interval="d"), get(sandbox, "/user")]
        assert [a.status_code for a in responses] == [200, 422, 200]
        assert [a.headers["x-ratelimit-remaining"] for a in responses] == ["2", "1", "0"]
        denied = get_intraday(sandbox)
        assert denied.status_code == 429
        assert denied.headers["content-type"].startswith("text/html")
        assert denied.headers["x-ratelimit-remaining"] == "0"
        assert "retry-after" not in denied.headers
        assert get(sandbox, "/user", "another").status_code == 200
        assert sandbox.stats()["by_status"] == {"200": 3, "422": 1, "429": 1}


def test_429_can_have_a_retry_after_header() -> None:
    with Sandbox(build_config(per_minute=1, window_seconds=3600.0, retry_after=True)) as sandbox:
        get_intraday(sandbox)
        assert 3590 <= int(get_intraday(sandbox).headers["retry-after"]) <= 3601


def test_purchased_calls_are_used_after_the_quota_and_then_a_402() -> None:
    with Sandbox(build_config(daily=12, extra_limit=7, spent_yesterday=9)) as sandbox:
        before = get(sandbox, "/user").json()
        assert (before["apiRequests"], before["apiRequestsDate"]) == (9, "2026-06-02")
        assert [get_intraday(sandbox).status_code for _ in range(3)] == [200, 200, 200]
        during = get(sandbox, "/user").json()
        assert (during["apiRequests"], during["apiRequestsDate"], during["extraLimit"]) == (12, "2026-06-03", 4)
        denied = get_intraday(sandbox)
        assert (denied.status_code, denied.text) == (402, QUOTA_EXCEEDED)
        assert get(sandbox, "/user").status_code == 200
        sandbox.move_clock(datetime(2026, 6, 4, 0, 1, tzinfo=UTC))
        assert get(sandbox, "/user").json()["apiRequestsDate"] == "2026-06-03"
        assert get_intraday(sandbox).status_code == 200
        assert get(sandbox, "/user").json()["apiRequests"] == 5
        assert sandbox.stats()["calls"] == 20


def test_internal_user_is_billed_and_user_is_not(sandbox: Sandbox) -> None:
    assert get(sandbox, "/user/").json()["availableMarketplaceDataFeeds"] == []
    assert sandbox.stats()["calls"] == 0
    assert get(sandbox, "/internal-user").json()["subscriptionMode"] == "paid"
    assert sandbox.stats()["calls"] == 1


@pytest.mark.parametrize(
    ("fault", "status"), [("status_502", 502), ("status_500", 500), ("status_429", 429), ("html_200", 200)]
)
def test_fault_replaces_the_response(sandbox: Sandbox, fault: str, status: int) -> None:
    sandbox.set_faults(**{fault: 1.0})
    response = get_intraday(sandbox)
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")
    assert sandbox.stats()["by_fault"] == {fault: 1}
    assert sandbox.stats()["calls"] == 0
    sandbox.set_faults(**{fault: 0.0})
    assert len(get_intraday(sandbox).json()) == 158


def test_down_returns_503_except_for_the_control_endpoints(sandbox: Sandbox) -> None:
    url = sandbox.base_url.removesuffix("/api") + "/__faults"
    assert httpx.post(url, json={"down": True}, verify=TLS).json()["down"] is True
    assert get_intraday(sandbox).status_code == 503
    assert httpx.post(url, json={"down": "yes"}, verify=TLS).status_code == 400
    assert httpx.post(url, json={"up": 1}, verify=TLS).status_code == 400
    assert httpx.post(url, content=b"{", verify=TLS).status_code == 400
    httpx.post(url, json={"down": False}, verify=TLS)
    assert get_intraday(sandbox).status_code == 200


def test_cut_body_is_billed_and_incomplete(sandbox: Sandbox) -> None:
    sandbox.set_faults(cut_body=1.0)
    with pytest.raises(httpx.RemoteProtocolError):
        get_intraday(sandbox)
    assert sandbox.stats()["calls"] == 5


def test_trickle_sends_the_whole_body_slowly(sandbox: Sandbox) -> None:
    sandbox.set_faults(trickle=1.0, trickle_seconds=0.05)
    assert len(get_intraday(sandbox).json()) == 158
    assert get(sandbox, "/intraday/NOPE.US").status_code == 404


def test_disconnect_during_a_timeout_is_counted_as_499(sandbox: Sandbox) -> None:
    sandbox.set_faults(timeout=1.0)
    short_timeout = httpx.Timeout(LONGEST_SECONDS, read=0.1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{sandbox.base_url}/user", params={"api_token": "x"}, timeout=short_timeout, verify=TLS)
    sandbox.set_faults(timeout=0.0)
    wait_until(lambda: "499" in sandbox.stats()["by_status"], "the sandbox to count the disconnect")
    assert sandbox.stats()["by_status"]["499"] == 1
    assert sandbox.stats()["in_flight"] == 0


def test_timeout_fault_responds_after_its_seconds(sandbox: Sandbox) -> None:
    sandbox.set_faults(timeout=1.0, timeout_seconds=0.01)
    assert get_intraday(sandbox).status_code == 200


def test_sandbox_stops_while_a_request_waits() -> None:
    async def send_request(base_url: str) -> int:
        async with httpx.AsyncClient(timeout=LONGEST_SECONDS) as client:
            return (await client.get(f"{base_url}/user", params={"api_token": "x"})).status_code

    async def scenario() -> None:
        with Sandbox(build_config(faults=Faults(timeout=1.0, timeout_seconds=3600.0))) as sandbox:
            waiting = asyncio.create_task(send_request(sandbox.base_url))
            while not sandbox.stats()["by_fault"]:
                await asyncio.sleep(0.001)
        assert await waiting == 500

    asyncio.run(asyncio.wait_for(scenario(), LONGEST_SECONDS))


def test_concurrent_requests_are_counted_and_get_their_own_responses() -> None:
    async def scenario(sandbox: Sandbox) -> list[int]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(limits=limits, timeout=LONGEST_SECONDS) as client:
            urls = [f"{sandbox.base_url}/intraday/{s}.US" for s in sandbox.world.symbols]
            params = {"api_token": "x", "fmt": "json", "from": MONDAY}
            responses = await asyncio.gather(*(client.get(url, params=params) for url in urls))
        return [len(response.json()) for response in responses]

    with Sandbox(build_config(symbols=60, latency_ms=(800.0, 1000.0))) as sandbox:
        assert asyncio.run(scenario(sandbox)) == [158] * 60
        counts = sandbox.stats()
    assert 10 <= counts["most_in_flight"] <= 50
    assert set(counts["per_ticker"].values()) == {1}
    assert (counts["requests"], counts["calls"], counts["in_flight"]) == (60, 300, 0)


def test_revisions_and_partial_publication_are_visible_over_http() -> None:
    quirks = DataQuirks(partial_publication=1.0, revisions=1.0)
    with Sandbox(build_config(quirks=quirks)) as sandbox:
        session = sandbox.world.session_index.find_session(date(2026, 6, 1))
        assert session is not None
        times = sandbox.world.get_publication_times("AAPL", session, "5m")
        responses = []
        for moment in (times.first_at - 2, times.first_at, times.complete_at, times.revised_at):
            sandbox.move_clock(datetime.fromtimestamp(int(moment) + 1, UTC))
            end = {"from": MONDAY, "to": MONDAY + 86400}
            responses.append(get(sandbox, "/intraday/AAPL.US", **end).json())
    assert [bool(rows) for rows in responses] == [False, True, True, True]
    assert responses[1] == responses[2][: len(responses[1])]
    assert len(responses[1]) < len(responses[2]) == 79
    assert responses[2] != responses[3]
    assert [row["timestamp"] for row in responses[2]] == [row["timestamp"] for row in responses[3]]
