"""Beats of the processes that carry out Dagster's runs, and what their absence means.

All times are of the database's clock: the clocks of the hosts may differ. A process is lost when it has been silent for
its ``patience`` and somebody missed its beats a while before. The second condition protects processes that could not
beat because the database itself was away, or because the whole machine was asleep: they have that while to beat again.

Who beats is in ``orchestration.run_beat``; who judges, in ``orchestration.dagster_internals.run_health``.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from uuid import UUID

from backfill_assets.errors import BackfillError
from backfill_assets.store.postgres.connection import Connection, Database

BEAT_SECONDS = 5.0
# A process gives up a database that is away after its patience, plus the time until a silent connection is noticed
# (15 s) and two beats. Only then its silence means that it is lost. At 85 s by default, a look every 10 s finds a lost
# host within 96 s.
SILENCE_MARGIN_SECONDS = 25.0
SHORTEST_PATIENCE_SECONDS = 60.0
MISSED_BEFORE_SECONDS = 30.0  # beats are missed this long before the process would be lost
CONFIRMATION_SECONDS = 20.0  # from a missed beat to the judgement: a reconnection (at most 10 s) and two beats
KEPT_DAYS = 7

_DELETE_OLD = "DELETE FROM backfill.run_beats WHERE beat_at < clock_timestamp() - make_interval(days => %(days)s)"
_MUST_END = """
SELECT EXISTS (SELECT FROM backfill.run_beats WHERE run_id = %(run_id)s AND must_end_at <= clock_timestamp())
"""
_INSERT = """
INSERT INTO backfill.run_beats (worker_id, run_id, step_key, host, pid, patience)
VALUES (%(worker_id)s, %(run_id)s, %(step_key)s, %(host)s, %(pid)s, make_interval(secs => %(patience)s))
ON CONFLICT (worker_id) DO NOTHING
"""
_UPDATE_BEAT = """
UPDATE backfill.run_beats SET beat_at = clock_timestamp(), missed_at = NULL
WHERE worker_id = %(worker_id)s AND (must_end_at IS NULL OR must_end_at > clock_timestamp())
RETURNING worker_id
"""
_END = """
UPDATE backfill.run_beats SET ended_at = clock_timestamp() WHERE worker_id = ANY(%(worker_ids)s) AND ended_at IS NULL
"""
_MARK_MISSED = """
UPDATE backfill.run_beats SET missed_at = clock_timestamp()
WHERE run_id = %(run_id)s AND missed_at IS NULL AND ended_at IS NULL
  AND beat_at < clock_timestamp() - patience + make_interval(secs => %(missed_before)s)
"""
_SELECT = """
SELECT worker_id, step_key, host, pid, extract(epoch FROM clock_timestamp() - beat_at)::float8,
       beat_at < clock_timestamp() - patience
           AND coalesce(missed_at < clock_timestamp() - make_interval(secs => %(confirmation)s), false),
       coalesce(must_end_at <= clock_timestamp(), false)
