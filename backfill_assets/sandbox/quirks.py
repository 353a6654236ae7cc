"""Irregularities in the data of a sandbox, each with its rate. Values only.

Improbable values that break no rule by themselves are in ``oddities``; what an exchange's data mean is in ``feed``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from backfill_assets.sandbox.oddities import OddityRates


@dataclass(frozen=True)
class DataQuirks:
    """Irregularities in the vendor's data (docs/vendor.md §2 to §5, §7).

    A float is a probability; the description names per what it is drawn. 0 and False switch a quirk off.
    "True bars" are the bars that ``World.true_bars`` returns.

    Attributes:
        close_print: 5m ends with a flat null-volume row at the close.
        close_print_missing_weeks: per calendar week: no close print in the whole market.
        close_print_missing: per ticker and session: no close print.
        close_print_off_at_early_close: per early close: the print differs from the official close by about 0.11 %.
        post_close_prints: per ticker and session: another flat null-volume 5m row after the close.
        null_rows: per 5m row: all null. Nothing traded; the true bars lack it too.
        flat_rows: per 5m row: flat, volume null. Nothing traded; the true bars lack it too.
        halt_prints: per ticker and session: one or two null-volume rows off the grid.
        duplicate_rows: per ticker and session: an outdated copy of a row (same time stamp and open, other values,
            less volume) stands before the complete row.
        cumulative_volume_months: per ticker and month: each session has 6 to 12 5m rows whose volume is the running
            total of the session.
        repaired_after_days: days from publication until those volumes are corrected (unknown, docs/vendor.md §6.14);
            None: never.
        unordered_rows: per ticker and session: rows in random order.
        whole_prices_as_int: whole prices are written as JSON integers.
        quiet_minutes: per regular minute: no trade. 1m omits the row; the true bars lack it too.
        extended_hours_gaps: 1m rows before the open and after the close have gaps.
        premarket_quote_rows: per minute without a trade before the open: a 1m row with prices and null volume.
        trailing_row: per ticker and session: a flat null-volume 1m row at the end of after-hours trading.
        late_auction: per ticker and session: the closing auction is in the 16:03 or 16:04 row of 1m.
        partial_publication: per ticker and session: only part of the session is published at first.
        partial_publication_hours: bounds of the hours until the session is complete.
        vendor_gaps: per ticker, interval and half-year: two to six weeks that never appear.
        revisions: per ticker and session: a few rows change slightly ``revision_days`` later.
        revision_days: bounds of the days from publication to revision.
        late_daily_rows: per ticker: the end-of-day row comes three hours later than for other tickers.
        daily_revisions: per ticker and session: the first end-of-day volume is up to 6.5 % too low, until noon UTC of
            the next day.
        duplicate_splits: per ticker: its split is listed twice.
        eod_null_prices: per ``/eod`` row: open, high and low are null.
        string_timestamps: per ticker: live quotes give the time stamp as a string.
        missing_live_quotes: per ticker: live quotes are all "NA" although the ticker trades.
        live_unknown_404: a single unknown live ticker is a 404 instead of an all-"NA" object (docs/vendor.md §6.5).
        upper_case_codes: the bulk file has ``Code`` instead of ``code``.
        unusual_listings: the symbol list has test issues, over-the-counter shares, funds and a reused code, too.
        details_as_lists: ``/exchange-details`` gives lists instead of maps keyed "0", "1".
        to_inclusive: ``to`` is inclusive (unknown, docs/vendor.md §6.7).
        free_intraday: a free token gets a year of ``/intraday`` with a warning instead of a 403.
        plan_limit_days: paid tokens get only this many days of ``/intraday`` and ``/eod``. An answer
            to a longer range has a ``warning`` in its last row, or a row with nothing else. None: off.
        unreadable_timestamps: per ticker and session: a further ``/intraday`` row with the time stamp 0.
        oddities: values that are possible but improbable, each kind with its own probability.
        halts: (symbol, day) → minutes from the open, first and the one after the last, without a trade in any feed.
            The daily volume lacks their shares. A halt that reaches the close leaves no closing auction.
        null_windows: (symbol, day) → minutes from the open, likewise, whose 5m rows are all null although 1m has every
            minute. The true bars of 5m have them.
    """

    close_print: bool = True
    close_print_missing_weeks: float = 0.0
    close_print_missing: float = 0.0
    close_print_off_at_early_close: float = 0.0
    post_close_prints: float = 0.0
    null_rows: float = 0.0
    flat_rows: float = 0.0
    halt_prints: float = 0.0
    duplicate_rows: float = 0.0
    cumulative_volume_months: float = 0.0
    repaired_after_days: float | None = 12.0
    unordered_rows: float = 0.0
    whole_prices_as_int: bool = False
    quiet_minutes: float = 0.0
    extended_hours_gaps: bool = False
    premarket_quote_rows: float = 0.0
    trailing_row: float = 0.0
    late_auction: float = 0.0
    partial_publication: float = 0.0
    partial_publication_hours: tuple[float, float] = (1.0, 6.0)
    vendor_gaps: float = 0.0
    revisions: float = 0.0
    revision_days: tuple[float, float] = (1.0, 9.0)
    late_daily_rows: float = 0.0
    daily_revisions: float = 0.0
    duplicate_splits: float = 0.0
    eod_null_prices: float = 0.0
    string_timestamps: float = 0.0
    missing_live_quotes: float = 0.0
    live_unknown_404: bool = False
    upper_case_codes: bool = False
    unusual_listings: bool = False
    details_as_lists: bool = False
    to_inclusive: bool = True
    free_intraday: bool = False
    plan_limit_days: int | None = None
    unreadable_timestamps: float = 0.0
    oddities: OddityRates = field(default_factory=OddityRates)
    halts: Mapping[tuple[str, date], tuple[int, int]] = field(default_factory=dict)
    null_windows: Mapping[tuple[str, date], tuple[int, int]] = field(default_factory=dict)

    @staticmethod
    def build_clean() -> "DataQuirks":
        """Build the default: close prints and full grids, no other quirk."""
        return DataQuirks()

    @staticmethod
    def build_realistic() -> "DataQuirks":
        """Build the quirks of docs/vendor.md, about as frequent as they were observed."""
        return DataQuirks(
            close_print_missing_weeks=0.02,
            close_print_missing=0.01,
            close_print_off_at_early_close=0.43,
            post_close_prints=0.3,
            null_rows=0.0008,
            flat_rows=0.0003,
            halt_prints=0.004,
            duplicate_rows=0.001,
            cumulative_volume_months=0.02,
            whole_prices_as_int=True,
            quiet_minutes=0.0004,
            extended_hours_gaps=True,
            premarket_quote_rows=0.3,
            trailing_row=0.05,
            late_auction=0.1,
            partial_publication=0.01,
            vendor_gaps=0.01,
            revisions=0.02,
            late_daily_rows=0.05,
            daily_revisions=0.067,
            duplicate_splits=0.05,
            eod_null_prices=0.0003,
            string_timestamps=0.05,
            missing_live_quotes=0.01,
            unusual_listings=True,
        )
