"""Coverage of a window against a slow check of every slot, on tables of ours and on tables that were taken over."""

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
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests import external_tables

# Nine sessions: more than the newest few, with an early close and a change of the clock before it
SESSIONS = list_sessions("US", date(2026, 11, 16), date(2026, 11, 27))
NOW = datetime(2026, 12, 3, tzinfo=UTC)  # everything is overdue
TICKERS = ("AAPL", "AMZN", "MSFT", "TSLA", "VTI")
KINDS = ("absent", "final", "provisional", "few", "theirs", "both", "theirs twice")
Row = tuple[str, str, datetime, str | None, int | None, bool | None]  # ticker, spelling, stamp, source, rows, final


@pytest.fixture(params=["lean", "theirs"])
def tables(request: pytest.FixtureRequest, new_database: Callable[..., str]) -> Iterator[Database]:
    url = new_database(None)
    if request.param == "theirs":
        external_tables.build(url)
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) SELECT unnest(%s::text[])", [list(TICKERS)])
    yield database
    database.close()


def rows_of(kind: str, ticker: str, stamp: datetime, interval: Interval) -> Iterator[Row]:
    ours, other = interval.spellings
    whole = interval.seconds // 300
    if kind in ("final", "both"):
        yield ticker, ours, stamp, "vendor", whole, True
    if kind == "provisional":
        yield ticker, ours, stamp, "vendor", whole, False
    if kind == "few":
        yield ticker, ours, stamp, "vendor", 1, True
    if kind in ("theirs", "both", "theirs twice"):
        yield ticker, other, stamp, None, None, None
    if kind == "theirs twice":
        yield ticker, ours, stamp, None, None, None


def drawn(grid: SlotGrid, seed: int) -> dict[tuple[str, int], str]:
    """A kind for every slot: AAPL complete, AMZN empty, MSFT in two spellings, VTI with a hole and a double one."""
    draw = Random(seed)
    chances = {"AAPL": ("final",), "AMZN": ("absent",), "MSFT": ("final", "theirs")}
    chances["VTI"] = ("final",)
    kinds = {
        (t, at): draw.choice(chances.get(t, (*KINDS, "final", "final"))) for t in TICKERS for at in range(grid.size)
    }
    return kinds | {("VTI", 3): "absent", ("VTI", 5): "both"}


