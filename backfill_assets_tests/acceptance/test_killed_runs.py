"""SIGKILL at random points of a run of 200 tickers: stored sessions are complete, and no lock or permit stays.

Three kills by default; ``make soak`` takes 50 (``--kills 50``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import bars_in
from backfill_assets_tests.integration.test_backfill_engine import (
    MONDAY,
    TUESDAY,
    build_expected_bars,
    list_sandbox_symbols,
)
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

TICKERS = 200
KILLS_EACH = 6  # of one 200-ticker run, then a fresh one: each kill is drawn from what is left of it
TIMEOUT, WINDOW = LONGEST_SECONDS, 2.0  # seconds: how long a permit may outlive its process
PACE = {
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
WITHOUT_EVIDENCE = """
SELECT symbol_id FROM market_data d
WHERE NOT EXISTS (SELECT FROM backfill.session_evidence e WHERE e.symbol_id = d.symbol_id)
"""
HELD_TOO_LONG = (
    "SELECT permit_id FROM backfill.permits WHERE expires_at > clock_timestamp() + make_interval(secs => %s)"
)
ACTIVE_CONNECTIONS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'
"""
LOCKS = (
    "SELECT locktype FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
    " WHERE l.pid <> pg_backend_pid()"
)
STORED = "SELECT s.symbol FROM market_data JOIN market_symbols s USING (symbol_id) GROUP BY 1"


def rows(database: Database, query: str, *values: object) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode(), values or None).fetchall()


@dataclass
class KilledRuns:
    """One database, one vendor, and runs that are killed until every bar is stored."""

    user: User
    sandbox: Sandbox
    database: Database
    kills: int = 0
    settled_at: dict[str, int] = field(default_factory=dict)

    def asked(self) -> int:
        return sum(self.sandbox.stats()["per_ticker"].values())

    def stored(self) -> set[str]:
        return {str(symbol) for (symbol,) in rows(self.database, STORED)}

    def kill_after(self, requests: int) -> bool:
        """Start a run and kill it after so many requests; False if it ended before."""
        before = self.asked()
        run = self.user.starts(RUN, **PACE)
        try:
            wait_until(lambda: self.asked() >= before + requests or run.poll() is not None, "the run to send requests")
            ended = run.poll() is not None
        finally:
            run.kill()
            run.communicate()
        self.kills += not ended
        self.check()
        return not ended

    def check(self) -> None:
        """After a kill: complete sessions, no lock, permits that expire, no stored ticker requested again."""
        wait_until(lambda: rows(self.database, ACTIVE_CONNECTIONS) == [], "the connection of a dead run to end")
        wait_until(lambda: self.sandbox.stats()["in_flight"] == 0, "the last request to end")
        assert rows(self.database, INCOMPLETE_SESSIONS) == []
        assert rows(self.database, WITHOUT_EVIDENCE) == []
        assert rows(self.database, LOCKS) == []
        assert rows(self.database, HELD_TOO_LONG, TIMEOUT + WINDOW) == []
        asked = self.sandbox.stats()["per_ticker"]
        now = {symbol: asked[f"{symbol}.US"] for symbol in self.stored()}
        assert {s: now[s] for s in self.settled_at} == self.settled_at  # no stored ticker was requested again
        self.settled_at = now

    def finish(self) -> None:
        """A run without a kill: every bar is stored and right, and no lock or permit is left."""
        said = self.user.types(RUN, **PACE)
        assert said.code == 0, said
        self.check()
        assert len(self.stored()) == TICKERS
        for symbol in list_sandbox_symbols(TICKERS)[::25]:
            assert bars_in(self.database, symbol) == build_expected_bars(self.sandbox, symbol, MONDAY, TUESDAY)
        assert rows(self.database, "SELECT run_id FROM backfill.runs WHERE finished_at IS NULL") == []
        again = self.user.types(RUN, **PACE).json
        assert (again["requests"], again["before"]["missing"]) == (0, 0)


@pytest.fixture
def killed_runs_of(
    user_of: Callable[..., User], sandboxed: Callable[..., Sandbox], new_database: Callable[[], str]
) -> Callable[[], KilledRuns]:
    def make() -> KilledRuns:
        sandbox = sandboxed(symbols=TICKERS, latency_ms=(5, 25), per_minute=1_000_000)
        url = new_database()
        user = user_of(sandbox, DATABASE_URL=url)
        assert user.types(["symbols", "add", *list_sandbox_symbols(TICKERS)]).code == 0
        return KilledRuns(user, sandbox, Database(url))

    return make


@pytest.mark.long
def test_killed_runs_lose_only_requests_in_flight(
    killed_runs_of: Callable[[], KilledRuns], request: pytest.FixtureRequest
) -> None:
    wanted, draw = int(request.config.getoption("--kills")), Random(20260601)
    kills = asked = tickers = 0
    while kills < wanted:
        killed = killed_runs_of()
        while killed.kills < min(KILLS_EACH, wanted - kills):
            left = TICKERS - len(killed.stored())
            if not killed.kill_after(draw.randint(0, left)):
                break
        killed.finish()
        kills, asked, tickers = kills + killed.kills, asked + killed.asked(), tickers + TICKERS
        killed.database.close()
    print(f"{kills} kills: {asked} requests for {tickers} tickers, {asked / tickers:.3f} each")  # noqa: T201 - make soak shows it
    assert asked - tickers <= kills * int(PACE["BACKFILL_IN_FLIGHT_MAX"])  # a kill costs the requests in flight


def test_check_of_this_file_detects_an_incomplete_session(killed_runs_of: Callable[[], KilledRuns]) -> None:
    killed = killed_runs_of()
    assert killed.kill_after(TICKERS // 2)
    wait_until(lambda: killed.stored() != set() or not killed.kill_after(TICKERS), "a stored bar")
    with killed.database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE ctid = (SELECT ctid FROM market_data LIMIT 1)")
    assert rows(killed.database, INCOMPLETE_SESSIONS) != []
    killed.database.close()
