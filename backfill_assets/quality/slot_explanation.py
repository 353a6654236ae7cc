"""The explanation of a slot: its state, the evidence for it, and when it is requested again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from backfill_assets.market.bars.source_rows import describe_reject
from backfill_assets.market.calendar.intervals import INTERVALS, Interval
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.timestamps import format_timestamp
from backfill_assets.market.exchanges.feed_beginnings import find_feed_beginning
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import NO_ENTRY
from backfill_assets.market.gaps.slot_states import SlotState, classify_trusted_bar
from backfill_assets.market.gaps.thin_symbols import MIN_TICKERS_FOR_HOLE, count_same_slot
from backfill_assets.market.plausibility.rules import RULE_TEXTS
from backfill_assets.market.price_digits import format_price
from backfill_assets.quality.session_explanation import NEVER_REQUESTED, UNREADABLE, format_epoch
from backfill_assets.store.bars.bar_writer import LIVE_SOURCE_INTERVAL
from backfill_assets.store.bars.gap_queries import SUSPECT_SHARE
from backfill_assets.store.bars.rejects import Reject
from backfill_assets.store.bars.stored_bars import StoredBar
from backfill_assets.store.evidence.doubts import StoredDoubt

_HALT = "no trade (halt): both feeds of the vendor have rows on both sides and none inside"
_OUTSIDE_HOURS = "no trade (halt): the day's only trading was outside regular hours"
_HOLE = f"none of at least {MIN_TICKERS_FOR_HOLE} tickers has it: no habit explains it (see the findings)"


@dataclass(frozen=True, slots=True)
class SlotExplanation:
    """One slot of one ticker; times are ISO 8601 UTC.

    Attributes:
        slot: start of the slot.
        state: name of its ``SlotState``, or ``not expected``.
        evidence: what the state is based on.
        ask_again: when the slot is requested again, or ``now``; None if it is not requested any more.
    """

    slot: str
    state: str
    evidence: str
    ask_again: str | None

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a JSON object."""
        return asdict(self)


def format_request(ask_again: str, style: MomentStyle) -> str:
    """When a slot is requested again, as a person reads it: ``now``, or a moment in ``style``."""
    return ask_again if ask_again == "now" else style.format_moment(datetime.fromisoformat(ask_again))


def explain_slots(
    coverage: Coverage,
    bars: Sequence[StoredBar],
    rejects: Sequence[Reject] = (),
    refusals: Mapping[datetime, str] = MappingProxyType({}),
    unreadable_until: datetime | None = None,
    doubts: Sequence[StoredDoubt] = (),
    style: MomentStyle = UTC_STYLE,
) -> list[SlotExplanation]:
    """Explain every slot of a coverage of one symbol and one session, oldest first.

    Args:
        coverage: the states.
        bars: the stored bars.
        rejects: the session's current rejects (see ``store.bars.rejects``).
        refusals: by start of the slot, the words with which the table refused its bar.
        unreadable_until: when the symbol is requested again, if the vendor's newest answer could not be read.
        doubts: about the session's bars; those that mark them are named.
        style: how moments in the evidence are shown.
    """
    messages = {int(at.timestamp()): message for at, message in refusals.items()}
    stored_bars = {int(bar.timestamp.timestamp()): bar for bar in bars}
    position_by_ordinal = {int(ordinal): index for index, ordinal in enumerate(coverage.open_slots.ordinal.tolist())}
    rejects_by_ordinal: dict[int, list[Reject]] = {}
    for reject in rejects:
        ordinal = int(np.searchsorted(coverage.grid.starts, reject.timestamp.timestamp(), side="right")) - 1
        rejects_by_ordinal.setdefault(ordinal, []).append(reject)
    counts = _count_same_slot(coverage)
    explanations = [
        _explain_slot(
            coverage,
            ordinal,
            position_by_ordinal.get(ordinal),
            stored_bars.get(start),
            rejects_by_ordinal.get(ordinal, []),
            counts.get(ordinal, ""),
            style,
        )
        for ordinal, start in enumerate(coverage.grid.starts.tolist())
    ]
    return [
        _defer_unreadable(
            _add_refusal(_add_doubts(explanation, start, doubts), start in stored_bars, messages.get(start)),
            unreadable_until,
        )
        for explanation, start in zip(explanations, coverage.grid.starts.tolist(), strict=True)
    ]


