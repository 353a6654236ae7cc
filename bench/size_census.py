"""The census of the store that ``bench size`` generates: counted once, then asked what is complete.

One symbol-month in a hundred lacks a bar or has a provisional one, as drawn from a seed. What was done of this to a
kept store stands in a table of its own, and is not done again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import psycopg

from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.expected_months import group_by_month
from backfill_assets.quality.census.answer import WholeStore, read_closed_months, read_whole_store
from backfill_assets.quality.census.upkeep import complete_census
from backfill_assets.store.census.recount import mark_uncounted
from backfill_assets.store.census.upkeep import keep_census
from backfill_assets.store.postgres.connection import Database
from bench.figures import Figure
from bench.gap_detection import NOW, Store

M30 = INTERVALS["30m"]
LACKING_SHARE = 0.01  # of the symbol-months
ANSWER_ROUNDS, YEAR_ROUNDS = 9, 3
_ALL = 1_000_000  # blocks

_CREATE_STEPS = """
CREATE TABLE IF NOT EXISTS backfill.generated_steps (
    step text PRIMARY KEY, is_done boolean NOT NULL, seconds double precision
)
"""
_SELECT_STEP = "SELECT is_done, seconds FROM backfill.generated_steps WHERE step = %s"
_BEGIN_STEP = "INSERT INTO backfill.generated_steps VALUES (%s, false) ON CONFLICT DO NOTHING"
_END_STEP = "UPDATE backfill.generated_steps SET is_done = true, seconds = %s WHERE step = %s"
_IS_THE_BAR = "WHERE symbol_id = %s AND interval_type = '30m' AND timestamp = %s"
_REMOVE = f"DELETE FROM market_data {_IS_THE_BAR}"
_MAKE_PROVISIONAL = f"UPDATE market_data SET is_final = false {_IS_THE_BAR}"
# As all that is generated: what is counted afterwards needs no trigger.
_IN_BULK = "SET session_replication_role = replica"


@dataclass(frozen=True, eq=False)
class LackingBars:
    """The bars of a generated store that are absent or provisional, as symbol and start; shape (bars,) each."""

    symbol_id: Int64
    start: Int64
    is_provisional: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def count(self, grid: SlotGrid, symbol_ids: Sequence[int]) -> int:
        """How many lie in the slots of a grid and are of these symbols."""
        return int((np.isin(self.start, grid.starts) & np.isin(self.symbol_id, symbol_ids)).sum())


@dataclass(frozen=True)
class CensusCosts:
    """What a generated store took until its census could be asked, in seconds; None: interrupted, so not known."""

    counting: float | None
    explaining: float | None


@dataclass(frozen=True)
class CensusAnswers:
    """What the census says of a store, and how long that takes: seconds of each look.

    Attributes:
        answer: of the months that are over.
        closed: the answer about them.
        whole: about the whole store, with the month that is not over.
        year: a year slot by slot, where the census says which months need no look.
        year_from_bars: the same as long as nothing is counted.
    """

    answer: WholeStore
    closed: list[float]
    whole: list[float]
    year: list[float]
    year_from_bars: list[float]


def draw_lacking_bars(symbols: int, sessions: Sequence[Session]) -> LackingBars:
    """One bar of one symbol-month in a hundred; of the symbols 1 to ``symbols``, in these sessions."""
    grid, chance = build_slot_grid(sessions, M30), np.random.default_rng(20_260_603)
    offsets = group_by_month(grid).offsets
    symbol, month = np.nonzero(chance.random((symbols, len(offsets) - 1)) < LACKING_SHARE)
    ordinal = chance.integers(offsets[month], offsets[month + 1])
    return LackingBars(symbol + 1, grid.starts[ordinal], chance.random(len(symbol)) < 0.5)


def prepare_census(database: Database, settings: Settings, lacking: LackingBars) -> CensusCosts:
    """Make the bars lack, count all others, and let the census be explained, as far as that was not done."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(_CREATE_STEPS)
    _run_once(database, "lacking", lambda: _make_lacking(database, lacking))
    counting = _run_once(database, "counted", lambda: keep_census(database, blocks=_ALL))
    explaining = _run_once(database, "explained", lambda: complete_census(database, settings, [US], M30))
    return CensusCosts(counting, explaining)


