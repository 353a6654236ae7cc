"""Output that cannot be written as it is: other encodings, a reader that has gone, a full disk, a closed stream."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backfill_assets.config.readable_text import READABLE, to_one_line
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.processes import start_process

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
FULL_DEVICE = Path("/dev/full")


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "90 – 95 % · 2 × ≥ 3 … „ü“ → 日本 \udcff ⠋", '90 - 95 % . 2 x >= 3 ... "u" -> ?? ? *'),
        ("latin-1", "90 – 95 % · 2 × ≥ 3 … ü", "90 - 95 % · 2 × >= 3 ... ü"),
        ("cp1252", "90 – 95 % · 2 × ≥ 3 … ü", "90 – 95 % · 2 × >= 3 … ü"),
        ("utf-8", "90 – 95 % 日本 \udcff", "90 – 95 % 日本 ?"),
    ],
)
def test_characters_that_cannot_be_shown_are_replaced_by_readable_ones(encoding: str, text: str, shown: str) -> None:
    assert text.encode(encoding, READABLE).decode(encoding) == shown


def test_an_error_stays_on_one_line() -> None:
    assert to_one_line("/a\nb\tc/ü – \x1b\u2028") == r"/a\nb\tc/ü – \x1b\u2028"


def test_finished_work_is_a_success_whatever_the_terminal_can_show(
    make_user: MakeUser, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    environment = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    run = user.start_cli("run --start 2026-05-20 --end 2026-06-02", **environment)
    out, err = run.communicate()
    assert (run.returncode, err.isascii(), out.isascii()) == (0, True, True), (out, err)
    assert "2026-05-20 ... 2026-06-02" in out
    page = tmp_path / "bericht ü.html"
    report = start_process(
        ["-m", "backfill_assets", "report", "--format", "html", "--output", page],
        {**user.environment, **environment},
        stderr=subprocess.PIPE,
    )
    told = report.communicate()[1]  # the clock of the tests lies before the first record of the universe
    assert (told.isascii(), told.splitlines()[1:], report.returncode) == (True, [], 0)
    assert told.startswith(
        b"universe of 2026-06-03 14:00 UTC: assumed to be today's, because changes are recorded since"
    )
    assert "·" in page.read_text("utf-8")


def test_a_reader_that_has_gone_does_not_change_the_exit_code(make_user: MakeUser) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL MSFT")
    read_end, write_end = os.pipe()
    os.close(read_end)
    verify = start_process(["-m", "backfill_assets", "verify"], user.environment, stdout=write_end, stderr=write_end)
    os.close(write_end)
    assert verify.wait() == 3  # bars are missing


def test_closed_streams_do_not_change_the_exit_code(make_user: MakeUser) -> None:
    user = make_user()
    shell = 'exec "$0" -m backfill_assets status >&- 2>&-'
    closed = start_process(["-c", _RUN_SHELL, shell], user.environment)
    assert closed.wait() == 0


_RUN_SHELL = "import os, sys; os.execv('/bin/sh', ['sh', '-c', sys.argv[1], sys.executable])"


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="this system has no /dev/full")
def test_output_that_is_lost_is_reported_after_the_work(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    with FULL_DEVICE.open("w") as full:
        run = start_process(
            ["-m", "backfill_assets", "run"], user.environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
        message = run.communicate()[1].splitlines()[-1]
    assert run.returncode == 2
    assert message.startswith("error: standard output cannot be written: No space left on device")
    assert user.run_cli("verify").code == 0


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/dev/full", "No space left on device"), ("/nowhere/x", "No such file"), ("y" * 300, "File name too long")],
)
def test_a_report_that_cannot_be_written_is_refused(make_user: MakeUser, path: str, reason: str) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    result = user.run_cli(["report", "--output", path])
    assert result.code == 2
    assert f"--output {path} cannot be written: {reason}" in result.error


def test_files_may_have_any_name(make_user: MakeUser, tmp_path: Path) -> None:
    folder = tmp_path / "a 'b\" $c\\ %d,é\n"
    folder.mkdir()
    calendar, symbols, page = folder / "-calendar.json", folder / "#symbols", folder / "?report.csv"
    calendar.write_text('{"closures": ["2026-06-01"]}')
    symbols.write_text("AAPL\n")
    user = make_user(BACKFILL_CALENDAR_FILE=str(calendar))
    assert user.run_cli(["symbols", "add", "--file", str(symbols)]).code == 0
    assert user.run_cli(["report", "--format", "csv", "--output", str(page)]).code == 0
    assert "AAPL" in page.read_text()
    missing = user.run_cli("report", BACKFILL_CALENDAR_FILE=str(folder / "none"))
    assert (missing.code, r"é\n/none cannot be used" in missing.error) == (2, True)
