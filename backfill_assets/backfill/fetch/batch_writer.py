"""Writes a batch of responses to the store: bars, evidence, rejects and doubts in one transaction."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.backfill.fetch.answer_doubts import find_excused_volumes, settle_answer_doubts
from backfill_assets.backfill.fetch.learned_answers import learn_from_answers
from backfill_assets.backfill.planner import Plan, PlannedRequest
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.bars.bar_builder import BuiltBars, build_bars
from backfill_assets.market.bars.calendar_drift import find_days_traded_outside
from backfill_assets.market.bars.source_rows import build_row_table
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import is_any_of
from backfill_assets.market.gaps.coverage import ExternalBars
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.bars.bar_writer import WriteCounts, WrittenBars, write_bars
from backfill_assets.store.bars.external_bars import verify_external_bars
from backfill_assets.store.bars.other_feed_bars import forget_replaced
from backfill_assets.store.bars.refused_bars import drop_refused
from backfill_assets.store.bars.rejects import record_rejects, supersede_rejects
from backfill_assets.store.bars.source_host import bind_source_host
from backfill_assets.store.evidence.day_figures import read_day_figures
from backfill_assets.store.evidence.evidence_writer import record_evidence
from backfill_assets.store.evidence.listing_lives import read_listing_lives
from backfill_assets.store.evidence.refusals import record_refusals
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.multiranges import NO_POSITIONS, format_multirange

_EMPTY = np.zeros(0, np.float64)
_NOTHING_RETURNED = {  # of a session without rows
    **{"source_rows": 0, "published": False, "ends_before_close": False},
    **dict.fromkeys(("data_until", "official_close", "auction_volume"), np.nan),
}
NO_ROWS = IntradayRows(np.zeros(0, np.int64), _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY)

WRITE_BATCH_SIZE = 48  # responses in one transaction, at most: as many as are in flight by default
WRITE_BATCH_ROWS = 500_000  # vendor rows in one transaction, about


@dataclass(frozen=True, slots=True)
class FetchedRows:
    """The vendor's rows together with the request that they answer.

    The request is needed beside the rows: which sessions they cover is evidence even for a response without rows, and
    vendor rows do not name their symbol.
    """

    request: PlannedRequest
    rows: IntradayRows


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch.

    Attributes:
        counts: by symbol_id, what became of its bars.
        empty_symbol_ids: symbols without a row in the sessions that had gaps.
        published_sessions: (symbol_id, session of the plan's grid) seen published completely.
        off_calendar_days: days with trading outside the calendar's sessions, and how many tickers show it.
        rejected: rows that broke a rule and were not known yet.
        refusals: by words of the database, how many bars ``market_data`` refused.
    """

    counts: Mapping[int, WriteCounts] = field(default_factory=dict)
    empty_symbol_ids: frozenset[int] = frozenset()
    published_sessions: frozenset[tuple[int, int]] = frozenset()
    off_calendar_days: Mapping[date, int] = field(default_factory=dict)
    rejected: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteContext:
    """What all batches of a run have in common.

    ``replace_other_feed`` is whether bars of another source interval are replaced within the window.
    """

    plan: Plan
    source_interval: Interval
    interval_spelling: str
    vendor_host: str
    now: datetime
    replace_other_feed: bool = False

    def convert(self, interval: Interval, spelling: str) -> "WriteContext":
        """The same for bars of another interval, which are built from the same rows."""
        plan = self.plan
        grid = build_slot_grid(plan.grid.sessions, interval)
        first = int(grid.session_offsets[plan.grid.session_index[plan.window_first_ordinal]])
        converted = replace(
            plan,
            grid=grid,
            window_first_ordinal=first,
            slot_keys=plan.slot_keys[:0],
            external_bars=ExternalBars.create_empty(),
        )
        return replace(self, plan=converted, interval_spelling=spelling)


def write_batches(
    connection: Connection, contexts: Sequence[WriteContext], fetched: Sequence[FetchedRows], requested_at: datetime
) -> BatchResult:
    """Write a batch as bars of each interval; the result is that of the first one, with the bars of all.

    The transaction, ``requested_at`` and the errors are as in ``write_batch``.
    """
    first, *others = (write_batch(connection, context, fetched, requested_at) for context in contexts)
    counts = dict(first.counts)
    for result in others:
        for symbol_id, written in result.counts.items():
            counts[symbol_id] = counts.get(symbol_id, WriteCounts()) + written
    return replace(first, counts=counts)


