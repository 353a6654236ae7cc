"""Live collection: one call takes one round of samples and builds provisional bars from them.

A round covers the whole universe, except for symbols whose bars another collector writes. Reading quotes is in
``live.quote_reader``, storing them in ``live.sample_writer``. Bars from historical data, fetched by
``backfill.runner``, replace provisional ones later.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.graceful_shutdown import GracefulShutdown
from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.config.settings import Settings
from backfill_assets.live.quote_reader import (
    QuoteMethod,
    QuoteReading,
    build_sample_table,
    count_calls,
    read_live_quotes,
)
from backfill_assets.live.result import LiveRound, RoundKind
from backfill_assets.live.sample_writer import SampleWriter
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, list_overlapping_sessions, list_previous_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.live.sampling_schedule import (
    choose_round_seconds,
    find_due_round,
    find_next_round,
    find_next_sampling_start,
    find_sampled_session,
)
from backfill_assets.market.vendor_errors import SpendingPaused
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.live.rounds import claim_round, count_exchange_failures
from backfill_assets.store.live.slots import find_externally_written
from backfill_assets.store.quota.spending_pause import read_pause
from backfill_assets.store.symbols import list_symbols

EXTERNAL_BAR_GRACE = timedelta(minutes=30)  # after a slot's end; without an external bar by then, the symbol is sampled
EXCHANGE_BACKOFF = timedelta(minutes=30)  # after reading the whole exchange failed; doubled for each failure in a row
MAX_WAIT = timedelta(hours=12)
_SESSION_SEARCH_SPAN = timedelta(days=7)


def find_live_market(settings: Settings) -> MarketProfile | None:
    """The first of the exchanges that are collected whose live quotes the vendor offers; None without one."""
    return next((market for market in settings.markets if market.has_live_quotes), None)


def find_session_to_sample(settings: Settings, now: datetime, market: MarketProfile | None = None) -> Session | None:
    """The session that a round at ``now`` would sample: from 15 min after its open to 30 min after its close.

    Reads the calendar only, neither the vendor nor the database. None also of an exchange without live quotes; without
    ``market`` it is that of ``find_live_market``.
    """
    market = market or find_live_market(settings)
    if market is None or not market.has_live_quotes:
        return None
    return find_sampled_session(list_overlapping_sessions(market, now - _SESSION_SEARCH_SPAN, now), now)


def collect_round(engine: Engine, market: MarketProfile | None = None) -> LiveRound:
    """Collect a round at the engine's time if one is due; safe to call at any time.

    Without ``market`` it is about the exchange of ``find_live_market``. Builds bars of every interval that live
    collection supports (``Settings.list_live_intervals``). Errors of the vendor are in the result, not raised.

    Raises:
        TokenRefused: no token is set.
        UsageError: the database contains bars of another host.
        DatabaseUnavailable: the database is gone.
    """
    settings, now = engine.settings, engine.settings.now()
    if not settings.live:
        return LiveRound("off", now)
    market = market or find_live_market(settings)
    if market is None or not market.has_live_quotes:
        return LiveRound("not offered", now, exchanges=(market.exchange,) if market else settings.exchanges)
    session = find_session_to_sample(settings, now, market)
    if session is None:
        sessions = list_overlapping_sessions(market, now - _SESSION_SEARCH_SPAN, now + _SESSION_SEARCH_SPAN)
        return LiveRound("closed", now, next_at=find_next_sampling_start(sessions, now))
    return _RoundRunner(engine, session, settings.list_live_intervals(), now).run()


def collect_today(engine: Engine, window: Window) -> LiveRound | None:
    """Collect a round before a run whose window includes today; None if live collection is off or not concerned.

    For an exchange without live quotes the round says so.
    """
    if engine.settings.live and not window.market.has_live_quotes:
        return collect_round(engine, window.market)
    session = find_session_to_sample(engine.settings, engine.settings.now(), window.market)
    is_needed = (
        engine.settings.live and session is not None and window.sessions and window.sessions[-1].day == session.day
    )
    return collect_round(engine, window.market) if is_needed else None


def collect_until_close(
    collect: Callable[[], LiveRound],
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    on_round: Callable[[LiveRound], None],
) -> LiveRound:
    """Collect round after round until the session ends; before its start, wait for it (12 hours at most).

    Ends early if further rounds would fail, too (a refused token). Goes on during a pause of spending, which may end.

    Args:
        collect: collects one round.
        now: the clock.
        sleep: waits for a number of seconds.
        on_round: receives each result.

    Returns:
        The last round within sampling hours.
    """
    last_round: LiveRound | None = None
    while True:
        result = collect()
        on_round(result)
        if result.kind != "paused" and result.error is not None and result.error.stops_run:
            return result
        if result.next_at is None or (result.kind == "closed" and (last_round or result.next_at - now() > MAX_WAIT)):
            return last_round or result
        last_round = result if result.kind != "closed" else None
        sleep(max(0.0, (result.next_at - now()).total_seconds()))


def _choose_kind(reading: QuoteReading) -> RoundKind:
    if reading.quotes:
        return "sampled"
    return "paused" if isinstance(reading.error, SpendingPaused) else "failed"


@dataclass(frozen=True, slots=True)
class _RoundPlan:
    """How to read a round: the method, its price, the seconds between rounds, and when this one was due."""

    method: QuoteMethod
    calls: int
    seconds_between: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class _RoundRunner:
    """One round of one session; call ``run`` once."""

    engine: Engine
    session: Session
    intervals: tuple[Interval, ...]
    now: datetime

    def run(self) -> LiveRound:
        """Decide whether a round is due, claim it, read quotes and write them."""
        self.engine.require_matching_host()
        active, external_ids = self._split_universe()
        symbols = [s for s in active if not all(s.symbol_id in ids for ids in external_ids.values())]
        external_count = len(active) - len(symbols)
        if not symbols:
            return self._build_skipped("no symbols", external_count=external_count)
        calls_left = self.engine.create_live_budget().register_daily_budget(self.now)
        plan = self._choose_plan(len(symbols), calls_left)
        skipped = self._build_skipped(
            "not due", external_count=external_count, tickers=len(symbols), calls_left=calls_left
        )
        if self.now - plan.due_at >= timedelta(seconds=self.engine.settings.live_seconds):
            return replace(skipped, seconds_between=plan.seconds_between)
        if plan.calls > calls_left:
            return replace(skipped, kind="out of calls", seconds_between=plan.seconds_between)
        with self.engine.database.transaction() as connection:
            if (pause := read_pause(connection)) is not None:
                return replace(
                    skipped,
                    kind="paused",
                    seconds_between=plan.seconds_between,
                    error=SpendingPaused(str(pause)),
                )
            is_claimed = claim_round(connection, *self._get_round_key(plan), self.now, self.session.day, len(symbols))
            server_clock = read_server_time(connection)
        return self._read_and_write(skipped, plan, symbols, external_ids, server_clock) if is_claimed else skipped

    def _read_and_write(
        self,
        skipped: LiveRound,
        plan: _RoundPlan,
        symbols: list[Symbol],
        external_ids: Mapping[Interval, Set[int]],
        server_clock: datetime,
    ) -> LiveRound:
        usage = Usage()
        fallback = self._plan_method("tickers", len(symbols), skipped.calls_left)
        can_fall_back = fallback.due_at == plan.due_at and fallback.calls <= skipped.calls_left
        writer = SampleWriter(self.session, external_ids, self.engine.settings.vendor_host, self.now, plan.due_at)
        with GracefulShutdown(self.engine.settings.stop_seconds) as shutdown:  # what was read is paid for: write it
            reading = read_live_quotes(
                self.engine, symbols, plan.method, usage, fall_back=can_fall_back, shutdown=shutdown
            )
            with self.engine.database.transaction() as connection:
                result = writer.write(connection, symbols, build_sample_table(reading, symbols), server_clock)
                writer.close_round(connection, reading, result, usage.calls)
        return replace(
            skipped,
            kind=_choose_kind(reading),
            seconds_between=plan.seconds_between if reading.method == plan.method else fallback.seconds_between,
            method=reading.method,
            calls=usage.calls,
            readings=result.readings,
            delay_seconds=result.delay_seconds,
            longest_delay_seconds=result.longest_delay_seconds,
            written=result.written,
            no_trade_slots=result.no_trade_slots,
            error=reading.error,
        )

    def _build_skipped(
        self, kind: RoundKind, *, external_count: int, tickers: int = 0, calls_left: int = 0
    ) -> LiveRound:
        return LiveRound(
            kind,
            self.now,
            session=self.session.day,
            next_at=find_next_round(self.session, self.now, self.engine.settings.live_seconds),
            tickers=tickers,
            external_tickers=external_count,
            calls_left=calls_left,
        )

    def _split_universe(self) -> tuple[list[Symbol], dict[Interval, Set[int]]]:
        """The active symbols, and by interval the symbol_ids whose bars another collector writes."""
        with self.engine.database.transaction() as connection:
            active = list_symbols(connection, self.session.exchange)
            external_ids: dict[Interval, Set[int]] = {
                interval: find_externally_written(
                    connection, active, interval, self._find_newest_expected_slot(interval), self.now
                )
                for interval in adopt_spellings(connection, self.intervals)
            }
        return active, external_ids

    def _find_newest_expected_slot(self, interval: Interval) -> datetime:
        """The newest slot of this session or the previous one that another collector would have written by now."""
        grid = build_slot_grid((*list_previous_sessions(self.session, 1), self.session), interval)
        ended = grid.starts[grid.ends <= (self.now - EXTERNAL_BAR_GRACE).timestamp()]
        return datetime.fromtimestamp(int(ended[-1]), UTC) if len(ended) else self.session.open

    def _choose_plan(self, ticker_count: int, calls_left: int) -> _RoundPlan:
        """The cheaper method that there is; after failures of the exchange, ticker by ticker if the calls suffice."""
        by_ticker = self._plan_method("tickers", ticker_count, calls_left)
        if not self.session.market.has_exchange_quotes:
            return by_ticker
        by_exchange = self._plan_method("exchange", ticker_count, calls_left)
        if by_ticker.calls <= by_exchange.calls:
            return by_ticker
        return by_ticker if by_ticker.calls <= calls_left and self._is_exchange_backing_off() else by_exchange

    def _is_exchange_backing_off(self) -> bool:
        """Whether reading the whole exchange failed recently; a failure may cost the full price, hence the backoff."""
        with self.engine.database.transaction() as connection:
            failures, last_failure_at = count_exchange_failures(connection, self.session.exchange, self.session.day)
        return last_failure_at is not None and self.now < last_failure_at + EXCHANGE_BACKOFF * 2 ** (failures - 1)

    def _plan_method(self, method: QuoteMethod, ticker_count: int, calls_left: int) -> _RoundPlan:
        calls = count_calls(self.engine.prices, method, ticker_count)
        seconds = choose_round_seconds(
            self.session,
            self.now,
            preferred_seconds=self.engine.settings.live_seconds,
            slot_lengths=[interval.seconds for interval in self.intervals],
            calls_per_round=calls,
            calls_left=calls_left,
        )
        return _RoundPlan(method, calls, seconds, find_due_round(self.session, self.now, seconds))

    def _get_round_key(self, plan: _RoundPlan) -> tuple[str, datetime]:
        return self.session.exchange, plan.due_at
