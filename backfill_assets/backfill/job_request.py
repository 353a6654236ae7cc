"""From what a person asks for to a job: the database, the universe and the window it means.

Shared by every entry point.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from backfill_assets.backfill.engine import Engine, Job
from backfill_assets.backfill.planner import Strategy
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import interval_named, source_of
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE, Ticker, parse_tickers
from backfill_assets.market.calendar.windows import DEFAULT_HOURS, Window, window_of_days, window_of_hours
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.symbols import Symbol, list_symbols


class NoActiveSymbols(UsageError):  # noqa: N818 - a state of the universe, not a mistake
    """The universe is empty: there is nothing to work on, and nothing that could be missing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks to look at or to run; None is the default."""

    interval: str = "30m"
    hours_back: float | None = None
    start: date | None = None
    end: date | None = None
    symbols: Sequence[str] = ()
    strategy: Strategy = Strategy.HYBRID
    force: bool = False
    verify_existing: bool = False
    batch_size: int | None = None
    delay: float = 0.0


@contextmanager
def opened_engine(settings: Settings) -> Iterator[Engine]:
    """An engine over the settings' database, closed at the end."""
    database = open_database(settings)
    try:
        yield Engine(database, settings)
    finally:
        database.close()


def job_of(engine: Engine, wish: Wish) -> tuple[Job, tuple[Ticker, ...]]:
    """The job a wish describes, and the tickers in it that the universe does not know.

    Raises:
        NoActiveSymbols: the universe is empty.
        UsageError: an option that cannot be meant, or no chosen symbol is active.
    """
    interval = interval_named(wish.interval)
    source = source_of(interval, engine.settings.source_interval)
    symbols, unknown = _symbols(engine, wish.symbols)
    job = Job(
        window=_window(engine.settings, wish, engine.settings.rules(source).askable_after),
        symbols=symbols,
        interval=interval,
        source=source,
        strategy=wish.strategy,
        force=wish.force,
        explicit=bool(wish.symbols),
        verify_existing=wish.verify_existing,
        batch_size=wish.batch_size,
        delay=wish.delay,
    )
    return job, unknown


def _symbols(engine: Engine, named: Sequence[str]) -> tuple[tuple[Symbol, ...], tuple[Ticker, ...]]:
    with engine.database.transaction() as connection:
        active = list_symbols(connection, DEFAULT_EXCHANGE)
    if not active:
        raise NoActiveSymbols("there are no active symbols; add some: backfill-assets symbols add AAPL MSFT")
    if not named:
        return tuple(active), ()
    known = {s.ticker: s for s in active}
    wanted = parse_tickers(named)
    unknown = tuple(t for t in wanted if t not in known)
    if len(unknown) == len(wanted):
        listed = ", ".join(str(t) for t in unknown[:5])
        raise UsageError(f"none of the symbols is active in the universe: {listed}; see: backfill-assets symbols list")
    return tuple(known[t] for t in wanted if t in known), unknown


def _window(settings: Settings, wish: Wish, askable_after: timedelta) -> Window:
    now, exceptions = settings.now(), settings.calendar_exceptions()
    if wish.start is None and wish.end is None:
        hours = DEFAULT_HOURS if wish.hours_back is None else wish.hours_back
        return window_of_hours(DEFAULT_EXCHANGE, now, hours, askable_after, exceptions)
    if wish.hours_back is not None:
        raise UsageError("give either --hours-back or --start and --end, not both")
    if wish.start is None or wish.end is None:
        raise UsageError("--start and --end belong together (session dates, both inclusive)")
    return window_of_days(DEFAULT_EXCHANGE, wish.start, wish.end, now, exceptions)
