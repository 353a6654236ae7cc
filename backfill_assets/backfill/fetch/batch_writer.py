"""From a batch of answers to rows in the store: bars, evidence and rejects in one transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import numpy as np
import pandas as pd

from backfill_assets.backfill.planner import Ask, Plan
from backfill_assets.eodhd.parsing import IntradayRows
from backfill_assets.market.bars.bar_builder import BuiltBars, build_bars
from backfill_assets.market.bars.calendar_drift import days_traded_outside
from backfill_assets.market.bars.source_rows import COLUMNS
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.bars.bar_writer import WriteCounts, write_bars
from backfill_assets.store.bars.external_bars import verify_bars
from backfill_assets.store.bars.source_host import bind_host
from backfill_assets.store.evidence.evidence_writer import record_rejects, record_sessions
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.multiranges import text_of

_NONE = np.zeros(0, np.float64)
NOTHING = IntradayRows(np.zeros(0, np.int64), _NONE, _NONE, _NONE, _NONE, _NONE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the vendor gave for one ask; no rows is an answer too."""

    ask: Ask
    rows: IntradayRows


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch.

    Attributes:
        counts: per symbol_id, what became of its bars.
        nothing: symbol_ids for which no row came in the sessions that had gaps.
        published: (symbol_id, session of the plan's grid) seen published to the end.
        outside: days with trading outside the calendar's sessions, and how many tickers show it.
        rejected: rows that broke a rule and were not known yet.
        source_rows: rows received.
        extras: rows that are expected but no bars, by kind.
    """

    counts: dict[int, WriteCounts]
    nothing: frozenset[int]
    published: frozenset[tuple[int, int]]
    outside: dict[date, int]
    rejected: int
    source_rows: int
    extras: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where and how a run's bars are kept: the same for all its batches."""

    plan: Plan
    source: Interval
    spelling: str
    host: str
    now: datetime


def keep(connection: Connection, shelf: Shelf, answers: Sequence[Answer], asked_at: datetime) -> Kept:
    """Store a batch within the caller's transaction; ``asked_at`` is the server's clock before asking.

    Raises:
        UsageError: the database holds bars of another host.
    """
    grid = shelf.plan.grid
    rows = row_table(answers)
    built = build_bars(rows, grid, shelf.source)
    bars = built.bars.rename(columns={"ticker": "symbol_id"})
    bars["may_insert"] = bars["ordinal"] >= shelf.plan.window_from
    if len(bars):
        bind_host(connection, shelf.host)
    counts = write_bars(
        connection,
        bars,
        interval=grid.interval,
        spelling=shelf.spelling,
        source=shelf.host,
        source_interval=shelf.source.name,
        asked_at=asked_at,
    )
    bars["row"] = bars["symbol_id"].map({a.ask.symbol.symbol_id: a.ask.row for a in answers})
    for symbol_id, taken in _verified(connection, shelf, bars).items():
        counts[symbol_id] += replace(taken, protected=-taken.verified - taken.replaced)
    asked = _sessions_asked(shelf.plan, answers, built)
    record_sessions(connection, asked, interval=grid.interval, source=shelf.source, now=shelf.now)
    rejects = built.rejects.rename(columns={"ticker": "symbol_id"})
    rejected = record_rejects(connection, rejects, source=shelf.source)
    published = asked.loc[asked["published"], ["symbol_id", "session"]]
    seen = frozenset(zip(published["symbol_id"].tolist(), published["session"].tolist(), strict=True))
    outside = days_traded_outside(rows, grid, shelf.source)
    return Kept(counts, _silent(asked), seen, outside, rejected, len(rows), built.extras)


def _verified(connection: Connection, shelf: Shelf, bars: pd.DataFrame) -> dict[int, WriteCounts]:
    """Verify bars of somebody else, where that was planned."""
    plan, theirs = shelf.plan, shelf.plan.theirs
    if not len(theirs.slot):
        return {}
    final = bars.loc[bars["may_insert"] & bars["is_final"]]
    ordinal = final["ordinal"].to_numpy(np.int64) - plan.window_from
    slot = final["row"].to_numpy(np.int64) * (plan.grid.size - plan.window_from) + ordinal
    at = np.minimum(np.searchsorted(theirs.slot, slot), len(theirs.slot) - 1)
    met = theirs.slot[at] == slot
    return verify_bars(
        connection,
        final.loc[met].assign(fingerprint=theirs.fingerprint[at[met]]),
        interval=plan.grid.interval,
        source=shelf.host,
        source_interval=shelf.source.name,
    )


def row_table(answers: Sequence[Answer]) -> pd.DataFrame:
    """The rows of all answers as one table (see ``market.bars.source_rows``), ``ticker`` being the symbol_id."""
    sizes = [len(a.rows.timestamp) for a in answers]
    columns = {name: np.concatenate([getattr(a.rows, name) for a in answers]) for name in COLUMNS[1:]}
    owners = np.repeat(np.array([a.ask.symbol.symbol_id for a in answers], np.int64), sizes)
    return pd.DataFrame({"ticker": owners, **columns})


def _sessions_asked(plan: Plan, answers: Sequence[Answer], built: BuiltBars) -> pd.DataFrame:
    """One row a ticker and session that was asked for, with what came (see ``store.evidence.evidence_writer``)."""
    asked = pd.DataFrame(
        [(ask.symbol.symbol_id, session) for ask in (a.ask for a in answers) for session in _sessions_of(ask)],
        columns=["ticker", "session"],
    ).drop_duplicates()
    asked = asked.merge(built.sessions, on=["ticker", "session"], how="left")
    asked["source_rows"] = asked["source_rows"].fillna(0).astype(int)
    asked["published"] = asked["published"].eq(True)
    asked["day"] = [plan.grid.sessions[session].day for session in asked["session"]]
    asked["withheld"] = list(_withheld(plan, asked, built.bars))
    asked["in_window"] = plan.grid.first_of[asked["session"]] >= plan.window_from
    return asked.rename(columns={"ticker": "symbol_id"})


def _sessions_of(ask: Ask) -> range:
    return range(ask.first_session, ask.last_session + 1)


def _withheld(plan: Plan, asked: pd.DataFrame, bars: pd.DataFrame) -> Iterator[str]:
    """Per ticker and session asked, the slots for which no final bar came."""
    final = bars.loc[bars["is_final"]]
    came = dict(iter(final.groupby(["ticker", plan.grid.session_of[final["ordinal"]]])["ordinal"]))
    first_of = plan.grid.first_of
    for ticker, session in zip(asked["ticker"].tolist(), asked["session"].tolist(), strict=True):
        absent = np.ones(int(first_of[session + 1] - first_of[session]), bool)
        if (ordinals := came.get((ticker, session))) is not None:
            absent[ordinals.to_numpy() - first_of[session]] = False
        yield text_of(absent)


def _silent(asked: pd.DataFrame) -> frozenset[int]:
    rows = asked.loc[asked["in_window"]].groupby("symbol_id")["source_rows"].sum()
    return frozenset(rows.index[rows == 0].tolist())