FROM backfill.run_beats WHERE run_id = %(run_id)s AND ended_at IS NULL
"""
_HAS_BEATS = "SELECT EXISTS (SELECT FROM backfill.run_beats WHERE run_id = %(run_id)s)"
# One statement against that of a beat: whichever comes first decides.
_GIVE_UP = """
WITH late AS (
    SELECT worker_id FROM backfill.run_beats WHERE run_id = %(run_id)s AND ended_at IS NULL
       AND (must_end_at <= clock_timestamp() OR beat_at < clock_timestamp() - make_interval(secs => %(silent_for)s))
    FOR UPDATE
)
UPDATE backfill.run_beats b SET must_end_at = least(b.must_end_at, clock_timestamp()) FROM late
WHERE b.worker_id = late.worker_id RETURNING b.worker_id
"""
_REQUEST_END = """
UPDATE backfill.run_beats SET must_end_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE run_id = %(run_id)s AND ended_at IS NULL AND must_end_at IS NULL
"""
_FORGET = "DELETE FROM backfill.run_beats WHERE run_id = %(run_id)s"


class RunGivenUp(BackfillError):  # noqa: N818 - names a state of the run
    """The run has been failed or cancelled from elsewhere; no further process may work for it."""


@dataclass(frozen=True, slots=True)
class BeatingProcess:
    """A process at work on a run of Dagster.

    Attributes:
        worker_id: a new one for each process and run.
        run_id: of Dagster.
        step_key: the process carries out this step only; None: the whole run.
        host: as ``store.processes.get_host_id`` names it.
        pid: on that host.
        patience: seconds of silence after which it counts as lost.
    """

    worker_id: UUID
    run_id: str
    step_key: str | None
    host: str
    pid: int
    patience: float


@dataclass(frozen=True, slots=True)
class Beat:
    """A process that has not ended, as the database has heard of it.

    Attributes:
        worker_id: as in ``BeatingProcess``.
        step_key: as in ``BeatingProcess``.
        host: as in ``BeatingProcess``.
        pid: as in ``BeatingProcess``.
        seconds: how long ago it was heard of.
        is_lost: silent for longer than its patience, and missed before.
        must_end: its run has been given up already.
    """

    worker_id: UUID
    step_key: str | None
    host: str
    pid: int
    seconds: float
    is_lost: bool
    must_end: bool


def compute_patience(database_patience_seconds: float) -> float:
    """Seconds of silence after which a process is lost that waits ``database_patience_seconds`` for its database."""
    return max(database_patience_seconds, SHORTEST_PATIENCE_SECONDS) + SILENCE_MARGIN_SECONDS


def start_beats(connection: Connection, process: BeatingProcess) -> None:
    """Record a process's first beat.

    Raises:
        RunGivenUp: the run has been failed or cancelled; its other steps must not start.
    """
    connection.execute(_DELETE_OLD, {"days": KEPT_DAYS})
    if connection.execute(_MUST_END, {"run_id": process.run_id}).fetchall() == [(True,)]:
        raise RunGivenUp(f"run {process.run_id} was failed or cancelled while its host was silent; start another run")
    names = ("worker_id", "run_id", "step_key", "host", "pid", "patience")
    connection.execute(_INSERT, dict(zip(names, astuple(process), strict=True)))


def record_beat(database: Database, worker_id: UUID) -> bool:
    """Record a beat; False if the run has been given up, and the process must end itself.

    One statement: a host that is lost within it leaves no lock that a look would wait for.

    Raises:
        DatabaseUnavailable: the server stays unreachable.
    """
    return bool(database.retry_statement(_UPDATE_BEAT, {"worker_id": worker_id}))


def end_beats(connection: Connection, worker_ids: Sequence[UUID]) -> None:
    """Record that processes have done their part."""
    connection.execute(_END, {"worker_ids": list(worker_ids)})


def read_beats(connection: Connection, run_id: str) -> list[Beat]:
    """The processes at work on a run; remembers which of them are missed by now."""
    connection.execute(_MARK_MISSED, {"run_id": run_id, "missed_before": MISSED_BEFORE_SECONDS})
    rows = connection.execute(_SELECT, {"run_id": run_id, "confirmation": CONFIRMATION_SECONDS})
    return [Beat(*row) for row in rows.fetchall()]


def has_beats(connection: Connection, run_id: str) -> bool:
    """Whether any process of the run was ever heard of, ended ones included."""
    return connection.execute(_HAS_BEATS, {"run_id": run_id}).fetchall() == [(True,)]


def give_up(connection: Connection, run_id: str, silent_for: float) -> bool:
    """Give up the processes of a run that have been silent for ``silent_for`` seconds; False if there are none.

    From now on they are refused a beat, and end themselves when they come back.
    """
    return bool(connection.execute(_GIVE_UP, {"run_id": run_id, "silent_for": silent_for}).fetchall())


def request_end(connection: Connection, run_id: str, seconds: float) -> None:
    """Make the processes of a cancelled run end themselves if they are still at work in ``seconds``."""
    connection.execute(_REQUEST_END, {"run_id": run_id, "seconds": seconds})


def forget_run(connection: Connection, run_id: str) -> None:
    """Forget the processes of a run, which is about to be resumed by another one."""
    connection.execute(_FORGET, {"run_id": run_id})
