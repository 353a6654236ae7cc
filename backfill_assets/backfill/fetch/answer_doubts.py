"""What an answer of the vendor does to doubts about its bars: opens those of its rows, ends those it no longer shows.

Runs within the transaction that stores the answer, after its bars. What whole days and other sessions say is judged
afterwards, in ``backfill.plausibility``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.plausibility.doubted_rows import list_doubted_volumes
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.judgement import JUDGEMENTS
from backfill_assets.store.evidence.doubt_answers import BarsInDoubt, compare_with_answer, count_repeats
from backfill_assets.store.evidence.doubts import (
    Outcome,
    StoredDoubt,
    end_doubts,
    find_slots,
    list_decided_volumes,
    list_doubts,
    record_doubts,
)
from backfill_assets.store.evidence.narrowing import Stretch, narrow_doubts
from backfill_assets.store.postgres.connection import Connection

NO_LONGER_DOUBTED = "the vendor's newest answer has the same values, and its rows bear them out"
CHANGED = "the vendor's newest answer has other values"
# An answer may lack the sessions that the other rules compare with: that it does not show their doubts says nothing.
_RULES_OF_ONE_SESSION = {rule for entry in JUDGEMENTS if entry.reads_one_session for rule in entry.rules}


def find_excused_volumes(connection: Connection, rows: Columns, grid: SlotGrid) -> Mapping[tuple[int, int], float]:
    """The volumes of an answer that a person decided to be the rows' own, by symbol_id and stamp.

    Args:
        connection: with a transaction open.
        rows: the answer's row table.
        grid: its slots.
    """
    decided = list_decided_volumes(connection, sort_distinct(rows["symbol_id"]).tolist(), grid)
    return {
        (symbol_id, stamp): volume
        for symbol_id, first_stamp, figures in decided
        for stamp, volume in list_doubted_volumes(first_stamp, figures)
    }


def settle_answer_doubts(
    connection: Connection,
    doubts: Sequence[Doubt],
    bars: Columns,
    sessions: Columns,
    *,
    grid: SlotGrid,
    source: Interval,
    now: datetime,
) -> None:
    """Bring the doubts about an answer's bars up to date; ``now`` is the time of the request.

    Only bars that are stored as the answer has them count: another bar keeps its doubts, and gets none.

    Args:
        connection: with a transaction open, in which the bars were written.
        doubts: what the answer's rows show.
        bars: the answer's bars.
        sessions: one row per symbol and session that was requested and has rows: ``symbol_id``, ``day`` (date).
        grid: the slots.
        source: interval of the rows.
        now: the moment, UTC.
    """
    known = _list_known(connection, sessions, grid)
    stretches = [(doubt.symbol_id, doubt.first_slot, doubt.last_slot) for doubt in known]
    stretches += [(doubt.symbol_id, *find_slots(doubt, grid)) for doubt in doubts]
    stored = compare_with_answer(connection, stretches, bars, interval=grid.interval, source=source)
    found = [doubt for doubt, now_stored in zip(doubts, stored[len(known) :], strict=True) if now_stored.is_of_answer]
    _end_and_count(connection, list(zip(known, stored[: len(known)], strict=True)), found, grid, now)
    record_doubts(connection, found, grid=grid, now=now, from_rows=True)


def _list_known(connection: Connection, sessions: Columns, grid: SlotGrid) -> list[StoredDoubt]:
    if not len(sessions):
        return []
    days = sessions["day"].tolist()
    covered = set(zip(sessions["symbol_id"].tolist(), days, strict=True))
    symbol_ids = sort_distinct(sessions["symbol_id"]).tolist()
    known = list_doubts(connection, symbol_ids, grid.interval, min(days), max(days))
    return [doubt for doubt in known if (doubt.symbol_id, doubt.session_day) in covered]


def _end_and_count(
    connection: Connection,
    known: Sequence[tuple[StoredDoubt, BarsInDoubt]],
    found: Sequence[Doubt],
    grid: SlotGrid,
    now: datetime,
) -> None:
    found_keys = {(doubt.rule, doubt.symbol_id, find_slots(doubt, grid)[0]) for doubt in found}
    changed: dict[int, Sequence[Stretch]] = {}
    found_again: list[int] = []
    confirmed: list[int] = []
    repeated: list[int] = []
    for doubt, stored in known:
        is_same = stored.values_hash == doubt.values_hash
        if not stored.is_of_answer or (doubt.outcome is Outcome.DECIDED and is_same):  # a decision holds for its values
            continue
        is_found = (doubt.rule, doubt.symbol_id, doubt.first_slot) in found_keys
        if doubt.from_rows and not is_same:
            changed[doubt.doubt_id] = _list_stretches(doubt, found, grid)
            found_again += [doubt.doubt_id] if is_found else []
        elif doubt.from_rows and not is_found and doubt.rule in _RULES_OF_ONE_SESSION:
            confirmed.append(doubt.doubt_id)
        elif is_same:
            repeated.append(doubt.doubt_id)
    mended = narrow_doubts(connection, changed, grid.interval, found_again)
    end_doubts(connection, mended, Outcome.MENDED, CHANGED, now, marks_bar=False)
    end_doubts(connection, confirmed, Outcome.CONFIRMED, NO_LONGER_DOUBTED, now, marks_bar=False)
    count_repeats(connection, repeated)


def _list_stretches(doubt: StoredDoubt, found: Sequence[Doubt], grid: SlotGrid) -> list[Stretch]:
    """The slots of the doubt's session that its rule finds improbable in the answer."""
    day = doubt.session_day
    of_rule = (other for other in found if (other.rule, other.symbol_id) == (doubt.rule, doubt.symbol_id))
    return [find_slots(other, grid) for other in of_rule if grid.sessions[other.session].day == day]
