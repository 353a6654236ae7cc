"""What a worker of the fuzz has at hand: databases on one server, a folder, the vendor, the usual environment."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import conninfo, sql

from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.fuzz.vendor import FuzzVendor, keep_answer

FAST_SETTINGS = {
    "BACKFILL_ATTEMPTS": "2",
    "BACKFILL_BACKOFF_SECONDS": "[0, 0.01]",
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": "2",
    "BACKFILL_RATE_WINDOW_SECONDS": "0.2",
    "EODHD_REQUESTS_PER_MINUTE": "100000",
    "BACKFILL_DATABASE_PATIENCE_SECONDS": "2",
}


class Workbench:
    """Databases, a vendor and a folder; a context manager. ``number`` keeps the databases of workers apart."""

    def __init__(self, server_url: str, home: Path, token: str, number: int) -> None:
        self.server_url, self.home, self.token = server_url, home, token
        self._prefix, self._count = f"fuzz_{number}", 0
        self.vendor = FuzzVendor()
        self.folder = Path()
        self.cache: dict[str, Any] = {}  # what a family has made once for all its inputs

    def __enter__(self) -> Self:
        self.vendor.__enter__()
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=self.home))
        self._maintenance = psycopg.connect(self._locate("postgres"), autocommit=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._maintenance.close()
        self.vendor.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, template: str = "template0", options: str = "STRATEGY FILE_COPY") -> str:
        """Create a database, and return its address; it stays until the fuzz ends unless it is dropped."""
        self._count += 1
        name = f"{self._prefix}_{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
        return self._locate(name)

    @contextmanager
    def lend_database(self, template: str = "template0", options: str = "STRATEGY FILE_COPY") -> Iterator[str]:
        """The address of a new database that is dropped at the end."""
        url = self.create_database(template, options)
        try:
            yield url
        finally:
            self.drop_database(url)

    def drop_database(self, url: str) -> None:
        """Drop a database, also if clients are still connected."""
        name = sql.Identifier(get_name(url))
        self._maintenance.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def execute(self, statement: str) -> None:
        """Execute a statement in the server's database ``postgres``."""
        self._maintenance.execute(statement.encode())

    @contextmanager
    def lend_folder(self) -> Iterator[Path]:
        """An empty folder that is removed at the end."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def build_environment(self, database_url: str, **more: str) -> dict[str, str]:
        """The environment of a command; the vendor's answers are the true ones from now on."""
        self.vendor.change = keep_answer
        return {
            "DATABASE_URL": database_url,
            "BACKFILL_HOME": str(self.folder / "home"),
            "EODHD_API_TOKEN": self.token,
            "EODHD_BASE_URL": self.vendor.url,
            "BACKFILL_AS_OF": NOW.isoformat(),
            **FAST_SETTINGS,
            **more,
        }

    def _locate(self, name: str) -> str:
        return conninfo.make_conninfo(self.server_url, dbname=name)


def get_name(url: str) -> str:
    """The name of the database of an address."""
    return str(conninfo.conninfo_to_dict(url)["dbname"])
