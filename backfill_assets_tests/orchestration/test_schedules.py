"""When the checks run: a line that passes as a setting is one that Dagster loads."""

import dagster as dg
import pytest

from backfill_assets.config.validators import validate_cron

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
    "0 0 31 4,6 *",
]


def passes(line: str) -> bool:
    try:
        return validate_cron(line) == line
    except ValueError:
        return False


def loads(line: str) -> bool:
    try:
        dg.ScheduleDefinition(name="checks", job_name="verify_window", cron_schedule=line)
    except dg.DagsterInvalidDefinitionError:
        return False
    return True


def test_what_passes_dagster_loads() -> None:
    passed = [line for line in (*LINES, *DAYS, *GOOD) if passes(line)]
    assert [line for line in passed if not loads(line)] == []
    assert len(passed) > 100


@pytest.mark.parametrize("line", GOOD)
def test_usual_lines_pass(line: str) -> None:
    assert passes(line)


@pytest.mark.parametrize("line", BAD)
def test_what_cannot_be_meant_does_not(line: str) -> None:
    assert not passes(line)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match=r"'24' is no hour \(0 to 23\)"):
        validate_cron("0 24 * * *")
