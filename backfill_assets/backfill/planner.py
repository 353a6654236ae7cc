"""What to ask of the vendor: one request per ticker with gaps, as short as it may be.

Spends nothing and touches nothing; ``engine`` carries it out.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backfill_assets.market.bars.source_rows import CLOSING_SECONDS
from backfill_assets.market.calendar.sessions import NO_EXCEPTIONS, Exceptions, sessions_before
from backfill_assets.market.calendar.slots import SlotGrid, slot_grid
from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.bars.external_bars import Theirs
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.symbols import Symbol

CALLS_PER_REQUEST = 5
TYPICAL_SECONDS = 0.25  # of one answer; only for estimates
Int64 = NDArray[np.int64]


class Strategy(StrEnum):
    """Which gaps of the window are asked for, and whether failures get a second pass (DESIGN.md).

    ``INCREMENTAL`` asks for what follows each ticker's newest bar, provisional bars not counted: they are asked for
    too. Today's bars come from live samples (``live``), whatever the strategy.
    """

    HYBRID = "hybrid"
    INCREMENTAL = "incremental"
    TARGETED = "targeted"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: a ticker and a stretch of time, both ends inclusive (epoch seconds UTC).

    ``row`` is the ticker's position in the coverage.
    ``first_session`` and ``last_session`` index the plan's grid and include the overlap that is
    re-read for revisions; ``gaps`` is how many slots the request is for; ``oldest_due`` and
    ``newest_due`` are the sessions of the window (indices there) that made it due.
    """

    symbol: Symbol
    row: int
    start: int
    end: int
    first_session: int
    last_session: int
    gaps: int
    oldest_due: int
    newest_due: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Every request of a run.

    Attributes:
        asks: the requests.
        grid: the window's slots with the overlap sessions before them.
        window_from: ordinal in ``grid`` of the window's first slot; bars before it are only revised.
        waiting: tickers that have gaps but were asked too recently (the ladder).
        slots: what the requests are for: row × slots of the window + ordinal in the window.
        theirs: bars of somebody else that are to be verified.
    """

    asks: tuple[Ask, ...]
    grid: SlotGrid
    window_from: int
    waiting: int
    slots: Int64
    theirs: Theirs = field(default_factory=Theirs.none)

    @property
    def calls(self) -> int:
        """What the plan costs."""
        return CALLS_PER_REQUEST * len(self.asks)

    @property
    def lower_bound(self) -> int:
        """Calls that no plan can undercut: one request per ticker that is asked."""
        return CALLS_PER_REQUEST * len({ask.symbol.symbol_id for ask in self.asks})

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON shows it; stamps ISO 8601 UTC."""
        return {
            "requests": len(self.asks),
            "calls": self.calls,
            "lower_bound_calls": self.lower_bound,
            "slots": sum(ask.gaps for ask in self.asks),
            "tickers_waiting": self.waiting,
            "asks": [
                {
                    "ticker": str(ask.symbol.ticker),
                    "from": datetime.fromtimestamp(ask.start, UTC).isoformat(),
                    "to": datetime.fromtimestamp(ask.end, UTC).isoformat(),
                    "slots": ask.gaps,
                }
                for ask in self.asks
            ],
        }

    def estimated_seconds(self, per_window: int, window_seconds: float, in_flight: int) -> float:
        """How long carrying it out takes if the vendor answers as usual."""
        if not self.asks:
            return 0.0
        waits = (len(self.asks) - 1) // max(1, per_window)
        rest = len(self.asks) - waits * max(1, per_window)
        return waits * window_seconds + max(1.0, rest / in_flight) * TYPICAL_SECONDS


def make_plan(
    coverage: Coverage,
    *,
    overlap_sessions: int,
    max_span: timedelta,
    strategy: Strategy = Strategy.HYBRID,
    force: bool = False,
    explicit: bool = False,
    only: Collection[date] | None = None,
    exceptions: Exceptions = NO_EXCEPTIONS,
) -> Plan:
    """Merge each ticker's gaps into as few requests as spans of ``max_span`` allow.

    A ticker is asked if any of its gaps is due; then all gaps that one request covers are, at the
    same price. With ``force`` every ticker is asked for every askable slot, complete or not; with
    ``explicit`` (a person chose these tickers) for its gaps, whatever the ladder says. ``only``
    leaves it to the gaps of these sessions to make a ticker due.
    """
    window = coverage.grid
    before = sessions_before(window.sessions[0], overlap_sessions, exceptions) if window.sessions else ()
    grid = slot_grid((*before, *window.sessions), window.interval)
    wanted = np.array([only is None or session.day in only for session in window.sessions], bool)
    chosen, waiting = _chosen(coverage, strategy, wanted, force=force, explicit=explicit)
    parts = list(_asks(coverage, chosen, grid, len(before), overlap_sessions, max_span))
    slots = chosen["row"].to_numpy(np.int64) * window.size + chosen["ordinal"].to_numpy(np.int64)
    slots = np.concatenate([slots[:0], *(slots[part] for _, part in parts)])
    return Plan(tuple(ask for ask, _ in parts), grid, int(grid.first_of[len(before)]), waiting, slots, coverage.theirs)


