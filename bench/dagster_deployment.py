"""A Dagster deployment in its own processes, and the GraphQL queries of its UI."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

MAX_WAIT_SECONDS = 900.0
REPOSITORY = "__repository__"


@dataclass(frozen=True)
class RunTimes:
    """When the steps of a run were, epoch seconds.

    Attributes:
        tick: of the sensor that requested it.
        enqueued: when it was put into the queue.
        launched: when the daemon took it from the queue.
        ended: when it succeeded.
    """

    tick: float
    enqueued: float
    launched: float
    ended: float

    @property
    def queued(self) -> float:
        """How long it waited in the queue, seconds."""
        return self.launched - self.enqueued


@dataclass(frozen=True)
class Deployment:
    """A running deployment, seen from one of its code locations."""

    url: str
    location: str

    def query(self, query: str, **variables: Any) -> Any:
        """Send one GraphQL query."""
        response = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=120).json()
        assert "errors" not in response, response
        return response["data"]

    def is_up(self) -> bool:
        """Whether the definitions are loaded."""
        try:
            entries = self.query(_LOCATIONS)["workspaceOrError"]["locationEntries"]
            return bool(entries) and all(entry["locationOrLoadError"]["name"] for entry in entries)
        except (httpx.HTTPError, KeyError, ValueError, TypeError):
            return False

    def start_sensor(self, sensor: str) -> None:
        """Switch a sensor on."""
        result = self.query(_START, selector={**self._repository, "sensorName": sensor})["startSensor"]
        assert result["__typename"] == "Sensor", result

    def stop_sensor(self, sensor: str) -> None:
        """Switch a sensor off."""
        found = self.query(_SENSOR_ID, selector={**self._repository, "sensorName": sensor})
        result = self.query(_STOP, id=found["sensorOrError"]["id"])["stopSensor"]
        assert result["__typename"] == "StopSensorMutationResult", result

    def find_times(self, run: str) -> "RunTimes | None":
        """Find when a run was queued, launched and ended; None before its end."""
        found = self.query(_TIMES, run=run)["runOrError"]
        assert found["status"] != "FAILURE", found
        if found["status"] != "SUCCESS":
            return None
        stats = found["stats"]
        return RunTimes(0.0, stats["enqueuedTime"], stats["launchTime"], stats["endTime"])

    def find_ticks_of_runs(self, sensor: str) -> dict[str, float]:
        """Find the runs that a sensor requested, each with its tick in epoch seconds."""
        found = self.query(_TICKS, selector={**self._repository, "sensorName": sensor})
        ticks = found["sensorOrError"]["sensorState"]["ticks"]
        return {run: tick["timestamp"] for tick in ticks for run in tick["runIds"]}

    def launch_backfill(self, asset: str, partitions: Sequence[str]) -> None:
        """Launch a backfill of partitions, as the UI does."""
        wanted = {"assetSelection": [{"path": [asset]}], "partitionNames": list(partitions), "fromFailure": False}
        result = self.query(_BACKFILL, wanted=wanted)["launchPartitionBackfill"]
        assert result["__typename"] == "LaunchBackfillSuccess", result

    def list_runs(self) -> list[dict[str, Any]]:
        """List all runs with status and times."""
        found: list[dict[str, Any]] = self.query(_RUNS)["runsOrError"]["results"]
        return found

    def count_materialized(self, asset: str) -> int:
        """Count the materialized partitions."""
        node = self.query(_STATS, key={"path": [asset]})["assetNodeOrError"]
        return int(node["partitionStats"]["numMaterialized"])

    def find_newest_materialization(self, asset: str) -> float:
        """Find when the newest partition was materialized, epoch seconds."""
        node = self.query(_NEWEST, key={"path": [asset]})["assetNodeOrError"]
        return max(float(event["timestamp"]) / 1000 for event in node["assetMaterializations"])

    def count_symbols(self, asset: str) -> int:
        """Count the symbols that are partitions."""
        node = self.query(_DIMENSIONS, key={"path": [asset]})["assetNodeOrError"]
        return next(len(d["partitionKeys"]) for d in node["partitionKeysByDimension"] if d["name"] == "symbol")

    @property
    def _repository(self) -> dict[str, str]:
        return {"repositoryName": REPOSITORY, "repositoryLocationName": self.location}


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until ``condition`` returns something true; return that."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise TimeoutError(f"waited {MAX_WAIT_SECONDS:.0f} s for: {what}")


@contextmanager
def run_deployment(
    words: Sequence[str], location: str, home: Path, environment: dict[str, str]
) -> Iterator[Deployment]:
    """Run ``python -m`` with ``words`` on a free port until the end of the context."""
    port = _find_free_port()
    log = home / "deployment.log"
    with log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *words, "--port", str(port)],
            env={
                **os.environ,
                "PYTHONDONTWRITEBYTECODE": "",
                **environment,
            },  # modules are compiled as those of an install
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            served = Deployment(f"http://127.0.0.1:{port}", location)
            wait_until(lambda: served.is_up() or child.poll() is not None, "the UI to respond")
            assert child.poll() is None, log.read_text()[-3000:]
            yield served
        finally:
            child.terminate()
            child.wait(MAX_WAIT_SECONDS)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on RepositoryLocation { name } } } } } }"""
_START = """mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
    __typename ... on PythonError { message } } }"""
_SENSOR_ID = """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
    ... on Sensor { id } } }"""
_STOP = """mutation ($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }"""
_TICKS = """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 50) { timestamp runIds } } } } }"""
_BACKFILL = """mutation ($wanted: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $wanted) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status creationTime startTime endTime } } } }"
_TIMES = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status stats { ... on RunStatsSnapshot {
    enqueuedTime launchTime endTime } } } } }"""
_STATS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized } } } }"""
_NEWEST = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetMaterializations(limit: 1) { timestamp } } } }"""
_DIMENSIONS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionKeysByDimension { name partitionKeys } } } }"""
