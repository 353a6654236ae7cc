"""Decisions in the store: what a person is to decide, and what was decided by whom.

One row for each matter and the values that it is about. A decision that was taken stays; other values of the same
matter make another row. Every decision and every undo of one is kept in ``backfill.decision_history``. What is to be
decided, and what a decision changes, is in ``backfill.decisions``.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from backfill_assets.store.evidence.proposals import UNDONE, Answer, Decision, HistoryEntry, Proposal
from backfill_assets.store.postgres.connection import Connection, is_read_only

_LOCK = 0x64636964  # "dcid" in ASCII: one process at a time compares the inbox with the store, decides or undoes
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
_COLUMNS = """
decision_id, kind, subject, refers_to, proposal, evidence, fingerprint, ticker, rule, waits_since, opened_at, closed_at,
decision, note, decided_by, decided_at, undone_by, undone_at, shown_fingerprint
"""
_SELECT_OPEN = f"""
SELECT {_COLUMNS} FROM backfill.decisions WHERE decision IS NULL AND closed_at IS NULL
ORDER BY opened_at, decision_id
"""  # noqa: S608 - only constants are inserted
_SELECT_BY_ID = f"""
SELECT {_COLUMNS} FROM backfill.decisions WHERE decision_id = ANY (%(ids)s) ORDER BY decision_id
"""  # noqa: S608 - only constants are inserted
_SELECT_DECIDED = f"""
SELECT {_COLUMNS} FROM backfill.decisions
WHERE decision IS NOT NULL AND fingerprint = ANY (%(fingerprints)s) ORDER BY decision_id
"""  # noqa: S608 - only constants are inserted
_SELECT_ACCEPTED = f"""
SELECT {_COLUMNS} FROM backfill.decisions
WHERE decision = 'accepted' AND kind = %(kind)s AND refers_to @> ARRAY[%(key)s::text] ORDER BY decision_id DESC
"""  # noqa: S608 - only constants are inserted
_SELECT_LAST = f"""
SELECT {_COLUMNS} FROM backfill.decisions WHERE decided_at IS NOT NULL ORDER BY decided_at DESC, decision_id DESC
LIMIT %(limit)s
"""  # noqa: S608 - only constants are inserted
_SELECT_CLOSED = f"""
SELECT {_COLUMNS} FROM backfill.decisions WHERE decision IS NOT NULL OR closed_at IS NOT NULL
ORDER BY coalesce(decided_at, closed_at) DESC, decision_id DESC
"""  # noqa: S608 - only constants are inserted
_SELECT_NEWER = """
SELECT decision_id FROM backfill.decisions
WHERE kind = %(kind)s AND refers_to && %(refers_to)s::text[] AND decision_id > %(id)s AND closed_at IS NULL
ORDER BY decision_id LIMIT 1
"""
_COUNT_OPEN = """
SELECT count(*) FILTER (WHERE waits_since <= %(now)s), count(*) FILTER (WHERE (waits_since <= %(now)s) IS NOT TRUE)
FROM backfill.decisions WHERE decision IS NULL AND closed_at IS NULL
"""
_INSERT = """
INSERT INTO backfill.decisions (kind, subject, refers_to, proposal, evidence, fingerprint, shown_fingerprint, ticker,
                                rule, waits_since, opened_at)
VALUES (%(kind)s, %(subject)s, %(refers_to)s, %(text)s, %(evidence)s, %(fingerprint)s, %(fingerprint)s, %(ticker)s,
        %(rule)s, %(waits_since)s, %(now)s)
RETURNING decision_id
"""
_UPDATE = """
UPDATE backfill.decisions SET subject = %(subject)s, refers_to = %(refers_to)s, proposal = %(text)s,
       evidence = %(evidence)s, fingerprint = %(fingerprint)s, waits_since = %(waits_since)s
