"""Builds a job from a user's options: opens the database, selects the symbols and the window.

Shared by the command line, Dagster and tests.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.planner import Strategy
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, choose_source_interval, parse_interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol, Ticker, parse_tickers
from backfill_assets.market.calendar.windows import DEFAULT_HOURS, Window, build_date_window, build_hours_window
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.job_universe import JobUniverse, read_job_universe
from backfill_assets.store.name_notes import describe_names
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.symbols import read_universe


class NoActiveSymbols(UsageError):  # noqa: N818 - names a state of the universe
    """The universe has no active symbols, so there is nothing to work on."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The options of a command or a Dagster config; None means the default.

    ``with_ended`` adds every ticker that has ended, also before the window.
    """

    interval: str = DEFAULT_INTERVAL
    hours_back: float | None = None
    start: date | None = None
    end: date | None = None
    symbols: Sequence[str] = ()
    strategy: Strategy = Strategy.HYBRID
    force: bool = False
    verify_existing: bool = False
    batch_size: int | None = None
    delay: float = 0.0
    with_ended: bool = False


@contextmanager
def open_engine(settings: Settings) -> Iterator[Engine]:
    """Open an engine over the settings' database; the database is closed at the end."""
    database = open_database(settings)
    try:
        yield Engine(database, settings)
    finally:
        database.close()


def build_job(engine: Engine, request: JobRequest) -> tuple[BackfillJob, tuple[Ticker, ...]]:
    """The job for a request, and the requested tickers that are not in the universe.

    Raises:
        NoActiveSymbols: the universe is empty.
        UsageError: an invalid option, or none of the requested symbols is active.
    """
    interval = parse_interval(request.interval)
    source = choose_source_interval(interval, engine.settings.source_interval)
    window = _build_window(engine.settings, request, engine.settings.build_gap_rules(source).compute_askable_at)
    with engine.database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [interval])
        universe = read_job_universe(connection, DEFAULT_EXCHANGE, engine.settings.as_of)
        symbols, unknown = _select_symbols(connection, universe, request, window)
    job = BackfillJob(
        window=window,
        symbols=symbols,
        interval=interval,
        source_interval=source,
        strategy=request.strategy,
        force=request.force,
        replace_other_feed=request.force,
        user_selected=bool(request.symbols),
        verify_existing=request.verify_existing,
        batch_size=request.batch_size,
        batch_delay_seconds=request.delay,
        universe_note=universe.note,
    )
    return job, unknown


def _select_symbols(
    connection: Connection, universe: JobUniverse, request: JobRequest, window: Window
) -> tuple[tuple[Symbol, ...], tuple[Ticker, ...]]:
    """The job's symbols, and the requested tickers that are neither active nor ended."""
    if not universe.active and not (universe.ended and (request.symbols or request.with_ended)):
        notes = describe_names(connection, read_universe(connection, DEFAULT_EXCHANGE))
        reason = f" ({'; '.join(notes)})" if notes else ""
        raise NoActiveSymbols(f"there are no active symbols{reason}; add some: backfill-assets symbols add AAPL MSFT")
    if not request.symbols:
        first_day = window.sessions[0].day if window.sessions else None
        return universe.list_all() if request.with_ended else universe.list_since(first_day), ()
    known = {symbol.ticker: symbol for symbol in universe.list_all()}
    wanted = parse_tickers(request.symbols)
    unknown = tuple(t for t in wanted if t not in known)
    if len(unknown) == len(wanted):
        unknown_names = ", ".join(str(t) for t in unknown[:5])
        raise UsageError(
            f"none of the symbols is active in the universe: {unknown_names}; see: backfill-assets symbols list"
        )
    return tuple(known[t] for t in wanted if t in known), unknown


def _build_window(settings: Settings, request: JobRequest, askable_at: Callable[[Session], datetime]) -> Window:
    now, overrides = settings.now(), settings.load_calendar_overrides()
    if request.start is None and request.end is None:
        hours = DEFAULT_HOURS if request.hours_back is None else request.hours_back
        return build_hours_window(DEFAULT_EXCHANGE, now, hours, askable_at, overrides)
    if request.hours_back is not None:
        raise UsageError("give either --hours-back or --start and --end, not both")
    if request.start is None or request.end is None:
        raise UsageError("--start and --end belong together (session dates, both inclusive)")
    return build_date_window(DEFAULT_EXCHANGE, request.start, request.end, now, overrides)
