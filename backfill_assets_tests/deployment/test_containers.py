"""The image and Compose as shipped, in containers; images of registries are stand-ins (see ``containers``)."""

import json
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backfill_assets_tests.acceptance.dagster_dev import find_free_port
from backfill_assets_tests.deployment.containers import Podman, open_podman, skip_without_podman
from backfill_assets_tests.deployment.deploy_files import DEPLOY, read_version
from backfill_assets_tests.waiting import wait_until

IMAGE = f"localhost/backfill_assets:{read_version()}"
GRACE_SECONDS = 30  # stop_grace_period of compose.yaml
PAUSE_SECONDS = 1.0
_ASSET_JOB = "__ASSET_JOB"
_RUNS = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
pytestmark = [pytest.mark.deploy, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Stack:
    """Compose with a copy of the shipped files."""

    podman: Podman
    folder: Path
    port: int

    def compose(self, *arguments: str, **options: Any) -> str:
        return self.podman.run(sys.executable, "-m", "podman_compose", *arguments, cwd=self.folder, **options)

    def list_runs(self) -> dict[str, dict[str, Any]]:
        """All runs by id; none while the UI does not answer."""
        try:
            answer = httpx.post(f"http://127.0.0.1:{self.port}/graphql", json={"query": _RUNS}, timeout=60).json()
            return {run["runId"]: run for run in answer["data"]["runsOrError"]["results"]}
        except (httpx.HTTPError, KeyError, ValueError):
            return {}

    def find_run_container(self, job: str) -> tuple[str, str] | None:
        """Container and id of a run that is at work."""
        started = {key for key, run in self.list_runs().items() if run["status"] == "STARTED" and run["jobName"] == job}
        shown = self.podman.run("podman", "ps", "--format", "json", "--filter", "label=dagster/run_id")
        containers = {c["Labels"]["dagster/run_id"]: c["Id"] for c in json.loads(shown or "[]")}
        return next(((containers[run], run) for run in started & containers.keys()), None)

    def count_bars(self) -> int:
        query = "SELECT count(*) FROM market_data"
        return int(
            self.podman.run(
                "podman", "exec", "backfill_postgres_1", "psql", "-U", "backfill", "-d", "bars", "-Atc", query
            )
        )


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    skip_without_podman()
    with open_podman(tmp_path_factory.mktemp("containers") / "engine") as opened:
        opened.make_base_image()
        with opened.measure("make image"):
            opened.make_product_image(IMAGE)
        yield opened


@pytest.fixture(scope="module")
def stack(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The demo of ``.env.example``, with a slow vendor and a sensor that ticks often."""
    podman.make_postgres_image(IMAGE)
    folder = tmp_path_factory.mktemp("checkout") / "deploy" / "compose"
    shutil.copytree(DEPLOY / "compose", folder)
    port = find_free_port()
    changed = {
        "DOCKER_SOCKET": str(podman.socket),
        "UI_PORT": str(port),
        "BACKFILL_PARTITION_DAYS": "5",
        "BACKFILL_SENSOR_SECONDS": "10",
    }
    example = (folder / ".env.example").read_text()
    (folder / ".env").write_text(example + "".join(f"{name}={value}\n" for name, value in changed.items()))
    compose = folder / "compose.yaml"
    compose.write_text(compose.read_text().replace('"8008"]', '"8008", --latency-ms, 5000-6000]'))
    instance = folder / "dagster.yaml"  # the run of the daily data need not end first
    instance.write_text(instance.read_text().replace("default_limit: 1", "default_limit: 4"))
    opened = Stack(podman, folder, port)
    with podman.measure("compose up"):
        opened.compose("up", "--detach")
    yield opened
    opened.compose("down", "--volumes", check=False)


def test_image_runs_read_only_as_another_user(podman: Podman) -> None:
    options = ["--rm", "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp", "--network=none", "--no-healthcheck"]
    script = "id -u; backfill-assets --version; dagster --version; touch /opt/backfill/x 2>&1 || true"
    shown = podman.run("podman", "run", *options, IMAGE, "sh", "-c", script)
    assert shown.startswith("10001\n")
    assert read_version() in shown
    assert "Read-only file system" in shown


def test_image_says_what_it_is(podman: Podman) -> None:
    (image,) = json.loads(podman.run("podman", "image", "inspect", IMAGE))
    labels = image["Labels"]
    assert labels["org.opencontainers.image.version"] == read_version()
    assert labels["org.opencontainers.image.revision"] != "unknown"
    assert image["Config"]["User"] == "10001:10001"
    assert "check-health" in str(image)
    sys.stderr.write(f"image: {image['Size'] / 1e6:.0f} MB\n")


def test_a_killed_run_is_healed(stack: Stack) -> None:
    """Its container is killed while it asks the vendor; it fails, and another one ends well."""
    with stack.podman.measure("first run after compose up"):
        container, killed = wait_until(lambda: stack.find_run_container(_ASSET_JOB), "a run to start", PAUSE_SECONDS)
    stack.podman.run("podman", "kill", container)
    with stack.podman.measure("killed run failed"):
        wait_until(lambda: stack.list_runs().get(killed, {}).get("status") == "FAILURE", "it to fail", PAUSE_SECONDS)
    with stack.podman.measure("healed"):
        wait_until(lambda: _has_later_success(stack), "another run to end well", PAUSE_SECONDS)
    assert stack.count_bars() > 0


def _has_later_success(stack: Stack) -> bool:
    return any(run["status"] == "SUCCESS" and run["jobName"] == _ASSET_JOB for run in stack.list_runs().values())


def test_processes_say_that_they_are_healthy(stack: Stack) -> None:
    for name in ("backfill-code", "backfill_daemon_1", "backfill_webserver_1"):
        stack.podman.run("podman", "exec", name, "check-health")


def test_daemon_and_webserver_have_no_token(stack: Stack) -> None:
    """And no process has a secret in its environment."""
    for name in ("backfill_daemon_1", "backfill_webserver_1"):
        assert stack.podman.run("podman", "exec", name, "ls", "/run/secrets").split() == ["database_url"]
    for name in ("backfill-code", "backfill_daemon_1", "backfill_webserver_1"):
        assert "backfill:backfill" not in stack.podman.run("podman", "exec", name, "env")


def test_the_login_asks_for_a_password(stack: Stack) -> None:
    stack.podman.make_caddy_image()
    port = find_free_port()
    hashed = stack.podman.run(
        "podman",
        "run",
        "--rm",
        "--network=none",
        "docker.io/library/caddy:2.10",
        "caddy",
        "hash-password",
        "--plaintext",
        "open",
    ).strip()
    (stack.folder / "demo-secrets" / "ui_users").write_text(f"ann {hashed}\n")
    caddyfile = stack.folder / "Caddyfile"
    caddyfile.write_text(caddyfile.read_text().replace("basic_auth", "basicauth"))  # its name in Debian's Caddy 2.6
    with (stack.folder / ".env").open("a") as environment:
        environment.write(f"COMPOSE_PROFILES=demo,login\nUI_HTTPS_PORT={port}\nUI_HTTP_PORT={find_free_port()}\n")
    stack.compose("up", "--detach", "login")
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # of the name localhost: Caddy's own authority
    with httpx.Client(verify=trusting, base_url=f"https://localhost:{port}") as client:
        wait_until(lambda: _get_status(client, None) == 401, "the proxy to ask for a password", PAUSE_SECONDS)
        assert _get_status(client, ("ann", "wrong")) == 401
        assert _get_status(client, ("ann", "open")) == 200


def _get_status(client: httpx.Client, login: tuple[str, str] | None) -> int:
    try:
        return client.get("/server_info", auth=login, timeout=60).status_code
    except httpx.HTTPError:
        return 0


def test_processes_end_within_the_grace_period(stack: Stack) -> None:
    """None is killed, though each is process 1 of its container."""
    for name in ("backfill_sandbox_1", "backfill_webserver_1", "backfill_daemon_1", "backfill-code"):
        began = time.monotonic()
        stack.podman.run("podman", "stop", "--time", str(GRACE_SECONDS), name)
        sys.stderr.write(f"stopped {name}: {time.monotonic() - began:.1f} s\n")
        code = stack.podman.run("podman", "inspect", "--format", "{{.State.ExitCode}}", name).strip()
        assert code != "137", f"{name} was killed"