def _chosen(
    coverage: Coverage, strategy: Strategy, wanted: NDArray[np.bool_], *, force: bool, explicit: bool
) -> tuple[pd.DataFrame, int]:
    """The slots to ask for (``row``, ``ordinal``, ``due``), by ticker, and how many tickers wait.

    ``wanted`` are the sessions whose gaps count.
    """
    in_wanted = wanted[coverage.grid.session_of]
    if force:
        askable, tickers = _askable_ordinals(coverage), len(coverage.symbols)
        askable = askable[in_wanted[askable]]
        everything = {"row": np.repeat(np.arange(tickers), len(askable)), "ordinal": np.tile(askable, tickers)}
        return pd.DataFrame(everything).assign(due=True), 0
    slots, classified = coverage.slots, coverage.classified
    table = pd.DataFrame({"row": slots.row, "ordinal": slots.ordinal, "due": classified.due | explicit})
    table = pd.concat([table.loc[classified.gap], _to_verify(coverage)], ignore_index=True)
    table["due"] &= in_wanted[table["ordinal"]]
    if strategy is Strategy.INCREMENTAL:
        table = table.loc[coverage.grid.starts[table["ordinal"]] > _newest_lasting(coverage)[table["row"]]]
    asked = table.groupby("row")["due"].transform("any").astype(bool)
    waiting = table.loc[~asked & in_wanted[table["ordinal"]], "row"].nunique()
    return table.loc[asked].sort_values(["row", "ordinal"]), waiting


def _newest_lasting(coverage: Coverage) -> Int64:
    """Epoch seconds of each ticker's newest bar that is not provisional, −1 without one."""
    slots, newest = coverage.slots, coverage.last.copy()
    last = coverage.grid.ordinals_of(newest)
    without = pd.DataFrame({"row": slots.row, "ordinal": slots.ordinal}).loc[slots.held != State.SUSPECT]
    without = without.loc[without["row"].isin(slots.row[slots.held == State.PROVISIONAL])]
    for row, mine in without.groupby("row")["ordinal"]:
        lasting = np.setdiff1d(np.arange(last[row] + 1), mine)
        newest[row] = coverage.grid.starts[lasting[-1]] if len(lasting) else -1
    return newest


def _to_verify(coverage: Coverage) -> pd.DataFrame:
    """Bars of somebody else, where they are to be verified: due, since a person wants it."""
    row, ordinal = np.divmod(coverage.theirs.slot, max(1, coverage.grid.size))
    askable = np.isin(ordinal, _askable_ordinals(coverage))
    return pd.DataFrame({"row": row[askable], "ordinal": ordinal[askable], "due": True})


def _askable_ordinals(coverage: Coverage) -> Int64:
    grid = coverage.grid
    askable = np.array([at <= coverage.now for at in coverage.askable_at], bool)
    return np.flatnonzero(askable[grid.session_of]) if grid.size else np.zeros(0, np.int64)


def _asks(
    coverage: Coverage, chosen: pd.DataFrame, grid: SlotGrid, shift: int, overlap: int, max_span: timedelta
) -> Iterator[tuple[Ask, slice]]:
    """Every request, and which of the chosen slots it is for."""
    row = chosen["row"].to_numpy(np.int64)
    session = coverage.grid.session_of[chosen["ordinal"].to_numpy(np.int64)]
    due = chosen["due"].to_numpy(bool)
    for start, end in _runs_of(row):
        symbol = coverage.symbols[row[start]]
        sessions = session[start:end]
        for first, last, part in _spans(sessions + shift, grid, overlap, max_span):
            inside = sessions[part][due[start:end][part]]
            if not len(inside):  # a request of its own for what is not due would be another price
                continue
            begin = max(0, first - overlap)
            ask = Ask(
                symbol=symbol,
                row=int(row[start]),
                start=int(grid.sessions[begin].open.timestamp()),
                end=int(grid.sessions[last].close.timestamp()) + CLOSING_SECONDS - 60,
                first_session=begin,
                last_session=last,
                gaps=part.stop - part.start,
                oldest_due=int(inside.min()),
                newest_due=int(inside.max()),
            )
            yield ask, slice(start + part.start, start + part.stop)


def _runs_of(values: Int64) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(values, prepend=-1))
    yield from zip(edges.tolist(), [*edges[1:].tolist(), len(values)], strict=False)


def _spans(sessions: Int64, grid: SlotGrid, overlap: int, max_span: timedelta) -> Iterator[tuple[int, int, slice]]:
    """Cut one ticker's gap sessions (ascending, one entry a slot) into (first, last, which entries).

    What a request spans includes the overlap before it and the closing minutes after it.
    """
    reach = max_span - timedelta(seconds=CLOSING_SECONDS)
    days, begins = np.unique(sessions, return_index=True)
    first, begin, last = int(days[0]), 0, int(days[0])
    for day, at in zip(days.tolist(), begins.tolist(), strict=True):
        if day > first and grid.sessions[day].close - grid.sessions[max(0, first - overlap)].open > reach:
            yield first, last, slice(begin, at)
            first, begin = day, at
        last = day
    yield first, last, slice(begin, len(sessions))
