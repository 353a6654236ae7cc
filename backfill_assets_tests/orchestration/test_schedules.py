"""The schedule of the checks: valid cron expressions are loaded, and errors name the setting."""

import dagster as dg
import pytest

from backfill_assets.config.settings import load_settings
from backfill_assets.errors import UsageError
from backfill_assets.orchestration.schedules import build_window_checks_schedule
from backfill_assets.orchestration.verify_jobs import build_verify_job

VERIFY_JOB = build_verify_job("30m")
# fmt: off
CRON_FIELDS = [
    "*", "0", "1", "2", "5", "7", "8", "12", "13", "23", "24", "29", "30", "31", "32", "59", "60", "99", "00", "07",
    "007", "jan", "DEC", "feb", "mon", "SUN", "sat", "xyz", "1-5", "5-1", "0-7", "6-7", "7-1", "22-4", "31-1",
    "nov-feb", "fri-mon", "mon-3", "1-", "-1", "1--5", "*-5", "*/1", "*/2", "*/15", "*/70", "*/0", "*/00", "1/2",
    "5/10", "30/5", "1-5/2", "1-5/0", "22-4/3", "2,4", "1,2,,3", "*,5", "1,x", "*/15,7", "1.5", "+1", "?", "L", "1#2",
    "@", "½", "١", "1/-2", "2/", "/2",
]
# fmt: on
EXPRESSIONS = [" ".join(["*"] * at + [field] + ["*"] * (4 - at)) for at in range(5) for field in CRON_FIELDS]
DAY_EXPRESSIONS = [
    f"0 0 {days} {months} *"
    for days in ("29", "30", "31", "30,31", "31-1", "30/1")
    for months in ("2", "feb", "4", "2,3")
]
VALID = [
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
INVALID = [
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


def is_loaded(expression: str) -> bool:
    """Return whether setting and schedule accept the expression; an error message must name the setting."""
    try:
        build_window_checks_schedule(load_settings(checks_cron=expression), VERIFY_JOB)
    except UsageError as error:
        message = str(error)
    else:
        message = ""
    assert not message or message.startswith(f"BACKFILL_CHECKS_CRON is {expression!r}: ")
    assert not message or message.endswith("; example: */15 * * * *")
    return not message


def is_accepted_by_dagster(expression: str) -> bool:
    try:
        dg.ScheduleDefinition(name="checks", job_name="verify_window", cron_schedule=expression)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


def test_accepted_expressions_are_accepted_by_dagster() -> None:
    loaded = [expression for expression in (*EXPRESSIONS, *DAY_EXPRESSIONS, *VALID) if is_loaded(expression)]
    assert [expression for expression in loaded if not is_accepted_by_dagster(expression)] == []
    assert len(loaded) > 100


@pytest.mark.parametrize("expression", VALID)
def test_a_valid_expression_is_loaded(expression: str) -> None:
    assert is_loaded(expression)


@pytest.mark.parametrize("expression", INVALID)
def test_an_invalid_expression_is_refused(expression: str) -> None:
    assert not is_loaded(expression)
