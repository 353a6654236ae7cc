"""A few inputs of every family of the fuzz (``make fuzz`` tries thousands), and proof that the fuzz sees a fault."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from backfill_assets_tests.fuzz.answer_rows import draw_row_change
from backfill_assets_tests.fuzz.command_runs import CODE_OF_A_HANG, CommandRun
from backfill_assets_tests.fuzz.families import FAMILIES
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict, draw_input, shrink
from backfill_assets_tests.fuzz.oracle import TOKEN, judge_runs
from backfill_assets_tests.fuzz.reply import Reply
from backfill_assets_tests.fuzz.vendor import Answer
from backfill_assets_tests.fuzz.workbench import Workbench

pytestmark = pytest.mark.no_cover

INPUTS = {
    **{"answers": 4, "tables": 6, "files": 8, "settings": 8, "options": 8, "paths": 5, "locales": 1, "actions": 6},
    **{"reads": 20, "certified": 6},
}
FIRST_SEED = 1


@pytest.fixture(scope="module")
def workbench(template_url: str, home: Path) -> Iterator[Workbench]:
    folder = home / "fuzz"
    folder.mkdir()
    with Workbench(template_url, folder, TOKEN, 0) as opened:
        yield opened
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", FAMILIES)
def test_inputs_of_the_family_are_no_findings(workbench: Workbench, name: str) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + INPUTS[name]):
        fuzz_input = draw_input(FAMILIES[name], seed)
        verdict = FAMILIES[name].judge(workbench, fuzz_input)
        assert verdict.faults == (), f"{name}:{seed} {fuzz_input.describe()}"


FAULTS = {
    "a bug": CommandRun(("run",), 1, "", "bug: KeyError: 'x'; run again with --debug and report the output\n"),
    "an unknown exit code": CommandRun(("run",), 120, "", "OSError\n"),
    "a hang": CommandRun(("run",), CODE_OF_A_HANG, "", "hang: no end within 60 s\n"),
    "a traceback": CommandRun(("run",), 3, "", "Traceback (most recent call last):\n"),
    "a secret": CommandRun(("run",), 0, f"api_token={TOKEN}", ""),
    "no JSON": CommandRun(("report", "--format", "json"), 0, '[{"share": NaN}]', ""),
    "no word": CommandRun(("run",), 2, "", ""),
}


@pytest.mark.parametrize("run", FAULTS.values(), ids=FAULTS)
def test_fault_is_seen(run: CommandRun) -> None:
    assert judge_runs([run]).faults


def test_documented_end_is_no_fault() -> None:
    runs = [CommandRun(("run",), code, "26 missing", "error: a reason\n") for code in (0, 2, 3, 4, 5, 6)]
    assert judge_runs(runs) == Verdict((0, 2, 3, 4, 5, 6))


def test_the_same_seed_draws_the_same_input() -> None:
    for name, family in FAMILIES.items():
        descriptions = [draw_input(family, seed).describe() for seed in (1, 1, 2)]
        assert descriptions[0] == descriptions[1] != descriptions[2], name


def test_a_finding_is_reduced_to_the_changes_it_needs() -> None:
    changes = tuple(Change(str(n), lambda value: value) for n in range(5))
    reduced = shrink(FuzzInput("x", changes), lambda tried: {"1", "3"} <= {c.description for c in tried.changes})
    assert reduced.describe() == "x | 1 | 3"


ODD_VALUES = {"huge": 10**400, "infinite": float("inf"), "text": "x", "none": None, "list": [], "object": {"a": 1}}


@pytest.mark.parametrize("value", ODD_VALUES.values(), ids=ODD_VALUES)
def test_every_change_of_rows_accepts_what_an_earlier_change_left(value: object) -> None:
    row = dict.fromkeys(("timestamp", "open", "high", "low", "close", "volume"), value)
    for seed in range(400):
        changed = draw_row_change(Random(seed)).apply(Reply(Answer(), [row, row], is_json=True))
        assert changed.finish().body
