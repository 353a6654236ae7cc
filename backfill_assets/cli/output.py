"""Standard output and standard error as every command needs them: a fault of the output never stops the work.

Characters that the terminal's encoding lacks are replaced by readable ones. A reader that has gone (``| head``) or a
full disk ends the output only; ``describe_failure`` says whether something was lost. What is written is decided by
the commands.
"""

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from backfill_assets.config.readable_text import READABLE

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _LossyFile(io.RawIOBase):
    """A file descriptor that takes every byte; after the first failed write it drops them and keeps the error."""

    def __init__(self, descriptor: int) -> None:
        self.failure: OSError | None = None
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: "ReadableBuffer", /) -> int:
        while self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # the other end of a pipe has made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


@contextmanager
def provide_output() -> Iterator[_LossyFile]:
    """Replace standard output and error while the context is open; yields the file of standard output."""
    _fill_closed_descriptors()
    streams = sys.stdout, sys.stderr
    (sys.stdout, out), (sys.stderr, _) = map(_wrap, streams)
    try:
        yield out
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams


def describe_failure(out: _LossyFile) -> str | None:
    """What was lost of the output; None if nothing was, or if its reader did not want more."""
    if out.failure is None or out.failure.errno == errno.EPIPE:
        return None
    return f"standard output cannot be written: {out.failure.strerror}; what the command did otherwise is done"


def _wrap(stream: TextIO) -> tuple[TextIO, _LossyFile]:
    file = _LossyFile(stream.fileno())
    stream.flush()
    wrapped = io.TextIOWrapper(
        io.BufferedWriter(file), stream.encoding, READABLE, line_buffering=bool(stream.line_buffering)
    )
    return wrapped, file


def _fill_closed_descriptors() -> None:
    """Open the null device for descriptors that the caller has closed, so that no database connection gets them."""
    if sys.stdout is None or sys.stderr is None:
        while os.open(os.devnull, os.O_RDWR) <= 2:  # they stay open as long as the process
            pass
        sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