def explain_before_feed(
    explanations: list[SlotExplanation], session: Session, source: Interval
) -> list[SlotExplanation]:
    """The same, but of a session before the vendor's first rows of ``source``, no slot is requested again."""
    beginning = find_feed_beginning(session.market, source.name)
    if session.day >= beginning:
        return explanations
    fact = f"the vendor has no rows of {source.name} before {beginning}"
    return [
        one if one.ask_again is None else replace(one, evidence=f"{one.evidence}; {fact}", ask_again=None)
        for one in explanations
    ]


def _explain_slot(
    coverage: Coverage,
    ordinal: int,
    position: int | None,
    bar: StoredBar | None,
    rejects: Sequence[Reject],
    same_slot: str,
    style: MomentStyle,
) -> SlotExplanation:
    start = format_epoch(int(coverage.grid.starts[ordinal]))
    if position is None:
        name = classify_trusted_bar(bar.source).name.lower() if bar is not None else "not expected"
        return SlotExplanation(start, name, _describe_bar(bar, style), None)
    state = SlotState(coverage.slot_states.state[position])
    next_request = float(coverage.slot_states.next_request_at[position])
    next_request_text = (
        None
        if np.isinf(next_request) and next_request > 0
        else "now"
        if coverage.slot_states.due[position]
        else format_epoch(int(next_request))
    )
    facts = [_describe_bar(bar, style) if bar else _describe_absence(coverage, ordinal)]
    if state is SlotState.SUSPECT and bar is not None:
        facts += _describe_doubts(coverage, ordinal, bar, style)
    if same_slot and (bar is None or state in (SlotState.PRESENT, SlotState.SUSPECT)):
        facts.append(same_slot)
    if state is SlotState.SUSPECT or (bar is None and state is not SlotState.NO_TRADE):
        facts += _describe_rejects(rejects, coverage.grid.sessions[0].market, style)
    return SlotExplanation(start, state.name.lower(), "; ".join(facts), next_request_text)


def _count_same_slot(coverage: Coverage) -> dict[int, str]:
    """By ordinal, how often other sessions lacked the slot of an open one; only of a symbol that often lacks some."""
    slots, evidence = coverage.open_slots, coverage.absence_evidence
    counts = count_same_slot(slots.row, slots.ordinal, coverage.grid, evidence.slot_baseline)
    has_bar = slots.stored_state != SlotState.MISSING
    lacking = np.where(has_bar, counts.absent_or_sparse, counts.absent).tolist()
    texts = {
        ordinal: f"in {count} of its {others} other published sessions with this time of day it was"
        f" {'absent, or lacked rows' if stored else 'absent'}"
        for ordinal, count, others, stored in zip(
            slots.ordinal.tolist(), lacking, counts.other_sessions.tolist(), has_bar.tolist(), strict=True
        )
        if others
    }
    holes = set(evidence.holes.tolist()) & set(slots.ordinal.tolist())
    return texts | dict.fromkeys(holes, _HOLE)


def _add_doubts(explanation: SlotExplanation, start: int, doubts: Sequence[StoredDoubt]) -> SlotExplanation:
    """The explanation with the rules that doubt the slot's bar; ``doubt_explanation`` has the figures."""
    names = [
        f"{RULE_TEXTS[doubt.rule]} (doubt {doubt.doubt_id})"
        for doubt in doubts
        if doubt.marks_bar and doubt.first_slot.timestamp() <= start <= doubt.last_slot.timestamp()
    ]
    return replace(explanation, evidence="; ".join([explanation.evidence, *names])) if names else explanation


