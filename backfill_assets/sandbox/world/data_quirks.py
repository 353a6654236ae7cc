"""Adds the irregularities of ``DataQuirks`` to regular rows.

Each function draws from a generator of its own, so switching one quirk does not change the others.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.world.intraday_columns import (
    NULL_VOLUME,
    IntradayColumns,
    concatenate_rows,
    make_flat_row,
    sort_by_timestamp,
)
from backfill_assets.sandbox.world.minute_paths import FIVE_MINUTES, MINUTE, truncate_to_float32
from backfill_assets.sandbox.world.quiet_periods import QuietPeriods
from backfill_assets.sandbox.world.random_draws import draw_unit, make_generator

_CLOSE_PRINT_MISSING_FROM, _CLOSE_PRINT_MISSING_TO = (
    date(2025, 10, 13),
    date(2025, 10, 27),
)  # whole market (docs/vendor.md §2.8)


@dataclass(frozen=True)
class DrawContext:
    """Ticker, session and seed that the draws depend on; ``root`` is the name a renaming does not change."""

    seed: int
    root: str
    session: Session
    quirks: DataQuirks

    @property
    def day_ordinal(self) -> int:
        """The session's day as an ordinal."""
        return self.session.day.toordinal()

    @property
    def halt(self) -> tuple[int, int] | None:
        """The minutes of the session's halt (see ``DataQuirks.halts``), if it has one."""
        return self.quirks.halts.get((self.root, self.session.day))

    @property
    def is_halted_at_close(self) -> bool:
        """Whether a halt lasts until the close."""
        halt = self.halt
        return halt is not None and halt[1] >= int((self.session.close - self.session.open).total_seconds()) // MINUTE

    def is_affected(self, purpose: str, probability: float) -> bool:
        """Whether something with this probability happens to this ticker in this session."""
        return probability > 0 and draw_unit(self.seed, purpose, self.root, self.day_ordinal) < probability

    def make_generator(self, purpose: str) -> np.random.Generator:
        """Make a generator for one purpose."""
        return make_generator(self.seed, purpose, self.root, self.day_ordinal)


def make_preliminary(context: DrawContext, rows: IntradayColumns, interval: str) -> IntradayColumns:
    """Make the first published version of rows that are revised later: other volumes, one other close."""
    if len(rows) == 0:
        return rows
    rng = context.make_generator(f"preliminary {interval}")
    changed = rng.integers(0, len(rows), min(4, len(rows)))
    volumes, prices = rows.volumes.copy(), rows.prices.copy()
    volumes[changed] = np.maximum(volumes[changed] * rng.uniform(0.9, 0.99, len(changed)), 1).astype(np.int64)
    prices[3, changed[0]] = prices[2, changed[0]]
    return IntradayColumns(rows.timestamps, prices, volumes)


def add_quiet_windows(rows: IntradayColumns, timestamps: Int64, quiet_periods: QuietPeriods) -> IntradayColumns:
    """Fill the grid: windows without a trade become all-null rows, or flat ones at the last price."""
    if len(rows) == len(timestamps):
        return rows
    prices = np.full((4, len(timestamps)), np.nan)
    volumes = np.full(len(timestamps), NULL_VOLUME, np.int64)
    traded = ~quiet_periods.windows
    prices[:, traded], volumes[traded] = rows.prices, rows.volumes
    for index in np.flatnonzero(quiet_periods.flat):
        earlier_closes = prices[3, :index]
        earlier_prices = earlier_closes[~np.isnan(earlier_closes)]
        if len(earlier_prices):
            prices[:, index] = earlier_prices[-1]
    return IntradayColumns(timestamps, prices, volumes)


def accumulate_volumes(context: DrawContext, rows: IntradayColumns) -> IntradayColumns:
    """Give six to twelve rows the session's running total as volume, in affected months (docs/vendor.md §2.14)."""
    month = context.session.day.year * 12 + context.session.day.month
    if draw_unit(context.seed, "cumulative", context.root, month) >= context.quirks.cumulative_volume_months:
        return rows
    rng = context.make_generator("cumulative")
    candidates = np.flatnonzero(rows.volumes[1:] > 0) + 1
    chosen = rng.permutation(candidates)[: int(rng.integers(6, 13))]
    volumes = rows.volumes.copy()
    volumes[chosen] = np.cumsum(np.maximum(rows.volumes, 0))[chosen]
    return IntradayColumns(rows.timestamps, rows.prices, volumes)


