"""Judges an answer of the other feed: which slots are taken from it, and what becomes of each doubt. Pure.

What both feeds lack is looked at in ``halts``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from backfill_assets.backfill.cross_feed.request import CrossFeedRequest
from backfill_assets.market.bars.bar_builder import BuiltBars
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import format_timestamp, to_datetime
from backfill_assets.market.columns import Columns
from backfill_assets.market.plausibility.other_feed import FeedBar, Verdict, compute_volume_ratio, judge_bar
from backfill_assets.store.bars.other_feed_bars import ABSENT
from backfill_assets.store.evidence.doubts import StoredDoubt
from backfill_assets.store.evidence.other_feed_answers import SlotAnswer

FULL_SHARE = 0.9  # of the rows of the fullest bar in an answer; a row of 5m that is absent at 1m costs a sixth


@dataclass(frozen=True, slots=True)
class DoubtVerdict:
    """What becomes of a doubt; slots are given by their start in epoch seconds.

    Attributes:
        doubt: the doubt.
        verdicts: about each of its bars that the first feed gave.
        others: the other feed's bars of its slots.
        volume_ratio: the other feed's volume for one share of the first's, over the common slots of the session.
    """

    doubt: StoredDoubt
    verdicts: Mapping[int, Verdict]
    others: Mapping[int, FeedBar]
    volume_ratio: float | None

    @property
    def answer(self) -> str:
        """``confirmed`` or ``taken``; ``no_rows`` where the other feed lacks a bar, ``kept`` where it has no better."""
        if any(start not in self.others for start in self.verdicts):
            return "no_rows"
        if not self.verdicts or Verdict.KEPT in self.verdicts.values():
            return "kept"
        return "taken" if Verdict.TAKEN in self.verdicts.values() else "confirmed"

    @property
    def taken(self) -> list[int]:
        """The slots that are taken from the other feed."""
        return [start for start, verdict in self.verdicts.items() if verdict is Verdict.TAKEN]

    def describe(self, other: Interval, now: datetime) -> dict[str, Any]:
        """What is stored with the doubt, as JSON; ``now`` is when the other feed was asked."""
        earlier = self.doubt.other_feed
        is_same = earlier is not None and earlier["values_hash"] == self.doubt.values_hash
        return {
            "source_interval": other.name,
            "answer": self.answer,
            "values_hash": self.doubt.values_hash,
            "first_asked_at": earlier["first_asked_at"] if earlier and is_same else format_timestamp(now),
            "asked_at": format_timestamp(now),
            "volume_ratio": self.volume_ratio,
            "bars": [
                {"slot": format_timestamp(to_datetime(start)), **_name_values(bar)}
                for start, bar in sorted(self.others.items())
            ],
        }


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What an answer settles.

    Attributes:
        taken: bars of the other feed to be written, as ``store.bars.other_feed_bars.take_bars`` wants them.
        slots: what the other feed said about each absent slot, by its start in epoch seconds.
        doubts: what becomes of each doubt.
    """

    taken: Columns
    slots: Mapping[int, SlotAnswer]
    doubts: tuple[DoubtVerdict, ...]


def judge_answer(
    request: CrossFeedRequest,
    built: BuiltBars,
    stored: Mapping[int, FeedBar],
    requested_at: Mapping[date, float],
    absent: Sequence[int],
    other: Interval,
) -> Verdicts:
    """Judge the bars that were built from an answer.

    Args:
        request: what was asked.
        built: the bars of its grid from the other feed's rows.
        stored: the first feed's bars of these sessions, by start in epoch seconds.
        requested_at: epoch seconds of the first feed's newest request, by session day.
        absent: the starts of the absent slots asked about.
        other: the other feed.
    """
    final = built.bars.take(built.bars["is_final"])
    doubtful = _find_doubtful(built, request.grid)
    usable = {start: bar for start, bar in _to_feed_bars(final).items() if start not in doubtful}
    ratios = _compute_ratios(request, stored, usable)
    hollow = _find_hollow(final)
    whole = {start: bar for start, bar in usable.items() if start not in hollow}
    doubts = []
    for doubt in request.questions.doubts:
        # Moments to the second. Of what is left of a session, the rule says nothing by not finding it.
        fires = doubt.is_narrowed or doubt.seen_at.timestamp() + 1 >= requested_at.get(doubt.session_day, 0.0)
        verdicts, others = _judge_bars(doubt, stored, whole, other, fires=fires)
        doubts.append(DoubtVerdict(doubt, verdicts, others, ratios.get(doubt.session_day)))
    slots: dict[int, SlotAnswer] = {
        start: "taken" if start in usable else "doubtful" if start in doubtful else "no_rows" for start in absent
    }
    why = {start: ABSENT for start, answer in slots.items() if answer == "taken"}
    for judged in doubts:
        why |= dict.fromkeys(judged.taken, str(judged.doubt.rule))
    taken = final.take(np.isin(final["timestamp"], list(why)))
    days = [request.grid.sessions[at].day for at in request.grid.session_index[taken["ordinal"]].tolist()]
    taken = taken.assign(
        why=np.array([why[start] for start in taken["timestamp"].tolist()], object),
        volume_ratio=np.array([ratios.get(day, np.nan) for day in days], np.float64),
    )
    return Verdicts(taken, slots, tuple(doubts))


