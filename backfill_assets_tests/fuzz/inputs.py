"""What one input of the fuzz is: a scenario and independent changes of it, so that a finding can be reduced.

How inputs are drawn is in the modules of the families (``answers``, ``tables``, ``files``, ``paths``, ``locales``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol

from backfill_assets_tests.fuzz.workbench import Workbench


@dataclass(frozen=True)
class Change:
    """One change of an input. ``apply`` gives the same result each time; it holds its own seed if it draws anything."""

    description: str
    apply: Callable[[Any], Any]


@dataclass(frozen=True)
class FuzzInput:
    """A scenario of a family, and the changes that make it odd."""

    scenario: Any
    changes: tuple[Change, ...] = ()

    def describe(self) -> str:
        """One line, printable as ASCII."""
        parts = [str(self.scenario), *(change.description for change in self.changes)]
        return " | ".join(ascii(part)[1:-1] if not part.isascii() or not part.isprintable() else part for part in parts)


@dataclass(frozen=True)
class Verdict:
    """What an input did.

    Attributes:
        codes: the exit codes of its commands, in order.
        faults: what is certainly wrong, one line each; empty if nothing is.
        remarks: what a person should look at; it fails nothing.
    """

    codes: tuple[int, ...]
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Family(Protocol):
    """A kind of inputs."""

    name: str
    share: int  # of the inputs, in proportion to the other families

    def draw(self, random: Random) -> FuzzInput:
        """Draw an input."""
        ...

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        """Give an input to the commands and judge what they did."""
        ...


@dataclass(frozen=True)
class Result:
    """An input that was tried, its verdict, and if it is a finding its smallest form."""

    family: str
    seed: int
    description: str
    verdict: Verdict
    smallest: str = ""
    seconds: float = field(default=0.0, compare=False)


def draw_input(family: Family, seed: int) -> FuzzInput:
    """The input of a seed: always the same one."""
    return family.draw(Random(f"{family.name}:{seed}"))


def shrink(fuzz_input: FuzzInput, is_finding: Callable[[FuzzInput], bool]) -> FuzzInput:
    """The input without the changes that the finding does not need."""
    for position in reversed(range(len(fuzz_input.changes))):
        smaller = replace(fuzz_input, changes=_remove(fuzz_input.changes, position))
        if is_finding(smaller):
            fuzz_input = smaller
    return fuzz_input


def _remove(changes: Sequence[Change], position: int) -> tuple[Change, ...]:
    return (*changes[:position], *changes[position + 1 :])
