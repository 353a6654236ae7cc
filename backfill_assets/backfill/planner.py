"""Plans the vendor requests: one request per ticker with gaps, as short as possible.

Pure functions of a measured coverage. ``backfill.runner`` sends the requests.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from backfill_assets.backfill.request_spans import RequestSpans, SpanLimits, split_runs
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.sessions import list_previous_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import find_run_starts
from backfill_assets.market.gaps.coverage import Coverage, ExternalBars
from backfill_assets.market.gaps.slot_states import SlotState

TYPICAL_RESPONSE_SECONDS = 0.25  # of one response; only for estimates


class Strategy(StrEnum):
    """Which gaps of the window are requested, and whether failures get a second pass (docs/design.md, "Strategies").

    ``INCREMENTAL`` requests what follows each ticker's newest final bar; provisional bars are requested, too. Today's
    bars come from live collection (the package ``live``), whatever the strategy.
    """

    HYBRID = "hybrid"
    INCREMENTAL = "incremental"
    TARGETED = "targeted"


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Which gaps are requested, and how they are merged into requests.

    Attributes:
        calls_per_request: price of a request, in vendor calls.
        overlap_sessions: sessions before the gaps that are read again for revisions.
        max_span: longest span of one request.
        max_trading: longest time of which an answer has rows, which bounds how many they are.
        vendor_max_span: longest span that the vendor allows, for the lower bound; None: ``max_span``.
        first_day: the vendor has no rows of earlier sessions, which are not requested; None: there is no such day.
        strategy: which gaps are requested.
        force: request every askable slot of every ticker, complete or not.
        user_selected: request every gap and every suspect bar, regardless of the retry schedule.
        trigger_sessions: only gaps of these sessions make a ticker due; None means all.
    """

    calls_per_request: int
    overlap_sessions: int
    max_span: timedelta
    max_trading: timedelta = timedelta.max
    vendor_max_span: timedelta | None = None
    first_day: date | None = None
    strategy: Strategy = Strategy.HYBRID
    force: bool = False
    user_selected: bool = False
    trigger_sessions: Collection[date] | None = None


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request for a ticker.

    Attributes:
        symbol: the ticker.
        row: position of the symbol in the coverage.
        start: first second, epoch seconds UTC, inclusive.
        end: last second, epoch seconds UTC, inclusive.
        first_session: index in the plan's grid, including the overlap that is re-read for revisions.
        last_session: index in the plan's grid.
        slot_count: number of slots that the request is for.
        oldest_due_session: the oldest session that makes the request due (index in the window), and
        newest_due_session: the newest one.
        tickers: whom to ask, one after the other while the vendor knows none.
    """

    symbol: Symbol
    row: int
    start: int
    end: int
    first_session: int
    last_session: int
    slot_count: int
    oldest_due_session: int
    newest_due_session: int
    tickers: tuple[Ticker, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """Every request of a run.

    Attributes:
        requests: the requests.
        grid: the window's slots, after the slots of the overlap sessions.
        window_first_ordinal: ordinal in ``grid`` of the window's first slot; earlier bars are revised, never inserted.
        deferred_until: symbol_id → when its next request is due (UTC), of tickers with gaps that the schedule defers.
        slot_keys: the requested slots: row × slots of the window + ordinal in the window.
        calls_per_request: price of a request, in vendor calls.
        vendor_limits: how much the vendor gives in one answer.
        external_bars: external bars to verify.
        unreadable_until: the same of tickers whose newest answer could not be read (``backfill.failed_requests``).
        held_back: symbol_ids with requests that are left to other exchanges (``backfill.scarce_requests``); their slots
            are in ``slot_keys``.
    """

    requests: tuple[PlannedRequest, ...]
    grid: SlotGrid
    window_first_ordinal: int
    deferred_until: Mapping[int, datetime]
    slot_keys: Int64
    calls_per_request: int
    vendor_limits: SpanLimits
    external_bars: ExternalBars = field(default_factory=ExternalBars.create_empty)
    unreadable_until: Mapping[int, datetime] = field(default_factory=dict)
    held_back: frozenset[int] = frozenset()

    @property
    def deferred(self) -> int:
        """Number of tickers that wait: for the retry schedule, or after an answer that could not be read."""
        return len(self.deferred_until) + len(self.unreadable_until)

    @property
    def calls(self) -> int:
        """Price of the plan in vendor calls."""
        return self.calls_per_request * len(self.requests)

    @property
    def lower_bound(self) -> int:
        """Price of the cheapest possible plan for the same slots: the fewest requests that the vendor allows."""
        spans = RequestSpans(self.grid, self.vendor_limits)
        size = self.grid.size - self.window_first_ordinal
        row, ordinal = np.divmod(self.slot_keys, max(1, size))
        session = self.grid.session_index[ordinal + self.window_first_ordinal]
        asked = {request.row for request in self.requests}
        counts = [spans.count(session[start:end]) for start, end in split_runs(row) if int(row[start]) in asked]
        return self.calls_per_request * sum(counts)

    def get_window_slot_keys(self, row: Int64, ordinal: Int64) -> Int64:
        """The slot keys in the window's own grid of slots of the window; ``ordinal`` counts in ``grid``."""
        keys: Int64 = row * (self.grid.size - self.window_first_ordinal) + ordinal - self.window_first_ordinal
        return keys

    def leave_out(self, rows: Collection[int]) -> "Plan":
        """The plan without the requests, and the slots, of symbols at these rows."""
        slot_rows = self.slot_keys // (self.grid.size - self.window_first_ordinal)
        requests = tuple(request for request in self.requests if request.row not in rows)
        return replace(self, requests=requests, slot_keys=self.slot_keys[~np.isin(slot_rows, list(rows))])

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON; times are ISO 8601, UTC."""
        return {
            "requests": len(self.requests),
            "calls": self.calls,
            "lower_bound_calls": self.lower_bound,
            "slots": sum(request.slot_count for request in self.requests),
            "tickers_waiting": self.deferred,
            "asks": [
                {
                    "ticker": str(request.symbol.ticker),
                    "from": datetime.fromtimestamp(request.start, UTC).isoformat(),
                    "to": datetime.fromtimestamp(request.end, UTC).isoformat(),
                    "slots": request.slot_count,
                    "asked_as": str(request.tickers[0]),
                }
                for request in self.requests
            ],
        }

    def estimate_seconds(self, per_window: int, window_seconds: float, in_flight: int) -> float:
        """Estimated duration in seconds, with the vendor's usual response time."""
        if not self.requests:
            return 0.0
        full_windows = (len(self.requests) - 1) // max(1, per_window)
        rest = len(self.requests) - full_windows * max(1, per_window)
        return full_windows * window_seconds + max(1.0, rest / in_flight) * TYPICAL_RESPONSE_SECONDS


