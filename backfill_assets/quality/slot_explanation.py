"""Why a slot is what it is: its state, the evidence for it, and when it is asked about again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.bars.bar_writer import LIVE, StoredBar
from backfill_assets.store.coverage import Coverage


@dataclass(frozen=True, slots=True)
class SlotStory:
    """One slot of one ticker; stamps ISO 8601 UTC. ``ask_again`` is None where no request helps."""

    slot: str
    state: str
    evidence: str
    ask_again: str | None

    def as_dict(self) -> dict[str, Any]:
        """The story as JSON shows it."""
        return asdict(self)


def slot_stories(coverage: Coverage, bars: Sequence[StoredBar]) -> list[SlotStory]:
    """Every slot of a coverage of one symbol and one session, oldest first; ``bars`` are those stored."""
    held = {int(bar.timestamp.timestamp()): bar for bar in bars}
    open_slots = {int(ordinal): at for at, ordinal in enumerate(coverage.slots.ordinal.tolist())}
    return [
        _story(coverage, ordinal, open_slots.get(ordinal), held.get(start))
        for ordinal, start in enumerate(coverage.grid.starts.tolist())
    ]


def session_evidence(coverage: Coverage) -> list[str]:
    """What is known of the ticker's session as a whole, a sentence each."""
    asked, facts = coverage.asked, coverage.facts
    said = []
    if len(asked.row):
        reach = f"its rows reached {_stamp(int(asked.reached[0]))}" if asked.reached[0] else "nothing came"
        published = "published to its end" if asked.published[0] else "not seen published to its end"
        said.append(f"asked {asked.asks[0]} times, last {_stamp(int(asked.asked_at[0]))}: {reach}; {published}")
        if not np.isnan(asked.silent_since[0]):
            said.append(f"asking has brought nothing new since {_stamp(int(asked.silent_since[0]))}")
    else:
        said.append("never asked")
    if len(coverage.slots.row):  # otherwise there is no absence that this could explain
        said.append(f"{facts.skips[0]} of its last {facts.known[0]} published sessions lacked a slot")
        traded = {1: "it traded that day", 0: "nothing traded that day", -1: "not read"}[int(facts.traded[0, 0])]
        said.append(f"daily data: {traded}")
    if facts.closed[0]:
        said.append("the market did not hold this session, although the calendar has it")
    if not coverage.expected[0]:
        said.append("outside the ticker's listing life: nothing is expected")
    said.append(
        f"askable from {_iso(coverage.askable_at[0])}, overdue from {_iso(coverage.overdue_at[0])} at the latest"
    )
    return said


def _story(coverage: Coverage, ordinal: int, at: int | None, bar: StoredBar | None) -> SlotStory:
    start = _stamp(int(coverage.grid.starts[ordinal]))
    if at is None:
        state = State.UNVERIFIED if bar is not None and bar.source is None else State.PRESENT
        name = state.name.lower() if bar is not None else "not expected"
        return SlotStory(start, name, _of_bar(bar), None)
    state = State(coverage.classified.state[at])
    again = float(coverage.classified.ask_at[at])
    when = None if np.isinf(again) and again > 0 else "now" if coverage.classified.due[at] else _stamp(int(again))
    return SlotStory(start, state.name.lower(), _of_bar(bar) if bar else _of_absence(coverage, ordinal), when)


def _of_bar(bar: StoredBar | None) -> str:
    if bar is None:
        return ""
    if bar.source is None:
        return f"close {bar.close:g}, volume {bar.volume:,}; written by somebody else"
    fetched = _iso(bar.fetched_at) if bar.fetched_at else "?"
    rows = "live samples" if bar.source_interval == LIVE else f"rows of {bar.source_interval}"
    return f"close {bar.close:g}, volume {bar.volume:,}; {bar.source_rows} {rows}, {fetched}"


def _of_absence(coverage: Coverage, ordinal: int) -> str:
    asked = coverage.asked
    if not len(asked.row):
        return "never asked"
    if ordinal not in asked.withheld_ordinal:
        return "came once, is gone from the table"
    beyond = asked.published[0] or asked.reached[0] > coverage.grid.ends[ordinal]
    return "the vendor's rows go on beyond it" if beyond else "the vendor's rows do not reach it"


def _stamp(epoch: int) -> str:
    return _iso(datetime.fromtimestamp(epoch, UTC))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
