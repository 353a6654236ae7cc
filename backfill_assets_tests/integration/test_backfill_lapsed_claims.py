"""Claims lapse while the network between a run and PostgreSQL is silent: only what is in flight is paid twice.

Two runs on one database and one sandbox, which counts. Instead of waiting for half a minute the test makes the run's
last heartbeat older, and lets the run look before each request, as it does after a gap.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.held_claims import SURE_SECONDS, ClaimLost, HeldClaims
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.skip_reasons import CLAIMED
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.postgres.connection import Connection, Database, T
from backfill_assets.store.postgres.peer_timeouts import CLIENT_PARAMETERS
from backfill_assets.store.runs import DEAD_AFTER_SECONDS, start_run
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.integration.forwarding_proxy import run_proxy
from backfill_assets_tests.integration.test_backfill_engine import TUESDAY, ignore_progress, list_sandbox_symbols
from backfill_assets_tests.integration.test_store_claims import claim_for_another, let_lapse
from backfill_assets_tests.silent_network import SilentNetwork, run_silent_network
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
TICKERS, IN_FLIGHT, ANSWERED = 12, 2, 3
INTERVAL = INTERVALS["30m"]


class RecordingDatabase(Database):
    """Counts how often a run looks which claims are its own."""

    renewals = 0

    def retry_transaction(self, work: Callable[[Connection], T]) -> T:
        self.renewals += "_renew" in work.__qualname__
        return super().retry_transaction(work)


class LostAnswer(Database):
    """Commits a renewal, and then says that the server cannot be reached."""

    def retry_transaction(self, work: Callable[[Connection], T]) -> T:
        result = super().retry_transaction(work)
        if "_renew" in work.__qualname__:
            raise DatabaseUnavailable("the answer is lost")
        return result


class Gate:
    """Forwards the first requests for bars; later ones wait until it is open."""

    def __init__(self, forwarded: int) -> None:
        self._forwarded = forwarded
        self._arrived = itertools.count()
        self._is_open = threading.Event()
        self.waiting: list[str] = []

    def __call__(self, target: str) -> None:
        if "/intraday/" in target and next(self._arrived) >= self._forwarded and not self._is_open.is_set():
            self.waiting.append(target.split("/intraday/")[1].split("?")[0])
            self._is_open.wait()

    def open(self) -> None:
        """Forward every request from now on."""
        self._is_open.set()


@contextmanager
def run_cut_off(engine: Engine, network: SilentNetwork) -> Iterator[tuple["Future[RunResult]", Gate, UUID]]:
    """Run a backfill until ``ANSWERED`` answers are stored and ``IN_FLIGHT`` requests in flight.

    Then the network falls silent and the claims lapse.
    """
    gate = Gate(forwarded=ANSWERED)
    patient = Database(network.url, max_wait_seconds=LONGEST_SECONDS)
    with run_proxy(engine.settings.base_url, gate) as url, closing(patient), ThreadPoolExecutor(1) as threads:
        settings = engine.settings.model_copy(update={"base_url": url})
        cut_off = Engine(patient, settings, claims_sure_seconds=0)
        future = threads.submit(run_backfill, cut_off, make_job(engine, start=TUESDAY, end=TUESDAY), ignore_progress)
        try:
            wait_until(lambda: len(gate.waiting) == IN_FLIGHT, "requests in flight")
            stored = "SELECT count(DISTINCT symbol_id) FROM market_data"
            wait_until(lambda: read_rows(engine, stored) == [(ANSWERED,)], "answers to be stored")
            network.keep_all()
            run_id = read_rows(engine, "SELECT run_id FROM backfill.runs")[0][0]
            let_lapse(engine.database, run_id)
            yield future, gate, run_id
        finally:
            network.pass_all()
            gate.open()


def read_rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize("taken", [4, TICKERS], ids=["a few", "all"])
def test_only_what_is_in_flight_is_paid_twice(
    make_engine: MakeEngine, start_sandbox: StartSandbox, database_url: str, taken: int
) -> None:
    """The other run takes so many of the tickers that are not stored, and has ended when the network is back."""
    sandbox = start_sandbox(symbols=TICKERS)
    engine = make_engine(
        sandbox, tuple(list_sandbox_symbols(TICKERS)), in_flight_start=IN_FLIGHT, in_flight_max=IN_FLIGHT
    )
    job = make_job(engine, start=TUESDAY, end=TUESDAY)
    with run_silent_network(database_url) as network:
        with run_cut_off(engine, network) as (future, gate, _):
            asked = {*sandbox.stats()["per_ticker"], *gate.waiting}
            not_asked = [symbol for symbol in job.symbols if str(symbol.ticker) not in asked]
            symbols = job.symbols if taken == TICKERS else tuple(not_asked[:taken])
            run_backfill(engine, replace(job, symbols=symbols), ignore_progress)
            in_flight = set(gate.waiting)
        result = future.result()
    counts = sandbox.stats()["per_ticker"]
    assert {ticker for ticker, count in counts.items() if count > 1} == (in_flight if taken == TICKERS else set())
    assert (len(counts), sum(counts.values())) == (TICKERS, TICKERS + (IN_FLIGHT if taken == TICKERS else 0))
    assert read_rows(engine, "SELECT sum(calls) FROM backfill.ledger") == [(5 * sum(counts.values()),)]
    assert read_rows(engine, "SELECT count(*) FROM market_data") == [(13 * TICKERS,)]
    left = {str(symbol.ticker) for symbol in symbols} & {str(symbol.ticker) for symbol in not_asked}
    assert {str(ticker): reason for ticker, reason in result.skipped.items()} == dict.fromkeys(left, CLAIMED)
    assert (result.claimed_elsewhere, result.stopped) == (len(left), None)


def test_heartbeats_that_arrive_save_the_look(
    make_engine: MakeEngine, start_sandbox: StartSandbox, database_url: str
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT", "SPY"))
    with closing(RecordingDatabase(database_url)) as database:
        for seconds, renewals in ((1e6, 0), (0, 3)):
            recorded = replace(engine, database=database, claims_sure_seconds=seconds)
            run_backfill(recorded, make_job(engine, start=TUESDAY, end=TUESDAY, force=True), ignore_progress)
            assert database.renewals == renewals


def claim_symbol(database: Database, claims: HeldClaims, run_id: UUID) -> datetime:
    """Record the run and claim symbol 1 for it; returns the server's time."""
    with database.transaction() as connection:
        start_run(connection, run_id, "a run", 1)
        server_time = read_server_time(connection)
    assert asyncio.run(claims.claim([1], server_time)) == {1}
    return server_time