def blank_windows(context: DrawContext, rows: IntradayColumns) -> IntradayColumns:
    """Make the rows of a lost window all null (see ``DataQuirks.null_windows``); ``rows`` are the session's 5m grid."""
    window = context.quirks.null_windows.get((context.root, context.session.day))
    if window is None:
        return rows
    prices, volumes = rows.prices.copy(), rows.volumes.copy()
    lost = slice(window[0] // 5, window[1] // 5)
    prices[:, lost], volumes[lost] = np.nan, NULL_VOLUME
    return IntradayColumns(rows.timestamps, prices, volumes)


def make_stale_copy(context: DrawContext, rows: IntradayColumns) -> IntradayColumns:
    """Make an outdated copy of one row: same time stamp and open, narrower range, less volume."""
    candidates = np.flatnonzero(rows.volumes > 1)
    if len(candidates) == 0:
        return rows.select(slice(0, 0))
    chosen = int(context.make_generator("duplicate").choice(candidates))
    copy = rows.select(slice(chosen, chosen + 1))
    open_price, _, low, _ = copy.prices[:, 0]
    prices = np.array([[open_price], [open_price], [low], [low]])
    return IntradayColumns(copy.timestamps, prices, copy.volumes // 2)


def make_halt_prints(context: DrawContext, rows: IntradayColumns) -> IntradayColumns:
    """Make one or two null-volume rows off the five-minute grid, for example at 13:21."""
    rng = context.make_generator("halt")
    traded = np.flatnonzero(rows.volumes > 0)[:-1]
    if len(traded) == 0:
        return rows.select(slice(0, 0))
    chosen = np.unique(rng.choice(traded, int(rng.integers(1, 3))))
    timestamps = rows.timestamps[chosen] + MINUTE * rng.integers(1, 5, len(chosen))
    prices = np.repeat(rows.prices[3:4, chosen], 4, axis=0)
    return IntradayColumns(timestamps, prices, np.full(len(chosen), NULL_VOLUME, np.int64))


def make_close_print(context: DrawContext, official_close: float) -> IntradayColumns | None:
    """Make the flat null-volume row at the close; None where it is missing (docs/vendor.md §2.8)."""
    quirks, session = context.quirks, context.session
    if not quirks.close_print or context.is_affected("no print", quirks.close_print_missing):
        return None
    if quirks.close_print_missing_weeks:
        year, week, _ = session.day.isocalendar()
        is_recorded_outage = _CLOSE_PRINT_MISSING_FROM <= session.day <= _CLOSE_PRINT_MISSING_TO
        if is_recorded_outage or draw_unit(context.seed, "week", year, week) < quirks.close_print_missing_weeks:
            return None
    price = official_close
    if (
        session.is_early_close
        and draw_unit(context.seed, "early", context.day_ordinal) < quirks.close_print_off_at_early_close
    ):
        price = round(official_close * 1.0011, 2)
    return make_flat_row(_get_close_epoch(session), float(truncate_to_float32(np.array([price]))[0]))


def build_five_minute_rows(
    context: DrawContext,
    rows: IntradayColumns,
    timestamps: Int64,
    quiet_periods: QuietPeriods,
    official_close: float,
    repaired: bool,
) -> IntradayColumns:
    """Build the 5m rows of a whole session as the vendor publishes them."""
    quirks = context.quirks
    grid = add_quiet_windows(rows, timestamps, quiet_periods)
    if quirks.cumulative_volume_months and not repaired:
        grid = accumulate_volumes(context, grid)
    grid = blank_windows(context, grid)
    parts = [grid]
    if context.is_affected("duplicate", quirks.duplicate_rows):
        parts.insert(0, make_stale_copy(context, rows))
    if context.is_affected("halt", quirks.halt_prints):
        parts.append(make_halt_prints(context, rows))
    closing_row = make_close_print(context, official_close) if len(rows) else None
    if closing_row is not None:
        parts.append(closing_row)
        if context.is_affected("post", quirks.post_close_prints):
            post_close_timestamp = _get_close_epoch(context.session) + FIVE_MINUTES * (
                1 + int(40 * draw_unit(context.root, context.day_ordinal))
            )
            parts.append(make_flat_row(post_close_timestamp, float(closing_row.prices[3, 0])))
    return grid if len(parts) == 1 else sort_by_timestamp(concatenate_rows(*parts))


def shuffle_rows(context: DrawContext, rows: IntradayColumns) -> IntradayColumns:
    """Put the rows in random order."""
    return rows.select(context.make_generator("order").permutation(len(rows)))


def _get_close_epoch(session: Session) -> int:
    return int(session.close.timestamp())
