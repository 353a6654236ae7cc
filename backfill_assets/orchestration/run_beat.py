"""The thread that beats while a process works for a run of Dagster.

It has a connection of its own, so that neither a long statement nor a silent network of the engine's connections stops
it, and never keeps the process from ending. What a missing beat means is decided in ``store.run_beats``.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg

from backfill_assets.config.settings import Settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.processes import get_host_id
from backfill_assets.store.run_beats import (
    BEAT_SECONDS,
    BeatingProcess,
    compute_patience,
    end_beats,
    record_beat,
    start_beats,
)

_CONNECT_SECONDS = 5.0  # a beat that gets no connection is given up for the next one
_JOIN_SECONDS = 3.0  # an end that cannot be recorded by then is left to the thread
_ESCALATION_SECONDS = 30.0  # from the first signal to a run that must end to the second one, which ends it at once
_log = logging.getLogger(__name__)


@contextmanager
def keep_beating(settings: Settings, run_id: str, step_key: str | None) -> Iterator[None]:
    """Beat for the run while the context is open.

    Needs no beats on the embedded server: all its processes are on one host, which sees whether they run.

    Raises:
        DatabaseUnavailable: no connection for the first beat.
        RunGivenUp: the run has been failed or cancelled.
    """
    if settings.database_url is None:
        yield
        return
    patience = compute_patience(settings.database_patience_seconds)
    process = BeatingProcess(uuid4(), run_id, step_key, get_host_id(), os.getpid(), patience)
    beat = RunBeat(settings.database_url.get_secret_value(), process)
    beat.start()
    try:
        yield
    finally:
        beat.stop()


class RunBeat:
    """Beats for one process; a run that was given up is interrupted like by Dagster's "Terminate"."""

    def __init__(self, url: str, process: BeatingProcess, seconds: float = BEAT_SECONDS) -> None:
        self._process, self._seconds = process, seconds
        self._database = Database(url, max_connections=1, max_wait_seconds=_CONNECT_SECONDS)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run beat", daemon=True)

    def start(self) -> None:
        """Record the first beat, and go on in a thread."""
        try:
            self._database.retry_transaction(lambda connection: start_beats(connection, self._process))
        except BaseException:
            self._database.close()
            raise
        self._thread.start()

    def stop(self) -> None:
        """Stop, and record that the process has done its part; returns after a few seconds whether or not it could."""
        self._stopped.set()
        self._thread.join(_JOIN_SECONDS)

    def _beat(self) -> None:
        is_silent = False
        try:
            while not self._stopped.wait(self._seconds):
                try:
                    is_given_up = not record_beat(self._database, self._process.worker_id)
                    is_silent = False
                except (DatabaseUnavailable, psycopg.Error) as error:
                    if not is_silent:
                        _log.warning("no sign of life of run %s could be written: %s", self._process.run_id, error)
                    is_silent = True
                    continue
                if is_given_up:
                    self._interrupt_run()
                    return
            self._record_end()
        finally:
            self._database.close()

    def _record_end(self) -> None:
        try:
            self._database.retry_transaction(lambda connection: end_beats(connection, [self._process.worker_id]))
        except (DatabaseUnavailable, psycopg.Error) as error:
            _log.warning("the end of this part of run %s could not be written: %s", self._process.run_id, error)

    def _interrupt_run(self) -> None:
        _log.error(
            "run %s was failed or cancelled while this process was not heard of; it ends now, so that nothing is"
            " requested twice; what it stored is kept",
            self._process.run_id,
        )
        os.kill(os.getpid(), signal.SIGINT)  # not raise_signal: the main thread may be within a system call
        if not self._stopped.wait(_ESCALATION_SECONDS):
            os.kill(os.getpid(), signal.SIGINT)
