"""What a person is to decide, with its evidence and a proposal, and what was decided: values, without the store.

They are read and written in ``decisions``.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from backfill_assets.market.calendar.timestamps import format_optional_timestamp

UNDONE = "undone"


class Answer(StrEnum):
    """What a person decided; the values are stored and shown."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person is to decide.

    Attributes:
        kind: of the matter (``backfill.decisions.kinds``).
        subject: what it is about, in words.
        refers_to: what it is about, as keys that are unique within the kind.
        text: what is proposed, and what a rejection does, in words.
        evidence: what speaks for it, each line with a name and a text.
        fingerprint: of the values that it is about; others are another matter.
        ticker: if it is about one.
        rule: of the doubts that it is about.
        waits_since: from when on it calls for an answer (UTC); None if it may be decided and need not be.
    """

    kind: str
    subject: str
    refers_to: tuple[str, ...]
    text: str
    evidence: tuple[tuple[str, str], ...]
    fingerprint: str
    ticker: str | None = None
    rule: str | None = None
    waits_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A proposal in the store, and what was decided; times are UTC.

    ``shown_fingerprint`` is of the values that a person saw last; before that, of those with which it was opened.
    """

    decision_id: int
    proposal: Proposal
    opened_at: datetime
    closed_at: datetime | None
    answer: Answer | None
    note: str | None
    decided_by: str | None
    decided_at: datetime | None
    undone_by: str | None
    undone_at: datetime | None
    shown_fingerprint: str

    @property
    def is_open(self) -> bool:
        """Whether it can be decided."""
        return self.answer is None and self.closed_at is None

    @property
    def waits_since(self) -> datetime | None:
        """From when on it stands in the inbox and calls for an answer; None if it need not be decided."""
        since = self.proposal.waits_since
        return max(since, self.opened_at) if since else None

    def is_waiting(self, now: datetime) -> bool:
        """Whether it calls for an answer at ``now``."""
        return self.is_open and self.waits_since is not None and self.waits_since <= now

    def describe_state(self, now: datetime) -> str:
        """``waits``, ``optional``, ``accepted``, ``rejected`` or ``closed``."""
        if self.answer is not None:
            return str(self.answer)
        if self.closed_at is not None:
            return "closed"
        return "waits" if self.is_waiting(now) else "optional"

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """The decision as JSON values."""
        proposal = self.proposal
        return {
            "id": self.decision_id,
            "state": self.describe_state(now),
            "kind": proposal.kind,
            "subject": proposal.subject,
            "ticker": proposal.ticker,
            "rule": proposal.rule,
            "proposal": proposal.text,
            "evidence": [{"name": name, "text": text} for name, text in proposal.evidence],
            "refers_to": list(proposal.refers_to),
            "opened_at": format_optional_timestamp(self.opened_at),
            "waits_since": format_optional_timestamp(self.waits_since),
            "closed_at": format_optional_timestamp(self.closed_at),
            "note": self.note,
            "decided_by": self.decided_by,
            "decided_at": format_optional_timestamp(self.decided_at),
            "undone_by": self.undone_by,
            "undone_at": format_optional_timestamp(self.undone_at),
        }


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A decision that was taken, or the undo of one: ``accepted``, ``rejected`` or ``undone``; ``at`` is UTC.

    ``changes`` is what was there before, as JSON values; empty for an undo.
    """

    action: str
    at: datetime
    by: str
    note: str | None
    changes: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {
            "action": self.action,
            "at": format_optional_timestamp(self.at),
            "by": self.by,
            "note": self.note,
            "changes": dict(self.changes),
        }


def compute_fingerprint(*values: object) -> str:
    """The fingerprint of JSON values, days and moments."""
    text = json.dumps(values, default=str, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
