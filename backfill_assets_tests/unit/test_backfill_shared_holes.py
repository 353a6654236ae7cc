"""What is written down about slots that nobody has: a break only where it is one of most days."""

from dataclasses import replace
from datetime import date, time

import pytest

from backfill_assets.backfill.shared_holes import describe_holes
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.store.evidence.slot_baseline import Hole

JAKARTA = replace(get_profile("JK"), needs_breaks=False, breaks=((time(12), time(13, 30)),))
GRID = build_slot_grid(list_sessions(JAKARTA, date(2026, 6, 8), date(2026, 6, 12)), INTERVALS["30m"])
SLOTS = int(GRID.session_sizes[0])
BREAKS = 'write breaks = [["09:30", "10:00"], ["12:00", "13:30"]] under JK in BACKFILL_MARKETS_FILE'
ONE_DAY = "closed early then, write the hours of that day into BACKFILL_MARKETS_FILE under JK"


@pytest.mark.parametrize(
    ("sessions", "remedy"),
    [((0, 1, 2, 3, 4), BREAKS), ((2, 3, 4), BREAKS), ((0,), ONE_DAY), ((4,), ONE_DAY), ((0, 4), ONE_DAY)],
)
def test_a_break_is_proposed_for_what_most_days_lack(sessions: tuple[int, ...], remedy: str) -> None:
    detail = describe_holes(GRID, [Hole((session * SLOTS + 1,), 10) for session in sessions])
    assert remedy in detail
    assert "09:30 to 10:00" in detail
