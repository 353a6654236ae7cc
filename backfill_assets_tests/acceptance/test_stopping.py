"""SIGTERM, as a container's engine sends it 10 s before it kills: what is paid for is stored, also as process 1."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil
import pytest

from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.moving_clock import parse_utc
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
FIVE_SYMBOLS = "AAPL MSFT AMZN TSLA VTI"
TWO_AT_A_TIME = {
    **{"BACKFILL_IN_FLIGHT_START": "2", "BACKFILL_IN_FLIGHT_MAX": "2", "BACKFILL_DAILY_DATA": "false"},
    "BACKFILL_STOP_SECONDS": "60",  # however slow the machine is
}


@contextmanager
def terminate_when(condition: Callable[[], bool]) -> Iterator[None]:
    """Send SIGTERM to this process, which runs the command, as soon as ``condition`` holds."""

    def wait_and_send() -> None:
        wait_until(condition, "the moment to stop")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = Thread(target=wait_and_send)
    thread.start()
    yield
    thread.join()


def count_rows(database: Database, source: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"SELECT count(*) FROM {source}".encode()).fetchone()
    return int(row[0]) if row else 0


def test_stopped_run_stores_the_answers_that_are_on_their_way(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = start_sandbox(latency_ms=(400, 400))
    user = make_user(sandbox, **TWO_AT_A_TIME)
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    with terminate_when(lambda: sandbox.stats()["by_endpoint"].get("intraday") == 2):
        result = user.run_cli("run")
    assert (result.code, "interrupted; fetched bars are stored" in result.err) == (130, True)
    assert "told to stop; answers that are paid for are awaited for 60 s" in caplog.text
    stats = sandbox.stats()
    assert stats["by_status"] == {"200": stats["requests"]}, "no answer was given up"
    paid = [ticker.removesuffix(".US") for ticker in stats["per_ticker"]]
    assert [len(read_stored_bars(database, symbol)) for symbol in paid] == [26] * 2
    assert count_rows(database, "backfill.runs WHERE outcome = 'interrupted'") == 1
    repeated = user.run_cli("run --format json")
    assert (repeated.code, repeated.json["calls"]) == (0, 5 * 3)


def test_stopped_run_gives_up_answers_that_take_too_long(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(latency_ms=(30_000, 30_000))
    user = make_user(sandbox, **{**TWO_AT_A_TIME, "BACKFILL_STOP_SECONDS": "0.2"})
    user.run_cli("symbols add AAPL MSFT")
    begun = time.monotonic()
    with terminate_when(lambda: sandbox.stats()["in_flight"] > 0):
        assert user.run_cli("run").code == 130
    assert time.monotonic() - begun < 25, "less than an answer takes"


def test_stopped_live_round_stores_what_it_read(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    morning = parse_utc("2026-06-02 14:15")
    sandbox = start_sandbox(now=morning, latency_ms=(400, 400))
    user = make_user(sandbox, now=morning, BACKFILL_LIVE="true")
    user.run_cli("symbols add AAPL MSFT")
    with terminate_when(lambda: "real-time" in sandbox.stats()["by_endpoint"]):
        result = user.run_cli("live --once")
    assert result.code == 130, result
    assert sandbox.stats()["calls"] > 0
    assert count_rows(database, "backfill.live_samples") == 2


def test_stopped_probe_of_an_exchange_records_the_answers_that_are_paid_for(
    make_user: MakeUser, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    morning = parse_utc("2026-11-10 12:00")
    sandbox = start_sandbox(now=morning, exchanges={"TSE": ExchangeConfig(symbols=3)}, latency_ms=(300, 300))
    user = make_user(sandbox, now=morning)
    with terminate_when(lambda: "exchange-symbol-list" in sandbox.stats()["by_endpoint"]):
        result = user.run_cli(f"markets probe TSE --yes --output {tmp_path / 'probe.json'}")
    assert result.code == 130, result
    recorded = json.loads((tmp_path / "probe.json").read_text())["answers"]
    assert [answer["kind"] for answer in recorded] == ["exchanges", "hours", "symbols"]
    assert sandbox.stats()["by_status"] == {"200": sandbox.stats()["requests"]}, "no answer was given up"


@pytest.fixture
def start_as_process_1(make_user: MakeUser) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start a command as process 1 of a namespace of its own, as in a container without an init process."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a process namespace needs root and unshare")
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode:  # noqa: S607
        pytest.skip("no process namespace can be made here")

    def start(*arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        user = make_user(**environment)
        exec_unshare = "import os, sys; os.execvp('unshare', ['unshare', *sys.argv[1:]])"
        return start_process(
            ["-c", exec_unshare, "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *arguments],
            user.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


def find_process_1(unshare: "subprocess.Popen[bytes]") -> psutil.Process:
    """Process 1 of the namespace, as it is seen from outside."""
    return wait_until(lambda: psutil.Process(unshare.pid).children(), "process 1")[0]


@pytest.mark.long
def test_sandbox_as_process_1_ends_on_sigterm(start_as_process_1: Callable[..., "subprocess.Popen[bytes]"]) -> None:
    unshare = start_as_process_1("-m", "backfill_assets", "sandbox", "--port", "0")
    assert unshare.stdout is not None
    assert unshare.stdout.readline().startswith(b"sandbox listening at http://127.0.0.1:")
    find_process_1(unshare).send_signal(signal.SIGTERM)
    _, err = unshare.communicate(timeout=LONGEST_SECONDS)
    assert (unshare.returncode, err) == (0, b"")


@pytest.mark.long
def test_run_as_process_1_stores_what_is_paid_for_and_leaves_nothing_behind(
    start_as_process_1: Callable[..., "subprocess.Popen[bytes]"],
    make_user: MakeUser,
    start_sandbox: StartSandbox,
    database: Database,
) -> None:
    """An orphan that process 1 is given ends as one that nobody waits for: it costs a number and no more."""
    sandbox = start_sandbox(latency_ms=(400, 400))
    make_user(sandbox).run_cli(f"symbols add {FIVE_SYMBOLS}")
    program = (
        "import subprocess, sys; subprocess.run(['sh', '-c', 'sleep 0.1 &']);"
        " from backfill_assets.cli.main import main; sys.argv = ['backfill-assets', 'run']; main()"
    )
    unshare = start_as_process_1("-c", program, EODHD_BASE_URL=sandbox.base_url, **TWO_AT_A_TIME)
    process_1 = find_process_1(unshare)
    wait_until(lambda: sandbox.stats()["by_endpoint"].get("intraday") == 2, "requests in flight")
    orphans = [child.status() for child in process_1.children()]
    process_1.send_signal(signal.SIGTERM)
    _, err = unshare.communicate(timeout=LONGEST_SECONDS)
    assert (unshare.returncode, b"fetched bars are stored" in err) == (130, True), err
    assert orphans == [psutil.STATUS_ZOMBIE]
    paid = [ticker.removesuffix(".US") for ticker in sandbox.stats()["per_ticker"]]
    assert [len(read_stored_bars(database, symbol)) for symbol in paid] == [26] * len(paid)
    assert sandbox.stats()["by_status"] == {"200": sandbox.stats()["requests"]}
