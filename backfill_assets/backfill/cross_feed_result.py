"""What asking the other feed brought, as one value that adds up."""

from dataclasses import asdict, dataclass
from typing import Any

from backfill_assets.config.counts import format_count


@dataclass(frozen=True, slots=True)
class CrossFeedResult:
    """What the vendor's other feed settled in a run.

    Attributes:
        tickers: symbols that it was asked about.
        taken: bars taken whole from it.
        confirmed: doubts that it bore out.
        halts: slots found to be a halt.
        postponed: symbols left for another day, because too few calls are left for this purpose.
    """

    tickers: int = 0
    taken: int = 0
    confirmed: int = 0
    halts: int = 0
    postponed: int = 0

    def __add__(self, other: "CrossFeedResult") -> "CrossFeedResult":
        return CrossFeedResult(*(getattr(self, name) + getattr(other, name) for name in asdict(self)))

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            f"{format_count(self.tickers, 'symbol')} asked",
            f"{format_count(self.taken, 'bar')} from the other feed",
            f"{format_count(self.confirmed, 'doubt')} confirmed",
            f"{format_count(self.halts, 'slot')} halted",
        ]
        if self.postponed:
            parts.append(f"{format_count(self.postponed, 'symbol')} postponed: too few calls are left for it today")
        return " · ".join(parts)
