"""Live collection: one call is one round of samples at ``now``, and the provisional bars that they make.

A round is always for the whole universe, but for tickers that another collector writes. Reading quotes is in
``reading_live``, storing them in ``keeping_live``; the historical data come in ``run`` and replace what is
provisional.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.config.settings import Settings
from backfill_assets.live.quote_reader import (
    EXCHANGE_CALLS,
    QuoteMethod,
    build_sample_table,
    count_calls,
    read_live_quotes,
)
from backfill_assets.live.result import LiveRound, RoundKind
from backfill_assets.live.sample_writer import SampleWriter
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, list_overlapping_sessions, list_previous_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE, Symbol
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.live.sampling_schedule import (
    choose_round_seconds,
    find_due_round,
    find_next_round,
    find_next_sampling_start,
    find_sampled_session,
)
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.live.rounds import claim_round, count_exchange_failures
from backfill_assets.store.live.slots import find_externally_written
from backfill_assets.store.symbols import list_symbols

EXTERNAL_BAR_GRACE = timedelta(minutes=30)  # of a slot's end another collector has written it, or we take over
EXCHANGE_BACKOFF = timedelta(minutes=30)  # after reading the whole exchange failed; twice as long each time in a row
MAX_WAIT = timedelta(hours=12)
_SESSION_SEARCH_SPAN = timedelta(days=7)


def find_session_to_sample(settings: Settings, now: datetime) -> Session | None:
    """The session that a round at ``now`` would sample: from 15 min after its open to 30 min after its close.

    Asks nobody, not even the database.
    """
    sessions = list_overlapping_sessions(
        DEFAULT_EXCHANGE, now - _SESSION_SEARCH_SPAN, now, settings.load_calendar_overrides()
    )
    return find_sampled_session(sessions, now)


def collect_round(engine: Engine) -> LiveRound:
    """Make a round of live sampling at the engine's now, if one is due; safe to call as often as one likes.

    It makes bars of every interval of the settings that rounds can make (``Settings.live_intervals``). What the vendor
    refuses is in the result, not raised.

    Raises:
        TokenRefused: no token is set.
        UsageError: the bars stored are of another host.
        DatabaseUnavailable: the database is gone.
    """
    settings, now = engine.settings, engine.settings.now()
    if not settings.live:
        return LiveRound("off", now)
    session = find_session_to_sample(settings, now)
    if session is None:
        sessions = list_overlapping_sessions(
            DEFAULT_EXCHANGE, now - _SESSION_SEARCH_SPAN, now + _SESSION_SEARCH_SPAN, settings.load_calendar_overrides()
        )
        return LiveRound("closed", now, next_at=find_next_sampling_start(sessions, now))
    return _RoundRunner(engine, session, settings.list_live_intervals(), now).run()


def collect_today(engine: Engine, window: Window) -> LiveRound | None:
    """A round before a run whose window reaches today; None where live collection has nothing to do with it."""
    session = find_session_to_sample(engine.settings, engine.settings.now())
    is_needed = (
        engine.settings.live and session is not None and window.sessions and window.sessions[-1].day == session.day
    )
    return collect_round(engine) if is_needed else None


def collect_until_close(
    collect: Callable[[], LiveRound],
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    on_round: Callable[[LiveRound], None],
) -> LiveRound:
    """Make round after round until the session is over; started before it, wait for it (12 hours at most).

    Returns the last round that was one; ends early where another cannot go better (a refused token).
    """
    last_round: LiveRound | None = None
    while True:
        result = collect()
        on_round(result)
        if result.error is not None and result.error.stops_run:
            return result
        if result.next_at is None or (result.kind == "closed" and (last_round or result.next_at - now() > MAX_WAIT)):
            return last_round or result
        last_round = result if result.kind != "closed" else None
        sleep(max(0.0, (result.next_at - now()).total_seconds()))


@dataclass(frozen=True, slots=True)
class _RoundPlan:
    """How a round goes: what is read, how far rounds are apart then, and the moment that this one was due."""

    method: QuoteMethod
    calls: int
    seconds_between: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class _RoundRunner:
    """One round of one session; ``go`` once."""

    engine: Engine
    session: Session
    intervals: tuple[Interval, ...]
    now: datetime

    def run(self) -> LiveRound:
        """Decide, take the round, read, keep."""
        self.engine.require_matching_host()
        active, external_ids = self._split_universe()
        symbols = [s for s in active if not all(s.symbol_id in ids for ids in external_ids.values())]
        external_count = len(active) - len(symbols)
        if not symbols:
            return self._build_skipped("nobody", external_count=external_count)
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
        reading = read_live_quotes(self.engine, symbols, plan.method, usage, fall_back=can_fall_back)
        writer = SampleWriter(self.session, external_ids, self.engine.settings.vendor_host, self.now, plan.due_at)
        with self.engine.database.transaction() as connection:
            result = writer.write(connection, symbols, build_sample_table(reading, symbols), server_clock)
            writer.close_round(connection, reading, result, usage.calls)
        return replace(
            skipped,
            kind="sampled" if reading.quotes else "failed",
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
        """The active symbols, and per interval the symbol_ids that another collector writes."""
        with self.engine.database.transaction() as connection:
            active = list_symbols(connection, self.session.exchange)
            external_ids: dict[Interval, Set[int]] = {
                interval: find_externally_written(
                    connection, active, interval, self._find_newest_expected_slot(interval), self.now
                )
                for interval in self.intervals
            }
        return active, external_ids

    def _find_newest_expected_slot(self, interval: Interval) -> datetime:
        """The newest slot, of this session or the one before, that another collector would have written by now."""
        overrides = self.engine.settings.load_calendar_overrides()
        grid = build_slot_grid((*list_previous_sessions(self.session, 1, overrides), self.session), interval)
        ended = grid.starts[grid.ends <= (self.now - EXTERNAL_BAR_GRACE).timestamp()]
        return datetime.fromtimestamp(int(ended[-1]), UTC) if len(ended) else self.session.open

    def _choose_plan(self, ticker_count: int, calls_left: int) -> _RoundPlan:
        """The cheaper way; while the whole exchange rests, ticker by ticker if that can be afforded."""
        if ticker_count <= EXCHANGE_CALLS or (ticker_count <= calls_left and self._is_exchange_backing_off()):
            return self._plan_method("tickers", ticker_count, calls_left)
        return self._plan_method("exchange", ticker_count, calls_left)

    def _is_exchange_backing_off(self) -> bool:
        """Whether reading it failed lately: each failure may cost 100 calls, and so it is tried less and less."""
        with self.engine.database.transaction() as connection:
            failures, last_failure_at = count_exchange_failures(connection, self.session.exchange, self.session.day)
        return last_failure_at is not None and self.now < last_failure_at + EXCHANGE_BACKOFF * 2 ** (failures - 1)

    def _plan_method(self, method: QuoteMethod, ticker_count: int, calls_left: int) -> _RoundPlan:
        calls = count_calls(method, ticker_count)
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
