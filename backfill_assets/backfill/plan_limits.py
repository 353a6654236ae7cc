"""How far back the vendor's answers reach, by which a limit of the token's plan is found and found to be gone.

Pure values. The finding ``plan limited`` is recorded and resolved in ``backfill.findings``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

WHOLE_HISTORY_DAYS = 100_000  # a request without a start reaches beyond any limit


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


def build_reach(start: int, now: datetime, *, is_limited: bool) -> PlanReach:
    """The reach of one answered request; ``start`` is its first second, epoch seconds UTC."""
    days = max(0, int(now.timestamp() - start) // 86_400)
    return PlanReach(limited_days=days) if is_limited else PlanReach(full_days=days)


def merge_reaches(pairs: Iterable[tuple[str, PlanReach]]) -> Mapping[str, PlanReach]:
    """By exchange, the reach of all answers."""
    reaches: dict[str, PlanReach] = {}
    for exchange, reach in pairs:
        reaches[exchange] = reach.merge_with(reaches.get(exchange, PlanReach()))
    return reaches
