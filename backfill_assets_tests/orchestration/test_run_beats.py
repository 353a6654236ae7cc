"""A run's life is judged by its beats in the database of the bars, whatever launched it and from any host.

The clock of the beats is the database's, so the tests move the stored times instead of waiting.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.events import DagsterEventType
from dagster._core.execution.plan.objects import StepFailureData
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from backfill_assets.orchestration import run_beat
from backfill_assets.orchestration.dagster_internals.run_health import UNHEARD_SECONDS
from backfill_assets.orchestration.dagster_internals.run_process import (
    HOST_TAG,
    PROCESS_TAG,
    RUN_TAG,
    STARTED_TAG,
)
from backfill_assets.orchestration.resources import EngineResource
from backfill_assets.orchestration.run_beat import RunBeat
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.processes import get_host_id
from backfill_assets.store.run_beats import (
    BeatingProcess,
    RunGivenUp,
    compute_patience,
    end_beats,
    record_beat,
    start_beats,
)
from backfill_assets_tests.orchestration.test_storage import CONFIG

STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
ELSEWHERE = {HOST_TAG: "worker-7 pid:[1]", PROCESS_TAG: "4711", STARTED_TAG: "1.00"}
pytestmark = pytest.mark.filterwarnings("ignore")


@dg.op
def use_engine(backfill_engine: dg.ResourceParam[Any]) -> None:
    """Use the engine."""
    assert backfill_engine.database


@dg.op
def wait_for_interrupt(backfill_engine: dg.ResourceParam[Any]) -> None:
    """Give the run up, as a daemon does, and work on."""
    with backfill_engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.run_beats SET must_end_at = clock_timestamp()")
    time.sleep(20)


@dg.op
def do_other_work() -> None:
    """Belong to somebody else."""


@dg.job(resource_defs={"backfill_engine": EngineResource()})
def own_job() -> None:
    """Every op works with the engine."""
    use_engine()


@dg.job(resource_defs={"backfill_engine": EngineResource()})
def lost_job() -> None:
    """A run that is given up while it works."""
    wait_for_interrupt()


@dg.job(resource_defs={"backfill_engine": EngineResource()})
def mixed_job() -> None:
    """A job of somebody else with a step of ours."""
    use_engine()
    do_other_work()


@dg.op(pool="eodhd")
def use_engine_later(backfill_engine: dg.ResourceParam[Any]) -> None:
    """Use the engine once the pool has a place: pools are about steps unless dagster.yaml says otherwise."""


@dg.job(resource_defs={"backfill_engine": EngineResource()})
def waiting_job() -> None:
    """A run that may wait after its start."""
    use_engine_later()


@dg.executor(name="containers")
def start_containers(_: dg.InitExecutorContext) -> dg.Executor:
    """Stand for those that start a container for each step, where nobody beats."""
    raise NotImplementedError


@dg.job(resource_defs={"backfill_engine": EngineResource()}, executor_def=start_containers)
def container_job() -> None:
    """Every op works with the engine, each in a container."""
    use_engine()


class Watched:
    """A started run, the database of its beats, and the daemon that looks at it."""

    def __init__(self, instance: dg.DagsterInstance, database: Database) -> None:
        self.instance, self.database = instance, database
        self.run_id = ""

    def start(self, job: dg.JobDefinition = own_job, tags: dict[str, str] | None = None) -> None:
        self.run_id = self.instance.create_run_for_job(job, tags=tags, status=STARTED).run_id

    def beat(self, step_key: str | None = None) -> BeatingProcess:
        process = BeatingProcess(uuid4(), self.run_id, step_key, "worker-7 pid:[1]", 4711, compute_patience(60))
        with self.database.transaction() as connection:
            start_beats(connection, process)
        return process

    def pass_time(self, seconds: float) -> None:
        """Move what is stored into the past."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE backfill.run_beats SET beat_at = beat_at - make_interval(secs => %(seconds)s),"
                " missed_at = missed_at - make_interval(secs => %(seconds)s)",
                {"seconds": seconds},
            )

    def look(self) -> dg.DagsterRunStatus:
        (record,) = self.instance.get_run_records(dg.RunsFilter(run_ids=[self.run_id]))
        workspace: Any = None  # used for resumed runs only
        monitor_started_run(self.instance, workspace, record, logging.getLogger("monitoring"))
        run = self.instance.get_run_by_id(self.run_id)
        assert run is not None
        return run.status

    def look_every_10_s(self, seconds: int) -> int | None:
        """After how many seconds of silence a look fails the run; None if none does."""
        for at in range(10, seconds + 1, 10):
            self.pass_time(10)
            if self.look() is FAILED:
                return at
        return None

    @property
    def message(self) -> str:
        logs = self.instance.all_logs(self.run_id, of_type=DagsterEventType.RUN_FAILURE)
        return logs[-1].message or ""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """One for all tests, with the launcher and the monitoring of dagster.yaml; each test has a run of its own."""
    shipped = yaml.safe_load(CONFIG.read_text())
    overrides = {name: shipped[name] for name in ("run_launcher", "run_monitoring")}
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance")), overrides) as opened_instance:
        yield opened_instance