def lose_claim(database: Database, run_id: UUID) -> None:
    let_lapse(database, run_id)
    assert claim_for_another(database, [1]) == {1}


def test_the_servers_time_of_a_permit_shows_a_gap(database: Database) -> None:
    """The clock of a machine stands still while it is asleep."""
    run_id = uuid4()
    claims = HeldClaims(database, run_id, INTERVAL)
    server_time = claim_symbol(database, claims, run_id)
    lose_claim(database, run_id)
    with pytest.raises(ClaimLost):
        asyncio.run(claims.confirm(1, server_time + timedelta(seconds=SURE_SECONDS + 1)))


def test_a_late_heartbeat_shows_a_gap(database: Database) -> None:
    run_id = uuid4()
    claims = HeldClaims(database, run_id, INTERVAL)
    claim_symbol(database, claims, run_id)
    lose_claim(database, run_id)
    asyncio.run(claims.send_heartbeat())
    with pytest.raises(ClaimLost), claims.require(1):
        pass


def test_a_renewal_without_an_answer_is_repeated(database: Database, database_url: str) -> None:
    """Heartbeats arrive again after it, but do not tell what was lost before."""
    run_id = uuid4()
    with closing(LostAnswer(database_url)) as losing:
        claims = HeldClaims(losing, run_id, INTERVAL)
        server_time = claim_symbol(database, claims, run_id)
        lose_claim(database, run_id)
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(claims.send_heartbeat())
        asyncio.run(claims.send_heartbeat())
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(claims.confirm(1, server_time))


def test_the_permits_answer_may_be_on_its_way_as_long_as_a_connection_may_be_silent() -> None:
    assert SURE_SECONDS + int(CLIENT_PARAMETERS["tcp_user_timeout"]) / 1000 <= DEAD_AFTER_SECONDS
