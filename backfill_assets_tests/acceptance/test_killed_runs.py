"""Runs of 200 tickers killed at random times: stored sessions are complete, and no lock or permit remains.

Three kills by default; ``make soak`` takes 50 (``--kills 50``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import (
    MONDAY,
    TUESDAY,
    build_expected_bars,
    list_sandbox_symbols,
)
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

TICKERS = 200
KILLS_PER_DATABASE = 6  # of one database; the next kills use a new one
TIMEOUT, WINDOW = LONGEST_SECONDS, 2.0  # seconds: the longest life of a permit is their sum
RATE_SETTINGS = {
    "EODHD_REQUESTS_PER_MINUTE": "100000",
    "BACKFILL_RATE_WINDOW_SECONDS": str(WINDOW),
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": str(TIMEOUT),
    "BACKFILL_IN_FLIGHT_START": "8",
    "BACKFILL_IN_FLIGHT_MAX": "8",
}
RUN = "run --quiet --format json --start 2026-06-01 --end 2026-06-02"

# Sessions that were requested and whose number of stored bars differs from the slots that the vendor delivered.
INCOMPLETE_SESSIONS = """
SELECT e.symbol_id, e.session_day, count(d.timestamp) FROM backfill.session_evidence e LEFT JOIN market_data d
    ON d.symbol_id = e.symbol_id AND (d.timestamp AT TIME ZONE 'America/New_York')::date = e.session_day
WHERE e.session_day >= '2026-06-01' GROUP BY 1, 2, e.not_returned
HAVING count(d.timestamp) <> 13 - coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(e.not_returned) r), 0)
"""
SYMBOLS_WITHOUT_EVIDENCE = """
SELECT symbol_id FROM market_data d
WHERE NOT EXISTS (SELECT FROM backfill.session_evidence e WHERE e.symbol_id = d.symbol_id)
"""
LONG_PERMITS = "SELECT permit_id FROM backfill.permits WHERE expires_at > clock_timestamp() + make_interval(secs => %s)"
ACTIVE_CONNECTIONS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'
"""
LOCKS = (
    "SELECT locktype FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
    " WHERE l.pid <> pg_backend_pid()"
)
STORED_SYMBOLS = "SELECT s.symbol FROM market_data JOIN market_symbols s USING (symbol_id) GROUP BY 1"


def fetch_rows(database: Database, query: str, *values: object) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode(), values or None).fetchall()


@dataclass
class KilledRuns:
    """Runs on one database and one vendor that are killed until every bar is stored."""

    user: User
    sandbox: Sandbox
    database: Database
    kills: int = 0
    request_counts: dict[str, int] = field(default_factory=dict)

    def count_requests(self) -> int:
        return sum(self.sandbox.stats()["per_ticker"].values())

    def list_stored_symbols(self) -> set[str]:
        return {str(symbol) for (symbol,) in fetch_rows(self.database, STORED_SYMBOLS)}

    def kill_after(self, requests: int) -> bool:
        """Start a run and kill it after this number of requests; False if it ended before."""
        requests_before = self.count_requests()
        run = self.user.start_cli(RUN, **RATE_SETTINGS)
        try:
            wait_until(
                lambda: self.count_requests() >= requests_before + requests or run.poll() is not None, "requests"
            )
            ended = run.poll() is not None
        finally:
            run.kill()
            run.communicate()
        self.kills += not ended
        self.check_state()
        return not ended

    def check_state(self) -> None:
        """Check that sessions are complete, no lock remains, permits expire, and stored tickers are not requested."""
        wait_until(lambda: fetch_rows(self.database, ACTIVE_CONNECTIONS) == [], "the connection of a killed run to end")
        wait_until(lambda: self.sandbox.stats()["in_flight"] == 0, "the last request to end")
        assert fetch_rows(self.database, INCOMPLETE_SESSIONS) == []
        assert fetch_rows(self.database, SYMBOLS_WITHOUT_EVIDENCE) == []
        assert fetch_rows(self.database, LOCKS) == []
        assert fetch_rows(self.database, LONG_PERMITS, TIMEOUT + WINDOW) == []
        requests = self.sandbox.stats()["per_ticker"]
        counts = {symbol: requests[f"{symbol}.US"] for symbol in self.list_stored_symbols()}
        # no stored ticker was requested again
        assert {s: counts[s] for s in self.request_counts} == self.request_counts
        self.request_counts = counts

    def finish_and_check(self) -> None:
        """Run without a kill, and check that every bar is stored and correct and no lock or permit remains."""
        result = self.user.run_cli(RUN, **RATE_SETTINGS)
        assert result.code == 0, result
        self.check_state()
        assert len(self.list_stored_symbols()) == TICKERS
        for symbol in list_sandbox_symbols(TICKERS)[::25]:
            assert read_stored_bars(self.database, symbol) == build_expected_bars(self.sandbox, symbol, MONDAY, TUESDAY)
        assert fetch_rows(self.database, "SELECT run_id FROM backfill.runs WHERE finished_at IS NULL") == []
        repeated = self.user.run_cli(RUN, **RATE_SETTINGS).json
        assert (repeated["requests"], repeated["before"]["missing"]) == (0, 0)


@pytest.fixture
def make_killed_runs(
    make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox], create_database: Callable[[], str]
) -> Callable[[], KilledRuns]:
    def make() -> KilledRuns:
        sandbox = start_sandbox(symbols=TICKERS, latency_ms=(5, 25), per_minute=1_000_000)
        url = create_database()
        user = make_user(sandbox, DATABASE_URL=url)
        assert user.run_cli(["symbols", "add", *list_sandbox_symbols(TICKERS)]).code == 0
        return KilledRuns(user, sandbox, Database(url))

    return make


@pytest.mark.long
def test_killed_runs_lose_only_requests_in_flight(
    make_killed_runs: Callable[[], KilledRuns], request: pytest.FixtureRequest
) -> None:
    total_kills, random = int(request.config.getoption("--kills")), Random(20260601)
    kills = requests = tickers = 0
    while kills < total_kills:
        runs = make_killed_runs()
        while runs.kills < min(KILLS_PER_DATABASE, total_kills - kills):
            remaining = TICKERS - len(runs.list_stored_symbols())
            if not runs.kill_after(random.randint(0, remaining)):
                break
        runs.finish_and_check()
        kills, requests, tickers = kills + runs.kills, requests + runs.count_requests(), tickers + TICKERS
        runs.database.close()
    print(f"{kills} kills: {requests} requests for {tickers} tickers, {requests / tickers:.3f} each")  # noqa: T201 - make soak shows it
    # a kill loses only the requests in flight
    assert requests - tickers <= kills * int(RATE_SETTINGS["BACKFILL_IN_FLIGHT_MAX"])


def test_incomplete_session_is_detected_by_the_query(make_killed_runs: Callable[[], KilledRuns]) -> None:
    runs = make_killed_runs()
    assert runs.kill_after(TICKERS // 2)
    wait_until(lambda: runs.list_stored_symbols() != set() or not runs.kill_after(TICKERS), "a stored bar")
    with runs.database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE ctid = (SELECT ctid FROM market_data LIMIT 1)")
    assert fetch_rows(runs.database, INCOMPLETE_SESSIONS) != []
    runs.database.close()
