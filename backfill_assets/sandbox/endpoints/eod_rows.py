"""Daily rows of one ticker or of the whole market, equal in both forms (docs/vendor.md §5.4, §5.5).

Parameters and prices of the requests are in ``eod``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import msgspec
import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.encoding import JsonNumber
from backfill_assets.sandbox.world import daily_volumes
from backfill_assets.sandbox.world.action_factors import VendorFactors
from backfill_assets.sandbox.world.daily_bars import DailyBars
from backfill_assets.sandbox.world.random_draws import draw_unit, draw_units, hash_parts
from backfill_assets.sandbox.world.simulation import World

_LATE_DELAY_SECONDS = 3 * 3600  # of funds and OTC
_MISSING_ROW_SHARE = 0.5  # of days without a trade: no row; the others have a row with volume 0


class EodRow(msgspec.Struct):
    """A row of ``/eod``. Volume is adjusted for splits; unadjusted prices are adjusted for spin-offs only."""

    date: str
    open: JsonNumber
    high: JsonNumber
    low: JsonNumber
    close: JsonNumber
    adjusted_close: JsonNumber
    volume: int | float | None


@dataclass(frozen=True)
class _EodColumns:
    """Values for pairs of ticker and day, shape (pairs,) each."""

    unadjusted: tuple[Floats, Floats, Floats, Floats]
    adjusted: Floats
    volumes: Int64
    null_prices: Bools


class EodRowSource:
    """Builds the daily rows of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world
        self._absences, self._feed = config.absences, config.feed
        self._main_delay_seconds = 60 * config.feed.daily_delay_minutes

    def list_rows(self, code: str, first: date, last: date, now: datetime) -> list[EodRow]:
        """List the rows of ``code`` from ``first`` to ``last`` that are published at ``now``, oldest first."""
        skipped = {day.isoformat() for name, day in self._absences.eod_skipped if name == code}
        holders = self._world.listings.list_served_holders(code, now.date())
        rows = [row for symbol in holders for row in self._list_all_rows(symbol, first, last, now)]
        return [row for row in rows if row.date not in skipped]

    def _list_all_rows(self, symbol: str, first: date, last: date, now: datetime) -> list[EodRow]:
        if symbol in self._absences.silent:
            return []
        listings, session_index = self._world.listings, self._world.session_index
        first_listed, last_listed = listings.get_first_day(symbol), listings.get_last_day(symbol)
        chosen = session_index.slice_days(max(first, first_listed), min(last, last_listed or last))
        sessions, ordinals = session_index.sessions[chosen], session_index.day_ordinals[chosen]
        published = session_index.closes[chosen] + self._get_delay(symbol) <= now.timestamp()
        count = int(published.sum())
        bars = self._world.draw_daily_history(symbol, ordinals[:count])
        columns = self._build_columns(
            [symbol], ordinals[:count], bars, self._get_factors(symbol, ordinals[:count], now)
        )
        return [
            row
            for index, session in enumerate(sessions[:count])
            if (row := self._build_row(symbol, session, columns, index, now)) is not None
        ]

    def find_row(self, code: str, session: Session, now: datetime) -> EodRow | None:
        """Find the row of one day; None if it is not published at ``now`` or does not exist."""
        holder = self._world.listings.find_holder(code, session.day)
        rows = self._list_all_rows(holder, session.day, session.day, now)
        return rows[0] if rows else None

    def list_market_rows(self, codes: Iterable[str], session: Session, now: datetime) -> list[tuple[str, EodRow]]:
        """List the rows of many tickers on one day, in the order of the bulk file."""
        listings, seconds_since_close = self._world.listings, now.timestamp() - session.close.timestamp()
        holders = [
            (code, symbol)
            for code in codes
            if listings.is_listed_on(symbol := listings.find_holder(code, session.day), session.day)
            and seconds_since_close >= self._get_delay(symbol)
            and code not in self._absences.silent
            and (code, session.day) not in self._absences.bulk_skipped
        ]
        symbols, ordinal = [symbol for _, symbol in holders], np.array([session.day.toordinal()], np.int64)
        factors = np.ones((4, len(symbols)))
        for index, symbol in enumerate(symbols):
            if listings.list_actions(symbol):
                factors[:, index] = np.ravel(self._get_factors(symbol, ordinal, now))
        columns = self._build_columns(symbols, ordinal, self._world.draw_daily_market(symbols, session), factors)
        rows = [self._build_row(symbol, session, columns, index, now) for index, symbol in enumerate(symbols)]
        return [(code, row) for (code, _), row in zip(holders, rows, strict=True) if row is not None]

    def is_bulk_file_published(self, session: Session, now: datetime) -> bool:
        """Whether the bulk file of ``session`` exists."""
        return now.timestamp() >= session.close.timestamp() + self._main_delay_seconds

    def _get_factors(self, symbol: str, ordinals: Int64, now: datetime) -> Floats:
        """Get the factors of days as the vendor applies them at ``now``, shape (4, days).

        Raw prices ÷ continuous ones, adjusted ÷ raw prices, daily volume ÷ continuous volume, raw ÷ unadjusted prices.
        """
        true = self._world.action_factors.get_true(symbol)
        vendor = self._get_vendor_factors(symbol, now)
        return np.array(
            [
                true.prices.get_products(ordinals),
                vendor.adjustment.get_products(ordinals),
                vendor.shares.get_products(ordinals) / true.shares.get_products(ordinals),
                vendor.spinoffs.get_products(ordinals),
            ]
        )

    def _get_vendor_factors(self, symbol: str, now: datetime) -> VendorFactors:
        return self._world.action_factors.get_vendor(symbol, now.astimezone(self._world.market.zone).date())

    def _build_columns(self, symbols: list[str], ordinals: Int64, bars: DailyBars, factors: Floats) -> _EodColumns:
        """Build the values of many days of one ticker, or of one day of many tickers."""
        raw = [np.round(price * factors[0], 2) for price in (bars.open, bars.high, bars.low, bars.close)]
        open_price, high, low, close = (np.round(price / factors[3], 4) for price in raw)
        adjusted, volumes = np.round(raw[3] * factors[1], 4), (bars.volume * factors[2]).astype(np.int64)
        return _EodColumns((open_price, high, low, close), adjusted, volumes, self._draw_null_prices(symbols, ordinals))

    def _draw_null_prices(self, symbols: list[str], ordinals: Int64) -> Bools:
        """Draw which rows have null prices: many days of one ticker, or one day of many tickers."""
        if not self._config.quirks.eod_null_prices:
            return np.zeros(max(len(symbols), len(ordinals)), bool)
        roots = (self._world.listings.get_root(symbol) for symbol in symbols)
        keys = np.array([hash_parts(self._config.seed, "eod nulls", root) for root in roots], np.uint64)
        nulls: Bools = draw_units(keys, ordinals, 1)[0] < self._config.quirks.eod_null_prices
        return nulls

    def _build_row(
        self, symbol: str, session: Session, columns: _EodColumns, index: int, now: datetime
    ) -> EodRow | None:
        is_untraded = (symbol, session.day) in self._absences.untraded
        volume = 0 if is_untraded else int(columns.volumes[index]) - self._count_halted_shares(symbol, session, now)
        root = self._world.listings.get_root(symbol)
        day = session.day.toordinal()
        if volume == 0 and self._feed.carries_forward:
            return self._carry_forward(symbol, session)
        if volume == 0 and not is_untraded and draw_unit(self._config.seed, "idle row", root, day) < _MISSING_ROW_SHARE:
            return None
        if columns.null_prices[index]:
            prices: list[JsonNumber] = [None, None, None, float(columns.unadjusted[3][index])]
        else:
            prices = [float(price[index]) for price in columns.unadjusted]
        shares = int(volume * self._compute_volume_share(root, session, now))
        reported = daily_volumes.report_volume(self._config, root, day, shares)
        opened, high, low, close = prices
        return EodRow(session.day.isoformat(), opened, high, low, close, float(columns.adjusted[index]), reported)

    def _carry_forward(self, symbol: str, session: Session) -> EodRow:
        """The row of a day without a trade, at the last close: a name that was never traded stands at its first one."""
        last = self._find_last_traded(symbol, session)
        close = self._world.get_official_bar(symbol, last).close
        volume = daily_volumes.report_volume(self._config, symbol, session.day.toordinal(), 0)
        return EodRow(session.day.isoformat(), close, close, close, close, close, volume)

    def _find_last_traded(self, symbol: str, session: Session) -> Session:
        earlier = self._world.session_index.find_earlier(session, 1)
        while earlier is not None and self._world.listings.is_listed_on(symbol, earlier.day):
            is_untraded = (symbol, earlier.day) in self._absences.untraded
            if not is_untraded and self._world.get_official_bar(symbol, earlier).volume:
                return earlier
            earlier = self._world.session_index.find_earlier(earlier, 1)
        return session

    def _count_halted_shares(self, symbol: str, session: Session, now: datetime) -> int:
        """Count the shares that a halt kept from being traded, adjusted for splits like the volumes of the rows."""
        if not self._config.quirks.halts:
            return 0
        shares = self._get_vendor_factors(symbol, now).shares
        factor = shares.get_products(np.array([session.day.toordinal()], np.int64))[0]
        return int(self._world.count_halted_shares(symbol, session) * factor)

    def _compute_volume_share(self, root: str, session: Session, now: datetime) -> float:
        """Compute the share of the volume in the first version of a row, valid until noon UTC of the next day."""
        rate = self._config.quirks.daily_revisions
        final_at = datetime.combine(session.day + timedelta(days=1), time(12), UTC)
        if not rate or now >= final_at:
            return 1.0
        drawn = draw_unit(self._config.seed, "daily revision", root, session.day.toordinal())
        return 1.0 - 0.065 * drawn / rate if drawn < rate else 1.0

    def _get_delay(self, symbol: str) -> float:
        late_share = self._config.quirks.late_daily_rows
        root = self._world.listings.get_root(symbol)
        if late_share and draw_unit(self._config.seed, "daily late", root) < late_share:
            return self._main_delay_seconds + _LATE_DELAY_SECONDS
        return self._main_delay_seconds
