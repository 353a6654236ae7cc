"""The accuracy of live bars: how far provisional bars differed from the final bars that replaced them.

Prices are compared; of volumes only the ratio is given, because live quotes come from the consolidated tape with a
delay of 15 minutes and final bars from another series (docs/vendor.md §2.6).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.live.reconciliation import COLUMNS, read_reconciliations
from backfill_assets.store.postgres.connection import Database

_PRICE_COLUMNS = ("open", "high", "low", "close")
_EQUAL_WITHIN = 5e-7  # the table stores six decimals


@dataclass(frozen=True, slots=True)
class LiveAccuracy:
    """Provisional bars compared with the final bars that replaced them.

    Attributes:
        bars: number of bars compared.
        median_bp: median over all bars of the largest difference among the four prices, in basis points.
        largest_bp: maximum of the same.
        exact_share: share of all prices that were equal, 0 to 1.
        volume_ratio: median of live volume / final volume; None if no final bar has volume.
    """

    bars: int
    median_bp: float
    largest_bp: float
    exact_share: float
    volume_ratio: float | None

    def as_dict(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        volume = "" if self.volume_ratio is None else f" · live volume {self.volume_ratio:.2f} × final volume"
        return (
            f"{self.bars:,} live bars were replaced by final bars: price difference {self.median_bp:.1f} bp median,"
            f" {self.largest_bp:.1f} bp maximum, {self.exact_share:.0%} of prices equal{volume}"
        )


def compute_accuracy(reconciled: pd.DataFrame) -> LiveAccuracy | None:
    """The accuracy over a table of ``store.live.reconciliation``; None if it is empty."""
    return compute_accuracy_by_symbol(reconciled.assign(symbol_id=0)).get(0)


def compute_accuracy_by_symbol(reconciled: pd.DataFrame) -> dict[int, LiveAccuracy]:
    """The accuracy for each symbol_id in a table of ``store.live.reconciliation``."""
    live = reconciled[[f"live_{name}" for name in _PRICE_COLUMNS]].to_numpy(float)
    final = reconciled[[f"final_{name}" for name in _PRICE_COLUMNS]].to_numpy(float)
    volume = reconciled["final_volume"].where(reconciled["final_volume"] > 0).astype(float)
    difference = np.abs(live - final)
    bars = pd.DataFrame(
        {
            "symbol_id": reconciled["symbol_id"],
            "largest_difference_bp": (difference / final).max(axis=1) * 10_000,
            "equal_share": (difference < _EQUAL_WITHIN).mean(axis=1),
            "volume_ratio": reconciled["live_volume"].astype(float) / volume,
        }
    )
    by_symbol = bars.groupby("symbol_id").agg(
        bars=("largest_difference_bp", "size"),
        median_bp=("largest_difference_bp", "median"),
        largest_bp=("largest_difference_bp", "max"),
        exact_share=("equal_share", "mean"),
        volume_ratio=("volume_ratio", "median"),
    )
    return {int(key): _build_accuracy(*figures) for key, *figures in by_symbol.itertuples()}


def _build_accuracy(
    bars: float, median_bp: float, largest_bp: float, exact_share: float, volume_ratio: float
) -> LiveAccuracy:
    return LiveAccuracy(
        bars=int(bars),
        median_bp=round(median_bp, 4),
        largest_bp=round(largest_bp, 4),
        exact_share=round(exact_share, 6),
        volume_ratio=None if np.isnan(volume_ratio) else round(volume_ratio, 6),
    )


def read_live_accuracy(database: Database, coverage: Coverage) -> LiveAccuracy | None:
    """The accuracy of the live bars in a window; None if none was replaced yet."""
    return compute_accuracy(_read_window(database, coverage))


def read_live_accuracy_by_symbol(database: Database, coverage: Coverage) -> dict[int, LiveAccuracy]:
    """The same for each symbol_id with a replaced live bar."""
    return compute_accuracy_by_symbol(_read_window(database, coverage))


def _read_window(database: Database, coverage: Coverage) -> pd.DataFrame:
    grid = coverage.grid
    if not grid.size:
        return pd.DataFrame(columns=list(COLUMNS))
    first, last = grid.first_start, grid.last_start
    with database.transaction() as connection:
        return read_reconciliations(connection, coverage.symbols, grid.interval, first, last)
