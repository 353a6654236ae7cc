"""Every criterion there is, in one list: the success criteria, and whether what is stored is right."""

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.bar_validity import evaluate_bars, evaluate_closes
from backfill_assets.quality.criteria import Criterion, evaluate_window
from backfill_assets.store.postgres.connection import Database


def evaluate_all(database: Database, settings: Settings, coverage: Coverage, source: Interval) -> list[Criterion]:
    """All criteria of a window as the store shows them now; ``source`` is what its bars are built from.

    ``live_keeps_up`` is among them where live samples make bars of the window's interval.
    """
    live = coverage.grid.interval in settings.list_live_intervals()
    return [
        *evaluate_window(database, coverage, tolerance=settings.missing_tolerance, live=live),
        evaluate_bars(database, coverage),
        evaluate_closes(database, coverage, source, tolerance_bps=settings.eod_tolerance_bps),
    ]
