"""Find sessions with rows or bars outside the instrument's life: before it was listed, or after it ended.

A ticker that is used again has the prices of another instrument before: META's were a fund's until January 2022. A life
that was only read from daily data is a proposal. Rows are left out only outside one that is confirmed.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_lines import find_first_columns, find_last_columns, make_session_doubt
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.market.vendor import DateArray


@dataclass(frozen=True, eq=False)
class ListingLives:
    """The life of the symbol of each line of a panel, or of each row; arrays of the shape (lines,).

    Attributes:
        first_day: the first day of trading (``datetime64[D]``), NaT while it is unknown.
        last_day: the last one, NaT while it is unknown or the listing goes on.
        is_first_day_confirmed: whether a person confirmed the first day; else it is proposed, as by daily data.
        is_last_day_confirmed: whether a person or two sources confirmed the last day, or that the listing goes on.
    """

    first_day: DateArray
    last_day: DateArray
    is_first_day_confirmed: Bools
    is_last_day_confirmed: Bools

    @classmethod
    def create_unknown(cls, lines: int) -> "ListingLives":
        """Nothing is known of any symbol."""
        unknown = np.full(lines, np.datetime64("NaT"), "datetime64[D]")
        return cls(unknown, unknown, np.zeros(lines, bool), np.zeros(lines, bool))


def find_sessions_outside_listing(panel: SessionPanel, lives: ListingLives, judged: Bools) -> list[Doubt]:
    """Doubt each session with rows or bars outside its symbol's life, confirmed or proposed.

    Args:
        panel: rows or bars.
        lives: of the lines' symbols.
        judged: which lines are judged, shape (lines,).
    """
    present = panel.is_present
    days = panel.session_days
    is_confirmed = is_outside_confirmed_life(days, lives)
    outside = np.flatnonzero(judged & present.any(axis=1) & _is_outside(days, lives))
    first, last = find_first_columns(present), find_last_columns(present)
    return [
        make_session_doubt(
            Rule.OUTSIDE_LISTING,
            panel,
            line,
            int(first[line]),
            int(last[line]),
            {
                "first_day": _format_day(lives.first_day[line]),
                "last_day": _format_day(lives.last_day[line]),
                "life": "confirmed" if is_confirmed[line] else "proposed",
                "days_before": _count_days(days[line], lives.first_day[line]),
                "days_after": _count_days(lives.last_day[line], days[line]),
                "rows": int(present[line].sum()),
                "close": float(panel.close[line, last[line]]),
            },
        )
        for line in outside.tolist()
    ]


def is_outside_confirmed_life(days: DateArray, lives: ListingLives) -> Bools:
    """Whether rows of these days (``datetime64[D]``) feed no bar, because the bound that they cross is confirmed."""
    is_before: Bools = lives.is_first_day_confirmed & (days < lives.first_day)  # False for NaT
    is_after: Bools = lives.is_last_day_confirmed & (days > lives.last_day)
    return is_before | is_after


def _is_outside(days: DateArray, lives: ListingLives) -> Bools:
    is_outside: Bools = (days < lives.first_day) | (days > lives.last_day)  # False for NaT
    return is_outside


def _count_days(earlier: np.datetime64, later: np.datetime64) -> float | None:
    """The days from one date to a later one; None if it is not later, or unknown."""
    return int((later - earlier).astype(int)) if later > earlier else None


def _format_day(day: np.datetime64) -> str | None:
    return None if np.isnat(day) else str(day)
