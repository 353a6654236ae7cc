"""Rectangles of partitions: one run takes symbols from A to B and days from C to D.

Pure arithmetic; symbols are ordered as Dagster holds their keys, days by date. A rectangle may hold
partitions that need nothing: the run asks only for what is missing in it (DESIGN.md, decision 5).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

START_TAG = "dagster/asset_partition_range_start"
END_TAG = "dagster/asset_partition_range_end"
SINGLE_TAG = "dagster/partition"


@dataclass(frozen=True, slots=True, order=True)
class PartitionRange:
    """Symbols and days, both ends inclusive."""

    first_day: str
    last_day: str
    first_symbol: str
    last_symbol: str

    @property
    def tags(self) -> dict[str, str]:
        """What makes a run one over this rectangle."""
        return {
            START_TAG: f"{self.first_day}|{self.first_symbol}",
            END_TAG: f"{self.last_day}|{self.last_symbol}",
        }

    def __str__(self) -> str:
        return f"{self.first_symbol}…{self.last_symbol} × {self.first_day}…{self.last_day}"

    def overlaps(self, other: "PartitionRange", order: Mapping[str, int]) -> bool:
        """Whether they share a partition; symbols that ``order`` lacks are shared only if named by both."""
        if self.last_day < other.first_day or other.last_day < self.first_day:
            return False
        ends = (self.first_symbol, self.last_symbol, other.first_symbol, other.last_symbol)
        if not all(end in order for end in ends):
            return not {*ends[:2]}.isdisjoint(ends[2:])
        first, last, begin, end = (order[name] for name in ends)
        return first <= end and begin <= last


def parse_partition_range(tags: Mapping[str, str]) -> PartitionRange | None:
    """The rectangle that a run with these tags works on; None for a run without partitions."""
    start = tags.get(START_TAG) or tags.get(SINGLE_TAG)
    end = tags.get(END_TAG) or tags.get(SINGLE_TAG)
    if not start or not end:
        return None
    (first_day, _, first_symbol), (last_day, _, last_symbol) = start.partition("|"), end.partition("|")
    return PartitionRange(first_day, last_day, first_symbol, last_symbol)


def clip_to_known_days(
    spans: Iterable[tuple[int, int, int]], is_known_day: Sequence[bool]
) -> Iterator[tuple[int, int, int]]:
    """Spans as ``covering`` takes them, drawn in to the days that are ``known``; one without such a day is left out."""
    known_days = [at for at, is_known in enumerate(is_known_day) if is_known]
    for symbol, first, last in spans:
        clipped = known_days[bisect_left(known_days, first) : bisect_right(known_days, last)]
        if clipped:
            yield symbol, clipped[0], clipped[-1]


def cover_spans(
    spans: Iterable[tuple[int, int, int]], symbols: Sequence[str], days: Sequence[str], max_partitions: int
) -> list[PartitionRange]:
    """As few rectangles as hold every span, of at most ``most`` partitions each.

    A span is (position of its symbol, first day, last day), positions in ``symbols`` and ``days``.
    Rectangles are cut between symbols, never between days: one request covers all days of a ticker.
    """
    boxes: list[tuple[int, int, int, int]] = []
    for symbol, first, last in sorted(spans):
        if boxes:
            left, _, top, bottom = boxes[-1]
            top, bottom = min(top, first), max(bottom, last)
            if (symbol - left + 1) * (bottom - top + 1) <= max_partitions:
                boxes[-1] = (left, symbol, top, bottom)
                continue
        boxes.append((symbol, symbol, first, last))
    return [
        PartitionRange(days[top], days[bottom], symbols[left], symbols[right]) for left, right, top, bottom in boxes
    ]
