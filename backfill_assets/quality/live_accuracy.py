"""The accuracy of live bars: how far provisional bars differed from the final bars that replaced them.

Prices are compared; of volumes only the ratio is given, because live quotes come from the consolidated tape with a
delay of 15 minutes and final bars from another series (docs/vendor.md §2.6).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import find_run_starts
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


def compute_accuracy(reconciled: Columns) -> LiveAccuracy | None:
    """The accuracy over a table of ``store.live.reconciliation``; None if it is empty."""
    return _compare(reconciled) if len(reconciled) else None


def compute_accuracy_by_symbol(reconciled: Columns) -> dict[int, LiveAccuracy]:
    """The accuracy for each symbol_id in a table of ``store.live.reconciliation``."""
    ordered = reconciled.take(np.argsort(reconciled["symbol_id"], kind="stable"))
    starts = find_run_starts(ordered["symbol_id"])
    bars = np.split(np.arange(len(ordered)), starts[1:]) if len(ordered) else []
    return {int(ordered["symbol_id"][of[0]]): _compare(ordered.take(of)) for of in bars}


def _compare(bars: Columns) -> LiveAccuracy:
    """The accuracy of some bars, one at least."""
    live, final = (np.column_stack([bars[f"{kind}_{name}"] for name in _PRICE_COLUMNS]) for kind in ("live", "final"))
    difference = np.abs(live - final)
    largest_bp = (difference / final).max(axis=1) * 10_000
    has_traded = bars["final_volume"] > 0
    volume_ratio = bars["live_volume"][has_traded] / bars["final_volume"][has_traded]
    volume_ratio = volume_ratio[~np.isnan(volume_ratio)]
    return LiveAccuracy(
        bars=len(bars),
        median_bp=round(float(np.median(largest_bp)), 4),
        largest_bp=round(float(largest_bp.max()), 4),
        exact_share=round(float((difference < _EQUAL_WITHIN).mean()), 6),
        volume_ratio=round(float(np.median(volume_ratio)), 6) if len(volume_ratio) else None,
    )


def read_live_accuracy(database: Database, coverage: Coverage) -> LiveAccuracy | None:
    """The accuracy of the live bars in a window; None if none was replaced yet."""
    return compute_accuracy(_read_window(database, coverage))


def read_live_accuracy_by_symbol(database: Database, coverage: Coverage) -> dict[int, LiveAccuracy]:
    """The same for each symbol_id with a replaced live bar."""
    return compute_accuracy_by_symbol(_read_window(database, coverage))


def _read_window(database: Database, coverage: Coverage) -> Columns:
    grid = coverage.grid
    if not grid.size:
        return Columns(dict.fromkeys(COLUMNS, np.zeros(0)))
    first, last = grid.first_start, grid.last_start
    with database.transaction() as connection:
        return read_reconciliations(connection, coverage.symbols, grid.interval, first, last)
