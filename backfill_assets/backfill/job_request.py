"""Builds jobs from a user's options, one an exchange: opens the database, selects the symbols and the window.

Shared by the command line, Dagster and tests. What is done with several jobs is in ``exchange_loop``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.planner import Strategy
from backfill_assets.config.calendar_cache import use_calendar_cache
from backfill_assets.config.formatting import explain_not_collected
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, parse_interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol, Ticker, parse_tickers
from backfill_assets.market.calendar.windows import DEFAULT_HOURS, Window, build_date_window, build_hours_window
from backfill_assets.market.exchanges.feed_beginnings import require_within_feed
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.job_universe import JobUniverse, read_job_universe
from backfill_assets.store.name_notes import describe_names
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.symbols import list_symbols, read_universe


class NoActiveSymbols(UsageError):  # noqa: N818 - names a state of the universe
    """The universe has no active symbols, so there is nothing to work on."""


class UnknownSymbols(UsageError):  # noqa: N818 - names what is wrong with the request
    """None of the requested symbols is active in the universe; ``elsewhere`` are those that are, by exchange."""

    def __init__(self, tickers: Sequence[Ticker], elsewhere: Sequence[Ticker] = ()) -> None:
        names = ", ".join(str(ticker) for ticker in tickers[:5])
        meant = f"; did you mean {', '.join(str(ticker) for ticker in elsewhere[:5])}?" if elsewhere else ";"
        super().__init__(
            f"none of the symbols is active in the universe: {names}{meant} see: backfill-assets symbols list"
        )
        self.tickers = tuple(tickers)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The options of a command or a Dagster config; None means the default.

    Attributes:
        exchange: the vendor's code; None: those of the symbols, else every exchange of BACKFILL_EXCHANGES.
        with_ended: add every ticker that has ended, also before the window.
        will_request: bars of the window are to be requested, so days before the vendor's first rows are refused.
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
    exchange: str | None = None
    will_request: bool = False


@contextmanager
def open_engine(settings: Settings) -> Iterator[Engine]:
    """Open an engine over the settings' database; the database is closed at the end."""
    use_calendar_cache(settings)
    database = open_database(settings)
    try:
        yield Engine(database, settings)
    finally:
        database.close()


def split_request(settings: Settings, request: JobRequest) -> tuple[JobRequest, ...]:
    """The request for each exchange that it is about, in the order of BACKFILL_EXCHANGES; no statement.

    Raises:
        UsageError: a symbol is none, or an exchange is not in BACKFILL_EXCHANGES.
    """
    if request.exchange is not None:
        _require_collected(settings, [request.exchange])
        return (request,)
    if not request.symbols:
        return tuple(replace(request, exchange=exchange) for exchange in settings.exchanges)
    names: dict[str, list[str]] = {}
    for ticker in parse_tickers(request.symbols):
        names.setdefault(ticker.exchange, []).append(str(ticker))
    _require_collected(settings, names)
    return tuple(
        replace(request, exchange=exchange, symbols=names[exchange])
        for exchange in settings.exchanges
        if exchange in names
    )


def _require_collected(settings: Settings, exchanges: Iterable[str]) -> None:
    for exchange in exchanges:
        if exchange not in settings.exchanges:
            settings.get_market(exchange)  # says why, if no setting can switch it on
            raise UsageError(explain_not_collected(exchange, settings.exchanges))


def build_jobs(engine: Engine, request: JobRequest) -> tuple[list[BackfillJob], tuple[Ticker, ...]]:
    """One job for each exchange with symbols, and the requested tickers that are not in the universe.

    Hours and days are those of each exchange's own calendar. ``collect_jobs`` is the same without the exchanges whose
    job cannot be built.

    Raises:
        NoActiveSymbols: no exchange has any.
        UsageError: an invalid option, none of the requested symbols is active, or an exchange's calendar has ended.
    """
    collected = collect_jobs(engine, request)
    for error in collected.failures.values():
        raise error
    return list(collected.jobs), collected.unknown


@dataclass(frozen=True, slots=True)
class MarketJobs:
    """The jobs of a request, one an exchange.

    Attributes:
        jobs: in the order of BACKFILL_EXCHANGES.
        unknown: requested tickers that are not in the universe.
        failures: by exchange, why it has no job.
        is_several: whether the request was about more than one exchange, so that texts name them.
    """

    jobs: tuple[BackfillJob, ...]
    unknown: tuple[Ticker, ...] = ()
    failures: Mapping[str, UsageError] = field(default_factory=dict)
    is_several: bool = False

    def list_later(self, exchange: str) -> tuple[BackfillJob, ...]:
        """The jobs after that of an exchange."""
        exchanges = [job.market.exchange for job in self.jobs]
        return self.jobs[exchanges.index(exchange) + 1 :]


def collect_jobs(engine: Engine, request: JobRequest) -> MarketJobs:
    """A job for each exchange with symbols; one that fails, as after its calendar's end, does not stop others.

    Raises:
        NoActiveSymbols: no exchange has any.
        UsageError: there is no job at all; the first reason.
    """
    parts = split_request(engine.settings, request)
    if len(parts) == 1:
        job, unknown = build_job(engine, parts[0])
        return MarketJobs((job,), unknown)
    jobs: list[BackfillJob] = []
    unknown, failures = (), {}
    for part in parts:
        try:
            job, missing = build_job(engine, part)
        except NoActiveSymbols:
            unknown += parse_tickers(part.symbols)
        except UnknownSymbols as error:
            unknown += error.tickers
        except UsageError as error:
            failures[str(part.exchange)] = error
        else:
            jobs.append(job)
            unknown += missing
    if not jobs:
        raise _explain_no_job(engine.settings, unknown, failures)
    return MarketJobs(tuple(jobs), unknown, failures, is_several=len(jobs) + len(failures) > 1)


