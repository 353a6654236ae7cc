"""How good live bars are: how far provisional bars differed from the final ones that replaced them.

Prices are compared, volumes only set in proportion: live is the consolidated tape a quarter of an hour late,
the final bars are another series (EODHD.md §2, §3).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.live.reconciliation import COLUMNS, read_reconciliations
from backfill_assets.store.postgres.connection import Database

_PRICE_COLUMNS = ("open", "high", "low", "close")
_EQUAL_WITHIN = 5e-7  # the table holds six decimals


@dataclass(frozen=True, slots=True)
class LiveAccuracy:
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


def compute_accuracy(reconciled: pd.DataFrame) -> LiveAccuracy | None:
    """Sum up a table of ``store.live.reconciliation``; None if it is empty."""
    return compute_accuracy_by_symbol(reconciled.assign(symbol_id=0)).get(0)


def compute_accuracy_by_symbol(reconciled: pd.DataFrame) -> dict[int, LiveAccuracy]:
    """Sum up a table of ``store.live.reconciliation`` for each symbol_id in it."""
    live = reconciled[[f"live_{name}" for name in _PRICE_COLUMNS]].to_numpy(float)
    final = reconciled[[f"final_{name}" for name in _PRICE_COLUMNS]].to_numpy(float)
    volume = reconciled["final_volume"].where(reconciled["final_volume"] > 0).astype(float)
    difference = np.abs(live - final)
    bars = pd.DataFrame(
        {
            "symbol_id": reconciled["symbol_id"],
            "furthest": (difference / final).max(axis=1) * 10_000,
            "exact": (difference < _EQUAL_WITHIN).mean(axis=1),
            "ratio": reconciled["live_volume"].astype(float) / volume,
        }
    )
    by_symbol = bars.groupby("symbol_id").agg(
        bars=("furthest", "size"),
        median_bp=("furthest", "median"),
        largest_bp=("furthest", "max"),
        exact_share=("exact", "mean"),
        volume_ratio=("ratio", "median"),
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
    """How good the live bars of a window were; None where none was replaced yet."""
    return compute_accuracy(_read_window(database, coverage))


def read_live_accuracy_by_symbol(database: Database, coverage: Coverage) -> dict[int, LiveAccuracy]:
    """The same for each symbol_id that had a live bar replaced."""
    return compute_accuracy_by_symbol(_read_window(database, coverage))


def _read_window(database: Database, coverage: Coverage) -> pd.DataFrame:
    grid = coverage.grid
    if not grid.size:
        return pd.DataFrame(columns=list(COLUMNS))
    first, last = grid.first_start, grid.last_start
    with database.transaction() as connection:
        return read_reconciliations(connection, coverage.symbols, grid.interval, first, last)
