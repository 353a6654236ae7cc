"""What one request to the other feed covers: as many of a symbol's questions as its longest span allows."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from backfill_assets.backfill.cross_feed.questions import TickerQuestions, find_sessions
from backfill_assets.market.calendar.sessions import Session, list_previous_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.timestamps import to_epoch_seconds
from backfill_assets.market.gaps.coverage import Coverage

CONTEXT_SESSIONS = (
    20  # before those asked about; a request costs the same, and shows the usual share of the day's volume
)
FOLLOWING_TIME = timedelta(days=5)  # after them, so that a session with trades lies behind a halt
# 1m has rows from 04:00 to 19:59 (docs/vendor.md §2.7).
BEFORE_OPEN, AFTER_CLOSE = timedelta(hours=6), timedelta(hours=5)


@dataclass(frozen=True, eq=False)
class CrossFeedRequest:
    """One request, and what it is to answer.

    Attributes:
        questions: those that it covers.
        grid: the slots of the sessions asked about and of those between.
        context: earlier sessions, and those of the grid.
        start: first second, epoch seconds UTC, inclusive.
        end: last second, inclusive.
    """

    questions: TickerQuestions
    grid: SlotGrid
    context: tuple[Session, ...]
    start: int
    end: int


def build_request(questions: TickerQuestions, coverage: Coverage, max_span: timedelta) -> CrossFeedRequest:
    """The request for the newest of the questions; older ones are asked by a later run."""
    sessions = coverage.grid.sessions
    asked = sorted(set(find_sessions(questions, coverage)))
    last = asked[-1]
    end = min(sessions[last].close + FOLLOWING_TIME, max(coverage.now, sessions[last].close + AFTER_CLOSE))
    earliest = end - max_span
    first = next(at for at in asked if sessions[at].open - BEFORE_OPEN >= earliest or at == last)
    earlier = list_previous_sessions(sessions[first], CONTEXT_SESSIONS)
    context = tuple(session for session in earlier if session.open - BEFORE_OPEN >= earliest)
    covered = sessions[first : last + 1]
    start = (context or covered)[0].open - BEFORE_OPEN
    return CrossFeedRequest(
        questions=_select(questions, coverage, first, sessions[first].open),
        grid=build_slot_grid(covered, coverage.grid.interval),
        context=(*context, *covered),
        start=to_epoch_seconds(start),
        end=to_epoch_seconds(end),
    )


def _select(questions: TickerQuestions, coverage: Coverage, first: int, since: datetime) -> TickerQuestions:
    """The questions about the sessions from ``first`` on, which opens at ``since``."""
    first_ordinal = int(coverage.grid.session_offsets[first])
    return replace(
        questions,
        ordinals=tuple(ordinal for ordinal in questions.ordinals if ordinal >= first_ordinal),
        doubts=tuple(doubt for doubt in questions.doubts if doubt.first_slot >= since),
    )