WHERE decision_id = %(id)s
"""
_SHOW = """
UPDATE backfill.decisions d SET shown_fingerprint = t.fingerprint
FROM unnest(%(ids)s::bigint[], %(fingerprints)s::text[]) AS t (id, fingerprint) WHERE d.decision_id = t.id
"""
_CLOSE = "UPDATE backfill.decisions SET closed_at = %(now)s WHERE decision_id = ANY (%(ids)s)"
_DECIDE = """
UPDATE backfill.decisions SET decision = %(action)s, note = %(note)s, decided_by = %(by)s, decided_at = %(now)s
WHERE decision_id = %(id)s
"""
_UNDO = """
UPDATE backfill.decisions SET decision = NULL, note = NULL, decided_by = NULL, decided_at = NULL,
       undone_by = %(by)s, undone_at = %(now)s
WHERE decision_id = %(id)s
"""
_INSERT_HISTORY = """
INSERT INTO backfill.decision_history (decision_id, action, at, by, note, evidence, fingerprint, changes)
VALUES (%(id)s, %(action)s, %(now)s, %(by)s, %(note)s, %(evidence)s, %(fingerprint)s, %(changes)s)
"""
_SELECT_HISTORY = """
SELECT action, at, by, note, changes FROM backfill.decision_history
WHERE decision_id = %(id)s ORDER BY history_id
"""


def lock_decisions(connection: Connection) -> None:
    """Wait until no other process changes the inbox; holds until the end of the transaction."""
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})


def list_open_decisions(connection: Connection) -> list[Decision]:
    """What can be decided, the oldest first."""
    return [_build_decision(row) for row in connection.execute(_SELECT_OPEN.encode())]


def list_closed_decisions(connection: Connection) -> list[Decision]:
    """What was decided, and what vanished by itself, the newest first."""
    return [_build_decision(row) for row in connection.execute(_SELECT_CLOSED.encode())]


def list_last_decided(connection: Connection, limit: int) -> list[Decision]:
    """What was decided last, the newest first."""
    return [_build_decision(row) for row in connection.execute(_SELECT_LAST.encode(), {"limit": limit})]


def read_decisions(connection: Connection, ids: Collection[int]) -> dict[int, Decision]:
    """The decisions with these ids, as far as there are some."""
    found = [_build_decision(row) for row in connection.execute(_SELECT_BY_ID.encode(), {"ids": sorted(ids)})]
    return {decision.decision_id: decision for decision in found}


def find_decided(connection: Connection, fingerprints: Collection[str]) -> list[Decision]:
    """The decisions that were taken about values with these fingerprints."""
    rows = connection.execute(_SELECT_DECIDED.encode(), {"fingerprints": sorted(fingerprints)})
    return [_build_decision(row) for row in rows] if fingerprints else []


def find_newer_decision(connection: Connection, decision: Decision) -> int | None:
    """The id of a later decision about the same, open or taken; None if there is none."""
    values = {
        "kind": decision.proposal.kind,
        "refers_to": list(decision.proposal.refers_to),
        "id": decision.decision_id,
    }
    row = connection.execute(_SELECT_NEWER, values).fetchone()
    return int(row[0]) if row else None


def count_open_decisions(connection: Connection, now: datetime) -> tuple[int, int]:
    """How many decisions call for an answer, and how many others may be decided."""
    waiting, optional = connection.execute(_COUNT_OPEN, {"now": now}).fetchall()[0]
    return int(waiting), int(optional)


def find_open_decision(connection: Connection, proposal: Proposal) -> Decision | None:
    """The open decision about what a proposal refers to; None if there is none."""
    keys = set(proposal.refers_to)
    found = (d for d in list_open_decisions(connection) if d.proposal.kind == proposal.kind)
    return next((decision for decision in found if keys & set(decision.proposal.refers_to)), None)


def list_accepted(connection: Connection, kind: str, key: str) -> list[Decision]:
    """The decisions of a kind that were accepted and refer to a key, the newest first."""
    rows = connection.execute(_SELECT_ACCEPTED.encode(), {"kind": kind, "key": key})
    return [_build_decision(row) for row in rows]


def add_decision(connection: Connection, proposal: Proposal, now: datetime) -> Decision:
    """Put a proposal into the inbox; returns it as a decision."""
    (decision_id,) = connection.execute(_INSERT, {**_build_values(proposal), "now": now}).fetchall()[0]
    return read_decisions(connection, [decision_id])[decision_id]


def update_decision(connection: Connection, decision_id: int, proposal: Proposal) -> None:
    """Replace what an open decision is about by its present values."""
    connection.execute(_UPDATE, {**_build_values(proposal), "id": decision_id})


def record_shown(connection: Connection, decisions: Collection[Decision]) -> None:
    """Record that a person sees open decisions with these values; a read-only database stays as it is."""
    new = [d for d in decisions if d.is_open and d.shown_fingerprint != d.proposal.fingerprint]
    if new and not is_read_only(connection):
        ids, fingerprints = [d.decision_id for d in new], [d.proposal.fingerprint for d in new]
        connection.execute(_SHOW, {"ids": ids, "fingerprints": fingerprints})


def close_decisions(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """Close open decisions whose matter is gone."""
    connection.execute(_CLOSE, {"ids": list(ids), "now": now})


def record_answer(
    connection: Connection,
    decision: Decision,
    answer: Answer,
    *,
    by: str,
    note: str | None,
    now: datetime,
    changes: Mapping[str, Any],
) -> None:
    """Record what a person decided, and what was there before (``changes``, JSON values)."""
    values = {"id": decision.decision_id, "action": str(answer), "note": note, "by": by, "now": now}
    connection.execute(_DECIDE, values)
    _add_history(connection, decision, values, changes)


def record_upheld(
    connection: Connection, decision: Decision, proposal: Proposal, *, now: datetime, changes: Mapping[str, Any]
) -> None:
    """Record that a decision that was taken was applied to what came since, which ``proposal`` describes."""
    values = {
        "id": decision.decision_id,
        "action": str(decision.answer),
        "note": decision.note,
        "by": decision.decided_by,
        "now": now,
    }
    _add_history(connection, replace(decision, proposal=proposal), values, changes)


def record_undo(connection: Connection, decision: Decision, *, by: str, note: str | None, now: datetime) -> None:
    """Record that a decision was undone; it is open again."""
    values = {"id": decision.decision_id, "action": UNDONE, "note": note, "by": by, "now": now}
    connection.execute(_UNDO, values)
    _add_history(connection, decision, values, {})


def list_history(connection: Connection, decision_id: int) -> list[HistoryEntry]:
    """Every decision about a matter and every undo, the oldest first."""
    rows = connection.execute(_SELECT_HISTORY, {"id": decision_id})
    return [HistoryEntry(action, at.astimezone(UTC), by, note, changes) for action, at, by, note, changes in rows]


def _add_history(
    connection: Connection, decision: Decision, values: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    proposal = decision.proposal
    more = {
        "evidence": json.dumps(proposal.evidence),
        "fingerprint": proposal.fingerprint,
        "changes": json.dumps(changes, default=str),
    }
    connection.execute(_INSERT_HISTORY, {**values, **more})


def _build_values(proposal: Proposal) -> dict[str, Any]:
    return {
        "kind": proposal.kind,
        "subject": proposal.subject,
        "refers_to": list(proposal.refers_to),
        "text": proposal.text,
        "evidence": json.dumps(proposal.evidence),
        "fingerprint": proposal.fingerprint,
        "ticker": proposal.ticker,
        "rule": proposal.rule,
        "waits_since": proposal.waits_since,
    }


def _build_decision(row: Sequence[Any]) -> Decision:
    values: list[Any] = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    decision_id, kind, subject, refers_to, text, evidence, fingerprint, ticker, rule, waits_since, *others = values
    lines = tuple((name, line) for name, line in evidence)
    proposal = Proposal(kind, subject, tuple(refers_to), text, lines, fingerprint, ticker, rule, waits_since)
    opened_at, closed_at, answer, *of_person = others
    return Decision(decision_id, proposal, opened_at, closed_at, Answer(answer) if answer else None, *of_person)
