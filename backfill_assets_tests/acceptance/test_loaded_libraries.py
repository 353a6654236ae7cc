"""A run loads none of the libraries that make frames for people, nor the one that computes calendars."""

import subprocess
from collections.abc import Callable

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.processes import start_process

SCRIPT = """
import sys
from backfill_assets.cli.main import main

sys.argv = ["backfill-assets", "run", "--quiet", "--format", "json"]
try:
    main()
finally:
    print(sorted({"pandas", "pyarrow", "exchange_calendars", "numpy"} & {*sys.modules}), file=sys.stderr)
"""


def test_a_run_loads_numpy_alone(make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox]) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL MSFT")
    user.run_cli("plan")  # the first command builds the calendar and keeps it on disk
    child = start_process(
        ["-W", "error", "-c", SCRIPT], user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = child.communicate()
    assert child.returncode == 0, err
    assert '"inserted": 52' in out
    assert err.splitlines()[-1] == "['numpy']"
