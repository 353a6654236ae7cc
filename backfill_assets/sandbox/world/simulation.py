"""A simulated market, of one exchange: every bar depends on seed, ticker and session only.

There is no clock here: a ``PublicationStage`` chooses between the published versions of a session.
HTTP answers are built in ``endpoints``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import to_epoch_seconds
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.oddities import Oddity
from backfill_assets.sandbox.world import data_quirks, extended_hours, feed_rows, minute_paths, quiet_periods
from backfill_assets.sandbox.world.action_factors import ActionFactors
from backfill_assets.sandbox.world.daily_bars import DailyBars, compute_typical_volume, draw_daily_bars, scale_prices
from backfill_assets.sandbox.world.data_quirks import DrawContext
from backfill_assets.sandbox.world.intraday_columns import (
    NO_ROWS,
    IntradayColumns,
    aggregate_rows,
    concatenate_rows,
    sort_by_timestamp,
)
from backfill_assets.sandbox.world.listings import ListingHistory
from backfill_assets.sandbox.world.oddity_draws import DrawnOddity
from backfill_assets.sandbox.world.oddity_rows import OddityRows
from backfill_assets.sandbox.world.publication import (
    FINAL_STAGE,
    PublicationSchedule,
    PublicationStage,
    PublicationTimes,
)
from backfill_assets.sandbox.world.random_draws import draw_between, draw_unit, hash_parts, make_generator
from backfill_assets.sandbox.world.session_index import build_market, build_session_index
from backfill_assets.sandbox.world.session_minutes import list_stamps
from backfill_assets.sandbox.world.universe import Universe

HISTORY_STARTS = {"1m": date(2004, 1, 1), "5m": date(2020, 10, 12), "1h": date(2020, 10, 12)}
_DELISTED_1M_FROM = date(2022, 1, 1)  # no 1m of tickers delisted before (docs/vendor.md §2.17)
_BLOCK_DAYS = 32  # days drawn together
_VENUE_VOLUME_SHARES = (0.15, 0.7)


@dataclass(frozen=True)
class _SessionDraw:
    """The draws of one session of one ticker, before publication."""

    official_bar: minute_paths.OfficialBar
    minutes: IntradayColumns
    quiet_periods: quiet_periods.QuietPeriods


class World:
    """All bars of all tickers.

    Attributes:
        config: its configuration.
        market: the exchange's profile, with what its real sessions differ in from the calendar.
        universe: the symbols, and how the symbol list describes them.
        symbols: all symbols, old and new names included.
        listings: listing periods, renamings, recycled codes and corporate actions.
        action_factors: what corporate actions do to prices and volumes.
        session_index: the sessions of the market.
        publication_schedule: computes when sessions are published.
        starts: interval → the first day of intraday data.
    """

    def __init__(self, config: SandboxConfig, symbols: Iterable[str] | None = None) -> None:
        self.config = config
        self._seed, self._quirks, self._feed, self._thin = config.seed, config.quirks, config.feed, config.thin
        self._untraded = config.absences.untraded
        self.market = build_market(config)
        self.universe = Universe.create(config)
        self.session_index = build_session_index(config, self.market)
        self.listings = ListingHistory(
            config, self.universe.symbols if symbols is None else symbols, self.session_index
        )
        self.symbols = self.listings.symbols
        self.publication_schedule = PublicationSchedule(config, self.session_index)
        holders = self.listings.holders
        self._keys = {symbol: hash_parts(config.seed, self.listings.get_root(symbol)) for symbol in holders}
        self._typical_volumes = {symbol: self._draw_typical_volume(symbol) for symbol in holders}
        self.action_factors = ActionFactors(config, self)
        self._oddity_rows = OddityRows.create(config, self)
        self.starts = {interval: max(day, self.market.data_from or day) for interval, day in HISTORY_STARTS.items()}
        self._get_session_draw = lru_cache(maxsize=2048)(self._draw_session)
        self._get_daily_block = lru_cache(maxsize=16384)(self._draw_daily_block)
        self.get_publication_times = lru_cache(maxsize=65536)(self._compute_publication_times)

    def true_bars(
        self, symbol: str, session: Session, interval: Interval, source: str, *, as_of: datetime | None = None
    ) -> pd.DataFrame:
        """Build the bars that a correct client must store for one session.

        Regular session only. Bars without a trade are absent, and so is a session that is never published.
        ``as_of`` returns the values of that time: a session has slightly different ones before its revision.
        Columns: timestamp (epoch seconds UTC), open, high, low, close, volume.
        """
        symbol = self.listings.find_holder(symbol, session.day)
        times = self.get_publication_times(symbol, session, source)
        rows = NO_ROWS
        if self.listings.is_listed_on(symbol, session.day) and times.first_at != np.inf:
            revised = as_of is None or as_of.timestamp() >= times.revised_at
            rows = self.build_traded_rows(symbol, session, source, revised=revised)
        bars = aggregate_rows(rows, build_slot_grid((session,), interval).starts)
        columns = dict(zip(("open", "high", "low", "close"), bars.prices, strict=True))
        return pd.DataFrame({"timestamp": bars.timestamps, **columns, "volume": bars.volumes})

    def get_published_rows(
        self, symbol: str, session: Session, interval: str, stage: PublicationStage = FINAL_STAGE
    ) -> IntradayColumns:
        """Get the rows that ``/intraday`` has of one session at ``stage``, in published order."""
        oddity = self._oddity_rows.find(symbol, session, interval, stage)
        is_listed = self.listings.is_listed_on(symbol, session.day) or oddity is not None
        if not is_listed or session.day < self.starts[interval]:
            return NO_ROWS
        last_day = self.listings.get_last_day(symbol)
        if interval == "1m" and last_day is not None and last_day < _DELISTED_1M_FROM:
            return NO_ROWS
        context = self._make_context(symbol, session)
        rows = self._build_published_rows(context, symbol, interval, stage, oddity)
        if stage.share < 1.0:
            length = to_epoch_seconds(session.close) - to_epoch_seconds(session.open)
            rows = rows.select(rows.timestamps < to_epoch_seconds(session.open) + stage.share * length)
        return (
            data_quirks.shuffle_rows(context, rows)
            if context.is_affected("unordered", self._quirks.unordered_rows)
            else rows
        )

    def list_oddities(self, symbol: str, session: Session) -> list[Oddity]:
        """List what is wrong in the published 5m rows of a session, if anything."""
        return self._oddity_rows.list_oddities(symbol, session, self.get_publication_times(symbol, session, "5m"))

    def get_official_bar(self, symbol: str, session: Session) -> minute_paths.OfficialBar:
        """Get the official bar of one session, at the prices of that day."""
        block, offset = divmod(session.day.toordinal(), _BLOCK_DAYS)
        bars = self._get_daily_block(symbol, block)
        factors, ordinals = self.action_factors.get_true(symbol), np.array([session.day.toordinal()], np.int64)
        factor = float(factors.prices.get_products(ordinals)[0])
        open_price, high, low, close = (
            round(float(price[offset]) * factor, 2) for price in (bars.open, bars.high, bars.low, bars.close)
        )
        volume = int(bars.volume[offset] / factors.shares.get_products(ordinals)[0])
        return minute_paths.OfficialBar(open_price, high, low, close, volume)

    def draw_daily_history(self, symbol: str, ordinals: Int64) -> DailyBars:
        """Draw the official bars of many days (ordinals), continuous: without a step at a corporate action."""
        keys, typical_volume = np.array([self._keys[symbol]], np.uint64), np.array([self._typical_volumes[symbol]])
        bars = draw_daily_bars(keys, ordinals, typical_volume, np.array([symbol in self._thin]))
        factor = self._get_price_factor(symbol)
        return bars if factor == 1.0 else scale_prices(bars, np.array([factor]))

    def draw_daily_market(self, symbols: Iterable[str], session: Session) -> DailyBars:
        """Draw the official bars of many tickers on one day, continuous likewise."""
        symbol_list = tuple(symbols)
        keys = np.array([self._keys[symbol] for symbol in symbol_list], np.uint64)
        typical_volumes = np.array([self._typical_volumes[symbol] for symbol in symbol_list], np.float64)
        thin = np.array([symbol in self._thin for symbol in symbol_list], bool)
        bars = draw_daily_bars(keys, np.array([session.day.toordinal()], np.int64), typical_volumes, thin)
        return scale_prices(bars, np.array([self._get_price_factor(symbol) for symbol in symbol_list]))

    def count_halted_shares(self, symbol: str, session: Session) -> int:
        """Count the shares of the official bar that a halt kept from being traded (see ``DataQuirks.halts``)."""
        halt = self._make_context(symbol, session).halt
        return 0 if halt is None else int(self._get_session_draw(symbol, session).minutes.volumes[slice(*halt)].sum())

    def get_minute_path(self, symbol: str, session: Session) -> tuple[minute_paths.OfficialBar, IntradayColumns]:
        """Get the official bar and the consolidated regular minutes on a full grid, with minutes without a trade."""
        session_draw = self._get_session_draw(symbol, session)
        return session_draw.official_bar, session_draw.minutes

    def build_extended_hours(self, symbol: str, session: Session) -> tuple[IntradayColumns, IntradayColumns]:
        """Build the consolidated minutes before the open, and those from the close on with the auction."""
        context, official_bar = self._make_context(symbol, session), self.get_minute_path(symbol, session)[0]
        return extended_hours.build_premarket(context, official_bar), extended_hours.build_after_hours(
            context, official_bar
        )

    def get_traded_minutes(self, symbol: str, session: Session) -> tuple[minute_paths.OfficialBar, IntradayColumns]:
        """Get the official bar and the regular minutes with a trade."""
        session_draw = self._get_session_draw(symbol, session)
        return session_draw.official_bar, session_draw.minutes.select(~session_draw.quiet_periods.minutes)

    def get_auction_volume(self, symbol: str, session: Session) -> int:
        """Get the shares of the closing auction."""
        return extended_hours.draw_auction_volume(
            self._make_context(symbol, session), self._get_session_draw(symbol, session).official_bar
        )

    def _build_published_rows(
        self, context: DrawContext, symbol: str, interval: str, stage: PublicationStage, oddity: DrawnOddity | None
    ) -> IntradayColumns:
        session = context.session
        source = "5m" if interval == "5m" else "1m"
        traded_rows = self._build_rows(symbol, session, source, revised=stage.revised)
        traded_rows = self._oddity_rows.change(oddity, symbol, session, interval, traded_rows)
        if interval == "5m":
            session_draw = self._get_session_draw(symbol, session)
            rows = data_quirks.build_five_minute_rows(
                context,
                feed_rows.hide_volumes(context, self._feed, traded_rows),
                list_stamps(session, minute_paths.FIVE_MINUTES),
                session_draw.quiet_periods,
                session_draw.official_bar.close,
                stage.repaired,
            )
            return self._add_flat_rows(context, symbol, rows, interval) if len(traded_rows) else rows
        if interval == "1h":
            hours = np.arange(to_epoch_seconds(session.open), to_epoch_seconds(session.close), 3600, dtype=np.int64)
            return aggregate_rows(traded_rows, hours)
        if len(traded_rows) == 0 and context.halt is None:
            return NO_ROWS
        if not self._feed.has_extended_hours:
            return self._add_flat_rows(context, symbol, traded_rows, interval)
        premarket, after_hours = self.build_extended_hours(symbol, session)
        return sort_by_timestamp(concatenate_rows(premarket, traded_rows, after_hours))

    def _add_flat_rows(
        self, context: DrawContext, symbol: str, rows: IntradayColumns, interval: str
    ) -> IntradayColumns:
        """Add the rows of breaks and of the closing auction, where the feed has them."""
        official_close = self._get_session_draw(symbol, context.session).official_bar.close
        volume = self.get_auction_volume(symbol, context.session)
        auction = feed_rows.make_auction_row(context, self._feed, official_close, volume)
        flat_rows = [*feed_rows.make_break_rows(context, self._feed, rows, interval), *([auction] if auction else [])]
        return sort_by_timestamp(concatenate_rows(rows, *flat_rows)) if flat_rows else rows

    def build_traded_rows(self, symbol: str, session: Session, source: str, *, revised: bool) -> IntradayColumns:
        """Build the rows of ``source`` with a trade, without any quirk."""
        rows = self._build_rows(symbol, session, source, revised=revised)
        return feed_rows.keep_traded(self._make_context(symbol, session), self._feed, rows) if source == "5m" else rows

    def _build_rows(self, symbol: str, session: Session, source: str, *, revised: bool) -> IntradayColumns:
        session_draw = self._get_session_draw(symbol, session)
        if source == "5m":
            root = self.listings.get_root(symbol)
            rng = make_generator(self._seed, "venue", root, session.day.toordinal())
            share = draw_between(_VENUE_VOLUME_SHARES, self._seed, "venue share", root)
            rows = minute_paths.draw_venue_bars(rng, session_draw.minutes, share, session_draw.quiet_periods.windows)
        else:
            rows = session_draw.minutes.select(~session_draw.quiet_periods.minutes)
            rows = rows.select(rows.timestamps >= to_epoch_seconds(session.open))
        return rows if revised else data_quirks.make_preliminary(self._make_context(symbol, session), rows, source)

    def _draw_session(self, symbol: str, session: Session) -> _SessionDraw:
        official_bar, context = self.get_official_bar(symbol, session), self._make_context(symbol, session)
        rng = make_generator(self._seed, "path", context.root, context.day_ordinal)
        stamps = list_stamps(session, minute_paths.MINUTE)
        volume = max(
            int(official_bar.volume * extended_hours.REGULAR_VOLUME_SHARE)
            - extended_hours.draw_auction_volume(context, official_bar),
            0,
        )
        regular_bar = minute_paths.OfficialBar(
            official_bar.open, official_bar.high, official_bar.low, official_bar.close, volume
        )
        minutes = minute_paths.draw_regular_minutes(rng, regular_bar, stamps)
        return _SessionDraw(official_bar, minutes, self._draw_quiet_periods(symbol, context, official_bar, len(stamps)))

    def _draw_quiet_periods(
        self, symbol: str, context: DrawContext, official_bar: minute_paths.OfficialBar, minutes: int
    ) -> quiet_periods.QuietPeriods:
        if official_bar.volume == 0 or (symbol, context.session.day) in self._untraded:
            return quiet_periods.make_quiet_session(minutes)
        parts = (self._seed, context.root, context.day_ordinal)
        if symbol in self._thin:
            quiet = quiet_periods.draw_thin_session(minutes, *parts)
        else:
            quiet = quiet_periods.draw_liquid_session(minutes, self._quirks, *parts)
        return quiet if context.halt is None else quiet_periods.add_halt(quiet, context.halt)

    def _draw_daily_block(self, symbol: str, block: int) -> DailyBars:
        return self.draw_daily_history(
            symbol, np.arange(block * _BLOCK_DAYS, (block + 1) * _BLOCK_DAYS, dtype=np.int64)
        )

    def _draw_typical_volume(self, symbol: str) -> float:
        root = self.listings.get_root(symbol)
        unit = draw_unit(self._seed, "size", root)
        return compute_typical_volume(unit, is_thin=symbol in self._thin, is_familiar=root in self.universe.familiar)

    def _get_price_factor(self, symbol: str) -> float:
        return self.listings.get_price_factor(symbol) * self._feed.price_level

    def _make_context(self, symbol: str, session: Session) -> DrawContext:
        return DrawContext(self._seed, self.listings.get_root(symbol), session, self._quirks)

    def _compute_publication_times(self, symbol: str, session: Session, interval: str) -> PublicationTimes:
        return self.publication_schedule.get_times(symbol, self.listings.get_root(symbol), session, interval)
