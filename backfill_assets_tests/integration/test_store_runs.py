"""Runs whose process has ended are closed, and their claims are free for other runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psutil
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.processes import get_current_process, get_host_id, is_process_alive
from backfill_assets.store.runs import claim_symbols, list_active_runs, start_run
from backfill_assets.store.service_counts import count_ended_runs, read_longest_silence

INSERT = """
INSERT INTO backfill.runs (run_id, host, pid, process_started_at, description, tickers)
VALUES (%s, %s, %s, to_timestamp(%s), 'another run', 1)
"""


@pytest.fixture
def zombie() -> Iterator[psutil.Process]:
    """An ended child process that its parent, this process, has not waited for."""
    child = subprocess.Popen([sys.executable, "-c", "print('started', flush=True)"], stdout=subprocess.PIPE)
    process = psutil.Process(child.pid)
    assert child.stdout is not None
    child.stdout.read()  # until it ends
    child.stdout.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    yield process
    child.wait()


def insert_run(database: Database, pid: int, started_at: float | None, host: str | None = None) -> UUID:
    run_id = uuid4()
    with database.transaction() as connection:
        connection.execute(INSERT, [run_id, host or get_host_id(), pid, started_at])
        claim_symbols(connection, run_id, [1], INTERVALS["30m"], planned_at=datetime.now(UTC))
    return run_id


def start_another_run(database: Database) -> tuple[str | None, set[int]]:
    """Start a second run; return the outcome of the first run and the symbols that the second claimed."""
    with database.transaction() as connection:
        first = connection.execute("SELECT run_id FROM backfill.runs").fetchall()[0][0]
        run_id = uuid4()
        start_run(connection, run_id, "this run", 1)
        claims = claim_symbols(connection, run_id, [1], INTERVALS["30m"], planned_at=datetime.now(UTC))
        outcome = connection.execute("SELECT outcome FROM backfill.runs WHERE run_id = %s", [first]).fetchall()[0][0]
        return outcome, set(claims.symbol_ids)


def test_a_zombie_is_not_alive(zombie: psutil.Process) -> None:
    assert psutil.pid_exists(zombie.pid)
    assert not is_process_alive(zombie.pid, zombie.create_time())
    assert not is_process_alive(zombie.pid)


def test_a_process_with_a_recycled_pid_is_not_alive() -> None:
    process = get_current_process()
    assert is_process_alive(process.pid, process.started_at)
    assert is_process_alive(process.pid)
    assert not is_process_alive(process.pid, process.started_at - 3600)


def test_the_run_of_a_zombie_is_closed_and_its_claim_is_released(database: Database, zombie: psutil.Process) -> None:
    insert_run(database, zombie.pid, zombie.create_time())
    assert start_another_run(database) == ("killed", {1})


def test_the_run_of_a_recycled_pid_is_closed_and_its_claim_is_released(database: Database) -> None:
    insert_run(database, os.getpid(), get_current_process().started_at - 3600)
    assert start_another_run(database) == ("killed", {1})


def test_a_clock_step_does_not_close_the_run_of_a_live_process(database: Database) -> None:
    """Start times shift with the system clock; the recent heartbeat of another process has priority."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        insert_run(database, child.pid, psutil.Process(child.pid).create_time() - 3600)
        assert start_another_run(database) == (None, set())
        child.communicate(b"\n")


def test_the_run_of_a_live_process_and_its_claim_stay_active(database: Database) -> None:
    insert_run(database, os.getpid(), get_current_process().started_at)
    assert start_another_run(database) == (None, set())


def test_a_run_of_version_0_1_0_without_a_process_start_is_checked_by_its_pid(
    database: Database, zombie: psutil.Process
) -> None:
    insert_run(database, os.getpid(), None)
    assert start_another_run(database) == (None, set())


def test_a_run_of_another_host_stays_active_until_its_heartbeat_is_old(
    database: Database, zombie: psutil.Process
) -> None:
    insert_run(database, zombie.pid, zombie.create_time(), host="another host")
    assert start_another_run(database) == (None, set())


@pytest.mark.parametrize(("minutes", "outcome"), [(50, None), (70, "killed")])
def test_a_run_of_a_host_that_is_gone_is_closed_by_another(
    database: Database, minutes: int, outcome: str | None
) -> None:
    """A container's processes are gone with it; metrics would call its run silent for ever, and never count it."""
    run_id = insert_run(database, 1, None, host="a container")
    with database.transaction() as connection:
        connection.execute(
            "UPDATE backfill.runs SET heartbeat_at = heartbeat_at - make_interval(mins => %s) WHERE run_id = %s",
            [minutes, run_id],
        )
        silence = read_longest_silence(connection)
        assert silence is None if outcome else silence is not None and silence >= 3000
    assert start_another_run(database) == (outcome, {1})
    with database.transaction() as connection:
        assert [(ended.outcome, ended.count) for ended in count_ended_runs(connection)] == (
            [(outcome, 1)] if outcome else []
        )


def test_a_run_records_its_process(database: Database) -> None:
    with database.transaction() as connection:
        start_run(connection, uuid4(), "this run", 1)
        rows = connection.execute(
            "SELECT host, pid, extract(epoch FROM process_started_at)::float8 FROM backfill.runs"
        ).fetchall()
        assert [run.description for run in list_active_runs(connection)] == ["this run"]
    process = get_current_process()
    assert rows == [(process.host, process.pid, pytest.approx(process.started_at, abs=1e-3))]
