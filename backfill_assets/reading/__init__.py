"""Safe reads of the store, for other people's code: the public interface of this project.

What is imported from here keeps its name and meaning (docs/reading.md). The rest of the project may change.
"""

from backfill_assets.errors import BackfillError, DatabaseUnavailable, UsageError
from backfill_assets.reading.bars import read_bars
from backfill_assets.reading.changes import ChangesResult, read_changes
from backfill_assets.reading.daily import read_daily
from backfill_assets.reading.errors import IncompleteBars, PendingSessions, ReadRefused
from backfill_assets.reading.health import ReadHealth, StoredUnder
from backfill_assets.reading.problems import Problem
from backfill_assets.reading.results import BarsResult
from backfill_assets.store.bars.adjusted_bars import MissingFactor

__all__ = [
    "BackfillError",
    "BarsResult",
    "ChangesResult",
    "DatabaseUnavailable",
    "IncompleteBars",
    "MissingFactor",
    "PendingSessions",
    "Problem",
    "ReadHealth",
    "ReadRefused",
    "StoredUnder",
    "UsageError",
    "read_bars",
    "read_changes",
    "read_daily",
]
