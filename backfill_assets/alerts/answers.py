"""What people answer to alerts, and what an answer silences.

An acknowledged alert is not repeated until it gets worse or ends; its end is told. A snoozed one is silent until the
time, whatever happens, and told again then if it still fails.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeAlias

from backfill_assets.alerts.observation import Observation
from backfill_assets.errors import UsageError
from backfill_assets.store import alert_outbox
from backfill_assets.store.alert_answers import (
    AlertAnswer,
    end_answer,
    find_answer,
    record_answer,
    record_first_figure,
)
from backfill_assets.store.postgres.connection import Connection, Database

WORSE_FACTOR = 2  # most figures count bars or symbols and grow while a failure lasts; twice as many is another matter
MAX_NAMED = 10
Effect: TypeAlias = Literal["none", "repeat not", "silent", "tell now"]


def answer_alerts(
    database: Database, names: Sequence[str], answer: AlertAnswer, *, dry_run: bool = False
) -> list[AlertAnswer]:
    """Answer the failing alerts that ``names`` mean, all of them if it is empty; returns one answer for each.

    Args:
        database: where the alerts are.
        names: each a whole name, or a part of exactly one.
        answer: what is answered; its name is not used.
        dry_run: record nothing.

    Raises:
        UsageError: a name means no failing alert, or several; or nothing fails.
    """
    with database.transaction() as connection:
        alert_outbox.lock_alerts(connection)
        failing = [state.name for state in alert_outbox.list_failing(connection)]
        chosen = list(dict.fromkeys(_find_name(name, failing) for name in names)) or failing
        if not chosen:
            raise UsageError("nothing fails, so there is nothing to answer")
        answers = [replace(answer, name=name) for name in chosen]
        for one in answers if not dry_run else ():
            record_answer(connection, one)
    return answers


def _find_name(given: str, failing: Sequence[str]) -> str:
    found = [name for name in failing if name == given] or [name for name in failing if given in name]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(repr(name) for name in (found or failing)[:MAX_NAMED]) or "nothing"
    problem = f"means several that fail: {shown}" if found else f"is nothing that fails; what fails: {shown}"
    raise UsageError(f"{given[:100]!r} {problem}")


def apply_answer(
    connection: Connection, observation: Observation, now: datetime, *, is_failing: bool, has_risen: bool
) -> Effect:
    """What an observation's answer, if there is one, does to its message; ends an answer that is over.

    Args:
        connection: within ``lock_alerts``.
        observation: the newest of its name.
        now: UTC.
        is_failing: whether the failure lasts.
        has_risen: whether its severity has risen.
    """
    answer = find_answer(connection, observation.name)
    if answer is None:
        return "none"
    if answer.until is not None and now < answer.until:
        if not is_failing:
            end_answer(connection, answer.name, "it passes", now)
        return "silent"
    if answer.until is not None or not is_failing:
        end_answer(connection, answer.name, "its time is over" if is_failing else "it passes", now)
        return "tell now" if is_failing else "none"
    if observation.figure:  # 0 while only older sessions keep it failing; that is nothing to compare with
        record_first_figure(connection, answer.name, observation.figure)
    if has_risen or (answer.figure and observation.figure >= WORSE_FACTOR * answer.figure):
        end_answer(connection, answer.name, "it got worse", now)
        return "tell now"
    return "repeat not"
