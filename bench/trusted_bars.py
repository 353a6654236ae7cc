"""Compares the stored bars of a sandbox with its true ones: which are trusted and wrong, and were they promised?

A bar is trusted if it is final and not suspect. What the rules promise to find is in ``bench.plausibility.promises``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, SessionPanel
from backfill_assets.sandbox.oddities import Oddity, OddityKind
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns
from backfill_assets.sandbox.world.publication import FINAL_STAGE
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.bars.gap_queries import read_stored_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from bench.plausibility.injections import InjectedMarket
from bench.plausibility.judging import mark_bars
from bench.plausibility.markets import Market
from bench.plausibility.promises import LAST_SESSIONS, find_promised
from bench.plausibility.volumes import ROWS

INTERVAL = INTERVALS["30m"]
PRICE_NOISE = 2e-6  # of prices with six decimals
_SELECT_BARS = """
SELECT symbol_id, extract(epoch FROM timestamp)::bigint, open_price::float8, high_price::float8, low_price::float8,
       close_price::float8, volume::float8, source_interval
FROM market_data WHERE timestamp BETWEEN %s AND %s AND interval_type = '30m' AND source IS NOT NULL
ORDER BY 1, 2
"""
_SELECT_SETTLED = """
SELECT symbol_id, day FROM backfill.daily_prices
WHERE day BETWEEN %s AND %s AND high_price IS NOT NULL AND low_price IS NOT NULL AND read_at >= day + interval '33 h'
"""
# These show in rows or in bars alone; of the others nothing is promised before the day's figures are read.
_WITHOUT_DAY = frozenset(kind for kind in OddityKind if kind.value.endswith(("running_totals", "running_total"))) | {
    OddityKind.BEFORE_LISTING
}


@dataclass(frozen=True)
class WrongBar:
    """A trusted bar with a wrong value.

    Attributes:
        symbol: the ticker.
        opens_at: open of its slot, UTC.
        source_interval: the feed that it was built from.
        kind: what the sandbox made wrong in the session; None: nothing.
        is_promised: whether the rules promise to find it.
        stored: open, high, low, close, volume as stored.
        true: the right ones; None if there was no trade.
    """

    symbol: str
    opens_at: datetime
    source_interval: str
    kind: OddityKind | None
    is_promised: bool
    stored: tuple[float, ...]
    true: tuple[float, ...] | None


@dataclass
class TableCheck:
    """The bars of a table.

    Attributes:
        bars: how many there are.
        marked: how many of them are suspect or provisional.
        trusted: values and feed of the others, by ticker and open (epoch seconds UTC).
        marked_wrong: how many of the marked ones are wrong, by what the sandbox made wrong in their sessions.
        wrong: the trusted ones that are wrong.
    """

    bars: int = 0
    marked: int = 0
    trusted: dict[tuple[str, int], tuple[Any, ...]] = field(default_factory=dict)
    marked_wrong: Counter[OddityKind | None] = field(default_factory=Counter)
    wrong: list[WrongBar] = field(default_factory=list)

    @property
    def promised(self) -> list[WrongBar]:
        """The wrong trusted bars that the rules promise to find, and those that nothing explains."""
        return [bar for bar in self.wrong if bar.is_promised or bar.kind is None]

    def describe(self) -> str:
        """How many bars of each kind are wrong: suspect, trusted below the promise, trusted in spite of it."""
        below = Counter(bar.kind for bar in self.wrong if bar not in self.promised)
        broken = Counter(bar.kind for bar in self.promised)
        counts = (("suspect", self.marked_wrong), ("below the promise", below), ("in spite of it", broken))
        parts = [f"{name} {sum(some.values())} ({_list_counts(some)})" for name, some in counts if some]
        return f"{self.bars:,} bars, {self.marked} marked; wrong: {'; '.join(parts) or 'none'}"


def count_different(first: TableCheck, second: TableCheck) -> int:
    """Count the bars that both tables trust with other values of the same feed.

    Bars that are wrong in one of them below what the rules promise do not count: the vendor may mend them before only
    one of the tables asks again.
    """
    wrong = [
        {(bar.symbol, int(bar.opens_at.timestamp())) for bar in check.wrong if bar not in check.promised}
        for check in (first, second)
    ]
    compared = (first.trusted.keys() & second.trusted.keys()) - (wrong[0] ^ wrong[1])
    pairs = [(first.trusted[key], second.trusted[key]) for key in compared]
    return sum(one[-1] == other[-1] and not _is_equal(one[:-1], other[:-1]) for one, other in pairs)


def check_bars(engine: Engine, world: World, symbols: Sequence[Symbol], sessions: Sequence[Session]) -> TableCheck:
    """Compare every stored bar of this package in some sessions with the true bar of its feed."""
    grid, symbol_index = build_slot_grid(sessions, INTERVAL), SymbolIndex.from_symbols(symbols)
    first, last = (datetime.fromtimestamp(int(at), UTC) for at in (grid.starts[0], grid.starts[-1]))
    with engine.database.transaction() as connection:
        stored = read_stored_slots(connection, symbol_index, grid)
        bars = connection.execute(_SELECT_BARS.encode(), [first, last]).fetchall()
        settled = set(connection.execute(_SELECT_SETTLED.encode(), [first.date(), last.date()]).fetchall())
    marked = set(np.union1d(stored.provisional, stored.suspect).tolist())
    rows = {symbol.symbol_id: row for row, symbol in enumerate(symbols)}
    truth, check = _Truth(world, sessions), TableCheck()
    for symbol_id, stamp, *values, source_interval in bars:
        if symbol_id not in rows:
            continue
        check.bars += 1
        symbol = symbols[rows[symbol_id]].ticker.symbol
        ordinal = int(np.searchsorted(grid.starts, stamp))
        session = sessions[int(grid.session_index[ordinal])]
        is_marked = rows[symbol_id] * grid.size + ordinal in marked
        check.marked += is_marked
        if not is_marked:
            check.trusted[symbol, stamp] = (*values, source_interval)
        true = truth.get_bars(symbol, session, source_interval).get(stamp)
        if true is not None and _is_equal(values, true):
            continue
        is_settled = (symbol_id, session.day) in settled
        oddity, promised = truth.get_oddity(symbol, session, is_settled)
        kind = oddity.kind if oddity else None
        if is_marked:
            check.marked_wrong[kind] += 1
            continue
        column = (stamp - int(session.open.timestamp())) // INTERVAL.seconds
        opens_at = datetime.fromtimestamp(stamp, UTC)
        is_judged = kind in _WITHOUT_DAY or is_settled
        is_promised = is_judged and bool(promised[column])
        check.wrong.append(WrongBar(symbol, opens_at, source_interval, kind, is_promised, tuple(values), true))
    return check


class _Truth:
    """The true bars of a world, and what is wrong in its sessions."""

    def __init__(self, world: World, sessions: Sequence[Session]) -> None:
        self._world, self._sessions = world, sessions
        self.get_bars = lru_cache(maxsize=4096)(self._get_bars)
        self.get_oddity = lru_cache(maxsize=4096)(self._get_oddity)

    def _get_bars(self, symbol: str, session: Session, source: str) -> dict[int, tuple[float, ...]]:
        bars = self._world.true_bars(symbol, session, INTERVAL, source)
        return {int(bar[0]): tuple(map(float, bar[1:])) for bar in bars.itertuples(index=False)}

    def _get_oddity(self, symbol: str, session: Session, is_settled: bool) -> tuple[Oddity | None, Bools]:
        """What is wrong in a session, and which of its bars the rules promise to doubt, shape (13,)."""
        oddities = self._world.list_oddities(symbol, session)
        if not oddities:
            return None, np.zeros(ROWS // 6, bool)
        if oddities[0].kind in (OddityKind.FROZEN_SESSION, OddityKind.DOUBLED_VOLUMES):
            return oddities[0], np.full(ROWS // 6, self._has_right_history(symbol, session, oddities[0].kind))
        right = self._world.build_traded_rows(symbol, session, "5m", revised=True)
        wrong = self._world.get_published_rows(symbol, session, "5m", FINAL_STAGE._replace(mended=False))
        official = self._world.get_official_bar(symbol, session)
        figures = (official.open, official.high, official.low, official.close, official.close, official.volume, 1.0)
        days = DayFigures(*(np.array([float(figure)]) for figure in figures))
        days = days if is_settled else DayFigures.create_unknown(1)
        # A sort whose part of the day varies: what needs the sessions before to be found is not promised here.
        markets = [Market("halted", 1, _lay_out(rows, session), days) for rows in (right, wrong)]
        first_row = int(session.open.timestamp())
        changed = np.isin(first_row + 300 * np.arange(ROWS), oddities[0].stamps)[None, :]
        lives, kind = ListingLives.create_unknown(1), self._choose_promise(symbol, session, oddities[0].kind)
        injected = InjectedMarket(kind, markets[0], markets[1], lives, changed, np.zeros(1, np.int64))
        return oddities[0], mark_bars(find_promised(injected))[0]

    def _choose_promise(self, symbol: str, session: Session, kind: OddityKind) -> OddityKind:
        """The kind whose promise holds: without the earlier session, a repeat shows outside the day's range only."""
        if kind is OddityKind.REPEATED_SESSION and self._has_right_history(symbol, session, kind):
            return kind
        return OddityKind.ROW_SPIKE if kind in (OddityKind.REPEATED_SESSION, OddityKind.SHIFTED_SESSION) else kind

    def _has_right_history(self, symbol: str, session: Session, kind: OddityKind) -> bool:
        """Whether the 20 sessions before have nothing of the same kind wrong: what is usual can be told from them."""
        position = self._sessions.index(session)
        before = self._sessions[max(position - LAST_SESSIONS, 0) : position]
        is_right = [all(oddity.kind is not kind for oddity in self._world.list_oddities(symbol, s)) for s in before]
        return len(before) == LAST_SESSIONS and sum(is_right) > LAST_SESSIONS // 2


def _lay_out(rows: IntradayColumns, session: Session) -> SessionPanel:
    """The panel of one session, without rows that have no volume."""
    opens, size = int(session.open.timestamp()), int((session.close - session.open).total_seconds()) // 300
    column = (rows.timestamps - opens) // 300
    used = (rows.volumes >= 0) & ((rows.timestamps - opens) % 300 == 0) & (column >= 0) & (column < size)
    cells: dict[str, Floats] = {}
    for name, values in zip(PANEL_VALUES, (*rows.prices, rows.volumes), strict=True):
        cells[name] = np.full((1, ROWS), np.nan)
        cells[name][0, column[used]] = values[used]
    one = np.zeros(1, np.int64)
    return SessionPanel(one, one, np.array([opens]), np.array([size]), 300, **cells)


def _is_equal(stored: Iterable[float], true: Iterable[float]) -> bool:
    return all(abs(a - b) <= PRICE_NOISE for a, b in zip(stored, true, strict=True))


def _list_counts(counts: Counter[OddityKind | None]) -> str:
    named = ((kind.value if kind else "nothing made wrong", count) for kind, count in counts.most_common())
    return ", ".join(f"{count} {name}" for name, count in named)