def _judge_bars(
    doubt: StoredDoubt, stored: Mapping[int, FeedBar], usable: Mapping[int, FeedBar], other: Interval, *, fires: bool
) -> tuple[dict[int, Verdict], dict[int, FeedBar]]:
    """The verdict about each of a doubt's bars, and the other feed's bars of its slots."""
    first, last = doubt.first_slot.timestamp(), doubt.last_slot.timestamp()
    is_consolidated = other.name == "1m"  # docs/vendor.md §2.6
    verdicts = {
        start: judge_bar(doubt.rule, bar, usable.get(start), other_is_consolidated=is_consolidated, fires=fires)
        for start, bar in stored.items()
        if first <= start <= last
    }
    return verdicts, {start: usable[start] for start in verdicts if start in usable}


def _find_doubtful(built: BuiltBars, grid: SlotGrid) -> set[int]:
    """The starts of slots whose rows of the other feed are doubtful or rejected themselves."""
    rejected = built.rejects["timestamp"][~built.rejects["is_replaced"]].tolist()
    stretches = [(stamp, stamp) for stamp in rejected]
    stretches += [(doubt.first_stamp, doubt.last_stamp) for doubt in built.doubts]
    first, last = np.searchsorted(grid.starts, np.array(stretches, np.int64).reshape(-1, 2), side="right").T - 1
    return {
        start
        for begin, end in zip(first.tolist(), last.tolist(), strict=True)
        for start in grid.starts[max(0, begin) : end + 1].tolist()
    }


def _find_hollow(bars: Columns) -> set[int]:
    """The starts of slots with fewer of the other feed's rows than it has in others.

    Where the first feed has a doubtful row and the other one none, the other bar lacks the shares of that row. It can
    neither bear out the doubtful bar nor stand in for it.
    """
    row_count = bars["source_rows"]
    return set(bars["timestamp"][row_count < FULL_SHARE * row_count.max(initial=0)].tolist())


def _compute_ratios(
    request: CrossFeedRequest, stored: Mapping[int, FeedBar], usable: Mapping[int, FeedBar]
) -> dict[date, float]:
    """By session day, the ratio of the feeds over the slots that both have and that nobody doubts."""
    in_doubt = {
        start
        for doubt in request.questions.doubts
        for start in stored
        if doubt.first_slot.timestamp() <= start <= doubt.last_slot.timestamp()
    }
    common = sorted((stored.keys() & usable.keys()) - in_doubt)
    grid = request.grid
    session = grid.session_index[grid.find_ordinals(np.array(common, np.int64))]
    ratios = {}
    for at in np.unique(session).tolist():
        starts = [start for start, of in zip(common, session.tolist(), strict=True) if of == at]
        volumes = (np.array([bars[start].volume for start in starts]) for bars in (stored, usable))
        ratio = compute_volume_ratio(*volumes)
        if ratio is not None:
            ratios[grid.sessions[at].day] = ratio
    return ratios


def _to_feed_bars(bars: Columns) -> dict[int, FeedBar]:
    columns = [bars[name].tolist() for name in ("timestamp", "open", "high", "low", "close")]
    columns.append([int(one) if one == one else one for one in bars["volume"].tolist()])  # NaN: not known
    return {start: FeedBar(*values) for start, *values in zip(*columns, strict=True)}


def _name_values(bar: FeedBar) -> dict[str, float]:
    return dict(zip(("open", "high", "low", "close"), bar.prices, strict=True)) | {"volume": bar.volume}
