"""Build bars from the vendor's rows, for many symbols at once.

Which rows may feed a bar is decided in ``source_rows``. Requests and storage are elsewhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.bars.session_summary import summarize_sessions
from backfill_assets.market.bars.source_rows import ValidatedRows, validate_rows
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import find_run_ends, find_run_starts, is_any_of
from backfill_assets.market.exchanges.profile import NullVolume, VolumeKind
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.listing import ListingLives, is_outside_confirmed_life
from backfill_assets.market.plausibility.row_rules import find_row_doubts, merge_doubts_of_slots
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, build_panel

FULL_GRID_SECONDS = 300  # 5m responses have a row for every five minutes; 1m omits minutes without a trade
VOLUME_DECIMALS = 6  # of fractional volumes
# What is known of the days of lines, by their symbol_id and session (position in the grid), shape (lines,) each.
FindDays = Callable[[Int64, Int64], DayFigures]
FindLives = Callable[[Int64], ListingLives]  # the lives of symbols, by symbol_id, shape (rows,)


@dataclass(frozen=True, eq=False)
class BuiltBars:
    """The bars of a batch of responses, and what else the rows show.

    Volumes are in what the market's profile says: shares, or the currency that prices are in, in whole units. That of a
    bar is not known if one of its rows has none, or if the profile says that volumes mean nothing.

    Attributes:
        bars: one row per slot with at least one usable source row: ``symbol_id``, ``ordinal`` (of the grid),
            ``timestamp`` (epoch seconds UTC of the slot's open), ``open high low close``, ``volume`` (whole, in double
            precision; NaN where it is not known), ``volume_known``, ``source_rows``, ``is_final``; ordered by
            symbol_id and ordinal.
        sessions: one row per symbol and session with any row at all: ``symbol_id``, ``session`` (position in the grid's
            sessions), ``source_rows``, ``data_until`` (epoch seconds to which the rows reach), ``published``,
            ``ends_before_close`` (rows before the close are absent, see ``session_summary``), ``official_close``
            and ``auction_volume`` (NaN if no row shows them).
        rejects: the rows that broke a rule, as received, with ``reason``, and ``is_replaced``: whether a usable row has
            the same stamp.
        ignored_rows: how many rows feed no bar without breaking a rule, by kind.
        doubts: what the rules doubt that read rows, one for each rule and slot (see ``market.plausibility``); with the
            volumes that the bars lack.
    """

    bars: Columns
    sessions: Columns
    rejects: Columns
    ignored_rows: dict[str, int]
    doubts: list[Doubt]


def build_bars(
    rows: Columns,
    grid: SlotGrid,
    source: Interval,
    *,
    find_days: FindDays | None = None,
    find_lives: FindLives | None = None,
    excused: Mapping[tuple[int, int], float] | None = None,
) -> BuiltBars:
    """Build the bars of ``grid`` (at least one session) from a row table at interval ``source``.

    Open and close are those of the slot's first and last usable row, high and low its extremes. The volume is the sum,
    rounded half to even where the rows are fractional. A row whose volume is proven to be a running total contributes
    its prices only, one outside a confirmed listing life nothing. A bar is final only if its symbol's rows reach beyond
    the slot (docs/decisions/0022).

    Args:
        rows: the row table, in any order.
        grid: the slots.
        source: interval of the rows.
        find_days: gives the settled figures of days, which may prove what the rows alone do not.
        find_lives: gives the listing lives of symbols.
        excused: volumes that a person decided to be right, by symbol_id and stamp of the row: while the row has that
            volume, it is neither doubted as a running total nor withheld.
    """
    validated = validate_rows(rows, grid, source)
    if find_lives:
        validated = _reject_outside_listing(validated, grid, find_lives)
    doubts, is_withheld = _find_doubts(validated, grid, source, find_days, excused or {})
    reason = validated.reject_reason.copy()
    reason[is_withheld] = str(Rule.VOLUME_RUNNING_TOTAL)
    sessions = summarize_sessions(validated, grid, source)
    is_rejected = reason != ""
    rejects = validated.received.assign(reason=reason, is_replaced=_is_replaced(validated, is_rejected, grid, source))
    return BuiltBars(
        bars=_aggregate_bars(validated, is_withheld, sessions, grid, source),
        sessions=sessions,
        rejects=rejects.take(is_rejected),
        ignored_rows=validated.ignored_rows,
        doubts=merge_doubts_of_slots(doubts, grid),
    )


def _reject_outside_listing(validated: ValidatedRows, grid: SlotGrid, find_lives: FindLives) -> ValidatedRows:
    """The rows without the usable ones of sessions outside a confirmed life: they are another instrument's."""
    usable = np.flatnonzero(validated.usable)
    days = grid.session_days
    lives = find_lives(validated.table["symbol_id"][usable])
    outside = usable[is_outside_confirmed_life(days[validated.table["session"][usable]], lives)]
    if not len(outside):
        return validated
    reason, is_usable = validated.reject_reason.copy(), validated.usable.copy()
    reason[outside], is_usable[outside] = str(Rule.OUTSIDE_LISTING), False
    return replace(validated, usable=is_usable, reject_reason=reason)


