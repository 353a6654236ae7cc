"""The schedule of the checks: a usual cron expression is loaded, an invalid one is refused with the setting's name."""

import dagster as dg
import pytest

from backfill_assets.config.settings import load_settings
from backfill_assets.errors import UsageError
from backfill_assets.orchestration.jobs import build_verify_job
from backfill_assets.orchestration.schedules import build_window_checks_schedule

VERIFY_JOB = build_verify_job("30m")
# fmt: off
PARTS = [
    "*", "0", "1", "2", "5", "7", "8", "12", "13", "23", "24", "29", "30", "31", "32", "59", "60", "99", "00", "07",
    "007", "jan", "DEC", "feb", "mon", "SUN", "sat", "xyz", "1-5", "5-1", "0-7", "6-7", "7-1", "22-4", "31-1",
    "nov-feb", "fri-mon", "mon-3", "1-", "-1", "1--5", "*-5", "*/1", "*/2", "*/15", "*/70", "*/0", "*/00", "1/2",
    "5/10", "30/5", "1-5/2", "1-5/0", "22-4/3", "2,4", "1,2,,3", "*,5", "1,x", "*/15,7", "1.5", "+1", "?", "L", "1#2",
    "@", "½", "١", "1/-2", "2/", "/2",
]
# fmt: on
LINES = [" ".join(["*"] * at + [part] + ["*"] * (4 - at)) for at in range(5) for part in PARTS]
DAYS = [
    f"0 0 {days} {months} *"
    for days in ("29", "30", "31", "30,31", "31-1", "30/1")
    for months in ("2", "feb", "4", "2,3")
]
GOOD = [
    "*/15 * * * *",
    "0 8 * * 2-6",
    "0 8 * * mon-fri",
    "0 8 * * FRI-mon",
    "0 22-4 * * *",
    "5/10 * * * *",
    "00 09 1,15 jan,jul *",
    "0 0 29 2 *",
    "0-59/20 9-16 * * 1-5",
    "0 12 * * 7",
    "0 0 31 1-3 *",
]
BAD = [
    "99 * * * *",
    "a b c d e",
    "*/0 * * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 * 13 *",
    "0 0 * * 8",
    "1- * * * *",
    "0 0 30 feb *",
]


def is_loaded(line: str) -> bool:
    """Whether setting and schedule accept ``line``; where they do not, the message must name the setting."""
    try:
        build_window_checks_schedule(load_settings(checks_cron=line), VERIFY_JOB)
    except UsageError as error:
        message = str(error)
    else:
        message = ""
    assert not message or message.startswith(f"BACKFILL_CHECKS_CRON is {line!r}: ")
    assert not message or message.endswith("; example: */15 * * * *")
    return not message


def is_accepted_by_dagster(line: str) -> bool:
    try:
        dg.ScheduleDefinition(name="checks", job_name="verify_window", cron_schedule=line)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


def test_an_accepted_expression_is_one_that_dagster_accepts_and_others_are_refused_by_name() -> None:
    loaded = [line for line in (*LINES, *DAYS, *GOOD) if is_loaded(line)]
    assert [line for line in loaded if not is_accepted_by_dagster(line)] == []
    assert len(loaded) > 100


@pytest.mark.parametrize("line", GOOD)
def test_a_usual_expression_is_loaded(line: str) -> None:
    assert is_loaded(line)


@pytest.mark.parametrize("line", BAD)
def test_an_invalid_expression_is_refused(line: str) -> None:
    assert not is_loaded(line)