def _add_refusal(explanation: SlotExplanation, has_bar: bool, message: str | None) -> SlotExplanation:
    """The explanation with the words of the database, if the table refused the vendor's bar."""
    if message is None:
        return explanation
    refused = f"the vendor returned a bar, and market_data refused it: {message}"
    evidence = f"{explanation.evidence}; {refused}" if has_bar else refused
    return replace(explanation, evidence=evidence)


def _defer_unreadable(explanation: SlotExplanation, until: datetime | None) -> SlotExplanation:
    """The explanation of a slot that would be requested before ``until``, if no request is sent until then."""
    if until is None or explanation.ask_again is None:
        return explanation
    evidence = UNREADABLE if explanation.evidence == NEVER_REQUESTED else explanation.evidence
    is_earlier = explanation.ask_again == "now" or datetime.fromisoformat(explanation.ask_again) < until
    ask_again = format_timestamp(until) if is_earlier else explanation.ask_again
    return replace(explanation, evidence=evidence, ask_again=ask_again)


def _describe_bar(bar: StoredBar | None, style: MomentStyle) -> str:
    if bar is None:
        return ""
    values = (
        f"close {'null' if bar.close is None else format_price(bar.close)}, "
        f"volume {('unknown' if bar.source else 'null') if bar.volume is None else format(bar.volume, ',')}"
    )
    if bar.source is None:
        return f"{values}; written by an external writer"
    fetched = style.format_moment(bar.fetched_at) if bar.fetched_at else "?"
    rows = "live samples" if bar.source_interval == LIVE_SOURCE_INTERVAL else f"rows of {bar.source_interval}"
    return f"{values}; {bar.source_rows} {rows}, {fetched}"


def _describe_doubts(coverage: Coverage, ordinal: int, bar: StoredBar, style: MomentStyle) -> list[str]:
    """Why a suspect bar may lack rows; none if it is suspect because of rejected rows only."""
    doubts, grid, requests = [], coverage.grid, coverage.request_history
    slot_seconds = int(grid.ends[ordinal] - grid.starts[ordinal])
    row_seconds = INTERVALS[bar.source_interval].seconds if bar.source_interval in INTERVALS else 0
    if bar.source_rows and row_seconds and bar.source_rows * row_seconds <= SUSPECT_SHARE * slot_seconds:
        doubts.append(f"only {bar.source_rows} of {slot_seconds // row_seconds} rows")
    if len(requests.row) and grid.starts[ordinal] < requests.data_until[0] < grid.ends[ordinal]:
        data_end = format_epoch(int(requests.data_until[0]), style)
        doubts.append(f"the vendor's rows end at {data_end}, before the close")
    return doubts


def _describe_rejects(rejects: Sequence[Reject], market: MarketProfile, style: MomentStyle) -> list[str]:
    """The rejected rows of a slot, by reason, with the stamp of the first."""
    first_by_reason: dict[str, Reject] = {}
    for reject in rejects:
        first_by_reason.setdefault(reject.reason, reject)
    counts = Counter(reject.reason for reject in rejects)
    return [
        f"{counts[reason]} {'row' if counts[reason] == 1 else 'rows'} rejected: {describe_reject(reason, market)}"
        f" ({style.format_moment(first.timestamp)})"
        for reason, first in first_by_reason.items()
    ]


def _describe_absence(coverage: Coverage, ordinal: int) -> str:
    requests = coverage.request_history
    if not len(requests.row):
        return NEVER_REQUESTED
    (halt,) = coverage.absence_evidence.halts.find(np.array([ordinal])).tolist()  # the key of a slot of one symbol
    if halt != NO_ENTRY:
        return _OUTSIDE_HOURS if coverage.absence_evidence.halts.is_outside_hours[halt] else _HALT
    if ordinal not in requests.not_returned_ordinal:
        return "returned before, but no longer in the table"
    has_later_rows = requests.published[0] or requests.data_until[0] > coverage.grid.ends[ordinal]
    return "the vendor has later rows" if has_later_rows else "the vendor's rows end before it"
