"""Live collection: one call is one round of samples at ``now``, and the provisional bars that they make.

A round is always for the whole universe, but for tickers that another collector writes. Reading quotes is in
``reading_live``, storing them in ``keeping_live``; the historical data come in ``run`` and replace what is
provisional.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.shared_rate_limiter import Spent
from backfill_assets.config.settings import Settings
from backfill_assets.live.quote_reader import EXCHANGE_CALLS, Method, calls_of, read_live, sample_table
from backfill_assets.live.result import Kind, LiveRound
from backfill_assets.live.sample_writer import LiveShelf
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, sessions_before, sessions_overlapping
from backfill_assets.market.calendar.slots import slot_grid
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.live.sampling_schedule import (
    affordable_seconds,
    due_round,
    next_round,
    next_sampling,
    sampled_session,
)
from backfill_assets.store.bars.bar_writer import database_now
from backfill_assets.store.live.rounds import exchange_failures, take_round
from backfill_assets.store.live.slots import written_by_others
from backfill_assets.store.symbols import Symbol, list_symbols

THEIRS_WITHIN = timedelta(minutes=30)  # of a slot's end another collector has written it, or we take over
EXCHANGE_RESTS = timedelta(minutes=30)  # after reading the whole exchange failed; twice as long each time in a row
LONGEST_WAIT = timedelta(hours=12)
_NEAR = timedelta(days=7)


def session_to_sample(settings: Settings, now: datetime) -> Session | None:
    """The session that a round at ``now`` would sample: from 15 min after its open to 30 min after its close.

    Asks nobody, not even the database.
    """
    near = sessions_overlapping(DEFAULT_EXCHANGE, now - _NEAR, now, settings.calendar_exceptions())
    return sampled_session(near, now)


def sample_round(engine: Engine) -> LiveRound:
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
    session = session_to_sample(settings, now)
    if session is None:
        ahead = sessions_overlapping(DEFAULT_EXCHANGE, now - _NEAR, now + _NEAR, settings.calendar_exceptions())
        return LiveRound("closed", now, next_at=next_sampling(ahead, now))
    return _Sampler(engine, session, settings.live_intervals(), now).go()


def today_from_samples(engine: Engine, window: Window) -> LiveRound | None:
    """A round before a run whose window reaches today; None where live collection has nothing to do with it."""
    session = session_to_sample(engine.settings, engine.settings.now())
    wanted = engine.settings.live and session is not None and window.sessions and window.sessions[-1].day == session.day
    return sample_round(engine) if wanted else None


def sample_until_close(
    sample: Callable[[], LiveRound],
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    tell: Callable[[LiveRound], None],
) -> LiveRound:
    """Make round after round until the session is over; started before it, wait for it (12 hours at most).

    Returns the last round that was one; ends early where another cannot go better (a refused token).
    """
    last: LiveRound | None = None
    while True:
        made = sample()
        tell(made)
        if made.error is not None and made.error.stops_run:
            return made
        if made.next_at is None or (made.kind == "closed" and (last or made.next_at - now() > LONGEST_WAIT)):
            return last or made
        last = made if made.kind != "closed" else None
        sleep(max(0.0, (made.next_at - now()).total_seconds()))


@dataclass(frozen=True, slots=True)
class _Way:
    """How a round goes: what is read, how far rounds are apart then, and the moment that this one was due."""

    method: Method
    calls: int
    seconds: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class _Sampler:
    """One round of one session; ``go`` once."""

    engine: Engine
    session: Session
    intervals: tuple[Interval, ...]
    now: datetime

    def go(self) -> LiveRound:
        """Decide, take the round, read, keep."""
        self.engine.require_one_source()
        active, theirs = self._whom()
        symbols = [s for s in active if not all(s.symbol_id in ids for ids in theirs.values())]
        elsewhere = len(active) - len(symbols)
        if not symbols:
            return self._nothing("nobody", elsewhere=elsewhere)
        left = self.engine.live_budget().declare(self.now)
        way = self._way(len(symbols), left)
        known = self._nothing("not due", elsewhere=elsewhere, tickers=len(symbols), calls_left=left)
        if self.now - way.due_at >= timedelta(seconds=self.engine.settings.live_seconds):
            return replace(known, seconds_between=way.seconds)
        if way.calls > left:
            return replace(known, kind="out of calls", seconds_between=way.seconds)
        with self.engine.database.transaction() as connection:
            taken = take_round(connection, *self._place(way), self.now, self.session.day, len(symbols))
            server_clock = database_now(connection)
        return self._made(known, way, symbols, theirs, server_clock) if taken else known

    def _made(
        self,
        known: LiveRound,
        way: _Way,
        symbols: list[Symbol],
        theirs: Mapping[Interval, Set[int]],
        server_clock: datetime,
    ) -> LiveRound:
        spent = Spent()
        instead = self._way_by("tickers", len(symbols), known.calls_left)
        affordable = instead.due_at == way.due_at and instead.calls <= known.calls_left
        answer = read_live(self.engine, symbols, way.method, spent, fall_back=affordable)
        shelf = LiveShelf(self.session, theirs, self.engine.settings.vendor_host, self.now, way.due_at)
        with self.engine.database.transaction() as connection:
            kept = shelf.keep(connection, symbols, sample_table(answer, symbols), server_clock)
            shelf.close_round(connection, answer, kept, spent.calls)
        return replace(
            known,
            kind="sampled" if answer.quotes else "failed",
            seconds_between=way.seconds if answer.method == way.method else instead.seconds,
            method=answer.method,
            calls=spent.calls,
            readings=kept.readings,
            delay_seconds=kept.delay_seconds,
            longest_delay_seconds=kept.longest_delay_seconds,
            written=kept.written,
            quiet=kept.quiet,
            error=answer.error,
        )

    def _nothing(self, kind: Kind, *, elsewhere: int, tickers: int = 0, calls_left: int = 0) -> LiveRound:
        return LiveRound(
            kind,
            self.now,
            session=self.session.day,
            next_at=next_round(self.session, self.now, self.engine.settings.live_seconds),
            tickers=tickers,
            elsewhere=elsewhere,
            calls_left=calls_left,
        )

    def _whom(self) -> tuple[list[Symbol], dict[Interval, Set[int]]]:
        """The active symbols, and per interval the symbol_ids that another collector writes."""
        with self.engine.database.transaction() as connection:
            active = list_symbols(connection, self.session.exchange)
            theirs: dict[Interval, Set[int]] = {
                interval: written_by_others(connection, active, interval, self._written_since(interval), self.now)
                for interval in self.intervals
            }
        return active, theirs

    def _written_since(self, interval: Interval) -> datetime:
        """The newest slot, of this session or the one before, that another collector would have written by now."""
        exceptions = self.engine.settings.calendar_exceptions()
        grid = slot_grid((*sessions_before(self.session, 1, exceptions), self.session), interval)
        ended = grid.starts[grid.ends <= (self.now - THEIRS_WITHIN).timestamp()]
        return datetime.fromtimestamp(int(ended[-1]), UTC) if len(ended) else self.session.open

    def _way(self, tickers: int, left: int) -> _Way:
        """The cheaper way; while the whole exchange rests, ticker by ticker if that can be afforded."""
        if tickers <= EXCHANGE_CALLS or (tickers <= left and self._exchange_rests()):
            return self._way_by("tickers", tickers, left)
        return self._way_by("exchange", tickers, left)

    def _exchange_rests(self) -> bool:
        """Whether reading it failed lately: each failure may cost 100 calls, and so it is tried less and less."""
        with self.engine.database.transaction() as connection:
            failures, last = exchange_failures(connection, self.session.exchange, self.session.day)
        return last is not None and self.now < last + EXCHANGE_RESTS * 2 ** (failures - 1)

    def _way_by(self, method: Method, tickers: int, left: int) -> _Way:
        calls = calls_of(method, tickers)
        seconds = affordable_seconds(
            self.session,
            self.now,
            wanted=self.engine.settings.live_seconds,
            slots=[interval.seconds for interval in self.intervals],
            calls_each=calls,
            calls_left=left,
        )
        return _Way(method, calls, seconds, due_round(self.session, self.now, seconds))

    def _place(self, way: _Way) -> tuple[str, datetime]:
        return self.session.exchange, way.due_at
