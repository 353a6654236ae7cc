"""What a run without partitions heals, in its tags: an asset's symbols from A to B and its days from C to D.

Unlike ranges of partitions (``partition_ranges``) these name symbols in alphabetical order, since a symbol need not be
a partition. A range may contain more than the run requests: which symbols those are is in the run's configuration.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from backfill_assets.orchestration.partition_ranges import PartitionRange

ASSET_TAG = "backfill_assets/healed_asset"
START_TAG = "backfill_assets/healed_range_start"
END_TAG = "backfill_assets/healed_range_end"


@dataclass(frozen=True, slots=True)
class HealRange:
    """A rectangle of symbols and days; all ends are inclusive, days are ISO dates."""

    asset: str
    first_day: str
    last_day: str
    first_symbol: str
    last_symbol: str

    @classmethod
    def create(cls, key: dg.AssetKey, symbols: Iterable[str], first_day: str, last_day: str) -> "HealRange":
        """The smallest range that contains these symbols and days."""
        names = sorted(symbols)
        return cls(key.to_user_string(), first_day, last_day, names[0], names[-1])

    @property
    def tags(self) -> dict[str, str]:
        """The run tags that tell other ticks, and people, what the run heals."""
        return {
            ASSET_TAG: self.asset,
            START_TAG: f"{self.first_day}|{self.first_symbol}",
            END_TAG: f"{self.last_day}|{self.last_symbol}",
        }

    def __str__(self) -> str:
        return f"{self.first_symbol}…{self.last_symbol} × {self.first_day}…{self.last_day}"

    def overlaps(self, other: "HealRange") -> bool:
        """Whether both contain a session of a symbol."""
        return (
            self.asset == other.asset
            and self._shares_days(other)
            and self.first_symbol <= other.last_symbol
            and other.first_symbol <= self.last_symbol
        )

    def overlaps_partitions(self, partition_range: PartitionRange, order: Sequence[str]) -> bool:
        """Whether both contain a partition of the asset.

        Args:
            partition_range: of the same asset.
            order: the symbols that are partitions, in Dagster's order. If an end of the range is none of them, only
                its ends are compared.
        """
        if not self._shares_days(partition_range):
            return False
        ends = [partition_range.first_symbol, partition_range.last_symbol]
        if all(end in order for end in ends):
            ends = list(order[order.index(ends[0]) : order.index(ends[1]) + 1])
        return any(self.first_symbol <= symbol <= self.last_symbol for symbol in ends)

    def _shares_days(self, other: "HealRange | PartitionRange") -> bool:
        return self.first_day <= other.last_day and other.first_day <= self.last_day


def parse_heal_range(tags: Mapping[str, str]) -> HealRange | None:
    """The range of a run with these tags; None for a run that heals nothing."""
    if not all(tag in tags for tag in (ASSET_TAG, START_TAG, END_TAG)):
        return None
    (first_day, _, first_symbol), (last_day, _, last_symbol) = (
        tags[START_TAG].partition("|"),
        tags[END_TAG].partition("|"),
    )
    return HealRange(tags[ASSET_TAG], first_day, last_day, first_symbol, last_symbol)


def find_active_heals(runs: Iterable[dg.DagsterRun], key: dg.AssetKey) -> list[HealRange]:
    """What these runs heal of an asset."""
    ranges = (parse_heal_range(run.tags) for run in runs)
    return [one for one in ranges if one is not None and one.asset == key.to_user_string()]
