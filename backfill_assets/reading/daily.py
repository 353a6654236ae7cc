"""``read_daily``: the vendor's daily rows as prices and volumes as traded, or adjusted as bars are, with their health.

One slot a session, from its open to its close; the arguments mean what they mean for ``read_bars``. What is stored is
read in ``store.evidence.daily_series``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.reading.daily_reading import DailyReading
from backfill_assets.reading.market_notes import read_units
from backfill_assets.reading.moments import Moment
from backfill_assets.reading.opening import EngineOrSettings, open_source, resolve_source
from backfill_assets.reading.request import Format, OnIncomplete, ReadRequest, build_request, parse_columns
from backfill_assets.reading.requirements import find_refused, raise_refused
from backfill_assets.reading.results import BarsResult
from backfill_assets.reading.symbols import find_symbols
from backfill_assets.reading.window import build_window, require_readable_size
from backfill_assets.store.evidence.daily_series import read_daily_series

DAILY_COLUMNS = (
    *("symbol", "timestamp", "slot_end", "session"),
    *("open", "high", "low", "close", "volume", "state", "read_at"),
)
DAY = Interval("1d", 86_400, ("1d",))  # longer than any session, so that each has one slot


def read_daily(
    symbols: str | Ticker | Iterable[str | Ticker] | None,
    start: Moment,
    end: Moment,
    *,
    universe: str | None = None,
    exchange: str = DEFAULT_EXCHANGE,
    adjustment: str = "none",
    point_in_time: Moment | None = None,
    require: str = "complete",
    on_incomplete: str = "raise",
    provisional: bool = False,
    grid: bool = False,
    columns: Sequence[str] | None = None,
    format: Format = "pandas",  # noqa: A002 - the word that users of data frames know
    publication_delay: timedelta | None = None,
    settings: EngineOrSettings = None,
) -> BarsResult:
    """Read the daily rows of sessions that lie within ``start`` and ``end``; an end that is a date is excluded.

    A row is *present* if it was read 12 hours after the close or later, *provisional* before (the vendor still changes
    its volume), *suspect* if it is not known whether the vendor had adjusted it for a spin-off. A session without a row
    is *no trade* if that is known, *pending* until 12 hours after the close, a *vendor gap* if the vendor was asked
    then and had none, else *missing*.

    Args:
        symbols: one ticker, or several; None with ``universe``.
        start: a date (midnight in the exchange's time zone) or a moment with a time zone.
        end: likewise; sessions that have closed by then are in.
        universe: instead of symbols.
        exchange: the vendor's code, of the universe and of tickers without a suffix.
        adjustment: "none", "splits" or "splits_and_dividends". "none" is as traded: what the vendor adjusts prices and
            volumes for is undone.
        point_in_time: only sessions that were published by then, and actions whose ex-date had come. Figures are those
            of now; rows that were read later are counted as ``health.assumed``.
        require: "complete": a present row or no trade; "explained": or a vendor gap; "any".
        on_incomplete: "raise", or "drop": incomplete symbols are left out and named in ``health.dropped``.
        provisional: accept provisional rows, too, and return them.
        grid: one row for each session, with nulls where there is no row.
        columns: some of ``DAILY_COLUMNS``, in this order; None: all.
        format: of the frame: "pandas", "polars" or "arrow".
        publication_delay: of the close, for ``point_in_time``; None: the exchange's.
        settings: an open engine; or settings, None being those of the environment, whose database is opened.

    Returns:
        The frame, by symbol in the order asked for and session: ``timestamp`` and ``slot_end`` are the open and the
        close of the session (UTC), prices are float64, ``volume`` is whole shares (float64 if adjusted), null where the
        splits that the vendor adjusted it for are not known; ``read_at`` is when the row was read last (UTC).

    Raises:
        UsageError: an argument is wrong, or a symbol is not in the store.
        IncompleteBars: sessions are not as required.
        PendingSessions: only because their rows are not final yet.
        MissingFactor: an adjustment needs a factor that is not known.
    """
    source, used = resolve_source(settings)
    request = build_request(
        symbols,
        start,
        end,
        universe=universe,
        interval="30m",  # checked, and replaced below
        exchange=exchange,
        find_market=used.get_market,
        adjustment=adjustment,
        point_in_time=point_in_time,
        known_at=None,
        require=require,
        on_incomplete=on_incomplete,
        provisional=provisional,
        unverified=False,
        external=False,
        grid=grid,
        follow_renames=False,
        columns=None,
        format=format,
        publication_delay=publication_delay,
    )
    request = replace(request, interval=DAY, columns=parse_columns(columns, DAILY_COLUMNS))
    with open_source(source) as engine:
        return _read(engine, request)


def _read(engine: Engine, request: ReadRequest) -> BarsResult:
    require_readable_size(request, len(request.tickers or ("one",)))
    window = build_window(request)
    with engine.database.snapshot() as connection:
        symbols = find_symbols(connection, request)
        require_readable_size(request, len(symbols))
        series = read_daily_series(connection, [symbol.symbol_id for symbol in symbols], window.grid.sessions)
        units = read_units(connection, request.market, symbols, window.grid.sessions)
        reading = DailyReading(request, window, symbols, series, engine.settings.now(), units)
        refusal = find_refused(reading.odd_slots, request)
        refused = refusal.find_rows(window.grid).tolist()
        if refused and (request.on_incomplete is OnIncomplete.RAISE or len(refused) == len(symbols)):
            raise_refused(refusal, reading.build_health(), request)
        reading = reading.drop(refused)
        return BarsResult(reading.build_frame(connection), reading.build_health())