def write(database: Database, kinds: dict[tuple[str, int], str], grid: SlotGrid) -> None:
    stamps = [datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]
    rows = [row for (ticker, at), kind in kinds.items() for row in rows_of(kind, ticker, stamps[at], grid.interval)]
    outside = [stamps[0] - timedelta(days=1), stamps[-1] + timedelta(days=1)]
    beside = [stamp + timedelta(minutes=7) for stamp in stamps[:: len(stamps) // 5]]
    rows += [row for stamp in (*outside, *beside) for t in TICKERS for row in rows_of("both", t, stamp, grid.interval)]
    with database.transaction() as connection:
        connection.cursor().executemany(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, source, source_interval, source_rows,"
            " is_final, fetched_at, open_price, high_price, low_price, close_price, volume)"
            " SELECT symbol_id, %s, %s, %s, '5m', %s, %s, now(), 1, 2, 1, 2, 3 FROM market_symbols WHERE symbol = %s",
            [(spelling, stamp, source, many, final, ticker) for ticker, spelling, stamp, source, many, final in rows],
        )


def looked_at(database: Database, grid: SlotGrid, *, only: str | None = None) -> Coverage:
    with database.transaction() as connection:
        symbols = [s for s in list_symbols(connection, "US") if only in (None, s.ticker.symbol)]
        return measure_coverage(
            connection, symbols, grid, INTERVALS["5m"], GapRules(timedelta(hours=3), timedelta(hours=16)), NOW
        )


STATES = {
    "absent": SlotState.MISSING,
    "final": SlotState.PRESENT,
    "provisional": SlotState.PROVISIONAL,
    "few": SlotState.SUSPECT,
    "theirs": SlotState.UNVERIFIED,
    "both": SlotState.PRESENT,
    "theirs twice": SlotState.UNVERIFIED,
}


@pytest.mark.parametrize(("interval", "seed"), [("30m", 1), ("1h", 2), ("5m", 3)])
def test_every_slot_has_the_state_of_what_the_table_holds(tables: Database, interval: str, seed: int) -> None:
    grid = build_slot_grid(SESSIONS, INTERVALS[interval])
    kinds = drawn(grid, seed)
    if interval == "5m":
        kinds = {at: "final" if kind == "few" else kind for at, kind in kinds.items()}  # one row is all it has
    write(tables, kinds, grid)
    coverage = looked_at(tables, grid)
    names = [s.ticker.symbol for s in coverage.symbols]
    assert names == list(TICKERS)
    for row, name in enumerate(names):
        wanted = Counter(STATES[kinds[name, at]] for at in range(grid.size))
        assert {SlotState(s): n for s, n in enumerate(coverage.counts[row].tolist()) if n} == dict(wanted), name
        there = [int(grid.starts[at]) for at in range(grid.size) if kinds[name, at] != "absent"]
        assert (coverage.first_bar_at[row], coverage.last_bar_at[row]) == (
            (there[0], there[-1]) if there else (-1, -1)
        ), name
    open_slots = {
        (names[row], int(at)): SlotState(held)
        for row, at, held in zip(
            coverage.open_slots.row, coverage.open_slots.ordinal, coverage.open_slots.stored_state, strict=True
        )
    }
    doubtful = ("absent", "provisional", "few")
    assert open_slots == {slot: STATES[kind] for slot, kind in kinds.items() if kind in doubtful}
    assert coverage.duplicates == sum(kind in ("both", "theirs twice") for kind in kinds.values())


def test_a_short_last_slot_needs_fewer_rows(tables: Database) -> None:
    """The last 1h slot of a session is half an hour long: six rows are complete, three are few."""
    grid = build_slot_grid(SESSIONS[:4], INTERVALS["1h"])
    write(tables, {("AAPL", at): "final" for at in range(grid.size)}, grid)
    lasts = [datetime.fromtimestamp(at, UTC) for at in grid.starts[grid.session_offsets[1:] - 1].tolist()]
    with tables.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET source_rows = 6, fetched_at = now() WHERE timestamp = ANY(%s)", [lasts]
        )
        connection.execute(
            "UPDATE market_data SET source_rows = 3, fetched_at = now() WHERE timestamp = %s AND source IS NOT NULL",
            [lasts[1]],
        )
    coverage = looked_at(tables, grid)
    assert coverage.counts[0, SlotState.SUSPECT] == 1
    suspect = coverage.open_slots.ordinal[
        (coverage.open_slots.row == 0) & (coverage.open_slots.stored_state == SlotState.SUSPECT)
    ]
    assert suspect.tolist() == [int(grid.session_offsets[2] - 1)]


def test_evidence_is_read_as_it_was_written(database: Database) -> None:
    """Days without a session in the window are left out."""
    grid = build_slot_grid(SESSIONS[2:5], INTERVALS["30m"])
    days = [s.day for s in SESSIONS[1:6]] + [date(2026, 11, 21)]
    draw, written = Random(4), {}
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) SELECT unnest(%s::text[])", [list(TICKERS)])
        for ticker, day in ((t, d) for t in TICKERS for d in draw.sample(days, 4)):
            withheld = [slot for slot in range(13) if draw.random() < 0.3] if draw.random() < 0.7 else []
            asked_at, reached = datetime(2026, 12, 1, draw.randrange(24), tzinfo=UTC), draw.choice((None, NOW))
            since = asked_at - timedelta(seconds=90.5) if withheld else None
            written[ticker, day] = (asked_at, draw.randrange(1, 9), since, draw.random() < 0.5, reached, withheld)
            _, asks, _, published, *_ = written[ticker, day]
            ranges = "{" + ",".join(f"[{slot},{slot + 1})" for slot in withheld) + "}"
            connection.execute(
                "INSERT INTO backfill.session_evidence"
                " SELECT symbol_id, '30m', '5m', %s, %s, %s, %s, 9, %s, %s, %s, %s, null, null"
                " FROM market_symbols WHERE symbol = %s",
                [day, asked_at, asks, since, reached, published, asked_at if published else None, ranges, ticker],
            )
    coverage = looked_at(database, grid)
    asked, read = coverage.request_history, {}
    for entry, (row, session) in enumerate(zip(asked.row.tolist(), asked.session.tolist(), strict=True)):
        since = asked.no_new_data_since[entry]
        slots = asked.not_returned_ordinal[asked.not_returned_entry == entry] - grid.session_offsets[session]
        read[coverage.symbols[row].ticker.symbol, grid.sessions[session].day] = (
            datetime.fromtimestamp(int(asked.requested_at[entry]), UTC),
            int(asked.request_count[entry]),
            None if np.isnan(since) else datetime.fromtimestamp(float(since), UTC),
            bool(asked.published[entry]),
            datetime.fromtimestamp(int(asked.data_until[entry]), UTC) if asked.data_until[entry] else None,
            sorted(slots.tolist()),
        )
    in_window: dict[Any, Any] = {at: row for at, row in written.items() if at[1] in {s.day for s in grid.sessions}}
    assert read == in_window


