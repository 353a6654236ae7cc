"""Tokens, limits, quota and faults over real HTTP, with the bodies and types of EODHD.md §1."""

import asyncio
import ssl
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.config import DataQuirks, Faults, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")

PLAIN = ssl.create_default_context()  # made once: httpx makes one per call otherwise
NOON = datetime(2026, 6, 3, 16, tzinfo=UTC)
MONDAY = 1780272000
GONE = "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
ONLY_EOD = "Only EOD data allowed for free users. Please, contact our support team: support@eodhistoricaldata.com"


def config(**more: Any) -> SandboxConfig:
    return SandboxConfig(now=NOON, clock_rate=0.0, **more)


def get(sandbox: Sandbox, path: str, key: str | None = "x", **params: Any) -> httpx.Response:
    query = {"fmt": "json", **params, **({} if key is None else {"api_token": key})}
    return httpx.get(sandbox.base_url + path, params=query, timeout=20, verify=PLAIN)


def intraday(sandbox: Sandbox, ticker: str = "AAPL.US", key: str = "x") -> httpx.Response:
    return get(sandbox, f"/intraday/{ticker}", key, **{"from": MONDAY, "interval": "5m"})


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(config()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.set_faults(**vars(Faults()))
    running.reset_stats()
    return running


def test_a_missing_or_wrong_token_is_a_401_in_plain_text_without_rate_headers() -> None:
    with Sandbox(config(tokens=frozenset({"right"}))) as sandbox:
        for answer in (get(sandbox, "/user", None), get(sandbox, "/user", "wrong"), get(sandbox, "/eod/NOPE", "")):
            assert (answer.status_code, answer.text) == (401, "Unauthenticated")
            assert answer.headers["content-type"].startswith("text/plain")
            assert "x-ratelimit-limit" not in answer.headers
        assert get(sandbox, "/user", "right").status_code == 200
        assert get(sandbox, "/user", "demo").status_code == 200
        assert sandbox.stats()["calls"] == 0


def test_the_demo_token_sees_five_tickers_and_nothing_else(sandbox: Sandbox) -> None:
    for symbol in ("AAPL", "MSFT", "AMZN", "TSLA", "VTI"):
        assert intraday(sandbox, f"{symbol}.US", "demo").status_code == 200
    batch = get(sandbox, "/real-time/AAPL.US", "demo", s="NVDA.US")
    for answer in (intraday(sandbox, "NVDA.US", "demo"), batch, get(sandbox, "/exchange-symbol-list/US", "demo")):
        assert (answer.status_code, answer.text) == (403, "Forbidden")


def test_the_free_plan_has_end_of_day_only() -> None:
    with Sandbox(config(free_tokens=frozenset({"free"}))) as sandbox:
        for path in ("/intraday/AAPL.US", "/real-time/AAPL.US", "/us-quote-delayed"):
            answer = get(sandbox, path, "free", s="AAPL.US")
            assert (answer.status_code, answer.text) == (403, ONLY_EOD)
        assert get(sandbox, "/eod-bulk-last-day/US", "free").status_code == 402
        rows = get(sandbox, "/eod/AAPL.US", "free").json()
        assert rows[0]["date"] >= "2025-06-03"
        assert rows[-1]["warning"] == "Data is limited by one year as you have free subscription."
        assert "warning" not in rows[-2]
        assert [*get(sandbox, "/eod/AAPL.US", "free", to="2020-01-31").json()[0]] == ["warning"]
        within = get(sandbox, "/eod/AAPL.US", "free", **{"from": "2026-06-01"}).json()
        assert "warning" not in within[-1]
        assert get(sandbox, "/user", "free").json()["dailyRateLimit"] == 20


def test_a_free_token_can_be_given_intraday_with_a_warning() -> None:
    traits = DataQuirks(free_intraday=True)
    with Sandbox(config(free_tokens=frozenset({"free"}), quirks=traits)) as sandbox:
        assert "warning" in intraday(sandbox, key="free").json()[-1]
        old = {"from": 1609459200, "to": 1612137600}
        assert [*get(sandbox, "/intraday/AAPL.US", "free", **old).json()[0]] == ["warning"]


def test_the_minute_is_a_window_and_remaining_falls_with_every_request_even_a_422() -> None:
    with Sandbox(config(per_minute=3, window_seconds=3600.0)) as sandbox:
        answers = [intraday(sandbox), get(sandbox, "/intraday/AAPL.US", interval="d"), get(sandbox, "/user")]
        assert [a.status_code for a in answers] == [200, 422, 200]
        assert [a.headers["x-ratelimit-remaining"] for a in answers] == ["2", "1", "0"]
        refused = intraday(sandbox)
        assert refused.status_code == 429
        assert refused.headers["content-type"].startswith("text/html")
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert "retry-after" not in refused.headers
        assert get(sandbox, "/user", "another").status_code == 200
        assert sandbox.stats()["by_status"] == {"200": 3, "422": 1, "429": 1}


def test_a_429_can_say_how_long_to_wait() -> None:
    with Sandbox(config(per_minute=1, window_seconds=3600.0, retry_after=True)) as sandbox:
        intraday(sandbox)
        assert 3590 <= int(intraday(sandbox).headers["retry-after"]) <= 3601


def test_the_day_runs_out_into_the_extra_calls_and_then_into_a_402() -> None:
    with Sandbox(config(daily=12, extra_limit=7, spent_yesterday=9)) as sandbox:
        before = get(sandbox, "/user").json()
        assert (before["apiRequests"], before["apiRequestsDate"]) == (9, "2026-06-02")
        assert [intraday(sandbox).status_code for _ in range(3)] == [200, 200, 200]
        during = get(sandbox, "/user").json()
        assert (during["apiRequests"], during["apiRequestsDate"], during["extraLimit"]) == (12, "2026-06-03", 4)
        refused = intraday(sandbox)
        assert (refused.status_code, refused.text) == (402, GONE)
        assert get(sandbox, "/user").status_code == 200
        sandbox.move_clock(datetime(2026, 6, 4, 0, 1, tzinfo=UTC))
        assert get(sandbox, "/user").json()["apiRequestsDate"] == "2026-06-03"
        assert intraday(sandbox).status_code == 200
        assert get(sandbox, "/user").json()["apiRequests"] == 5
        assert sandbox.stats()["calls"] == 20


def test_only_internal_user_is_billed(sandbox: Sandbox) -> None:
    assert get(sandbox, "/user/").json()["availableMarketplaceDataFeeds"] == []
    assert sandbox.stats()["calls"] == 0
    assert get(sandbox, "/internal-user").json()["subscriptionMode"] == "paid"
    assert sandbox.stats()["calls"] == 1


@pytest.mark.parametrize(
    ("fault", "status"), [("status_502", 502), ("status_500", 500), ("status_429", 429), ("html_200", 200)]
)
def test_faults_that_answer_something_else(sandbox: Sandbox, fault: str, status: int) -> None:
    sandbox.set_faults(**{fault: 1.0})
    answer = intraday(sandbox)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert sandbox.stats()["by_fault"] == {fault: 1}
    assert sandbox.stats()["calls"] == 0
    sandbox.set_faults(**{fault: 0.0})
    assert len(intraday(sandbox).json()) == 158


def test_down_is_a_503_for_everything_but_the_controls(sandbox: Sandbox) -> None:
    url = sandbox.base_url.removesuffix("/api") + "/__faults"
    assert httpx.post(url, json={"down": True}, verify=PLAIN).json()["down"] is True
    assert intraday(sandbox).status_code == 503
    assert httpx.post(url, json={"down": "yes"}, verify=PLAIN).status_code == 400
    assert httpx.post(url, json={"up": 1}, verify=PLAIN).status_code == 400
    assert httpx.post(url, content=b"{", verify=PLAIN).status_code == 400
    httpx.post(url, json={"down": False}, verify=PLAIN)
    assert intraday(sandbox).status_code == 200


def test_a_cut_body_is_billed_and_ends_in_the_middle(sandbox: Sandbox) -> None:
    sandbox.set_faults(cut_body=1.0)
    with pytest.raises(httpx.RemoteProtocolError):
        intraday(sandbox)
    assert sandbox.stats()["calls"] == 5


def test_a_trickle_brings_the_whole_body_slowly(sandbox: Sandbox) -> None:
    sandbox.set_faults(trickle=1.0, trickle_seconds=0.05)
    assert len(intraday(sandbox).json()) == 158
    assert get(sandbox, "/intraday/NOPE.US").status_code == 404


def test_who_hangs_up_during_a_timeout_is_forgotten(sandbox: Sandbox) -> None:
    sandbox.set_faults(timeout=1.0)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{sandbox.base_url}/user", params={"api_token": "x"}, timeout=0.1, verify=PLAIN)
    sandbox.set_faults(timeout=0.0)
    while sandbox.stats()["in_flight"]:
        get(sandbox, "/user")
    assert sandbox.stats()["by_status"]["499"] == 1


def test_a_timeout_answers_in_the_end(sandbox: Sandbox) -> None:
    sandbox.set_faults(timeout=1.0, timeout_seconds=0.01)
    assert intraday(sandbox).status_code == 200


def test_the_sandbox_stops_although_somebody_waits() -> None:
    async def abandoned(base_url: str) -> int:
        async with httpx.AsyncClient(timeout=60) as client:
            return (await client.get(f"{base_url}/user", params={"api_token": "x"})).status_code

    async def scenario() -> None:
        with Sandbox(config(faults=Faults(timeout=1.0, timeout_seconds=3600.0))) as sandbox:
            waiting = asyncio.create_task(abandoned(sandbox.base_url))
            while not sandbox.stats()["by_fault"]:
                await asyncio.sleep(0.001)
        assert await waiting == 500

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_many_at_once_are_seen_in_flight_and_each_gets_its_own() -> None:
    async def scenario(sandbox: Sandbox) -> list[int]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            wanted = [f"{sandbox.base_url}/intraday/{s}.US" for s in sandbox.world.symbols]
            params = {"api_token": "x", "fmt": "json", "from": MONDAY}
            answers = await asyncio.gather(*(client.get(url, params=params) for url in wanted))
        return [len(answer.json()) for answer in answers]

    with Sandbox(config(symbols=60, latency_ms=(50.0, 80.0))) as sandbox:
        assert asyncio.run(scenario(sandbox)) == [158] * 60
        counts = sandbox.stats()
    assert 10 <= counts["most_in_flight"] <= 50
    assert set(counts["per_ticker"].values()) == {1}
    assert (counts["requests"], counts["calls"], counts["in_flight"]) == (60, 300, 0)


def test_revisions_and_late_publication_are_seen_over_http() -> None:
    traits = DataQuirks(partial_publication=1.0, revisions=1.0)
    with Sandbox(config(quirks=traits)) as sandbox:
        session = sandbox.world.session_index.find_session(date(2026, 6, 1))
        assert session is not None
        release = sandbox.world.get_publication_times("AAPL", session, "5m")
        answers = []
        for moment in (release.first_at - 2, release.first_at, release.complete_at, release.revised_at):
            sandbox.move_clock(datetime.fromtimestamp(int(moment) + 1, UTC))
            end = {"from": MONDAY, "to": MONDAY + 86400}
            answers.append(get(sandbox, "/intraday/AAPL.US", **end).json())
    assert [bool(rows) for rows in answers] == [False, True, True, True]
    assert answers[1] == answers[2][: len(answers[1])]
    assert len(answers[1]) < len(answers[2]) == 79
    assert answers[2] != answers[3]
    assert [row["timestamp"] for row in answers[2]] == [row["timestamp"] for row in answers[3]]