@pytest.fixture
def watched(
    instance: dg.DagsterInstance, database: Database, database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BACKFILL_HOME", str(home))
    yield Watched(instance, database)
    launcher: Any = instance.run_launcher
    launcher.dispose()  # the next test has another database
    launcher._database = None
    vars(launcher).pop("_next_attempt_at", None)


def test_a_lost_host_is_found_within_100_seconds_and_may_not_go_on(watched: Watched) -> None:
    watched.start(tags=ELSEWHERE)
    process = watched.beat()
    assert watched.look() is STARTED
    assert watched.look_every_10_s(200) == 90
    assert "process 4711 on worker-7 is lost or cut off" in watched.message
    assert not record_beat(watched.database, process.worker_id)
    with pytest.raises(RunGivenUp, match="was failed or cancelled"):
        watched.beat()  # another step of the run on a host that is back


def test_a_run_that_could_not_beat_for_a_while_lives_if_it_beats_again(watched: Watched) -> None:
    """The database was away, or the daemon, or everything slept: the first look afterwards judges nothing."""
    watched.start(tags=ELSEWHERE)
    process = watched.beat()
    watched.pass_time(7200)
    assert watched.look() is STARTED
    watched.pass_time(10)
    assert watched.look() is STARTED
    assert record_beat(watched.database, process.worker_id)
    assert watched.look_every_10_s(80) is None
    assert watched.look_every_10_s(10) == 10  # after 90 s of another silence


def test_a_run_that_beats_is_alive_whatever_the_process_table_of_a_host_of_that_name_says(watched: Watched) -> None:
    """Names of hosts and numbers of process namespaces repeat."""
    watched.start(tags={HOST_TAG: get_host_id(), PROCESS_TAG: "1", STARTED_TAG: "1.00"})
    watched.beat()
    assert watched.look() is STARTED
    watched.pass_time(20)
    assert watched.look() is FAILED
    assert "process 1 of the run has ended" in watched.message


def test_a_process_of_this_host_that_is_there_is_not_failed_for_its_silence(watched: Watched) -> None:
    """A machine that slept, or a process under a debugger."""
    me = psutil.Process()
    watched.start(tags={HOST_TAG: get_host_id(), PROCESS_TAG: str(me.pid), STARTED_TAG: f"{me.create_time():.2f}"})
    watched.beat()
    assert watched.look_every_10_s(120) is None


def test_nothing_is_judged_while_the_database_of_the_beats_cannot_be_reached(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched.start(tags=ELSEWHERE)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/bars")
    assert watched.look() is STARTED
    assert "cannot be seen now" in caplog.text
    caplog.clear()
    assert watched.look() is STARTED
    assert caplog.text == ""  # many runs do not wait for it one after the other


@pytest.mark.parametrize(
    ("job", "expected"),
    [(own_job, FAILED), (mixed_job, STARTED), (waiting_job, STARTED), (container_job, STARTED)],
    ids=["own", "of somebody else", "waiting for a pool", "steps in containers"],
)
def test_a_run_that_is_never_heard_of_is_failed_if_its_first_step_would_beat(
    watched: Watched, job: dg.JobDefinition, expected: dg.DagsterRunStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    launcher: Any = watched.instance.run_launcher
    monkeypatch.setattr(launcher, "_clock", lambda: clock[0])
    watched.start(job)
    assert watched.look() is STARTED
    clock[0] = UNHEARD_SECONDS - 1
    assert watched.look() is STARTED
    clock[0] = UNHEARD_SECONDS
    assert watched.look() is expected


def test_a_run_of_somebody_else_is_not_judged_after_our_step(watched: Watched) -> None:
    watched.start(mixed_job, tags=ELSEWHERE)
    process = watched.beat()
    with watched.database.transaction() as connection:
        end_beats(connection, [process.worker_id])
    assert watched.look_every_10_s(300) is None


@pytest.mark.parametrize(("last_event", "expected"), [("STEP_START", 90), ("STEP_FAILURE", None)])
def test_a_silent_step_is_lost_only_while_its_executor_waits_for_it(
    watched: Watched, last_event: str, expected: int | None
) -> None:
    """An executor with a process for each step sees when one is killed, and may go on with other steps."""
    watched.start(mixed_job, tags=ELSEWHERE)
    watched.beat(step_key="use_engine")
    for kind in dict.fromkeys(["STEP_START", last_event]):
        report_step_event(watched, DagsterEventType(kind))
    assert watched.look_every_10_s(90) == expected


def report_step_event(watched: Watched, kind: DagsterEventType) -> None:
    run = watched.instance.get_run_by_id(watched.run_id)
    assert run is not None
    data = StepFailureData(error=None, user_failure_data=None) if kind is DagsterEventType.STEP_FAILURE else None
    event = dg.DagsterEvent(kind.value, run.job_name, step_key="use_engine", event_specific_data=data)
    entry = dg.EventLogEntry(
        error_info=None,
        level=logging.INFO,
        user_message="",
        run_id=run.run_id,
        timestamp=time.time(),
        step_key="use_engine",
        job_name=run.job_name,
        dagster_event=event,
    )
    watched.instance.handle_new_event(entry)


def test_a_retry_is_not_judged_by_the_process_of_the_run_that_it_repeats(watched: Watched) -> None:
    watched.start(tags={HOST_TAG: get_host_id(), PROCESS_TAG: "1", STARTED_TAG: "1.00", RUN_TAG: "another run"})
    assert watched.look() is STARTED


def test_a_cancelled_run_that_its_launcher_does_not_reach_ends_itself(watched: Watched) -> None:
    watched.start(tags=ELSEWHERE)
    process = watched.beat()
    assert not watched.instance.run_launcher.terminate(watched.run_id)  # it has no server to send the request to
    run = watched.instance.get_run_by_id(watched.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELING
    assert record_beat(watched.database, process.worker_id)  # its own signal comes first
    with watched.database.transaction() as connection:
        connection.execute("UPDATE backfill.run_beats SET must_end_at = must_end_at - interval '31 s'")
    assert not record_beat(watched.database, process.worker_id)


def test_a_cancelled_run_of_somebody_else_may_take_its_time(watched: Watched) -> None:
    """Its other steps clean up after the signal of its launcher."""
    watched.start(mixed_job, tags=ELSEWHERE)
    process = watched.beat()
    watched.instance.run_launcher.terminate(watched.run_id)
    assert read_ends(watched) == [(process.worker_id, None)]


def read_ends(watched: Watched) -> list[tuple[Any, ...]]:
    with watched.database.transaction() as connection:
        return connection.execute("SELECT worker_id, must_end_at FROM backfill.run_beats").fetchall()


def test_a_run_beats_while_it_has_the_engine(watched: Watched) -> None:
    result = own_job.execute_in_process(instance=watched.instance)
    with watched.database.transaction() as connection:
        rows = connection.execute("SELECT run_id, pid, step_key, ended_at >= beat_at FROM backfill.run_beats")
        assert rows.fetchall() == [(result.run_id, os.getpid(), None, True)]
    assert not [thread for thread in threading.enumerate() if thread.name == "run beat"]


def test_a_run_that_was_given_up_is_interrupted_when_its_host_is_back(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = RunBeat.__init__
    monkeypatch.setattr(RunBeat, "__init__", lambda self, url, process: original(self, url, process, 0.05))
    started = time.monotonic()
    result = lost_job.execute_in_process(instance=watched.instance, raise_on_error=False)
    assert time.monotonic() - started < 15
    (failure,) = [event for event in result.all_events if event.event_type is DagsterEventType.STEP_FAILURE]
    assert "interrupt" in str(failure.event_specific_data).lower()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_database_that_falls_silent_keeps_no_process_from_ending(
    watched: Watched, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that never returns: the thread is left behind, and is none that Python waits for."""
    monkeypatch.setattr(run_beat, "_JOIN_SECONDS", 0.1)
    beat = RunBeat(database_url, BeatingProcess(uuid4(), "a run", None, "host", 1, 85.0), 0.01)
    beat.start()
    with watched.database.transaction() as connection:
        connection.execute("LOCK TABLE backfill.run_beats")
        time.sleep(0.1)
        started = time.monotonic()
        beat.stop()
        assert time.monotonic() - started < 1
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "run beat"]
        assert thread.daemon
    thread.join(5)
    assert not thread.is_alive()
    with watched.database.transaction() as connection:
        assert connection.execute("SELECT ended_at IS NULL FROM backfill.run_beats").fetchall() == [(False,)]
