"""``read_bars``: bars of some symbols and a window, with their health, from one snapshot of the store.

The arguments are checked in ``request``, the read is carried out in ``slot_reading``, and what is accepted is decided
in ``requirements``. A read never writes.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.reading.moments import Moment
from backfill_assets.reading.opening import EngineOrSettings, open_source, resolve_source
from backfill_assets.reading.request import Format, build_request
from backfill_assets.reading.result_builder import build_result
from backfill_assets.reading.results import BarsResult
from backfill_assets.reading.slot_reading import read_slots


def read_bars(
    symbols: str | Ticker | Iterable[str | Ticker] | None,
    start: Moment,
    end: Moment,
    interval: str = DEFAULT_INTERVAL,
    *,
    universe: str | None = None,
    exchange: str = DEFAULT_EXCHANGE,
    adjustment: str = "none",
    point_in_time: Moment | None = None,
    known_at: Moment | None = None,
    require: str = "complete",
    on_incomplete: str = "raise",
    provisional: bool = False,
    unverified: bool = False,
    external: bool = False,
    grid: bool = False,
    follow_renames: bool = False,
    columns: Sequence[str] | None = None,
    format: Format = "pandas",  # noqa: A002 - the word that users of data frames know
    publication_delay: timedelta | None = None,
    settings: EngineOrSettings = None,
) -> BarsResult:
    """Read the bars of some symbols, if they are as complete as required, with what is known of their completeness.

    The frame has one row a bar, by symbol (in the order asked for) and time: ``symbol`` (``AAPL.US``), ``timestamp``
    (start of the slot, UTC), ``slot_end`` (UTC; nothing of the bar was known before), ``session`` (date in the
    exchange's time zone), ``open``, ``high``, ``low``, ``close``, ``volume`` (whole, or fractional if adjusted),
    ``state`` (docs/states.md, in small letters), ``source`` and ``source_interval`` (null: another program's bar),
    ``first_known`` and ``revised`` (when this store first had the bar, and last corrected it, UTC; null: never, or
    unknown). Nothing is filled in: a slot without a bar has no row, or nulls with ``grid``.

    A moment is an aware datetime, an ISO text with its time zone, or a date, which means midnight in the exchange's
    time zone, or the open of that date's session where it opens on the day before. So an end date is not included.
    Bars, coverage and certificates are of one snapshot of the database, and nothing is written, except that the first
    use brings the schema to this version.

    Args:
        symbols: a ticker or several of one exchange, as ``AAPL``, ``AAPL.US`` or ``VOD.LSE``; None with ``universe``.
        start: the first moment; slots that begin earlier are left out.
        end: the first moment that is not included: a slot counts if it ends by then.
        interval: 1m, 5m, 15m, 30m or 1h.
        universe: the name of a universe, in place of symbols: its members of now.
        exchange: the vendor's code, of the universe and of tickers without a suffix; it need not be enabled.
        adjustment: ``none``, ``splits`` or ``splits_and_dividends`` (docs/adjusted_prices.md).
        point_in_time: for backtests. Bars count that had been published by then, with the values of now, and actions
            whose ex-date had come. Bars that this store loaded later are counted as ``health.assumed``.
        known_at: for audits. Bars as this store held them then; states by the evidence of now.
        require: ``complete``: every expected slot has a final bar of this store, or nothing traded. ``explained``: also
            vendor gaps, and suspect bars that nothing more is found out about. ``any``: whatever there is.
        on_incomplete: ``raise``, or ``drop``: symbols that are not as required are left out, and named in the health.
        provisional: accept bars that are not final, and give them as rows; without it they are no rows.
        unverified: accept bars that another program wrote.
        external: with ``known_at``: also other programs' bars of now, of which nothing says when they came.
        grid: one row for each expected slot, also without a bar.
        follow_renames: the bars of the instrument, also under the tickers that it had before.
        columns: which columns, in which order; all by default.
        format: ``pandas``, ``polars`` (the extra of this name must be installed) or ``arrow``.
        publication_delay: from a slot's end until its bar counts as published, with ``point_in_time``; by default the
            exchange's.
        settings: an open engine, or settings; None: those of the environment.

    Raises:
        UsageError: an argument or setting that cannot be used; the message says which, and what to write.
        IncompleteBars: slots are not as required; ``problems`` names symbol, session, slots and state.
        PendingSessions: the same, and the slots only wait for the vendor; ``next_request_at`` says until when.
        MissingFactor: a bar needs the factor of a corporate action that is not known.
        DatabaseUnavailable: the database cannot be reached, read, or used.
    """
    source, used = resolve_source(settings)
    request = build_request(
        symbols,
        start,
        end,
        universe=universe,
        interval=interval,
        exchange=exchange,
        find_market=used.get_market,
        adjustment=adjustment,
        point_in_time=point_in_time,
        known_at=known_at,
        require=require,
        on_incomplete=on_incomplete,
        provisional=provisional,
        unverified=unverified,
        external=external,
        grid=grid,
        follow_renames=follow_renames,
        columns=columns,
        format=format,
        publication_delay=publication_delay,
    )
    with open_source(source) as engine, engine.database.snapshot() as connection:
        reading = read_slots(engine.database, connection, request, engine.settings)
        return build_result(connection, reading)