def test_publication_times_of_the_first_symbol_and_of_half_the_universe(database: Database) -> None:
    """Half of five active symbols are three. An inactive symbol counts as published, not as part of the universe."""
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
    facts = looked_at(database, build_slot_grid(SESSIONS, INTERVALS["30m"])).absence_evidence
    assert facts.first_published_at[-1] == NOW.timestamp()
    assert facts.half_published_at[-1] == (NOW + timedelta(minutes=2)).timestamp()
    assert np.isnan(facts.first_published_at[:-1]).all()
    one = looked_at(database, build_slot_grid(SESSIONS, INTERVALS["30m"]), only="MSFT")
    assert one.absence_evidence.half_published_at[-1] == facts.half_published_at[-1]
    assert (one.request_history.row.tolist(), one.request_history.session.tolist()) == ([0], [len(SESSIONS) - 1])


def test_of_a_complete_symbol_only_the_newest_evidence_is_read(tables: Database) -> None:
    """Older evidence explains nothing, and is a year of rows per symbol."""
    grid = build_slot_grid(SESSIONS, INTERVALS["30m"])
    holes = {"AMZN": 0, "TSLA": grid.size - 1}
    write(
        tables, {(t, at): "absent" if holes.get(t) == at else "final" for t in TICKERS for at in range(grid.size)}, grid
    )
    with tables.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.session_evidence"
            " SELECT symbol_id, '30m', '5m', day, %s, 1, null, 9, null, true, %s, '{}', null, null"
            " FROM market_symbols, unnest(%s::date[]) AS day",
            [NOW, NOW, [s.day for s in SESSIONS]],
        )
        connection.execute(
            "INSERT INTO backfill.daily_prices SELECT symbol_id, %s, 1, 9 FROM market_symbols", [SESSIONS[0].day]
        )
    coverage = looked_at(tables, grid)
    read = {
        name: np.sort(coverage.request_history.session[coverage.request_history.row == row]).tolist()
        for row, name in enumerate(TICKERS)
    }
    newest, everything = list(range(6, 9)), list(range(9))
    assert read == {"AAPL": newest, "AMZN": everything, "MSFT": newest, "TSLA": everything, "VTI": newest}
    assert coverage.absence_evidence.published_sessions.tolist() == [0, 9, 0, 9, 0]
    assert coverage.absence_evidence.traded[:, 0].tolist() == [-1, 1, -1, 1, -1]


def test_an_empty_universe_and_an_empty_window_are_measured(tables: Database) -> None:
    with tables.transaction() as connection:
        nobody = measure_coverage(
            connection,
            [],
            build_slot_grid(SESSIONS, INTERVALS["30m"]),
            INTERVALS["5m"],
            GapRules(timedelta(), timedelta()),
            NOW,
        )
        nothing = measure_coverage(
            connection, list_symbols(connection, "US"), build_slot_grid((), INTERVALS["30m"]), INTERVALS["5m"],
            GapRules(timedelta(), timedelta()), NOW,
        )  # fmt: skip
    assert (nobody.counts.shape, nothing.counts.sum(), nothing.first_bar_at.tolist()) == (
        (0, len(SlotState)),
        0,
        [-1] * 5,
    )