def write_batch(
    connection: Connection, context: WriteContext, fetched: Sequence[FetchedRows], requested_at: datetime
) -> BatchResult:
    """Write a batch within the caller's transaction; ``requested_at`` is the database's time before the requests.

    Raises:
        UsageError: the database holds bars of another host.
    """
    grid = context.plan.grid
    rows = build_row_table([(item.request.symbol.symbol_id, item.rows) for item in fetched])
    built = _build_bars(connection, context, rows)
    bars = built.bars.assign(may_insert=built.bars["ordinal"] >= context.plan.window_first_ordinal)
    if len(bars):
        bind_source_host(connection, context.vendor_host)
    written = write_bars(
        connection,
        bars,
        interval=grid.interval,
        spelling=context.interval_spelling,
        source=context.vendor_host,
        source_interval=context.source_interval.name,
        requested_at=requested_at,
        replace_other_feed=context.replace_other_feed,
        replace_more_rows=context.replace_other_feed and grid.sessions[0].market.leaves_quotes_out_by_setting,
    )
    if context.replace_other_feed:
        forget_replaced(connection, bars, grid.interval)
    verified = _verify_planned_bars(connection, context, fetched, drop_refused(bars, written.refused))
    counts = _merge_counts(written.counts, verified.counts)
    refused = [*written.refused, *verified.refused]
    open_refusals = record_refusals(connection, bars, refused, interval=grid.interval, source=context.source_interval)
    evidence = _build_session_evidence(context.plan, fetched, built, open_refusals)
    if grid.sessions[0].market.is_experimental:
        learn_from_answers(connection, rows, built.rejects, evidence, grid, context.source_interval)
    record_evidence(
        connection,
        evidence,
        interval=grid.interval,
        source=context.source_interval,
        now=context.now,
        calendar=grid.sessions,
    )
    with_rows = evidence.take(evidence["source_rows"] > 0)
    supersede_rejects(connection, with_rows, interval=grid.interval, source=context.source_interval)
    rejected = record_rejects(connection, built.rejects, source=context.source_interval)
    settle_answer_doubts(
        connection, built.doubts, bars, with_rows, grid=grid, source=context.source_interval, now=context.now
    )
    published = evidence.take(evidence["published"])
    published_sessions = frozenset(zip(published["symbol_id"].tolist(), published["session"].tolist(), strict=True))
    off_calendar_days = find_days_traded_outside(rows, grid, context.source_interval)
    return BatchResult(
        counts=counts,
        empty_symbol_ids=_find_empty_symbols(evidence),
        published_sessions=published_sessions,
        off_calendar_days=off_calendar_days,
        rejected=rejected,
        refusals=Counter(bar.message for bar in refused),
    )


def _build_bars(connection: Connection, context: WriteContext, rows: Columns) -> BuiltBars:
    grid = context.plan.grid
    return build_bars(
        rows,
        grid,
        context.source_interval,
        find_days=lambda symbol_id, session: read_day_figures(connection, symbol_id, session, grid),
        find_lives=lambda symbol_id: read_listing_lives(connection, symbol_id),
        excused=find_excused_volumes(connection, rows, grid),
    )


def _merge_counts(written: Mapping[int, WriteCounts], verified: Mapping[int, WriteCounts]) -> dict[int, WriteCounts]:
    """The counts of both; writing had left the verified bars alone as protected."""
    merged = dict(written)
    for symbol_id, counts in verified.items():
        handled = counts.verified + counts.replaced + counts.refused
        merged[symbol_id] += replace(counts, protected=-handled)
    return merged


