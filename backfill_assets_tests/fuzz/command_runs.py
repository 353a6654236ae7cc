"""Runs of the command line: in this process for speed, or as a child where the process itself is what is tested."""

import faulthandler
import gc
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from backfill_assets.cli.main import main
from backfill_assets_tests.processes import start_process

HANG_SECONDS = 60
CODE_OF_A_HANG = -1
_STREAMS_FOLDER = tempfile.gettempdir()  # of this process, also while a command has another one
_KEPT_VARIABLES = ("PATH", "HOME")
_CLOSE_STDOUT = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
_replay: dict[str, bool] = {}


@dataclass(frozen=True)
class CommandRun:
    """A command, what it printed, and its exit code (``CODE_OF_A_HANG``: it did not end)."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last line that it printed, to standard error if there is any."""
        lines = self.err.strip().splitlines() or self.out.strip().splitlines() or [""]
        return lines[-1]


class Hang(BaseException):
    """A command did not end in time; not an Exception, so that the command line does not handle it."""


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], *, folder: Path | None = None, interrupt_after: float = 0
) -> CommandRun:
    """Run ``backfill-assets ARGUMENTS`` in this process, which must be its main thread.

    ``interrupt_after`` seconds it gets a Ctrl-C (0: none), for commands that run until then.
    """
    arguments = [*arguments, *(["--debug"] if _replay else [])]
    out, err = (_open_stream(errors) for errors in ("strict", "backslashreplace"))
    with _replace_process_state(environment, folder), _limit_time(interrupt_after):
        sys.stdout, sys.stderr, sys.argv = out, err, ["backfill-assets", *arguments]
        code = _run_main(err)
    run = CommandRun(tuple(arguments), code, _read(out), _read(err))
    _print_run(run)
    return run


def _run_main(err: io.TextIOWrapper) -> int:
    try:
        main()
    except SystemExit as exited:
        return int(exited.code or 0)
    except Hang as hang:
        err.write(f"\n{hang}\n")
        return CODE_OF_A_HANG
    except KeyboardInterrupt:  # it came when the command had ended
        return 130
    raise AssertionError("main() returned")


def _open_stream(errors: str) -> io.TextIOWrapper:
    """A file as the real standard output is one: with a descriptor."""
    return io.TextIOWrapper(tempfile.TemporaryFile(dir=_STREAMS_FOLDER), "utf-8", errors)


def _read(stream: io.TextIOWrapper) -> str:
    with suppress(ValueError):
        stream.flush()
    with stream:
        stream.buffer.seek(0)
        return stream.buffer.read().decode("utf-8", "replace")


def print_runs() -> None:
    """From now on print what each command prints, with tracebacks: for the replay of one input."""
    _replay["on"] = True


def _print_run(run: CommandRun) -> None:
    if _replay:
        print(f"\n$ backfill-assets {' '.join(run.arguments)}\n{run.out}{run.err}exit code {run.code}")


@contextmanager
def _replace_process_state(environment: Mapping[str, str], folder: Path | None) -> Iterator[None]:
    """Give the command its environment and working folder, and take back afterwards all that it has changed."""
    before, place = dict(os.environ), Path.cwd()
    streams, arguments, thresholds = (sys.stdout, sys.stderr), sys.argv, gc.get_threshold()
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    package = getattr(sys.modules["__main__"], "__package__", None)
    try:
        sys.modules["__main__"].__package__ = None  # as when installed
        os.environ.clear()
        os.environ.update({name: before[name] for name in _KEPT_VARIABLES if name in before})
        os.environ.update(environment)
        tempfile.tempdir = None
        if folder is not None:
            os.chdir(folder)
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = None
        (sys.stdout, sys.stderr), sys.argv = streams, arguments
        sys.modules["__main__"].__package__ = package
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        logging.root.handlers.clear()
        logging.root.setLevel(logging.WARNING)


@contextmanager
def _limit_time(interrupt_after: float) -> Iterator[None]:
    """Raise ``Hang`` in the main thread after ``HANG_SECONDS``; before that a Ctrl-C, if it is wanted."""
    deadline = time.monotonic() + HANG_SECONDS

    def end(_: int, frame: FrameType | None) -> None:
        if time.monotonic() < deadline - 1:
            os.kill(os.getpid(), signal.SIGINT)
            return
        with tempfile.TemporaryFile("w+") as dump:
            faulthandler.dump_traceback(dump)
            dump.seek(0)
            place = next((line.strip() for line in dump if "backfill_assets/" in line), "unknown")
        raise Hang(f"hang: no end within {HANG_SECONDS} s, at {place}")

    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, interrupt_after or HANG_SECONDS, HANG_SECONDS - interrupt_after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def run_process(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    stdout: int | None = None,
    closes_stdout: bool = False,
) -> CommandRun:
    """Run ``backfill-assets ARGUMENTS`` as a child process; ``stdout`` may be a descriptor of the caller."""
    source = str(Path(__file__).parents[2])
    process = start_process(
        [*(["-c", _CLOSE_STDOUT] if closes_stdout else []), "-m", "backfill_assets", *arguments],
        {"PYTHONPATH": source, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        cwd=folder,
    )
    try:
        out, err = process.communicate(timeout=HANG_SECONDS)
        code = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        code, err = CODE_OF_A_HANG, err + f"\nhang: no end within {HANG_SECONDS} s\n".encode()
    decoded = ((stream or b"").decode("utf-8", "replace") for stream in (out, err))
    run = CommandRun(tuple(arguments), code, *decoded)
    _print_run(run)
    return run
