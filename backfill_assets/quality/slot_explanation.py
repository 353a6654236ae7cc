"""Why a slot is what it is: its state, the evidence for it, and when it is asked about again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backfill_assets.market.calendar.timestamps import format_timestamp, to_datetime
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState, classify_trusted_bar
from backfill_assets.store.bars.bar_writer import LIVE_SOURCE_INTERVAL, StoredBar


@dataclass(frozen=True, slots=True)
class SlotExplanation:
    """One slot of one ticker; stamps ISO 8601 UTC. ``ask_again`` is None where no request helps."""

    slot: str
    state: str
    evidence: str
    ask_again: str | None

    def as_dict(self) -> dict[str, Any]:
        """The story as JSON shows it."""
        return asdict(self)


def explain_slots(coverage: Coverage, bars: Sequence[StoredBar]) -> list[SlotExplanation]:
    """Every slot of a coverage of one symbol and one session, oldest first; ``bars`` are those stored."""
    stored_bars = {int(bar.timestamp.timestamp()): bar for bar in bars}
    position_by_ordinal = {int(ordinal): at for at, ordinal in enumerate(coverage.open_slots.ordinal.tolist())}
    return [
        _explain_slot(coverage, ordinal, position_by_ordinal.get(ordinal), stored_bars.get(start))
        for ordinal, start in enumerate(coverage.grid.starts.tolist())
    ]


def describe_session(coverage: Coverage) -> list[str]:
    """What is known of the ticker's session as a whole, a sentence each."""
    requests, facts = coverage.request_history, coverage.absence_evidence
    sentences = []
    if len(requests.row):
        data_end = (
            f"its rows reached {_format_epoch(int(requests.data_until[0]))}"
            if requests.data_until[0]
            else "nothing came"
        )
        published = "published to its end" if requests.published[0] else "not seen published to its end"
        sentences.append(
            f"asked {requests.request_count[0]} times, last {_format_epoch(int(requests.requested_at[0]))}: {data_end}; {published}"
        )
        if not np.isnan(requests.no_new_data_since[0]):
            sentences.append(
                f"asking has brought nothing new since {_format_epoch(int(requests.no_new_data_since[0]))}"
            )
    else:
        sentences.append("never asked")
    if len(coverage.open_slots.row):  # otherwise there is no absence that this could explain
        sentences.append(
            f"{facts.incomplete_sessions[0]} of its last {facts.published_sessions[0]} published sessions lacked a slot"
        )
        traded = {1: "it traded that day", 0: "nothing traded that day", -1: "not read"}[int(facts.traded[0, 0])]
        sentences.append(f"daily data: {traded}")
    if facts.closed[0]:
        sentences.append("the market did not hold this session, although the calendar has it")
    if not coverage.expected[0]:
        sentences.append("outside the ticker's listing life: nothing is expected")
    sentences.append(
        f"askable from {format_timestamp(coverage.askable_at[0])}, overdue from {format_timestamp(coverage.overdue_at[0])} at the latest"
    )
    return sentences


def _explain_slot(coverage: Coverage, ordinal: int, position: int | None, bar: StoredBar | None) -> SlotExplanation:
    start = _format_epoch(int(coverage.grid.starts[ordinal]))
    if position is None:
        name = classify_trusted_bar(bar.source).name.lower() if bar is not None else "not expected"
        return SlotExplanation(start, name, _describe_bar(bar), None)
    state = SlotState(coverage.slot_states.state[position])
    next_request = float(coverage.slot_states.next_request_at[position])
    next_request_text = (
        None
        if np.isinf(next_request) and next_request > 0
        else "now"
        if coverage.slot_states.due[position]
        else _format_epoch(int(next_request))
    )
    return SlotExplanation(
        start,
        state.name.lower(),
        _describe_bar(bar) if bar else _describe_absence(coverage, ordinal),
        next_request_text,
    )


def _describe_bar(bar: StoredBar | None) -> str:
    if bar is None:
        return ""
    if bar.source is None:
        return f"close {bar.close:g}, volume {bar.volume:,}; written by somebody else"
    fetched = format_timestamp(bar.fetched_at) if bar.fetched_at else "?"
    rows = "live samples" if bar.source_interval == LIVE_SOURCE_INTERVAL else f"rows of {bar.source_interval}"
    return f"close {bar.close:g}, volume {bar.volume:,}; {bar.source_rows} {rows}, {fetched}"


def _describe_absence(coverage: Coverage, ordinal: int) -> str:
    requests = coverage.request_history
    if not len(requests.row):
        return "never asked"
    if ordinal not in requests.not_returned_ordinal:
        return "came once, is gone from the table"
    has_later_rows = requests.published[0] or requests.data_until[0] > coverage.grid.ends[ordinal]
    return "the vendor's rows go on beyond it" if has_later_rows else "the vendor's rows do not reach it"


def _format_epoch(epoch: int) -> str:
    return format_timestamp(to_datetime(epoch))