def _explain_no_job(settings: Settings, unknown: tuple[Ticker, ...], failures: Mapping[str, UsageError]) -> UsageError:
    if failures:
        return next(iter(failures.values()))
    if unknown:
        return UnknownSymbols(unknown)
    exchanges = ", ".join(settings.exchanges)
    return NoActiveSymbols(
        f"there are no active symbols of {exchanges}; add some: backfill-assets symbols add AAPL VOD.LSE"
    )


def build_job(engine: Engine, request: JobRequest) -> tuple[BackfillJob, tuple[Ticker, ...]]:
    """The job for a request about one exchange, and the requested tickers that are not in the universe.

    Without an exchange it is that of the first symbol, else the first of BACKFILL_EXCHANGES.

    Raises:
        NoActiveSymbols: the universe is empty.
        UnknownSymbols: none of the requested symbols is active.
        UsageError: an invalid option.
    """
    exchange = request.exchange or _choose_exchange(engine.settings, request)
    interval = parse_interval(request.interval)
    market = engine.settings.get_market(exchange)
    source = engine.settings.choose_source(market, interval)
    window = _build_window(
        market, engine.settings.now(), request, engine.settings.build_gap_rules(market, source).compute_askable_at
    )
    if request.will_request and request.start is not None:
        require_within_feed(market, source.name, request.start, "--start")
    with engine.database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [interval])
        universe = read_job_universe(connection, exchange, engine.settings.as_of)
        symbols, unknown = _select_symbols(connection, universe, request, window, engine.settings.exchanges)
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


def _choose_exchange(settings: Settings, request: JobRequest) -> str:
    return parse_tickers(request.symbols[:1])[0].exchange if request.symbols else settings.exchanges[0]


def _parse_symbols(names: Sequence[str], exchange: str | None) -> tuple[Ticker, ...]:
    """The tickers that a person names; those without an exchange are of ``exchange``, if one is given.

    Raises:
        UsageError: no ticker, or one of another exchange.
    """
    if exchange is None:
        return parse_tickers(names)
    tickers = parse_tickers(name if "." in name or ":" in name else f"{name.strip()}.{exchange}" for name in names)
    if others := [str(ticker) for ticker in tickers if ticker.exchange != exchange]:
        raise UsageError(
            f"{', '.join(others[:5])} and exchange {exchange} contradict each other; leave one of them out"
        )
    return tickers


def _select_symbols(
    connection: Connection, universe: JobUniverse, request: JobRequest, window: Window, enabled: Sequence[str]
) -> tuple[tuple[Symbol, ...], tuple[Ticker, ...]]:
    """The job's symbols, and the requested tickers that are neither active nor ended."""
    if not universe.active and not (universe.ended and (request.symbols or request.with_ended)):
        exchange = window.market.exchange
        notes = describe_names(connection, read_universe(connection, exchange, enabled))
        reason = f" ({'; '.join(notes)})" if notes else ""
        raise NoActiveSymbols(
            f"there are no active symbols{reason}; add some: backfill-assets symbols add AAPL MSFT"
            if exchange == DEFAULT_EXCHANGE
            else f"there are no active symbols of {exchange}{reason}; add some, for instance all that the vendor lists:"
            f" backfill-assets symbols sync --exchange {exchange}"
        )
    if not request.symbols:
        first_day = window.sessions[0].day if window.sessions else None
        return universe.list_all() if request.with_ended else universe.list_since(first_day), ()
    known = {symbol.ticker: symbol for symbol in universe.list_all()}
    wanted = _parse_symbols(request.symbols, window.market.exchange if request.exchange else None)
    unknown = tuple(t for t in wanted if t not in known)
    if len(unknown) == len(wanted):
        raise UnknownSymbols(unknown, _find_elsewhere(connection, unknown, enabled))
    return tuple(known[t] for t in wanted if t in known), unknown


def _find_elsewhere(connection: Connection, tickers: Sequence[Ticker], enabled: Sequence[str]) -> tuple[Ticker, ...]:
    """Active tickers of other exchanges with the same symbols: who means VOD.LSE may have written VOD."""
    symbols, asked = {ticker.symbol for ticker in tickers}, {ticker.exchange for ticker in tickers}
    others = (s.ticker for exchange in enabled if exchange not in asked for s in list_symbols(connection, exchange))
    return tuple(ticker for ticker in others if ticker.symbol in symbols)


def _build_window(
    market: MarketProfile, now: datetime, request: JobRequest, askable_at: Callable[[Session], datetime]
) -> Window:
    if request.start is None and request.end is None:
        hours = DEFAULT_HOURS if request.hours_back is None else request.hours_back
        return build_hours_window(market, now, hours, askable_at)
    if request.hours_back is not None:
        raise UsageError("give either --hours-back or --start and --end, not both")
    if request.start is None or request.end is None:
        raise UsageError("--start and --end belong together (session dates, both inclusive)")
    return build_date_window(market, request.start, request.end, now)
