"""How doubts become decisions, and how the inbox follows what is to be decided."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.backfill.decisions.doubts import find_waiting_since, split_into_groups
from backfill_assets.backfill.decisions.inbox import InboxChanges, compare_inbox
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.evidence.decided_doubts import UndecidedDoubt
from backfill_assets.store.evidence.doubts import Outcome
from backfill_assets.store.evidence.proposals import Answer, Decision, Proposal

NOW = datetime(2026, 6, 3, 14, tzinfo=UTC)
FIRST_DAY = date(2026, 1, 5)
PROPOSAL = Proposal("doubt", "AAPL.US", ("1", "2"), "keep it", (("rule", "x"),), "of one and two")
OPEN = Decision(7, PROPOSAL, NOW, None, None, None, None, None, None, None, PROPOSAL.fingerprint)


def build_doubt(day: int, symbol_id: int = 1, rule: Rule = Rule.FROZEN) -> UndecidedDoubt:
    """A doubt about a session ``day`` days after the first one."""
    slot = datetime(2026, 1, 5, 14, 30, tzinfo=UTC) + timedelta(days=day)
    session = FIRST_DAY + timedelta(days=day)
    return UndecidedDoubt(
        1, symbol_id, session, rule, slot, slot, {}, 0, "5m", from_audit=False, opened_at=NOW, outcome=None,
        other_feed=None, values_hash="",
    )  # fmt: skip


def decide(answer: Answer, proposal: Proposal = PROPOSAL) -> Decision:
    return replace(OPEN, proposal=proposal, answer=answer, decided_by="ann@host", decided_at=NOW)


def test_forty_neighbouring_sessions_are_one_group_and_far_ones_others() -> None:
    doubts = [build_doubt(day) for day in (*range(40), 46, 54)]
    doubts += [build_doubt(55, rule=Rule.PRICE_SPIKE), build_doubt(55, symbol_id=2, rule=Rule.PRICE_SPIKE)]
    assert [len(group) for group in split_into_groups(doubts, 7)] == [41, 1, 1, 1]
    assert [len(group) for group in split_into_groups(doubts, None)] == [42, 1, 1]
    assert split_into_groups([], 7) == []


def test_doubts_wait_from_the_day_after_the_first_was_opened() -> None:
    fresh, older = build_doubt(0), replace(build_doubt(1), opened_at=NOW - timedelta(hours=5))
    standing = replace(build_doubt(2), outcome=Outcome.STANDS, opened_at=NOW - timedelta(days=30))
    audited = replace(build_doubt(3), from_audit=True)
    assert find_waiting_since([fresh, older, standing]) == NOW + timedelta(hours=19)
    assert find_waiting_since([standing]) is None
    assert find_waiting_since([fresh, audited]) == NOW


def test_a_decision_follows_its_matter() -> None:
    joined = replace(PROPOSAL, refers_to=("2", "3"), fingerprint="of two and three")
    assert compare_inbox([PROPOSAL], [OPEN], []).is_empty
    assert compare_inbox([PROPOSAL], [], []) == InboxChanges(new=[PROPOSAL], vanished=[], upheld=[])
    assert compare_inbox([joined], [OPEN], []).renewed == {7: joined}
    assert compare_inbox([], [OPEN], []).vanished == [7]


def test_a_matter_that_was_split_keeps_its_number_once() -> None:
    parts = [replace(PROPOSAL, refers_to=(key,), fingerprint=key) for key in ("1", "2")]
    changes = compare_inbox(parts, [OPEN], [])
    assert (changes.renewed, changes.new) == ({7: parts[0]}, [parts[1]])


def test_the_same_key_of_another_kind_is_another_matter() -> None:
    other = replace(PROPOSAL, kind="closure")
    changes = compare_inbox([other], [OPEN], [])
    assert (changes.new, changes.vanished) == ([other], [7])


@pytest.mark.parametrize(
    ("kind", "answer", "is_held"),
    [
        ("rename", Answer.REJECTED, True),
        ("rename", Answer.ACCEPTED, False),  # it was activated again by hand
        ("closure", Answer.ACCEPTED, True),  # the finding stays until the calendar is corrected
    ],
)
def test_an_answer_about_the_same_values_holds(kind: str, answer: Answer, is_held: bool) -> None:
    proposal = replace(PROPOSAL, kind=kind)
    changes = compare_inbox([proposal], [], [decide(answer, proposal)])
    assert (changes.new == [], changes.is_empty) == (is_held, is_held)
    other = replace(proposal, fingerprint="of other values")
    assert compare_inbox([other], [], [decide(answer, proposal)]).new == [other]