def make_plan(coverage: Coverage, options: PlanOptions) -> Plan:
    """Merge each ticker's gaps into as few requests as the longest span allows.

    A ticker is requested if any of its gaps is due. Its other gaps are then requested with it, since one request costs
    the same whatever it covers. ``coverage`` holds the state of every slot of the window.
    """
    window, overlap = coverage.grid, options.overlap_sessions
    earlier_sessions = list_previous_sessions(window.sessions[0], overlap) if window.sessions else ()
    grid = build_slot_grid((*earlier_sessions, *window.sessions), window.interval)
    selected, deferred_until = _select_slots(coverage, options)
    limits = SpanLimits(overlap, options.max_span, options.max_trading)
    first_session = sum(session.day < (options.first_day or date.min) for session in grid.sessions)
    spans = RequestSpans(grid, limits, first_session)
    parts = list(_build_requests(coverage, selected, spans, grid, len(earlier_sessions)))
    slot_keys = window.get_slot_keys(selected["row"], selected["ordinal"])
    slot_keys = np.concatenate([slot_keys[:0], *(slot_keys[part] for _, part in parts)])
    return Plan(
        tuple(request for request, _ in parts),
        grid,
        int(grid.session_offsets[len(earlier_sessions)]),
        deferred_until,
        slot_keys,
        options.calls_per_request,
        replace(limits, overlap=0, max_span=options.vendor_max_span or options.max_span),
        coverage.external_bars,
    )