def _find_doubts(
    validated: ValidatedRows,
    grid: SlotGrid,
    source: Interval,
    find_days: FindDays | None,
    excused: Mapping[tuple[int, int], float],
) -> tuple[list[Doubt], Bools]:
    """What is doubted in the usable rows, and the rows whose volume is withheld, shape (rows,)."""
    table, usable = validated.table, validated.usable
    panel, line, column = build_panel(
        table["symbol_id"][usable],
        table["timestamp"][usable],
        {name: table[name][usable] for name in PANEL_VALUES},
        grid,
        source.seconds,
    )
    days = find_days(panel.symbol_id, panel.session) if find_days else DayFigures.create_unknown(len(panel))
    doubts = [doubt for doubt in find_row_doubts(panel, days) if not _is_excused(doubt, excused)]
    is_withheld = np.zeros(len(usable), bool)
    withheld = [doubt for doubt in doubts if doubt.withheld_volume]
    if withheld:
        lines = {key: at for at, key in enumerate(zip(panel.symbol_id.tolist(), panel.session.tolist(), strict=True))}
        cells = np.zeros(panel.close.shape, bool)
        of_line = np.array([lines[doubt.symbol_id, doubt.session] for doubt in withheld], np.int64)
        first_stamps = np.array([doubt.first_stamp for doubt in withheld], np.int64)
        cells[of_line, panel.find_columns(of_line, first_stamps)] = True
        is_withheld[usable] = cells[line, column]
    return doubts, is_withheld


def _is_excused(doubt: Doubt, excused: Mapping[tuple[int, int], float]) -> bool:
    if doubt.rule != Rule.VOLUME_RUNNING_TOTAL:
        return False
    return excused.get((doubt.symbol_id, doubt.first_stamp)) == doubt.figures["volume"]


def _is_replaced(validated: ValidatedRows, is_rejected: Bools, grid: SlotGrid, source: Interval) -> Bools:
    """Whether a usable row stands for a rejected one; shape (rows,).

    It has the same symbol and stamp. Where the vendor gives a row for every interval, also without volume, the row
    within whose interval one off the grid lies stands for that one: 03:25 for 03:29.
    """
    if not is_rejected.any():
        return is_rejected
    symbol_id, stamp = validated.table["symbol_id"], validated.table["timestamp"]
    of_usable = symbol_id[validated.usable], stamp[validated.usable]
    is_replaced: Bools = is_rejected & ~validated.usable & is_any_of((symbol_id, stamp), of_usable)
    if grid.sessions[0].market.null_volume is NullVolume.TRADE:
        off_grid = np.flatnonzero(validated.reject_reason == "off_grid")
        since_open = stamp[off_grid] - grid.session_opens[validated.table["session"][off_grid]]
        covering = symbol_id[off_grid], stamp[off_grid] - since_open % source.seconds
        is_replaced[off_grid] |= is_any_of(covering, of_usable)
    return is_replaced


def _aggregate_bars(
    validated: ValidatedRows,
    is_withheld: Bools,
    sessions: Columns,
    grid: SlotGrid,
    source: Interval,
) -> Columns:
    table, usable = validated.table, validated.usable
    symbol_id, stamp = table["symbol_id"][usable], table["timestamp"][usable]
    ordinal = np.searchsorted(grid.starts, stamp, side="right").astype(np.int64) - 1
    volume = np.where(is_withheld, 0.0, table["volume"])[usable]
    if grid.sessions[0].market.volume_kind is VolumeKind.NONE:
        volume[:] = np.nan
    start, end = find_run_starts(symbol_id, ordinal), find_run_ends(symbol_id, ordinal)
    volume = round_volume(np.add.reduceat(volume, start))  # NaN if that of one row is
    return Columns(
        {
            "symbol_id": symbol_id[start],
            "ordinal": ordinal[start],
            "timestamp": grid.starts[ordinal[start]],
            "open": table["open"][usable][start],
            "high": np.maximum.reduceat(table["high"][usable], start),
            "low": np.minimum.reduceat(table["low"][usable], start),
            "close": table["close"][usable][end],
            "volume": volume,
            "volume_known": ~np.isnan(volume),
            "source_rows": np.add.reduceat((~is_withheld[usable]).astype(np.int64), start),
            "is_final": _is_final(symbol_id[start], ordinal[start], validated, sessions, grid, source),
        }
    )


def _is_final(
    symbol_id: Int64,
    ordinal: Int64,
    validated: ValidatedRows,
    sessions: Columns,
    grid: SlotGrid,
    source: Interval,
) -> Bools:
    newest = np.searchsorted(validated.table["symbol_id"], symbol_id, side="right") - 1  # row of each symbol
    is_complete: Bools = grid.ends[ordinal] <= validated.table["timestamp"][newest] + source.seconds
    if source.seconds < FULL_GRID_SECONDS:  # the last minutes of a published session may have had no trade
        published = sessions.take(sessions["published"] & ~sessions["ends_before_close"])
        of_published = published["symbol_id"], published["session"]
        is_complete |= is_any_of((symbol_id, grid.session_index[ordinal]), of_published)
    return is_complete


def round_volume(volume: Floats) -> Floats:
    """Volumes in whole shares, half to even; NaN stays. Sums of decimals are freed of their float error before."""
    is_fractional = volume != np.floor(volume)
    rounded: Floats = np.where(is_fractional, np.rint(np.round(volume, VOLUME_DECIMALS)), volume)
    return rounded
