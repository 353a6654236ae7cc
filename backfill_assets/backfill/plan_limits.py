"""How far back the vendor's answers reach, by which a limit of the token's plan is found and found to be gone.

Values only. The finding ``plan limited`` is recorded and resolved in ``backfill.findings``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from backfill_assets.market.calendar.tickers import Ticker

WHOLE_HISTORY_DAYS = 100_000  # a request without a start reaches beyond any limit
MAX_GAP_DAYS = 7  # between the start of a request and the first session with rows


@dataclass(frozen=True, slots=True)
class PlanReach:
    """How many days back requests reached that were answered with rows; None without such an answer.

    Attributes:
        limited_days: the shortest reach of an answer with the remark that the plan limits the data.
        full_days: the longest reach of an answer without it.
    """

    limited_days: int | None = None
    full_days: int | None = None

    def merge_with(self, other: "PlanReach") -> "PlanReach":
        """Both together."""
        limited = [days for days in (self.limited_days, other.limited_days) if days is not None]
        full = [days for days in (self.full_days, other.full_days) if days is not None]
        return PlanReach(min(limited, default=None), max(full, default=None))


@dataclass(slots=True)
class PlanAnswers:
    """What the answers of one endpoint in a run say about a limit of the plan; grows with each answer.

    Attributes:
        warnings: the vendor's messages, with the tickers concerned.
        reaches: by exchange, how far back the requests reached.
    """

    warnings: dict[str, frozenset[Ticker]] = field(default_factory=dict)
    reaches: dict[str, PlanReach] = field(default_factory=dict)

    def add(self, ticker: Ticker, warning: str | None, reach: PlanReach) -> None:
        """Add one answer, with the vendor's message or None."""
        if warning:
            self.warnings[warning] = self.warnings.get(warning, frozenset()) | {ticker}
        self.reaches[ticker.exchange] = reach.merge_with(self.reaches.get(ticker.exchange, PlanReach()))


def build_reach(start: int | None, first_row: int | None, now: datetime, *, is_limited: bool) -> PlanReach:
    """How far back one answered request reached.

    Not further than its rows: the whole history of a new listing shows nothing about a limit of one year.

    Args:
        start: the first requested second, epoch seconds UTC; None for the whole history.
        first_row: the first second of the rows; None without rows.
        now: the time of the answer.
        is_limited: whether it has the vendor's remark that the plan limits the data.
    """
    requested_days = WHOLE_HISTORY_DAYS if start is None else _count_days(start, now)
    row_days = WHOLE_HISTORY_DAYS if first_row is None else _count_days(first_row, now) + MAX_GAP_DAYS
    days = min(requested_days, row_days + is_limited)  # the next day is beyond the limit
    return PlanReach(limited_days=days) if is_limited else PlanReach(full_days=days)


def _count_days(epoch: int, now: datetime) -> int:
    return max(0, int(now.timestamp() - epoch) // 86_400)


def merge_reaches(pairs: Iterable[tuple[str, PlanReach]]) -> Mapping[str, PlanReach]:
    """By exchange, the reach of all answers."""
    reaches: dict[str, PlanReach] = {}
    for exchange, reach in pairs:
        reaches[exchange] = reach.merge_with(reaches.get(exchange, PlanReach()))
    return reaches


def find_disproved_limits(reaches: Mapping[str, PlanReach], limited_days: Mapping[str, int]) -> list[str]:
    """The subjects with an answer without the remark that reaches as far back as the shortest limited request did."""
    return [
        subject
        for subject, reach in reaches.items()
        if reach.full_days is not None and subject in limited_days and reach.full_days >= limited_days[subject]
    ]