def _verify_planned_bars(
    connection: Connection, context: WriteContext, fetched: Sequence[FetchedRows], bars: Columns
) -> WrittenBars:
    """Verify external bars, where that is planned."""
    plan, external = context.plan, context.plan.external_bars
    if not len(external.slot_key):
        return WrittenBars({}, [])
    final = bars.take(bars["may_insert"] & bars["is_final"])
    row_by_symbol_id = {item.request.symbol.symbol_id: item.request.row for item in fetched}
    row = np.array([row_by_symbol_id[symbol_id] for symbol_id in final["symbol_id"].tolist()], np.int64)
    slot = plan.get_window_slot_keys(row, final["ordinal"])
    positions = np.minimum(np.searchsorted(external.slot_key, slot), len(external.slot_key) - 1)
    is_external = external.slot_key[positions] == slot
    return verify_external_bars(
        connection,
        final.take(is_external).assign(fingerprint=external.fingerprint[positions[is_external]]),
        interval=plan.grid.interval,
        source=context.vendor_host,
        source_interval=context.source_interval.name,
    )


def _build_session_evidence(
    plan: Plan, fetched: Sequence[FetchedRows], built: BuiltBars, open_refusals: Collection[tuple[int, int]]
) -> Columns:
    """One row per requested symbol and session, with what was returned (see ``store.evidence.evidence_writer``)."""
    grid = plan.grid
    requested = np.array(list(dict.fromkeys(_list_requested_sessions(fetched))), np.int64).reshape(-1, 2)
    symbol_id, session = requested.T
    return _find_returned(built.sessions, symbol_id, session, grid).assign(
        open=grid.session_opens[session],
        day=np.array([grid.sessions[position].day for position in session.tolist()], object),
        refused=_has_refused(plan, symbol_id, session, open_refusals),
        not_returned=np.array(list(_find_not_returned(plan, symbol_id, session, built.bars)), object),
        in_window=grid.session_offsets[session] >= plan.window_first_ordinal,
    )


def _list_requested_sessions(fetched: Sequence[FetchedRows]) -> Iterator[tuple[int, int]]:
    for item in fetched:
        for session in range(item.request.first_session, item.request.last_session + 1):
            yield item.request.symbol.symbol_id, session


def _find_returned(sessions: Columns, symbol_id: Int64, session: Int64, grid: SlotGrid) -> Columns:
    """The rows of ``BuiltBars.sessions`` that were requested; without rows: 0 of them, false, and NaN."""
    keys = sessions["symbol_id"] * len(grid.sessions) + sessions["session"]
    requested = symbol_id * len(grid.sessions) + session
    is_found = np.isin(requested, keys)
    position = np.searchsorted(keys, requested[is_found])
    columns: dict[str, NDArray[Any]] = {"symbol_id": symbol_id, "session": session}
    for name, default in _NOTHING_RETURNED.items():
        columns[name] = np.full(len(requested), default)
        columns[name][is_found] = sessions[name][position]
    return Columns(columns)


def _has_refused(plan: Plan, symbol_id: Int64, session: Int64, open_refusals: Collection[tuple[int, int]]) -> Bools:
    """Whether the table lacks a bar of each requested symbol and session because it refused it, now or before."""
    refused, stamp = np.array(list(open_refusals), np.int64).reshape(-1, 2).T
    of_refused = refused, plan.grid.session_index[plan.grid.find_ordinals(stamp)]
    return is_any_of((symbol_id, session), of_refused)


def _find_not_returned(plan: Plan, symbol_id: Int64, session: Int64, bars: Columns) -> Iterator[str]:
    """For each requested symbol and session, the slots without a final bar in the response."""
    grid = plan.grid
    key = grid.get_slot_keys(bars["symbol_id"], bars["ordinal"])  # ascending
    returned = key[bars["is_final"]]
    open_key = grid.get_slot_keys(symbol_id, grid.session_offsets[session])
    sizes = grid.session_sizes[session]
    begin, end = np.searchsorted(returned, open_key), np.searchsorted(returned, open_key + sizes)
    for opens, size, first, last in zip(open_key.tolist(), sizes.tolist(), begin.tolist(), end.tolist(), strict=True):
        not_returned = np.ones(size, bool)
        not_returned[returned[first:last] - opens] = False
        yield format_multirange(not_returned) if last - first < size else NO_POSITIONS


def _find_empty_symbols(evidence: Columns) -> frozenset[int]:
    in_window = evidence.take(evidence["in_window"])
    with_rows = in_window["symbol_id"][in_window["source_rows"] > 0]
    return frozenset(in_window["symbol_id"].tolist()) - frozenset(with_rows.tolist())
