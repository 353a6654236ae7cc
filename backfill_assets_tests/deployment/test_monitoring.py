"""Alert rules and dashboard against the real Prometheus, which scrapes the real metrics server of a real store.

Grafana itself is not run: its dashboard is checked by the queries that it would send.
"""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

import backfill_assets
from backfill_assets.alerts.delivery import fingerprint_address
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.sessions import list_overlapping_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.metrics.families import build_families
from backfill_assets.metrics.figures import read_figures
from backfill_assets.metrics.reader import MetricsPass
from backfill_assets.metrics.server import MetricsServer
from backfill_assets.store.alert_outbox import enqueue, lease_endpoints
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, build_limits
from backfill_assets.store.run_beats import BeatingProcess, start_beats
from backfill_assets.store.runs import start_run
from backfill_assets.store.sensor_looks import record_look
from backfill_assets_tests.conftest import Settings, make_job
from backfill_assets_tests.waiting import wait_until
from bench.coverage import NOW, fill_store

DEPLOY = Path(backfill_assets.__file__).parent.parent / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "backfill.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
ADDRESS = "json://127.0.0.1:9/hush"
TOKEN = "test-token-4711"  # noqa: S105 - made up


def get_program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: prometheus)")
    return found


def test_rules_are_valid_and_raise_what_they_should() -> None:
    promtool = get_program("promtool")
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "backfill-alerts.test.yml"]):
        done = subprocess.run([promtool, *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_has_panels_that_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert {name for text in EXPRESSIONS for name in re.findall(r"\$(\w+)", text)} <= variables


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    """A store in which every family has a sample."""
    fill_store(database, 60, list_overlapping_sessions(US, NOW - timedelta(days=40), NOW)[-20:])
    with database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE symbol_id = 15 AND timestamp > '2026-06-02 18:00Z'")
    update = {"as_of": NOW, "alert_urls": (SecretStr(ADDRESS),)}
    engine = Engine(database, settings.model_copy(update=update))
    record_look(database, "US", "30m", engine.measure(make_job(engine)))
    Budget(database, TOKEN, build_limits(settings)).take_permits(1, 5, NOW)
    with database.transaction() as connection:
        start_run(connection, uuid4(), "x", 1)
        start_beats(connection, BeatingProcess(uuid4(), "a run of Dagster", None, "host", 1, 85.0))
        enqueue(connection, "failing", "title", "body", NOW)
        lease_endpoints(connection, {fingerprint_address(ADDRESS): ("",)}, NOW, seconds=1, max_messages=1)
    return engine


@contextmanager
def run_prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """Prometheus with the shipped configuration and rules, scraping ``target`` every second."""
    program = get_program("prometheus")
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    assert "127.0.0.1:9464" in text
    (folder / "prometheus.yml").write_text(text.replace("127.0.0.1:9464", target).replace("30s", "1s"))
    shutil.copy(DEPLOY / "prometheus" / "backfill-alerts.yml", folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, *options], cwd=folder, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as client:
            wait_until(lambda: is_ready(port), "Prometheus")
            yield client
    finally:
        process.terminate()
        process.wait()


def is_ready(port: int) -> bool:
    """Whether Prometheus has started; until then its API refuses, or answers with a text."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=60).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def query(client: httpx.Client, expression: str) -> list[Any]:
    answer = client.get("/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    return list(answer["data"]["result"])


def is_scraped(client: httpx.Client, value: str) -> bool:
    return any(sample["value"][1] == value for sample in query(client, 'up{job="backfill"}'))


@pytest.mark.long
def test_every_query_of_the_dashboard_has_an_answer(engine: Engine, tmp_path: Path) -> None:
    failures: list[str | None] = [None]

    def read() -> MetricsPass:
        families = tuple(build_families(read_figures(engine.database, engine.settings), 0.1))
        return MetricsPass(families, failures[-1])

    with MetricsServer(read, "127.0.0.1", 0) as server:
        target = server.url.removeprefix("http://").partition("/")[0]
        with run_prometheus(tmp_path, target) as client:
            wait_until(lambda: is_scraped(client, "1"), "a scrape")
            wait_until(lambda: query(client, "increase(backfill_runs_total[1h])"), "two scrapes")
            for expression in EXPRESSIONS:
                result = query(client, expression.replace("$exchange", ".*"))
                assert result, expression
            loaded = client.get("/rules").json()["data"]["groups"][0]["rules"]
            assert all(rule["health"] != "err" for rule in loaded)
            assert len(loaded) == 14
            failures.append("the database is away")
            wait_until(lambda: is_scraped(client, "0"), "a scrape that fails")
            wait_until(lambda: "BackfillMetricsDown" in client.get("/alerts").text, "the alert to be pending")
