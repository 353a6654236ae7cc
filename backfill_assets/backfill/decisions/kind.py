"""What every kind of decision has: how its matters are found, and what accepting, rejecting and undoing do.

The kinds are in modules of their own, the table of them in ``kinds``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS, Interval
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.evidence.proposals import Answer, Decision, Proposal
from backfill_assets.store.postgres.connection import Connection

# What was there before a decision, as JSON values: an undo restores it.
Changes: TypeAlias = dict[str, Any]


class DecisionRefused(UsageError):  # noqa: N818 - names what happened to the decision
    """A decision that cannot be taken or undone; the message says why (exit code 2)."""


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """How decisions are carried out.

    Attributes:
        connection: with a transaction open.
        now: the moment, UTC.
        by: user and machine.
        note: in the user's words.
        intervals: the intervals by name, with the table's spellings.
    """

    connection: Connection
    now: datetime
    by: str
    note: str | None
    intervals: Mapping[str, Interval]

    def describe(self, answer: Answer) -> str:
        """Who decided what, and why: ``accepted by ann@host: seen on the tape``."""
        return f"{answer} by {self.by}" + (f": {self.note}" if self.note else "")


def create_context(connection: Connection, now: datetime, by: str, note: str | None) -> DecisionContext:
    """The context of decisions that one person takes at once."""
    intervals = adopt_spellings(connection, list(INTERVALS.values()))
    return DecisionContext(connection, now, by, note, {interval.name: interval for interval in intervals})


@dataclass(frozen=True, slots=True)
class DecisionKind:
    """A kind of decision.

    Attributes:
        name: stored, shown, and chosen with ``--kind``.
        one: a matter of this kind in words.
        many: matters of this kind in words.
        list_proposals: what is to be decided now (moment in UTC), also what was decided already and still holds.
        accept: does what was proposed.
        reject: does what a rejection means.
        undo: restores what accepting, rejecting or upholding returned; raises ``DecisionRefused`` if it has changed
            since.
        holds_when_accepted: whether a matter is still there after it was accepted. If not, one that is there again is
            decided again; a rejected one is not while its values are the same.
        uphold: applies an earlier decision to what came to a matter since, with the same values.
    """

    name: str
    one: str
    many: str
    list_proposals: Callable[[Connection, datetime], Sequence[Proposal]]
    accept: Callable[[DecisionContext, Decision], Changes]
    reject: Callable[[DecisionContext, Decision], Changes]
    undo: Callable[[DecisionContext, Decision, Mapping[str, Any]], None]
    holds_when_accepted: bool = False
    uphold: Callable[[DecisionContext, Decision, Proposal], Changes] | None = None


def change_nothing(context: DecisionContext, decision: Decision) -> Changes:  # noqa: ARG001 - the signature of a kind
    """Accept or reject where only the answer is recorded."""
    return {}
