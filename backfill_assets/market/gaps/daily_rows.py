"""What the days of a symbol's daily rows say about days without a row. Pure.

A day without a row is not proof that nothing traded: the vendor's daily data have holes, too (docs/decisions/0037).
"""

from collections.abc import Collection, Sequence
from datetime import date

MIN_SKIPPED_DAYS = 5  # from which on a day without a row is usual for a symbol


def find_skipped_days(row_days: Collection[date], session_days: Sequence[date]) -> list[int]:
    """The positions of the sessions that lie between the first and the last row and have none."""
    if not row_days:
        return []
    first, last = min(row_days), max(row_days)
    return [position for position, day in enumerate(session_days) if first < day < last and day not in row_days]


def skips_days_often(row_days: Collection[date], session_days: Sequence[date]) -> bool:
    """Whether the symbol has no row on at least five of ``session_days`` (its last 250) between its first and last."""
    return len(find_skipped_days(row_days, session_days)) >= MIN_SKIPPED_DAYS
