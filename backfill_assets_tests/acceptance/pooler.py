"""pgbouncer in transaction mode before a database of the tests."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from backfill_assets_tests.waiting import wait_until


@pytest.fixture
def pooler_url(create_database: Callable[..., str], tmp_path: Path) -> Iterator[str]:
    """The address of an empty database behind pgbouncer in transaction mode."""
    if (program := shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is None:
        pytest.skip("pgbouncer is not installed (apt-get install pgbouncer)")
    parameters = psycopg.conninfo.conninfo_to_dict(create_database(None))
    with socket.socket() as server_socket:
        server_socket.bind(("127.0.0.1", 0))
        port = server_socket.getsockname()[1]
    lines = [
        *("[databases]", f"* = host={parameters['host']} port={parameters.get('port', 5432)} user=postgres"),
        *("[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir =", "auth_type = any"),
        *("pool_mode = transaction", "default_pool_size = 3", f"logfile = {tmp_path}/log"),
    ]
    (tmp_path / "pgbouncer.ini").write_text("\n".join(lines))
    shutil.chown(tmp_path, Path(str(parameters["host"])).owner())  # only the server's user may open its socket
    for folder in [tmp_path, *tmp_path.parents[:3]]:
        folder.chmod(folder.stat().st_mode | 0o055)
    user = ["-u", Path(str(parameters["host"])).owner()] if os.geteuid() == 0 else []
    pooler = subprocess.Popen([program, "-q", *user, str(tmp_path / "pgbouncer.ini")], stderr=subprocess.DEVNULL)
    url = psycopg.conninfo.make_conninfo("", host="127.0.0.1", port=port, user="postgres", dbname=parameters["dbname"])
    try:
        wait_until(lambda: _is_listening(port) or pooler.poll() is not None, "pgbouncer to start")
        assert pooler.poll() is None, (tmp_path / "log").read_text()
        yield url
    finally:
        pooler.terminate()
        pooler.wait()


def _is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
