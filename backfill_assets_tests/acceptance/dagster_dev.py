"""Run ``backfill-assets dev`` as a child process and send GraphQL requests to it as the UI does."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

EXIT_CODE_INTERRUPTED = 130
PAUSE_SECONDS = 0.5  # between two checks of a condition; each is a request to the deployment


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until ``condition`` returns a true value, and return it."""
    return wait_until(condition, what, PAUSE_SECONDS)


@dataclass(frozen=True)
class DagsterDev:
    """A running deployment."""

    url: str
    log: Path

    def send_query(self, query: str, **variables: Any) -> Any:
        """Send a GraphQL request; returns its data."""
        response = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=LONGEST_SECONDS
        )
        data = response.json()
        assert "errors" not in data, data
        return data["data"]

    def is_ready(self) -> bool:
        """Whether the UI responds and has loaded the definitions."""
        try:
            return bool(
                self.send_query(_LOCATIONS)["workspaceOrError"]["locationEntries"][0]["locationOrLoadError"]["name"]
            )
        except (httpx.HTTPError, KeyError, IndexError, TypeError):
            return False

    def list_runs(self) -> list[dict[str, Any]]:
        """All runs, newest first, with status and tags."""
        runs: list[dict[str, Any]] = self.send_query(_RUNS)["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in runs]

    def start_sensor(self, sensor: str) -> None:
        """Start a sensor, as the UI's toggle does."""
        result = self.send_query(_START_SENSOR, selector={**_REPOSITORY, "sensorName": sensor})
        assert result["startSensor"]["__typename"] == "Sensor", result

    def start_backfill(self, asset: str, partitions: list[str]) -> str:
        """Start a backfill of partitions, as the UI's dialog does; returns its id."""
        params = {"assetSelection": [{"path": [asset]}], "partitionNames": partitions, "fromFailure": False}
        result = self.send_query(_BACKFILL, params=params)["launchPartitionBackfill"]
        assert result["__typename"] == "LaunchBackfillSuccess", result
        return str(result["backfillId"])

    def get_backfill_status(self, backfill_id: str) -> str:
        return str(self.send_query(_BACKFILL_STATUS, id=backfill_id)["partitionBackfillOrError"]["status"])

    def get_check_statuses(self, asset: str) -> dict[str, str]:
        """The newest status of each check of an asset."""
        checks = self.send_query(_CHECKS, key={"path": [asset]})["assetNodeOrError"]["assetChecksOrError"]["checks"]
        return {
            check["name"]: (check["executionForLatestMaterialization"] or {}).get("status", "–") for check in checks
        }

    def count_materialized(self, asset: str) -> int:
        """The number of materialised partitions."""
        stats = self.send_query(_PARTITION_STATS, key={"path": [asset]})["assetNodeOrError"]["partitionStats"]
        return int(stats["numMaterialized"])

    def is_materialized(self, asset: str) -> bool:
        """Whether an asset without partitions was ever materialised."""
        materializations = self.send_query(_NEWEST_MATERIALIZATION, key={"path": [asset]})["assetNodeOrError"][
            "assetMaterializations"
        ]
        return bool(materializations)

    def count_symbols(self, asset: str) -> int:
        """The number of symbols that are partitions."""
        dimensions = self.send_query(_DIMENSIONS, key={"path": [asset]})["assetNodeOrError"]["partitionKeysByDimension"]
        return next(len(dimension["partitionKeys"]) for dimension in dimensions if dimension["name"] == "symbol")


def is_at_work(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that has and that nobody waited for is in the table of processes still."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


@contextmanager
def run_dagster_dev(log: Path, environment: dict[str, str]) -> Iterator[DagsterDev]:
    """Run the command on a free port; when the context ends, all its processes must end."""
    port = find_free_port()
    with log.open("w") as output:
        command = ["-m", "backfill_assets", "dev", "--port", str(port)]
        child = start_process(command, environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            dev = DagsterDev(f"http://127.0.0.1:{port}", log)
            wait_for(lambda: dev.is_ready() or child.poll() is not None, f"the UI to respond, see {log}")
            assert child.poll() is None, log.read_text()[-3000:]
            descendants = psutil.Process(child.pid).children(recursive=True)
            yield dev
        finally:
            child.terminate()
            child.wait(LONGEST_SECONDS)
    assert child.returncode == EXIT_CODE_INTERRUPTED
    wait_for(lambda: not any(is_at_work(process) for process in descendants), f"all processes to end, see {log}")


_REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "backfill_assets"}
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on RepositoryLocation { name } } } } } }"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status jobName startTime endTime tags { key value } } } } }"
_START_SENSOR = """mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
    __typename ... on PythonError { message } } }"""
_BACKFILL = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL_STATUS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""
_CHECKS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError {
    ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } } }"""
_PARTITION_STATS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized numPartitions } } } }"""
_DIMENSIONS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionKeysByDimension { name partitionKeys } } } }"""
_NEWEST_MATERIALIZATION = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetMaterializations(limit: 1) { runId } } } }"""
