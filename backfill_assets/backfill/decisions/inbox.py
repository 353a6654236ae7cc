"""The inbox: brought up to date with what the store holds, decided by people, and undone.

Which kinds there are is in ``kinds``; the rows are in ``store.evidence.decisions``.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from backfill_assets.backfill.decisions.kind import Changes, DecisionContext, DecisionRefused, create_context
from backfill_assets.backfill.decisions.kinds import KINDS
from backfill_assets.store.evidence.decisions import (
    add_decision,
    close_decisions,
    find_decided,
    find_newer_decision,
    find_open_decision,
    list_history,
    list_open_decisions,
    lock_decisions,
    read_decisions,
    record_answer,
    record_undo,
    record_upheld,
    update_decision,
)
from backfill_assets.store.evidence.proposals import UNDONE, Answer, Decision, HistoryEntry, Proposal
from backfill_assets.store.postgres.connection import Connection, Database, is_read_only


@dataclass(frozen=True, slots=True)
class InboxChanges:
    """How the inbox differs from what is to be decided now.

    Attributes:
        new: matters that are not in it.
        renewed: open decisions whose matter has other values now.
        vanished: open decisions whose matter is gone.
        upheld: matters that were decided about the same values.
    """

    new: Sequence[Proposal] = ()
    renewed: Mapping[int, Proposal] = field(default_factory=dict)
    vanished: Sequence[int] = ()
    upheld: Sequence[tuple[Decision, Proposal]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the inbox is up to date."""
        to_uphold = any(KINDS[proposal.kind].uphold for _, proposal in self.upheld)
        return not (self.new or self.renewed or self.vanished or to_uphold)


def compare_inbox(
    proposals: Iterable[Proposal], open_decisions: Iterable[Decision], decided: Iterable[Decision]
) -> InboxChanges:
    """Compare what is to be decided with the open decisions, and with those that were taken about the same values.

    An open decision is about a matter if they refer to the same thing, whatever its values are.
    """
    left = {decision.decision_id: decision for decision in open_decisions}
    id_by_key = {(d.proposal.kind, key): d.decision_id for d in left.values() for key in d.proposal.refers_to}
    held = {(d.proposal.kind, d.proposal.fingerprint): d for d in decided if _holds(d)}
    new: list[Proposal] = []
    renewed: dict[int, Proposal] = {}
    upheld: list[tuple[Decision, Proposal]] = []
    for proposal in proposals:
        if earlier := held.get((proposal.kind, proposal.fingerprint)):
            upheld.append((earlier, proposal))
            continue
        ids = (id_by_key.get((proposal.kind, key)) for key in proposal.refers_to)
        matched = left.pop(next((found for found in ids if found in left), 0), None)
        if matched is None:
            new.append(proposal)
        elif matched.proposal != proposal:
            renewed[matched.decision_id] = proposal
    return InboxChanges(new, renewed, sorted(left), upheld)


def refresh_inbox(database: Database, now: datetime) -> None:
    """Bring the inbox up to date; writes only if something has changed, and nothing to a read-only database."""
    with database.transaction() as connection:
        if is_read_only(connection) or _find_changes(connection, now).is_empty:
            return
    with database.transaction() as connection:
        _refresh(connection, now)


def decide(
    database: Database,
    ids: Collection[int],
    answer: Answer,
    *,
    by: str,
    note: str | None,
    now: datetime,
    was_shown: bool = True,
) -> list[Decision]:
    """Accept or reject decisions, all of them or none; returns them as they are now.

    Args:
        database: the store.
        ids: the decisions.
        answer: what is decided.
        by: user and machine.
        note: in the user's words.
        now: the moment, UTC.
        was_shown: whether the user has seen them one by one: then their values must be those that were shown.

    Raises:
        DecisionRefused: one of them is unknown, decided or gone, has other values than shown, or its effect fails.
    """
    with database.transaction() as connection:
        lock_decisions(connection)
        _refresh(connection, now)
        decisions = read_decisions(connection, ids)
        faults = [_find_fault(key, decisions.get(key)) for key in sorted(ids)]
        if was_shown:
            faults += [_find_difference(decision) for decision in decisions.values()]
        _require_none(list(filter(None, faults)), of=len(set(ids)))
        context = create_context(connection, now, by, note)
        for decision in decisions.values():
            kind = KINDS[decision.proposal.kind]
            effect = kind.accept if answer is Answer.ACCEPTED else kind.reject
            changes = effect(context, decision)
            record_answer(connection, decision, answer, by=by, note=note, now=now, changes=changes)
        _refresh(connection, now)
        return list(read_decisions(connection, ids).values())


