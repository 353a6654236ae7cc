"""Runs ``backfill-assets dev`` as a child process and talks to its GraphQL as the UI does."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

INTERRUPTED = 130
PAUSE_SECONDS = 0.2  # between two looks at the UI


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a state of the deployment; returns what ``condition`` found."""
    return wait_until(condition, what, PAUSE_SECONDS)


@dataclass(frozen=True)
class DagsterDev:
    """A running deployment."""

    url: str
    log: Path

    def ask(self, query: str, **variables: Any) -> Any:
        """One GraphQL request."""
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=LONGEST_SECONDS
        )
        data = answer.json()
        assert "errors" not in data, data
        return data["data"]

    def answers(self) -> bool:
        """Whether the UI is up and has loaded the definitions."""
        try:
            return bool(self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"][0]["locationOrLoadError"]["name"])
        except (httpx.HTTPError, KeyError, IndexError, TypeError):
            return False

    def runs(self) -> list[dict[str, Any]]:
        """Every run so far, newest first, with its status and tags."""
        found: list[dict[str, Any]] = self.ask(_RUNS)["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def set_running(self, sensor: str) -> None:
        """Switch a sensor on, as the UI's toggle does."""
        done = self.ask(_START, selector={**_REPOSITORY, "sensorName": sensor})
        assert done["startSensor"]["__typename"] == "Sensor", done

    def backfill(self, asset: str, partitions: list[str]) -> str:
        """Start a backfill of partitions, as the UI's dialog does; returns its id."""
        wanted = {"assetSelection": [{"path": [asset]}], "partitionNames": partitions, "fromFailure": False}
        done = self.ask(_BACKFILL, wanted=wanted)["launchPartitionBackfill"]
        assert done["__typename"] == "LaunchBackfillSuccess", done
        return str(done["backfillId"])

    def backfill_status(self, backfill: str) -> str:
        return str(self.ask(_BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"]["status"])

    def checks(self, asset: str) -> dict[str, str]:
        """The newest status of each check of an asset."""
        found = self.ask(_CHECKS, key={"path": [asset]})["assetNodeOrError"]["assetChecksOrError"]["checks"]
        return {check["name"]: (check["executionForLatestMaterialization"] or {}).get("status", "–") for check in found}

    def green(self, asset: str) -> int:
        """How many partitions are materialised."""
        stats = self.ask(_STATS, key={"path": [asset]})["assetNodeOrError"]["partitionStats"]
        return int(stats["numMaterialized"])

    def materialised(self, asset: str) -> bool:
        """Whether an asset without partitions was ever materialised."""
        found = self.ask(_NEWEST, key={"path": [asset]})["assetNodeOrError"]["assetMaterializations"]
        return bool(found)

    def symbols(self, asset: str) -> int:
        """How many symbols are partitions."""
        found = self.ask(_DIMENSIONS, key={"path": [asset]})["assetNodeOrError"]["partitionKeysByDimension"]
        return next(len(dimension["partitionKeys"]) for dimension in found if dimension["name"] == "symbol")


@contextmanager
def dagster_dev(log: Path, environment: dict[str, str]) -> Iterator[DagsterDev]:
    """Run the command on a free port until the end of the context; it must end every process that it started."""
    port = free_port()
    with log.open("w") as output:
        command = ["-m", "backfill_assets", "dev", "--port", str(port)]
        child = start_process(command, environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            served = DagsterDev(f"http://127.0.0.1:{port}", log)
            until(lambda: served.answers() or child.poll() is not None, f"the UI to answer, see {log}")
            assert child.poll() is None, log.read_text()[-3000:]
            family = psutil.Process(child.pid).children(recursive=True)
            yield served
        finally:
            child.terminate()
            child.wait(LONGEST_SECONDS)
    assert child.returncode == INTERRUPTED
    assert [process for process in family if process.is_running()] == []


_REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "backfill_assets.definitions"}
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on RepositoryLocation { name } } } } } }"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status jobName startTime endTime tags { key value } } } } }"
_START = """mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
    __typename ... on PythonError { message } } }"""
_BACKFILL = """mutation ($wanted: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $wanted) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL_STATUS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""
_CHECKS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError {
    ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } } }"""
_STATS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized numPartitions } } } }"""
_DIMENSIONS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionKeysByDimension { name partitionKeys } } } }"""
_NEWEST = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetMaterializations(limit: 1) { runId } } } }"""
