"""A run as a job of Kubernetes: code server, daemon and launcher are real, the cluster's API is a stand-in."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.acceptance.dagster_dev import find_free_port
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.deployment.batch_api import BatchApi
from backfill_assets_tests.deployment.deploy_files import INSTANCES, read_version, read_yaml
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import wait_until

VERSION = "1.36"
IMAGE = f"registry.example/backfill_assets:{read_version()}"
SYMBOLS = 3
FILLING = {
    "name": "DAGSTER_RUN_JOB_NAME",
    "value": "__ASSET_JOB",
}  # a run of assets: a run of checks may come before it
pytestmark = pytest.mark.long


@dataclass
class Cluster:
    """What stands for a cluster: the API, and the processes of code server and daemon."""

    api: BatchApi
    database: Database
    folder: Path

    def count_bars(self) -> int:
        """The number of stored bars."""
        with self.database.transaction() as connection:
            row = connection.execute("SELECT count(*) FROM market_data").fetchone()
        return int(row[0]) if row else 0

    def has_filled(self) -> bool:
        """Whether a job that fills gaps has ended well."""
        jobs = self.api.jobs.copy().items()
        filling = [name for name, job in jobs if FILLING in job["spec"]["template"]["spec"]["containers"][0]["env"]]
        return any(self.api.processes[name].poll() == 0 for name in filling)


def write_instance(folder: Path, api_url: str) -> None:
    """Write the shipped instance, whose launcher finds the API by a file instead of by being in the cluster."""
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stand-in", "cluster": {"server": api_url}}],
        "users": [{"name": "daemon", "user": {}}],
        "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "daemon"}}],
        "current-context": "stand-in",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    instance = read_yaml(INSTANCES["kubernetes"])
    config = instance["run_launcher"]["config"]
    config |= {"load_incluster_config": False, "kubeconfig_file": str(folder / "kubeconfig")}
    config["dagster_home"] = str(folder)
    (folder / "dagster.yaml").write_text(yaml.safe_dump(instance))


@pytest.fixture
def cluster(
    database_url: str, start_sandbox: Callable[..., Sandbox], tmp_path: Path, cache_home: Path
) -> Iterator[Cluster]:
    sandbox = start_sandbox(symbols=SYMBOLS)
    database = Database(database_url)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(sandbox.world.symbols[:SYMBOLS]))
    (tmp_path / "token").write_text("sandbox\n")
    (tmp_path / "database_url").write_text(database_url)
    port = find_free_port()
    settings = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "XDG_CACHE_HOME": str(cache_home),
        "DAGSTER_HOME": str(tmp_path),
        "DATABASE_URL_FILE": str(tmp_path / "database_url"),
        "EODHD_BASE_URL": sandbox.base_url,
        "BACKFILL_AS_OF": NOW.isoformat(),
        "BACKFILL_PARTITION_DAYS": "2",
        "BACKFILL_SENSOR_SECONDS": "2",
        "BACKFILL_DAILY_DATA": "false",
    }
    asking = {"EODHD_API_TOKEN_FILE": str(tmp_path / "token")}
    with BatchApi(VERSION, {**settings, **asking}, tmp_path) as api:
        write_instance(tmp_path, api.url)
        location = {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": "backfill_assets"}}
        (tmp_path / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [location]}))
        code = ["-m", "dagster", "api", "grpc", "--port", str(port), "-m", "backfill_assets.definitions"]
        code += ["--location-name", "backfill_assets", "--fixed-server-id", IMAGE]
        daemon = ["-m", "dagster._daemon", "run", "--workspace", "workspace.yaml"]
        with (tmp_path / "log").open("wb") as log:
            start = {"cwd": tmp_path, "stdout": log, "stderr": log}
            start_process(code, {**settings, **asking, "DAGSTER_CURRENT_IMAGE": IMAGE}, **start)
            start_process(daemon, {**settings, "BACKFILL_NAMESPACE": "backfill"}, **start)
        yield Cluster(api, database, tmp_path)
        for log_file in (tmp_path / "log", *tmp_path.glob("dagster-run-*.log")):  # shown if the test fails
            print(f"--- {log_file.name}", log_file.read_text()[-3000:], sep="\n")  # noqa: T201
    database.close()


def test_a_run_is_a_valid_job(cluster: Cluster) -> None:
    """The sensor finds gaps, the launcher creates a valid job, and the job fills them."""
    wait_until(lambda: cluster.has_filled() and cluster.count_bars(), "a job to fill gaps and end well", 0.2)
    assert cluster.api.faults == []
    for job in cluster.api.jobs.copy().values():
        _check_job(job)


def _check_job(job: dict[str, Any]) -> None:
    """What the shipped instance says of runs: image, account, resources, settings, secrets as files."""
    assert job["metadata"]["namespace"] == "backfill"
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert pod["serviceAccountName"] == "backfill-run"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert [s["configMapRef"]["name"] for s in container["envFrom"] if "configMapRef" in s] == ["backfill-settings"]
    assert {m["mountPath"] for m in container["volumeMounts"]} == {"/run/secrets/backfill", "/tmp"}  # noqa: S108 - in the pod
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "backfill-assets"
    assert labels["app.kubernetes.io/component"] == "run"
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
