"""A run loads none of the libraries that make frames for people, nor the one that computes calendars."""

import subprocess
from collections.abc import Callable

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.processes import start_process

SCRIPT = """
import sys
from backfill_assets.cli.main import main

sys.argv = ["backfill-assets", *sys.argv[1:]]
try:
    main()
finally:
    print(sorted({"pandas", "pyarrow", "exchange_calendars", "numpy"} & {*sys.modules}), file=sys.stderr)
"""


def test_a_run_loads_numpy_alone(make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox]) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL MSFT")
    # a command in this process may have the calendar in memory, and keep none on disk
    run_in_child(user, "plan")
    out, loaded = run_in_child(user, "run", "--quiet", "--format", "json")
    assert '"inserted": 52' in out
    assert loaded == "['numpy']"


def run_in_child(user: User, *arguments: str) -> tuple[str, str]:
    """What a command prints in a process of its own, and which of the libraries it loaded."""
    child = start_process(
        ["-W", "error", "-c", SCRIPT, *arguments],
        user.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = child.communicate()
    assert child.returncode == 0, err
    return out, err.splitlines()[-1]
