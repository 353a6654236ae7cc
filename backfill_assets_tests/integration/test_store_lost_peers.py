"""Networks that fall silent, sessions that the server ends, and processes that stop: nobody waits for them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo
from sqlalchemy import create_engine, make_url, text

from backfill_assets.config.settings import load_settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.purposes import Purpose
from backfill_assets.store.postgres.connection import Connection, Database, check_connection
from backfill_assets.store.postgres.dagster_database import prepare_dagster_database
from backfill_assets.store.postgres.peer_timeouts import CLIENT_PARAMETERS, IDLE_LIMIT, SERVER_SETTINGS
from backfill_assets.store.quota.budget import Budget, PermitSettlement
from backfill_assets.store.quota.spending_pause import start_pause
from backfill_assets_tests.acceptance.pooler import pooler_url as pooler_url
from backfill_assets_tests.acceptance.test_database_defaults import DEFAULTS, set_defaults
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.test_store_budget import LIMITS
from backfill_assets_tests.silent_network import SilentNetwork, run_silent_network
from backfill_assets_tests.waiting import wait_until


@pytest.fixture
def network(database_url: str) -> Iterator[SilentNetwork]:
    with run_silent_network(database_url) as network:
        yield network


def read_number(url: str, query: str) -> int:
    with psycopg.connect(url) as connection:
        return int(connection.execute(query.encode()).fetchall()[0][0])


def test_each_session_has_the_timeouts(database: Database) -> None:
    query = "SELECT name FROM pg_settings WHERE name = ANY(%s) AND source = 'client'"
    with database.transaction() as connection:
        names = {name for (name,) in connection.execute(query, [list(SERVER_SETTINGS)])}
        assert connection.execute(f"SHOW {IDLE_LIMIT}".encode()).fetchall() == [("1min",)]
    assert names == set(SERVER_SETTINGS)
    with database.snapshot() as connection:  # in which years of a market may be converted
        assert connection.execute(f"SHOW {IDLE_LIMIT}".encode()).fetchall() == [("10min",)]


def test_a_limit_of_the_address_holds_for_snapshots(database_url: str) -> None:
    database = Database(conninfo.make_conninfo(database_url, options=f"-c {IDLE_LIMIT}=7s"))
    with database.snapshot() as connection:
        assert connection.execute(f"SHOW {IDLE_LIMIT}".encode()).fetchall() == [("7s",)]
    database.close()


def test_a_check_out_of_a_silent_network_ends(network: SilentNetwork) -> None:
    with psycopg.connect(network.url) as connection:
        check_connection(connection)
        network.keep_all()
        with pytest.raises(psycopg.OperationalError, match=r"no answer within 0\.05 s"):
            check_connection(connection, seconds=0.05)
        connection.close()


def test_a_check_sees_that_the_server_has_ended_the_session(database_url: str) -> None:
    with psycopg.connect(database_url) as connection, psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            check_connection(connection)
        connection.close()


@pytest.mark.long
def test_a_silent_network_keeps_nobody_beyond_his_patience(network: SilentNetwork) -> None:
    """Three connections of the pool lead nowhere, and no new one can be made."""
    database = Database(network.url, max_wait_seconds=0.5)
    with database.transaction(), database.transaction(), database.transaction():
        pass
    network.keep_all()
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match=r"no connection within 0\.5 s"), database.transaction():
        pass
    assert time.monotonic() - began < 15  # without a limit of its own each of the three checks takes that long
    network.stop()
    database.close()


@pytest.mark.parametrize(
    ("purpose", "defaults"), [(Purpose.GAP, {}), (Purpose.CROSS_FEED, DEFAULTS)], ids=["usual", "other defaults"]
)
def test_the_budget_waits_for_no_process(
    network: SilentNetwork, database_url: str, purpose: Purpose, defaults: dict[str, str]
) -> None:
    """No answer reaches the first process any more; its permits are taken, and the second one takes others at once."""
    set_defaults(database_url, **defaults)
    first, second = Database(network.url, max_wait_seconds=1), Database(database_url)
    limits = replace(LIMITS, cross_feed_calls=100)
    Budget(second, "one", limits, purpose).take_permits(1, 5, NOW)
    network.keep_answers_to(b"permits(")
    with ThreadPoolExecutor(1) as threads:
        lost = threads.submit(Budget(first, "one", limits, purpose).take_permits, 1, 5, NOW)
        wait_until(
            lambda: read_number(database_url, "SELECT count(*) FROM backfill.permits") == 2, "the permit to be taken"
        )
        assert len(Budget(second, "one", limits, purpose).take_permits(1, 5, NOW).permits) == 1
        first.close()
        network.stop()
        with pytest.raises(DatabaseUnavailable):
            lost.result()
    second.close()


def test_permits_that_end_twice_give_their_calls_back_once(database: Database) -> None:
    """The connection broke when the server had committed already, so the statement is sent again."""
    budget = Budget(database, "one", LIMITS, Purpose.REVIEW)
    refused, unused = budget.take_permits(2, 5, NOW).permits, budget.take_permits(2, 5, NOW).permits
    for _ in range(2):
        budget.settle_permits(PermitSettlement(refused, refund=5), NOW)
        budget.return_permits(unused, 5, NOW.date())
    assert budget.read_status(NOW).calls_spent_today == 5
    assert read_number(database.url, "SELECT sum(calls) FROM backfill.ledger_by_purpose") == 5


def test_a_pause_waits_for_grants_that_are_under_way(database: Database) -> None:
    Budget(database, "one", LIMITS).take_permits(1, 5, NOW)
    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as connection:
            connection.execute("SELECT FROM backfill.budget FOR UPDATE")
            paused = threads.submit(start_pause, database, None, "ann@host", None)
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'spending_pause'"
            )
            wait_until(lambda: read_number(database.url, waiting) == 1, "the pause to wait")
            assert read_number(database.url, "SELECT count(*) FROM backfill.spending_pause") == 0
        assert paused.result().by == "ann@host"
    assert Budget(database, "one", LIMITS).take_permits(1, 5, NOW).is_paused


def test_a_session_that_was_idle_for_too_long_is_replaced(database_url: str) -> None:
    database = Database(conninfo.make_conninfo(database_url, options=f"-c {IDLE_LIMIT}=50ms"))
    pauses = [0.3, 0.0]

    def work(connection: Connection) -> list[tuple[int]]:
        connection.execute("SELECT 1")
        time.sleep(pauses.pop(0))
        return connection.execute("SELECT 2").fetchall()

    assert database.retry_transaction(work) == [(2,)]
    pauses.append(0.3)
    with (
        pytest.raises(DatabaseUnavailable, match=r"ended the session: .*idle-in-transaction timeout"),
        database.transaction() as connection,
    ):
        work(connection)
    database.close()


def test_statements_alone_return_what_they_have(database: Database) -> None:
    assert database.retry_statement("SELECT %(x)s::int + 1", {"x": 1}) == [(2,)]
    assert database.retry_statement("DELETE FROM backfill.budget", {}) == []
    with pytest.raises(psycopg.errors.SyntaxError):
        database.retry_statement("SELEKT 1", {})


def test_a_pooler_that_refuses_options_is_used_without_them(pooler_url: str) -> None:
    database = Database(pooler_url)
    with database.transaction() as connection:
        assert connection.execute(f"SHOW {IDLE_LIMIT}".encode()).fetchall() == [("1min",)]
    assert database.retry_statement(f"SHOW {IDLE_LIMIT}", {}) == [("0",)]
    database.close()


def show_idle_limit(url: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        shown = str(connection.execute(text(f"SHOW {IDLE_LIMIT}")).scalar())
    engine.dispose()
    return shown


def test_sessions_of_dagster_have_the_timeouts(database_url: str, pooler_url: str) -> None:
    direct, pooled = (
        prepare_dagster_database(load_settings(dagster_postgres_url=url)) for url in (database_url, pooler_url)
    )
    assert show_idle_limit(direct) == "1min"
    assert show_idle_limit(pooled) == "0"  # what a pooler refuses must not keep Dagster out
    for url in (direct, pooled):
        assert CLIENT_PARAMETERS.items() <= dict(make_url(url).query).items()