def decide_at_once(
    database: Database,
    proposal: Proposal,
    effect: Callable[[DecisionContext], Changes],
    *,
    by: str,
    note: str | None,
    now: datetime,
) -> Decision:
    """Accept what a person proposes; returns the decision, which can be undone like any other.

    An open decision about the same is the one that is taken.

    Args:
        database: the store.
        proposal: what the person wants, with the evidence that was shown.
        effect: does it.
        by: user and machine.
        note: in the user's words.
        now: the moment, UTC.

    Raises:
        UsageError: the effect fails; nothing was decided.
    """
    with database.transaction() as connection:
        lock_decisions(connection)
        _refresh(connection, now)
        decision = find_open_decision(connection, proposal) or add_decision(connection, proposal, now)
        update_decision(connection, decision.decision_id, proposal)
        context = create_context(connection, now, by, note)
        changes = effect(context)
        answered = replace(decision, proposal=proposal)
        record_answer(connection, answered, Answer.ACCEPTED, by=by, note=note, now=now, changes=changes)
        _refresh(connection, now)
        return read_decisions(connection, [decision.decision_id])[decision.decision_id]


def undo(database: Database, decision_id: int, *, by: str, note: str | None, now: datetime) -> Decision:
    """Undo a decision: what it changed is restored, and it is open again; returns it as it is now.

    Raises:
        DecisionRefused: it is unknown or not decided, or what it is about has changed since.
    """
    with database.transaction() as connection:
        lock_decisions(connection)
        _refresh(connection, now)
        decision = read_decisions(connection, [decision_id]).get(decision_id)
        if decision is None:
            raise DecisionRefused(describe_unknown(decision_id))
        if decision.answer is None:
            raise DecisionRefused(f"decision {decision_id} is not decided, so there is nothing to undo")
        if newer := find_newer_decision(connection, decision):
            raise DecisionRefused(
                f"decision {decision_id} cannot be undone: its values have changed since, and decision {newer} is about"
                f" the new ones; see: backfill-assets decisions show {newer}"
            )
        context = create_context(connection, now, by, note)
        history = list_history(connection, decision_id)
        record_undo(connection, decision, by=by, note=note, now=now)  # first: what is restored asks what was decided
        for entry in reversed(_select_since_undo(history)):
            KINDS[decision.proposal.kind].undo(context, decision, entry.changes)
        _refresh(connection, now)
        return read_decisions(connection, [decision_id])[decision_id]


def describe_unknown(decision_id: int) -> str:
    """What to say of an id that no decision has."""
    return f"there is no decision {decision_id}; see: backfill-assets decisions list --all"


def _holds(decision: Decision) -> bool:
    """Whether a decision that was taken also answers a matter with the same values that is there now."""
    kind = KINDS.get(decision.proposal.kind)
    return kind is not None and (decision.answer is Answer.REJECTED or kind.holds_when_accepted)


def _find_changes(connection: Connection, now: datetime) -> InboxChanges:
    proposals = [proposal for kind in KINDS.values() for proposal in kind.list_proposals(connection, now)]
    decided = find_decided(connection, {proposal.fingerprint for proposal in proposals})
    known = [decision for decision in list_open_decisions(connection) if decision.proposal.kind in KINDS]
    return compare_inbox(proposals, known, decided)


def _refresh(connection: Connection, now: datetime) -> None:
    lock_decisions(connection)
    changes = _find_changes(connection, now)
    for proposal in changes.new:
        add_decision(connection, proposal, now)
    for decision_id, proposal in changes.renewed.items():
        update_decision(connection, decision_id, proposal)
    if changes.vanished:
        close_decisions(connection, changes.vanished, now)
    for decision, proposal in changes.upheld:
        if uphold := KINDS[proposal.kind].uphold:
            context = create_context(connection, now, decision.decided_by or "", decision.note)
            record_upheld(connection, decision, proposal, now=now, changes=uphold(context, decision, proposal))


def _select_since_undo(history: Sequence[HistoryEntry]) -> Sequence[HistoryEntry]:
    """What was decided, and what was upheld, since the last undo."""
    undone = [position for position, entry in enumerate(history) if entry.action == UNDONE]
    return history[undone[-1] + 1 :] if undone else history


def _find_fault(decision_id: int, decision: Decision | None) -> str | None:
    """Why a decision cannot be taken; None if it can."""
    if decision is None:
        return describe_unknown(decision_id)
    if decision.answer is not None:
        return (
            f"decision {decision_id} was {decision.answer} by {decision.decided_by} at"
            f" {decision.decided_at:%Y-%m-%d %H:%M} UTC; to decide otherwise, undo it:"
            f" backfill-assets decisions undo {decision_id}"
        )
    if decision.closed_at is not None:
        return f"decision {decision_id} is closed: {decision.proposal.subject} is settled without it"
    return None


def _find_difference(decision: Decision) -> str | None:
    if decision.is_open and decision.shown_fingerprint != decision.proposal.fingerprint:
        return (
            f"decision {decision.decision_id} has other values now than when it was shown; see:"
            f" backfill-assets decisions show {decision.decision_id}"
        )
    return None


def _require_none(faults: Sequence[str], *, of: int) -> None:
    if faults and of == 1:
        raise DecisionRefused(faults[0])
    if faults:
        raise DecisionRefused(f"nothing was decided, because {len(faults)} of {of} decisions cannot be", faults)
