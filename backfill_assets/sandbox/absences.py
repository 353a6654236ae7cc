"""For which tickers and days a sandbox has less than usual (docs/vendor.md §2.12, §2.17, §5.4). Values only."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Absences:
    """Tickers and days without data.

    Attributes:
        daily_only: symbols with daily rows but no intraday rows, as OTC symbols are.
        silent: symbols that are known, and for which every answer is ``[]``.
        invalid: symbols that are refused with 422.
        eod_skipped: (symbol, day) pairs that ``/eod`` lacks.
        bulk_skipped: (symbol, day) pairs that the market's daily file lacks.
        untraded: (symbol, day) pairs without a trade: 5m has a grid of nulls, the daily row has volume 0.
    """

    daily_only: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    invalid: frozenset[str] = frozenset()
    eod_skipped: frozenset[tuple[str, date]] = frozenset()
    bulk_skipped: frozenset[tuple[str, date]] = frozenset()
    untraded: frozenset[tuple[str, date]] = frozenset()

    @property
    def without_intraday(self) -> frozenset[str]:
        """The symbols without any intraday row."""
        return self.daily_only | self.silent
