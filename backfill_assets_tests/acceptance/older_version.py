"""The code of an older version out of the repository's history, to be run as processes beside this one's."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

VERSION_0_8_0 = "fa64d0a5"
NO_HISTORY = "the history of the repository is not here, or has no such commit"
# Each line that it reads is a command of the older version, whose modules are loaded once for all. One that leaves bars
# to other runs ends with code 3.
RUN_COMMANDS = """
import sys
from backfill_assets.cli.main import main
for command in sys.stdin:
    sys.argv[1:] = command.split()
    try:
        main()
    except SystemExit as end:
        if end.code not in (0, 3):
            raise
"""


def unpack_version(commit: str, folder: Path) -> Path | None:
    """Write the package of a commit into ``folder``, which is its PYTHONPATH then; None without that commit.

    A wheel and an archive of the sources have no history, and a shallow clone has only the newest commits.
    """
    checkout = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "archive", commit, "backfill_assets"]
    archive = subprocess.run(command, cwd=checkout, capture_output=True, check=False)
    if archive.returncode != 0:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder
