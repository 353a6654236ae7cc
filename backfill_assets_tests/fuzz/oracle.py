"""What every command must keep, whatever its input: documented exit codes, no traceback, no secret, valid JSON."""

import json
import re
from collections.abc import Iterable

from backfill_assets_tests.fuzz.command_runs import CODE_OF_A_HANG, CommandRun
from backfill_assets_tests.fuzz.inputs import Verdict

DOCUMENTED_CODES = {0, 2, 3, 4, 5, 6}  # docs/usage.md, "Exit codes"; 1 is a fault of ours, 130 needs a Ctrl-C
TOKEN = "secret-token-0815-of-the-fuzz"  # noqa: S105 - made up
_COMPLETE_CODES = {0, 3, 4}  # of a command that has printed its result
_PROGRAMMING_WORDS = re.compile(r"(?<![\w'\"-])(None|nan|NaN|NaT|<NA>|Traceback|\w+Warning:)(?![\w'\"-])")
_VARIABLE_PARTS = re.compile(r"\d+|0x[0-9a-f]+|'[^']*'|\"[^\"]*\"")


def judge_runs(
    runs: Iterable[CommandRun],
    more_faults: Iterable[str] = (),
    *,
    may_be_interrupted: bool = False,
    has_own_tables: bool = False,
) -> Verdict:
    """The verdict on the runs of one input; ``more_faults`` are those that its family has found itself.

    With ``has_own_tables`` the database is as this program makes it, so that it has no reason to refuse anything.
    """
    runs = tuple(runs)
    codes = (DOCUMENTED_CODES | ({130} if may_be_interrupted else set())) - ({5} if has_own_tables else set())
    faults = [f"{_name(run)}: {fault}" for run in runs for fault in _find_faults(run, codes)]
    remarks = [f"{_name(run)}: {remark}" for run in runs for remark in _find_remarks(run)]
    return Verdict(tuple(run.code for run in runs), (*faults, *more_faults), tuple(remarks))


def generalize(fault: str) -> str:
    """A fault without the numbers and names of one input: findings of the same cause are told together."""
    return _VARIABLE_PARTS.sub("…", fault)[:160]


def _name(run: CommandRun) -> str:
    return next((word for word in run.arguments if not word.startswith("-")), "no command")


def _find_faults(run: CommandRun, codes: set[int]) -> Iterable[str]:
    printed = run.out + run.err
    if run.code == CODE_OF_A_HANG:
        yield run.last_line
    elif run.code not in codes:
        yield f"exit code {run.code}: {run.last_line}"
    elif "--debug" not in run.arguments and re.search(r"^(bug: |Traceback \(most)", printed, re.MULTILINE):
        yield f"a traceback or a bug is printed: {run.last_line}"
    elif run.code not in _COMPLETE_CODES and not run.err.strip() and not run.out.strip():
        yield f"exit code {run.code} without a word"
    if TOKEN in printed:
        yield "the token is printed"
    if "json" in run.arguments and run.code in _COMPLETE_CODES and (reason := _find_json_fault(run)):
        yield reason


def _find_json_fault(run: CommandRun) -> str | None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    if not run.out.strip() or run.out.startswith(("Usage:", "no session")) or "no session due" in run.out:
        return None
    try:
        json.loads(run.out, parse_constant=refuse)
    except ValueError as error:
        return f"the output is not JSON ({error})"
    return None


def _find_remarks(run: CommandRun) -> Iterable[str]:
    if "json" in run.arguments or "--debug" in run.arguments:
        return
    for line in (run.out + "\n" + run.err).splitlines():
        if match := _PROGRAMMING_WORDS.search(line):
            yield f"{match[1]} in: {line.strip()[:200]}"
            return