def load_census_settings(sessions: Sequence[Session]) -> Settings:
    """The store is to be complete from the first of the sessions on."""
    return load_settings(history_from=sessions[0].day, as_of=NOW)


def ask_census(
    database: Database, settings: Settings, store: Store, year: SlotGrid, lacking: LackingBars
) -> CensusAnswers:
    """Ask for all symbols, and look at every slot of a year of those of ``store``; what lacks must be found."""

    def read_closed() -> WholeStore:
        with database.snapshot() as connection:
            return read_closed_months(connection, settings, US, M30, NOW)

    answer = read_closed()
    assert (answer.missing, answer.unmeasured_months) == (len(lacking.start), 0)
    ids = [symbol.symbol_id for symbol in store.symbols]
    missing = lacking.count(year, ids)
    assert store.count_missing(year) == missing
    by_census = time_rounds(lambda: store.measure(year), YEAR_ROUNDS)
    with database.transaction() as connection, connection.transaction(force_rollback=True):
        mark_uncounted(connection, ids)
        assert int(store.measure(year, connection).missing.sum()) == missing
        from_bars = time_rounds(lambda: store.measure(year, connection), YEAR_ROUNDS)
    return CensusAnswers(
        answer,
        time_rounds(read_closed, ANSWER_ROUNDS),
        time_rounds(lambda: read_whole_store(database, settings, US, M30, NOW), YEAR_ROUNDS),
        by_census,
        from_bars,
    )


def list_census_figures(
    costs: CensusCosts, found: CensusAnswers, bars: int, looked_at: str, *, is_full: bool
) -> Iterator[Figure]:
    """The lines of the census; ``looked_at``: the sessions and symbols that were looked at slot by slot."""
    months = f"{found.answer.symbol_months:,} symbol-months, {found.answer.missing_months:,} of them with a lack"
    if costs.counting is not None:
        yield Figure(f"the full count of {bars / 1e6:,.1f} M bars, once, by nobody waited for", "s", [costs.counting])
    if costs.explaining is not None:
        yield Figure("… writing what the calendar expects, and measuring what lacks", "s", [costs.explaining])
    yield Figure(f"is it complete? {months}", "ms", to_ms(found.closed), at_most=100 if is_full else None)
    yield Figure("… with the month that is not over", "ms", to_ms(found.whole))
    yield Figure(
        f"{looked_at}, slot by slot, from the census where it says so",
        "s",
        found.year,
        at_most=1.5 if is_full else None,
    )
    yield Figure("… from the bars, as long as nothing is counted", "s", found.year_from_bars)


def time_rounds(work: Callable[[], object], rounds: int) -> list[float]:
    """The seconds of each round; the caller has warmed up."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def to_ms(seconds: Sequence[float]) -> list[float]:
    """Seconds as milliseconds."""
    return [value * 1000 for value in seconds]


def _run_once(database: Database, step: str, work: Callable[[], None]) -> float | None:
    """Do a step unless that was done; the seconds it took. None: it was interrupted and went on where it stood."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        is_done, seconds = connection.execute(_SELECT_STEP, [step]).fetchone() or (None, None)
        if is_done:
            return seconds
        connection.execute(_BEGIN_STEP, [step])
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began if is_done is None else None
        connection.execute(_END_STEP, [seconds, step])
    return seconds


def _make_lacking(database: Database, lacking: LackingBars) -> None:
    stamps = [datetime.fromtimestamp(at, UTC) for at in lacking.start.tolist()]
    rows = list(zip(lacking.symbol_id.tolist(), stamps, lacking.is_provisional.tolist(), strict=True))
    with psycopg.connect(database.url) as connection, connection.cursor() as cursor:
        cursor.execute(_IN_BULK)
        cursor.executemany(_REMOVE, [row[:2] for row in rows if not row[2]])
        cursor.executemany(_MAKE_PROVISIONAL, [row[:2] for row in rows if row[2]])