def _select_slots(coverage: Coverage, options: PlanOptions) -> tuple[Columns, dict[int, datetime]]:
    """The slots to request (columns ``row``, ``ordinal``, ``due``) by ticker, and until when others are deferred."""
    triggers, first_day = options.trigger_sessions, options.first_day or date.min
    in_trigger_session = _find_slots(coverage.grid, lambda day: triggers is None or day in triggers)
    in_feed = _find_slots(coverage.grid, lambda day: day >= first_day)  # the vendor's rows reach back to it
    if options.force:
        askable, ticker_count = np.flatnonzero(coverage.is_slot_askable & in_feed), len(coverage.symbols)
        askable = askable[in_trigger_session[askable]]
        row, ordinal = np.repeat(np.arange(ticker_count), len(askable)), np.tile(askable, ticker_count)
        return Columns({"row": row, "ordinal": ordinal, "due": np.ones(len(row), bool)}), {}
    slots, classified = coverage.open_slots, coverage.slot_states
    due = classified.due | options.user_selected
    columns = {"row": slots.row, "ordinal": slots.ordinal, "due": due, "next_at": classified.next_request_at}
    is_suspect = coverage.has_state(SlotState.SUSPECT) & coverage.is_slot_askable[slots.ordinal]
    is_asked = classified.gap | (is_suspect & options.user_selected)  # by schedule, suspect bars are gaps when due
    external = _select_external_slots(coverage)
    table = Columns({name: np.concatenate([column[is_asked], external[name]]) for name, column in columns.items()})
    table = table.take(in_feed[table["ordinal"]])
    if options.strategy is Strategy.INCREMENTAL:
        newest = coverage.find_newest_final()[table["row"]]
        table = table.take(coverage.grid.starts[table["ordinal"]] > newest)
    table = table.take(np.lexsort((table["ordinal"], table["row"])))
    is_triggering = in_trigger_session[table["ordinal"]]
    is_requested = np.isin(table["row"], table["row"][table["due"] & is_triggering])
    deferred_until = _find_next_moments(coverage, table.take(~is_requested & is_triggering))
    # Requests are frequent around the clock; if each read old gaps again, its answer would hold months of rows.
    is_wanted = is_requested & table["due"] if coverage.grid.is_around_the_clock else is_requested
    return table.assign(due=table["due"] & is_triggering).take(is_wanted), deferred_until


def _find_next_moments(coverage: Coverage, slots: Columns) -> dict[int, datetime]:
    """When the first of each ticker's ``slots`` (ascending by row) is due, by symbol_id."""
    starts = find_run_starts(slots["row"])
    moments = np.minimum.reduceat(slots["next_at"], starts).tolist()
    symbols = [coverage.symbols[row] for row in slots["row"][starts].tolist()]
    return {symbol.symbol_id: datetime.fromtimestamp(at, UTC) for symbol, at in zip(symbols, moments, strict=True)}


def _find_slots(window: SlotGrid, is_chosen: Callable[[date], bool]) -> Bools:
    """Whether each slot is of a session whose day is chosen, shape (slots of the window,)."""
    is_in: Bools = np.array([is_chosen(session.day) for session in window.sessions], bool)[window.session_index]
    return is_in


def _select_external_slots(coverage: Coverage) -> Columns:
    """External bars to verify; all of them are due, because the user requested it."""
    row, ordinal = coverage.grid.split_slot_keys(coverage.external_bars.slot_key)
    due, next_at = np.ones(len(row), bool), np.zeros(len(row))
    return Columns({"row": row, "ordinal": ordinal, "due": due, "next_at": next_at}).take(
        coverage.is_slot_askable[ordinal]
    )


def _build_requests(
    coverage: Coverage, selected: Columns, spans: RequestSpans, grid: SlotGrid, session_offset: int
) -> Iterator[tuple[PlannedRequest, slice]]:
    """Yield every request, and the selected slots that it is for."""
    row = selected["row"]
    session = coverage.grid.session_index[selected["ordinal"]]
    due = selected["due"]
    for start, end in split_runs(row):
        symbol = coverage.symbols[row[start]]
        sessions, is_due = session[start:end], due[start:end]
        for span in spans.split(sessions + session_offset, is_due):
            due_sessions = sessions[span.entries][is_due[span.entries]]
            request = PlannedRequest(
                symbol=symbol,
                row=int(row[start]),
                start=spans.opens[span.begin],
                end=spans.closes[span.last] + grid.sessions[span.last].market.closing_seconds - 60,
                first_session=span.begin,
                last_session=span.last,
                slot_count=span.entries.stop - span.entries.start,
                oldest_due_session=int(due_sessions.min()),
                newest_due_session=int(due_sessions.max()),
                tickers=(symbol.ticker,),
            )
            yield request, slice(start + span.entries.start, start + span.entries.stop)
