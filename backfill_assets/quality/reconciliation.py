"""How good live bars are: how far provisional bars differed from the final ones that replaced them.

Prices are compared, volumes only set in proportion: live is the consolidated tape a quarter of an hour late,
the final bars are another series (EODHD.md §2, §3).
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from backfill_assets.store.connection import Database
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.reconciled import read_reconciled

_PRICES = ("open", "high", "low", "close")
_SAME = 5e-7  # the table holds six decimals


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Provisional bars against the final ones.

    Attributes:
        bars: how many were compared.
        median_bp: per bar the largest difference of its four prices, basis points; of these the median.
        largest_bp: the largest of them.
        exact_share: part of all prices that were equal.
        volume_ratio: live volume over final volume, median; None where no final bar has volume.
    """

    bars: int
    median_bp: float
    largest_bp: float
    exact_share: float
    volume_ratio: float | None

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON shows them."""
        return asdict(self)

    def __str__(self) -> str:
        volume = "" if self.volume_ratio is None else f" · live volume {self.volume_ratio:.2f} × the final one"
        return (
            f"{self.bars:,} live bars were replaced by final ones: prices off by {self.median_bp:.1f} bp in the median,"
            f" {self.largest_bp:.1f} at most, {self.exact_share:.0%} exact{volume}"
        )


def compared(reconciled: pd.DataFrame) -> Reconciliation | None:
    """Sum up a table of ``store.reconciled``; None if it is empty."""
    if reconciled.empty:
        return None
    live = reconciled[[f"live_{name}" for name in _PRICES]].to_numpy(float)
    final = reconciled[[f"final_{name}" for name in _PRICES]].to_numpy(float)
    off = np.abs(live - final)
    furthest = (off / final).max(axis=1) * 10_000
    traded = reconciled.loc[reconciled["final_volume"] > 0]
    ratios = (traded["live_volume"] / traded["final_volume"]).to_numpy(float)
    return Reconciliation(
        bars=len(reconciled),
        median_bp=round(float(np.median(furthest)), 4),
        largest_bp=round(float(furthest.max()), 4),
        exact_share=round(float((off < _SAME).mean()), 6),
        volume_ratio=round(float(np.median(ratios)), 6) if len(ratios) else None,
    )


def reconciliation_of(database: Database, coverage: Coverage) -> Reconciliation | None:
    """How good the live bars of a window were; None where none was replaced yet."""
    grid = coverage.grid
    if not grid.size:
        return None
    first, last = (datetime.fromtimestamp(at, UTC) for at in (int(grid.starts[0]), int(grid.starts[-1])))
    with database.transaction() as connection:
        return compared(read_reconciled(connection, coverage.symbols, grid.interval, first, last))
