"""What a read returns."""

from dataclasses import dataclass
from typing import Any

from backfill_assets.reading.health import ReadHealth


@dataclass(frozen=True, eq=False)
class BarsResult:
    """The bars of a read, and how far they can be trusted.

    Attributes:
        frame: the bars, in the format asked for.
        health: how many slots were expected, what is there, and what is wrong.
        certificates: the ids of the newest certificates about the sessions read, ascending; of the sessions of which
            one covers every symbol.
    """

    frame: Any  # a pandas or polars DataFrame, or a pyarrow Table: the libraries are loaded when they are needed
    health: ReadHealth
    certificates: tuple[int, ...] = ()

    def __str__(self) -> str:
        return str(self.health)
