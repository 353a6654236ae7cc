"""Coverage of a window, compared with the expected state of every slot, on managed and external tables."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS, Interval
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests import external_tables

# Nine sessions with an early close, more than the newest sessions whose evidence is always read
SESSIONS = list_sessions(US, date(2026, 11, 16), date(2026, 11, 27))
NOW = datetime(2026, 12, 3, tzinfo=UTC)  # everything is overdue
TICKERS = ("AAPL", "AMZN", "MSFT", "TSLA", "VTI")
KINDS = ("absent", "final", "provisional", "too few rows", "external", "both", "two external")
Row = tuple[str, str, datetime, str | None, int | None, bool | None]  # ticker, spelling, stamp, source, rows, final


@pytest.fixture(params=["managed", "external"])
def database_with_symbols(request: pytest.FixtureRequest, create_database: Callable[..., str]) -> Iterator[Database]:
    url = create_database(None)
    if request.param == "external":
        external_tables.create_external_tables(url)
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) SELECT unnest(%s::text[])", [list(TICKERS)])
    yield database
    database.close()


def build_rows(kind: str, ticker: str, stamp: datetime, interval: Interval) -> Iterator[Row]:
    spelling, other_spelling = interval.spellings
    full_count = interval.seconds // 300
    if kind in ("final", "both"):
        yield ticker, spelling, stamp, "vendor", full_count, True
    if kind == "provisional":
        yield ticker, spelling, stamp, "vendor", full_count, False
    if kind == "too few rows":
        yield ticker, spelling, stamp, "vendor", 1, True
    if kind in ("external", "both", "two external"):
        yield ticker, other_spelling, stamp, None, None, None
    if kind == "two external":
        yield ticker, spelling, stamp, None, None, None


def choose_kinds(grid: SlotGrid, seed: int) -> dict[tuple[str, int], str]:
    """Choose a kind for every slot: AAPL complete, AMZN empty, MSFT mixed, VTI with a gap and a duplicate."""
    random = Random(seed)
    choices = {"AAPL": ("final",), "AMZN": ("absent",), "MSFT": ("final", "external")}
    choices["VTI"] = ("final",)
    kinds = {
        (ticker, at): random.choice(choices.get(ticker, (*KINDS, "final", "final")))
        for ticker in TICKERS
        for at in range(grid.size)
    }
    return kinds | {("VTI", 3): "absent", ("VTI", 5): "both"}


def write_rows(database: Database, kinds: dict[tuple[str, int], str], grid: SlotGrid) -> None:
    stamps = [datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]
    rows = [row for (ticker, at), kind in kinds.items() for row in build_rows(kind, ticker, stamps[at], grid.interval)]
    outside = [stamps[0] - timedelta(days=1), stamps[-1] + timedelta(days=1)]
    off_grid = [stamp + timedelta(minutes=7) for stamp in stamps[:: len(stamps) // 5]]
    rows += [
        row for stamp in (*outside, *off_grid) for t in TICKERS for row in build_rows("both", t, stamp, grid.interval)
    ]
    with database.transaction() as connection:
        connection.cursor().executemany(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, source, source_interval, source_rows,"
            " is_final, fetched_at, open_price, high_price, low_price, close_price, volume)"
            " SELECT symbol_id, %s, %s, %s, '5m', %s, %s, now(), 1, 2, 1, 2, 3 FROM market_symbols WHERE symbol = %s",
            [
                (spelling, stamp, source, row_count, final, ticker)
                for ticker, spelling, stamp, source, row_count, final in rows
            ],
        )


def measure(database: Database, grid: SlotGrid, *, only: str | None = None) -> Coverage:
    with database.transaction() as connection:
        symbols = [s for s in list_symbols(connection, "US") if only in (None, s.ticker.symbol)]
        return measure_coverage(
            connection, symbols, grid, INTERVALS["5m"], GapRules(timedelta(hours=3), timedelta(hours=16)), NOW
        )


STATES = {
    "absent": SlotState.MISSING,
    "final": SlotState.PRESENT,
    "provisional": SlotState.PROVISIONAL,
    "too few rows": SlotState.SUSPECT,
    "external": SlotState.UNVERIFIED,
    "both": SlotState.PRESENT,
    "two external": SlotState.UNVERIFIED,
}


@pytest.mark.parametrize(("interval", "seed"), [("30m", 1), ("1h", 2), ("5m", 3)])
def test_every_slot_has_the_state_of_its_stored_rows(database_with_symbols: Database, interval: str, seed: int) -> None:
    grid = build_slot_grid(SESSIONS, INTERVALS[interval])
    kinds = choose_kinds(grid, seed)
    if interval == "5m":
        kinds = {at: "final" if kind == "too few rows" else kind for at, kind in kinds.items()}  # a 5m bar has one row
    write_rows(database_with_symbols, kinds, grid)
    coverage = measure(database_with_symbols, grid)
    names = [s.ticker.symbol for s in coverage.symbols]
    assert names == list(TICKERS)
    for row, name in enumerate(names):
        expected = Counter(STATES[kinds[name, at]] for at in range(grid.size))
        assert {SlotState(s): n for s, n in enumerate(coverage.counts[row].tolist()) if n} == dict(expected), name
        starts = [int(grid.starts[at]) for at in range(grid.size) if kinds[name, at] != "absent"]
        assert (coverage.first_bar_at[row], coverage.last_bar_at[row]) == (
            (starts[0], starts[-1]) if starts else (-1, -1)
        ), name
    open_slots = {
        (names[row], int(at)): SlotState(state)
        for row, at, state in zip(
            coverage.open_slots.row, coverage.open_slots.ordinal, coverage.open_slots.stored_state, strict=True
        )
    }
    open_kinds = ("absent", "provisional", "too few rows")
    assert open_slots == {slot: STATES[kind] for slot, kind in kinds.items() if kind in open_kinds}
    assert coverage.duplicates == sum(kind in ("both", "two external") for kind in kinds.values())


def test_a_short_last_slot_needs_fewer_rows(database_with_symbols: Database) -> None:
    """The last 1h slot of a session is half an hour long: six rows are complete, three are too few."""
    grid = build_slot_grid(SESSIONS[:4], INTERVALS["1h"])
    write_rows(database_with_symbols, {("AAPL", at): "final" for at in range(grid.size)}, grid)
    last_slots = [datetime.fromtimestamp(at, UTC) for at in grid.starts[grid.session_offsets[1:] - 1].tolist()]
    with database_with_symbols.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET source_rows = 6, fetched_at = now() WHERE timestamp = ANY(%s)", [last_slots]
        )
        connection.execute(
            "UPDATE market_data SET source_rows = 3, fetched_at = now() WHERE timestamp = %s AND source IS NOT NULL",
            [last_slots[1]],
        )
    coverage = measure(database_with_symbols, grid)
    assert coverage.counts[0, SlotState.SUSPECT] == 1
    suspect = coverage.open_slots.ordinal[
        (coverage.open_slots.row == 0) & (coverage.open_slots.stored_state == SlotState.SUSPECT)
    ]
    assert suspect.tolist() == [int(grid.session_offsets[2] - 1)]


def test_evidence_is_read_unchanged(database: Database) -> None:
    """Days without a session in the window are not read."""
    grid = build_slot_grid(SESSIONS[2:5], INTERVALS["30m"])
    days = [s.day for s in SESSIONS[1:6]] + [date(2026, 11, 21)]
    random, expected = Random(4), {}
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) SELECT unnest(%s::text[])", [list(TICKERS)])
        for ticker, day in ((t, d) for t in TICKERS for d in random.sample(days, 4)):
            not_returned = [slot for slot in range(13) if random.random() < 0.3] if random.random() < 0.7 else []
            requested_at, data_until = (
                datetime(2026, 12, 1, random.randrange(24), tzinfo=UTC),
                random.choice((None, NOW)),
            )
            since = requested_at - timedelta(seconds=90.5) if not_returned else None
            expected[ticker, day] = (
                requested_at,
                random.randrange(1, 9),
                since,
                random.random() < 0.5,
                data_until,
                not_returned,
            )
            _, request_count, _, published, *_ = expected[ticker, day]
            ranges = "{" + ",".join(f"[{slot},{slot + 1})" for slot in not_returned) + "}"
            connection.execute(
                "INSERT INTO backfill.session_evidence"
                " SELECT symbol_id, '30m', '5m', %s, %s, %s, %s, 9, %s, %s, %s, %s, null, null"
                " FROM market_symbols WHERE symbol = %s",
                [
                    day,
                    requested_at,
                    request_count,
                    since,
                    data_until,
                    published,
                    requested_at if published else None,
                    ranges,
                    ticker,
                ],
            )
    coverage = measure(database, grid)
    history, read = coverage.request_history, {}
    for entry, (row, session) in enumerate(zip(history.row.tolist(), history.session.tolist(), strict=True)):
        since = history.no_new_data_since[entry]
        slots = history.not_returned_ordinal[history.not_returned_entry == entry] - grid.session_offsets[session]
        read[coverage.symbols[row].ticker.symbol, grid.sessions[session].day] = (
            datetime.fromtimestamp(int(history.requested_at[entry]), UTC),
            int(history.request_count[entry]),
            None if np.isnan(since) else datetime.fromtimestamp(float(since), UTC),
            bool(history.published[entry]),
            datetime.fromtimestamp(int(history.data_until[entry]), UTC) if history.data_until[entry] else None,
            sorted(slots.tolist()),
        )
    in_window: dict[Any, Any] = {at: row for at, row in expected.items() if at[1] in {s.day for s in grid.sessions}}
    assert read == in_window


def test_publication_times_are_of_the_first_symbol_and_half_the_universe(database: Database) -> None:
    """Half of five active symbols are three. Inactive symbols count as published, but not in the universe."""
    day = SESSIONS[-1].day
    with database.transaction() as connection:
        for number, ticker in enumerate((*TICKERS, "OLD")):
            connection.execute(
                "INSERT INTO market_symbols (symbol, is_active) VALUES (%s, %s)", [ticker, ticker != "OLD"]
            )
            connection.execute(
                "INSERT INTO backfill.session_evidence"
                " SELECT symbol_id, '30m', '5m', %s, %s, 1, null, 9, null, true, %s, '{}', null, null"
                " FROM market_symbols WHERE symbol = %s",
                [day, NOW, NOW + timedelta(minutes=number), ticker],
            )
    evidence = measure(database, build_slot_grid(SESSIONS, INTERVALS["30m"])).absence_evidence
    assert evidence.first_published_at[-1] == NOW.timestamp()
    assert evidence.half_published_at[-1] == (NOW + timedelta(minutes=2)).timestamp()
    assert np.isnan(evidence.first_published_at[:-1]).all()
    msft = measure(database, build_slot_grid(SESSIONS, INTERVALS["30m"]), only="MSFT")
    assert msft.absence_evidence.half_published_at[-1] == evidence.half_published_at[-1]
    assert (msft.request_history.row.tolist(), msft.request_history.session.tolist()) == ([0], [len(SESSIONS) - 1])


def test_only_the_newest_evidence_of_a_complete_symbol_is_read(database_with_symbols: Database) -> None:
    """Older evidence has no effect for complete symbols, and is a year of rows per symbol."""
    grid = build_slot_grid(SESSIONS, INTERVALS["30m"])
    gaps = {"AMZN": 0, "TSLA": grid.size - 1}
    write_rows(
        database_with_symbols,
        {(t, at): "absent" if gaps.get(t) == at else "final" for t in TICKERS for at in range(grid.size)},
        grid,
    )
    with database_with_symbols.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.session_evidence"
            " SELECT symbol_id, '30m', '5m', day, %s, 1, null, 9, null, true, %s, '{}', null, null"
            " FROM market_symbols, unnest(%s::date[]) AS day",
            [NOW, NOW, [s.day for s in SESSIONS]],
        )
        connection.execute(
            "INSERT INTO backfill.daily_prices SELECT symbol_id, %s, 1, 9 FROM market_symbols", [SESSIONS[0].day]
        )
    coverage = measure(database_with_symbols, grid)
    read = {
        name: np.sort(coverage.request_history.session[coverage.request_history.row == row]).tolist()
        for row, name in enumerate(TICKERS)
    }
    newest_sessions, all_sessions = list(range(6, 9)), list(range(9))
    assert read == {
        "AAPL": newest_sessions,
        "AMZN": all_sessions,
        "MSFT": newest_sessions,
        "TSLA": all_sessions,
        "VTI": newest_sessions,
    }
    assert coverage.absence_evidence.published_sessions.tolist() == [0, 9, 0, 9, 0]
    assert coverage.absence_evidence.traded[:, 0].tolist() == [-1, 1, -1, 1, -1]


def test_an_empty_universe_and_an_empty_window_are_measured(database_with_symbols: Database) -> None:
    with database_with_symbols.transaction() as connection:
        without_symbols = measure_coverage(
            connection,
            [],
            build_slot_grid(SESSIONS, INTERVALS["30m"]),
            INTERVALS["5m"],
            GapRules(timedelta(), timedelta()),
            NOW,
        )
        without_slots = measure_coverage(
            connection, list_symbols(connection, "US"), build_slot_grid((), INTERVALS["30m"]), INTERVALS["5m"],
            GapRules(timedelta(), timedelta()), NOW,
        )  # fmt: skip
    assert (without_symbols.counts.shape, without_slots.counts.sum(), without_slots.first_bar_at.tolist()) == (
        (0, len(SlotState)),
        0,
        [-1] * 5,
    )
