"""Ranges of partitions: one run covers the symbols from A to B and the days from C to D.

Symbols are in the order of Dagster's dynamic partition keys, days by date. A range may contain complete partitions: the
run requests only what is missing in it. Which ranges are due is decided in ``sensors``.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

START_TAG = "dagster/asset_partition_range_start"
END_TAG = "dagster/asset_partition_range_end"
SINGLE_TAG = "dagster/partition"
UNFINISHED_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True, order=True)
class PartitionRange:
    """A rectangle of symbols and days; all ends are inclusive, days are ISO dates."""

    first_day: str
    last_day: str
    first_symbol: str
    last_symbol: str

    @property
    def tags(self) -> dict[str, str]:
        """The run tags by which Dagster runs these partitions."""
        return {
            START_TAG: f"{self.first_day}|{self.first_symbol}",
            END_TAG: f"{self.last_day}|{self.last_symbol}",
        }

    def __str__(self) -> str:
        return f"{self.first_symbol}…{self.last_symbol} × {self.first_day}…{self.last_day}"

    def overlaps(self, other: "PartitionRange", order: Mapping[str, int]) -> bool:
        """Whether both contain a partition; ``order`` is the position of each symbol.

        If an end is not in ``order`` (its partition was deleted), they overlap only if they share an end.
        """
        if self.last_day < other.first_day or other.last_day < self.first_day:
            return False
        ends = (self.first_symbol, self.last_symbol, other.first_symbol, other.last_symbol)
        if not all(end in order for end in ends):
            return not {*ends[:2]}.isdisjoint(ends[2:])
        first, last, begin, end = (order[name] for name in ends)
        return first <= end and begin <= last


def parse_partition_range(tags: Mapping[str, str]) -> PartitionRange | None:
    """The range of a run with these tags; None for a run without partitions."""
    start = tags.get(START_TAG) or tags.get(SINGLE_TAG)
    end = tags.get(END_TAG) or tags.get(SINGLE_TAG)
    if not start or not end:
        return None
    (first_day, _, first_symbol), (last_day, _, last_symbol) = start.partition("|"), end.partition("|")
    return PartitionRange(first_day, last_day, first_symbol, last_symbol)


def clip_to_known_days(
    spans: Iterable[tuple[int, int, int]], is_known_day: Sequence[bool]
) -> Iterator[tuple[int, int, int]]:
    """Shrink spans, as in ``cover_spans``, to days that are partitions; spans without such a day are dropped."""
    known_days = [day for day, is_known in enumerate(is_known_day) if is_known]
    for symbol, first, last in spans:
        clipped = known_days[bisect_left(known_days, first) : bisect_right(known_days, last)]
        if clipped:
            yield symbol, clipped[0], clipped[-1]


def cover_spans(
    spans: Iterable[tuple[int, int, int]], symbols: Sequence[str], days: Sequence[str], max_partitions: int
) -> list[PartitionRange]:
    """The fewest ranges that contain every span, with at most ``max_partitions`` partitions each.

    A span is (position of the symbol, first day, last day): positions in ``symbols`` and ``days``. Ranges are split
    between symbols, never between days, because one request covers all days of a ticker.
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


def list_unfinished_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Every run of the instance that waits or is at work."""
    return list(instance.get_runs(dg.RunsFilter(statuses=UNFINISHED_STATUSES)))


def find_active_ranges(runs: Iterable[dg.DagsterRun], key: dg.AssetKey) -> list[PartitionRange]:
    """The partition ranges of ``key`` in these runs; runs without partitions have none.

    Runs that heal sessions have ranges of their own (``heal_ranges``). The job that fills a window of a person's choice
    is kept apart by the claims on tickers in the store.
    """
    runs_of_asset = [run for run in runs if run.asset_selection is None or key in run.asset_selection]
    ranges = (parse_partition_range(run.tags) for run in runs_of_asset)
    return [partition_range for partition_range in ranges if partition_range is not None]
