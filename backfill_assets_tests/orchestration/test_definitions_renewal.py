"""Definitions that run for long are renewed: what the sensor asks for, and a real code server that loads them again."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external import RemoteRepository
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from backfill_assets.config.settings import build_child_environment, load_settings
from backfill_assets.errors import UsageError
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.definitions_renewal import INTERVAL, DefinitionsRenewal
from backfill_assets_tests.conftest import NOW, StartSandbox
from backfill_assets_tests.orchestration.conftest import BARS, Deployment
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import wait_until

Deploy = Callable[..., Deployment]
SENSOR = "symbol_partitions_sensor"
LOADED, TODAY = {"US": date(2026, 6, 1)}, {"US": date(2026, 6, 2)}
GROW = """
INSERT INTO market_symbols (symbol, exchange)
SELECT 'GROWN' || chr(65 + n / 676) || chr(65 + n / 26 % 26) || chr(65 + n % 26), 'US'
FROM generate_series(0, 1999) AS n
"""


def fail() -> None:
    raise UsageError("BACKFILL_CALENDAR_FILE is no JSON")


def renew(
    renewal: DefinitionsRenewal, first_days: dict[str, date], cursor: str | None = None, minutes: int = 0
) -> tuple[str, str | None]:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        return renewal.renew(context, first_days, NOW + timedelta(minutes=minutes))


def test_definitions_whose_days_are_right_are_left_alone() -> None:
    assert renew(DefinitionsRenewal(LOADED, fail), LOADED, "a cursor") == ("", "a cursor")
    assert renew(DefinitionsRenewal(LOADED, None), TODAY) == ("", None)


def test_where_no_server_can_be_asked_it_is_tried_once_an_hour() -> None:
    rehearsals: list[int] = []
    renewal = DefinitionsRenewal(LOADED, lambda: rehearsals.append(1))
    message, cursor = renew(renewal, TODAY)
    assert message == "the definitions should have days of US from 2026-06-02 on"
    again, same_cursor = renew(renewal, TODAY, cursor, minutes=59)
    assert (again, same_cursor, len(rehearsals)) == (message, cursor, 1)
    _, later_cursor = renew(renewal, TODAY, cursor, minutes=int(INTERVAL.total_seconds()) // 60)
    assert (later_cursor != cursor, len(rehearsals)) == (True, 2)


@pytest.mark.parametrize("cursor", ["", "x", "[]", "{}", '{"asked_at": 1, "wanted": {}}', '{"asked_at": "2026-06-03"}'])
def test_a_cursor_that_cannot_be_read_is_that_of_a_sensor_that_has_not_asked(cursor: str) -> None:
    message, written = renew(DefinitionsRenewal(LOADED, list), TODAY, cursor)
    assert message.startswith("the definitions should have")
    assert json.loads(written or "")["wanted"] == {"US": "2026-06-02"}


def test_definitions_that_cannot_be_loaded_stay_as_they_are() -> None:
    """Else the code server would end without any."""
    message, cursor = renew(DefinitionsRenewal(LOADED, fail), TODAY)
    assert message == "the definitions should have days of US from 2026-06-02 on"
    assert cursor is not None


def test_a_tick_says_which_days_there_should_be(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",))
    own = replace(deployment, definitions=build_definitions(load_settings(), renews=True))
    assert own.tick(SENSOR).skip_message == "1 symbol: 0 partitions added, 0 removed"
    ticked = own.with_settings(as_of=NOW + timedelta(days=1)).tick(SENSOR)
    assert ticked.skip_message.endswith("; the definitions should have days of US from 2026-06-02 on")
    assert json.loads(ticked.cursor)["wanted"] == {"US": "2026-06-02"}
    elsewhere = deployment.with_settings(as_of=NOW + timedelta(days=1)).tick(SENSOR)
    assert (elsewhere.skip_message, elsewhere.cursor) == ("1 symbol: 0 partitions added, 0 removed", None)


class CodeServer:
    """A real code server, seen through a workspace as the daemon and the webserver see it."""

    def __init__(self, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> None:
        self._instance, self._workspace = instance, workspace

    @property
    def location(self) -> GrpcServerCodeLocation:
        location = self._workspace.create_request_context().get_code_location("backfill_assets")
        assert isinstance(location, GrpcServerCodeLocation)
        return location

    @property
    def repository(self) -> RemoteRepository:
        return self.location.get_repository("__repository__")

    def count_days(self) -> int:
        """The days that are partitions, as the UI shows them."""
        node = self.repository.asset_graph.get(BARS)
        assert isinstance(node.partitions_def, dg.MultiPartitionsDefinition)
        return len(node.partitions_def.get_partitions_def_for_dimension("day").get_partition_keys())

    def tick(self, cursor: str | None) -> Any:
        """Evaluate the sensor as the daemon does."""
        return self.location.get_sensor_execution_data(
            self._instance,
            self.repository.handle,
            SENSOR,
            last_tick_completion_time=None,
            last_run_key=None,
            cursor=cursor,
            log_key=None,
            last_sensor_start_time=None,
        )


@pytest.fixture
def start_code_server(tmp_path: Path) -> Iterator[Callable[..., CodeServer]]:
    stack = ExitStack()

    def start(command: str, environment: dict[str, str]) -> CodeServer:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        arguments = ["-m", "dagster", *command.split(), "-h", "127.0.0.1", "-p", str(port)]
        arguments += ["-m", "backfill_assets.definitions", "--location-name", "backfill_assets"]
        log = (tmp_path / "server.log").open("w")
        process = start_process(arguments, environment, stdout=log, stderr=subprocess.STDOUT, cwd=tmp_path)

        def listens() -> bool:
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            with socket.socket() as attempt:
                return attempt.connect_ex(("127.0.0.1", port)) == 0

        stack.callback(process.wait)
        stack.callback(process.terminate)  # it ends the processes that have loaded the definitions
        wait_until(listens, "the code server to listen", pause_seconds=0.1)
        instance = dg.DagsterInstance.local_temp(str(tmp_path))
        target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name="backfill_assets")
        stack.callback(instance.dispose)
        return CodeServer(instance, stack.enter_context(WorkspaceProcessContext(instance, target)))

    with stack:
        yield start


@pytest.mark.long
def test_a_code_server_that_runs_on_gets_the_days_of_a_universe_that_has_grown(
    deploy: Deploy, start_sandbox: StartSandbox, start_code_server: Callable[..., CodeServer]
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",), partition_days=90)
    server = start_code_server("code-server start", build_child_environment(deployment.engine.settings))
    first_id = server.location.server_id
    assert server.count_days() == 90
    assert server.tick(None).cursor is None
    with deployment.engine.database.transaction() as connection:
        connection.execute(GROW.encode())
    ticked = server.tick(None)
    assert "the definitions were loaded again for days of US from" in ticked.skip_message
    wait_until(lambda: server.location.server_id != first_id, "the workspace to notice the new server")
    assert server.count_days() == 49
    again = server.tick(ticked.cursor)
    assert again.skip_message == "2,001 symbols: 0 partitions added, 0 removed"
    assert again.cursor == ticked.cursor
