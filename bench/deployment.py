"""A Dagster deployment in processes of its own, and its GraphQL as the UI uses it."""

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

LONGEST_SECONDS = 900.0
REPOSITORY = "__repository__"


@dataclass(frozen=True)
class Deployment:
    """A running deployment with one code location."""

    url: str
    location: str

    def ask(self, query: str, **variables: Any) -> Any:
        """One GraphQL request."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=120).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def is_up(self) -> bool:
        """Whether the definitions are loaded."""
        try:
            (entry,) = self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
            return bool(entry["locationOrLoadError"]["name"])
        except (httpx.HTTPError, KeyError, ValueError, TypeError):
            return False

    def set_running(self, sensor: str) -> None:
        """Switch a sensor on."""
        done = self.ask(_START, selector={**self._repository, "sensorName": sensor})["startSensor"]
        assert done["__typename"] == "Sensor", done

    def first_tick_with_a_run(self, sensor: str) -> float:
        """When the sensor first asked for a run, epoch seconds; 0 before."""
        found = self.ask(_TICKS, selector={**self._repository, "sensorName": sensor})
        ticks = found["sensorOrError"]["sensorState"]["ticks"]
        return min((tick["timestamp"] for tick in ticks if tick["runIds"]), default=0.0)

    def backfill(self, asset: str, partitions: Sequence[str]) -> None:
        """Start a backfill of partitions, as the UI's dialog does."""
        wanted = {"assetSelection": [{"path": [asset]}], "partitionNames": list(partitions), "fromFailure": False}
        done = self.ask(_BACKFILL, wanted=wanted)["launchPartitionBackfill"]
        assert done["__typename"] == "LaunchBackfillSuccess", done

    def runs(self) -> list[dict[str, Any]]:
        """Every run so far with status and times."""
        found: list[dict[str, Any]] = self.ask(_RUNS)["runsOrError"]["results"]
        return found

    def green(self, asset: str) -> int:
        """How many partitions are materialised."""
        node = self.ask(_STATS, key={"path": [asset]})["assetNodeOrError"]
        return int(node["partitionStats"]["numMaterialized"])

    def symbols(self, asset: str) -> int:
        """How many symbols are partitions."""
        node = self.ask(_DIMENSIONS, key={"path": [asset]})["assetNodeOrError"]
        return next(len(d["partitionKeys"]) for d in node["partitionKeysByDimension"] if d["name"] == "symbol")

    @property
    def _repository(self) -> dict[str, str]:
        return {"repositoryName": REPOSITORY, "repositoryLocationName": self.location}


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait for a state of the world; returns what ``holds`` found."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.5)
    raise TimeoutError(f"waited {LONGEST_SECONDS:.0f} s for: {what}")


@contextmanager
def deployment(words: Sequence[str], location: str, home: Path, environment: dict[str, str]) -> Iterator[Deployment]:
    """``python -m`` ``words`` on a free port until the end of the context."""
    port = _free_port()
    log = home / "deployment.log"
    with log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *words, "--port", str(port)],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            served = Deployment(f"http://127.0.0.1:{port}", location)
            until(lambda: served.is_up() or child.poll() is not None, "the UI to answer")
            assert child.poll() is None, log.read_text()[-3000:]
            yield served
        finally:
            child.terminate()
            child.wait(LONGEST_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on RepositoryLocation { name } } } } } }"""
_START = """mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
    __typename ... on PythonError { message } } }"""
_TICKS = """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 50) { timestamp runIds } } } } }"""
_BACKFILL = """mutation ($wanted: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $wanted) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status creationTime startTime endTime } } } }"
_STATS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized } } } }"""
_DIMENSIONS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionKeysByDimension { name partitionKeys } } } }"""
