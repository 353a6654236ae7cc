"""Reads what a request is about, all of it from one snapshot of the database: bars, states of slots, certificates.

``result_builder`` makes the frame and its health of it. Nothing is written.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime

from backfill_assets.config.settings import Settings
from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.explained_slots import find_explained_slots
from backfill_assets.reading.market_notes import read_units
from backfill_assets.reading.request import ReadRequest
from backfill_assets.reading.series import Series, build_own_series, read_followed_series
from backfill_assets.reading.symbols import find_symbols
from backfill_assets.reading.window import ReadWindow, build_window, require_readable_size
from backfill_assets.store.bars.bar_factors import BarFactors, read_bar_factors
from backfill_assets.store.bars.bar_table import MOMENTS, VALUES, BarTable, read_bar_table
from backfill_assets.store.bars.bar_versions import read_history_beginning
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.bars.read_slots import ReadSlots, derive_stored_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.certificate_values import FoundCertificate
from backfill_assets.store.certificates import find_certificates
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.evidence.doubts import list_open_slots
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.joined_snapshot import join_snapshot
from backfill_assets.store.price_units import SymbolUnit

SLOTS_OF_A_LARGE_READ = 200_000  # 0.1 s of the server; a second connection costs some 10 ms


@dataclass(frozen=True, eq=False)
class SlotReading:
    """What was read of a request; rows of slot keys are positions in ``series.stored``.

    Attributes:
        request: the interval is spelled as the store spells it.
        window: the slots.
        series: whose bars they are.
        bars: of the whole sessions, at most one a slot, as stored.
        factors: by which they are to be adjusted; None: by none.
        coverage: the states of their slots, with the external bars.
        is_explained: whether each of ``coverage.open_slots`` is explained.
        certificates: about at least one of the symbols and sessions.
        external_left_out: with ``known_at``: how many bars of other programs the window has and the read has not.
        unknown_before: the moment before which deletions were not recorded, if ``known_at`` is earlier.
        units: what prices of single symbols count, if not what those of the exchange do.
    """

    request: ReadRequest
    window: ReadWindow
    series: Series
    bars: BarTable
    factors: BarFactors | None
    coverage: Coverage
    is_explained: Bools
    certificates: tuple[FoundCertificate, ...]
    external_left_out: int
    unknown_before: datetime | None
    units: tuple[SymbolUnit, ...]

    @property
    def grid(self) -> SlotGrid:
        """The slots of the sessions that the window touches."""
        return self.window.grid


def read_slots(database: Database, connection: Connection, request: ReadRequest, settings: Settings) -> SlotReading:
    """Read the bars and the states of their slots.

    Args:
        database: of the connection.
        connection: of one snapshot (``Database.snapshot``); planner settings of its transaction change.
        request: what is read.
        settings: the clock, the calendar and the rules by which absent bars are judged.

    Raises:
        UsageError: the store does not have a symbol or universe, or the window is too large.
    """
    require_readable_size(request, len(request.tickers or ("one",)))
    window = build_window(request)
    (interval,) = adopt_spellings(connection, [request.interval])
    window = replace(window, grid=replace(window.grid, interval=interval))
    return _read(database, connection, replace(request, interval=interval), window, settings)


def _read(
    database: Database, connection: Connection, request: ReadRequest, window: ReadWindow, settings: Settings
) -> SlotReading:
    symbols, grid = find_symbols(connection, request), window.grid
    require_readable_size(request, len(symbols))
    read_series = read_followed_series if request.follow_renames else build_own_series
    series = read_series(connection, symbols, grid)
    bars, external_left_out = _read_bars(database, connection, request, series, window)
    now = settings.now() if request.known_at is None else min(settings.now(), request.known_at)
    source = settings.choose_source(request.market, request.interval)
    rules = settings.build_gap_rules(request.market, source)
    coverage = _measure(connection, series, grid, bars, (source, rules, now))
    has_suspects = bool((coverage.slot_states.state == SlotState.SUSPECT).any())
    days = [session.day for session in grid.sessions]
    doubts = list_open_slots(connection, grid.interval, days[0], days[-1]) if has_suspects else []
    ids = [symbol.symbol_id for symbol in series.stored]
    # A certificate is about the bars as they are, not as they were.
    certificates = find_certificates(connection, request.exchange, grid.interval.name, days, ids) if days else []
    return SlotReading(
        request=request,
        window=window,
        series=series,
        bars=bars,
        factors=_read_factors(connection, request, series),
        coverage=coverage,
        is_explained=find_explained_slots(coverage, doubts, rules),
        certificates=tuple(certificates) if request.known_at is None else (),
        external_left_out=external_left_out,
        unknown_before=_find_unknown_before(connection, request),
        units=read_units(connection, request.market, series.stored, grid.sessions),
    )


def _read_bars(
    database: Database, connection: Connection, request: ReadRequest, series: Series, window: ReadWindow
) -> tuple[BarTable, int]:
    """The bars, and how many of other programs are left out because nothing says whether they were there then."""
    columns = [name for name in VALUES if name in request.columns]
    if request.point_in_time is not None or not set(MOMENTS).isdisjoint(request.columns):
        columns += MOMENTS
    is_large = len(series.stored) * window.grid.size >= SLOTS_OF_A_LARGE_READ
    with join_snapshot(database, connection) if is_large else nullcontext() as second:
        bars = read_bar_table(
            connection,
            series.stored,
            window.grid,
            known_at=request.known_at,
            with_others=request.known_at is not None,
            columns=columns,
            second=second,
        )
    if request.known_at is None or request.external:
        return bars, 0
    left_out = window.grid.split_slot_keys(bars.slot_key[bars.is_external])[1]
    return bars.select(~bars.is_external), int(window.holds(left_out).sum())


def _read_factors(connection: Connection, request: ReadRequest, series: Series) -> BarFactors | None:
    if request.adjustment is Adjustment.NONE:
        return None
    return read_bar_factors(connection, series.stored, request.adjustment, request.point_in_time or request.known_at)


def _find_unknown_before(connection: Connection, request: ReadRequest) -> datetime | None:
    if request.known_at is None:
        return None
    beginning = read_history_beginning(connection)
    return beginning if beginning is not None and request.known_at < beginning else None


def _measure(
    connection: Connection, series: Series, grid: SlotGrid, bars: BarTable, by: tuple[Interval, GapRules, datetime]
) -> Coverage:
    """The coverage by the bars that were read; ``by`` is what they are built from, the rules, and the moment."""
    slots = ReadSlots(bars.slot_key, bars.is_external, bars.is_provisional, bars.covered, bars.duplicates)
    stored = derive_stored_slots(connection, SymbolIndex.from_symbols(series.stored), grid, slots)
    coverage = measure_coverage(connection, series.stored, grid, *by, stored, series.lives)
    return replace(coverage, external_bars=slots.external_bars)
