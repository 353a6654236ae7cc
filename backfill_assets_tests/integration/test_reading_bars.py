"""What ``read_bars`` accepts of slots in every state, and what it says of them otherwise."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.errors import BackfillError
from backfill_assets.reading import IncompleteBars, PendingSessions, UsageError
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.reading_store import (
    EXTERNAL,
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    ReadingStore,
    list_starts,
)

NOW = datetime(2026, 6, 22, 14, tzinfo=UTC)  # a Monday, 10:00 in New York
TODAY, TOMORROW = date(2026, 6, 22), date(2026, 6, 23)
STARTS = list_starts(MONDAY)
SLOT = STARTS[4]
# Symbol -> the state of one of Monday's slots; NOTRADE has no bar on that day.
STATES = {
    "WHOLE": "present",
    "LIVE": "provisional",
    "OTHER": "unverified",
    "SPARSE": "suspect",
    "REPEATED": "suspect",
    "DOUBTED": "suspect",
    "STANDS": "suspect",
    "DECIDED": "suspect",
    "AUDITED": "suspect",
    "ABSENT": "missing",
    "NOTRADE": "no_trade",
    "GAP": "vendor_gap",
}
# What each requirement accepts of them, with the arguments that widen it.
COMPLETE = {"WHOLE", "NOTRADE"}
EXPLAINED = {*COMPLETE, "GAP", "STANDS", "DECIDED", "REPEATED"}


@pytest.fixture(scope="module")
def states(create_database: Callable[[], str], home: Path) -> Iterator[ReadingStore]:
    """A store with a slot of each state; the tests that share it only read."""
    database = Database(create_database())
    settings = load_settings(database_url=SecretStr(database.url), home=home, as_of=NOW)
    store = ReadingStore(database, settings)
    ids = {name: store.add_symbol(name) for name in STATES}
    for name, symbol_id in ids.items():
        absent = {"NOTRADE": tuple(range(13)), "ABSENT": (4,), "GAP": (4,)}.get(name, ())
        store.add_bars(symbol_id, MONDAY, TUESDAY, without=absent)
    store.replace_bar(ids["LIVE"], SLOT, is_final=False)
    store.replace_bar(ids["OTHER"], SLOT, **EXTERNAL)
    for name in ("SPARSE", "REPEATED"):
        store.replace_bar(ids[name], SLOT, source_rows=3)
    for name, outcome in (("DOUBTED", None), ("STANDS", "stands"), ("DECIDED", "decided")):
        store.add_doubt(ids[name], SLOT, outcome)
    store.add_doubt(ids["AUDITED"], SLOT, "stands")  # what stands is explained until another doubt is opened
    store.add_doubt(ids["AUDITED"], SLOT, rule="scale_break", from_audit=True)
    store.insert(
        "backfill.daily_prices", symbol_id=ids["NOTRADE"], day=MONDAY, volume=0, reported_volume=0, read_at=NOW
    )
    store.add_evidence(ids["REPEATED"], MONDAY, request_count=6)
    long_ago = {"no_new_data_since": NOW - timedelta(days=18), "not_returned": "{[4,5)}"}
    store.add_evidence(ids["GAP"], MONDAY, requested_at=NOW - timedelta(hours=1), data_until=STARTS[9], **long_ago)
    yield store
    database.close()


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({}, COMPLETE),
        ({"require": "explained"}, EXPLAINED),
        ({"require": "any"}, set(STATES)),
        ({"provisional": True}, {*COMPLETE, "LIVE"}),
        ({"unverified": True}, {*COMPLETE, "OTHER"}),
        ({"require": "explained", "unverified": True, "provisional": True}, {*EXPLAINED, "LIVE", "OTHER"}),
    ],
)
def test_each_requirement_accepts_its_states(states: ReadingStore, options: dict[str, Any], accepted: set[str]) -> None:
    refused = set(STATES) - accepted
    if refused:
        with pytest.raises(IncompleteBars) as raised:
            states.read(list(STATES), **options)
        found = {(one.symbol, one.session, one.state) for one in raised.value.problems}
        assert found == {(f"{name}.US", MONDAY, STATES[name]) for name in refused}
    dropped = states.read(list(STATES), on_incomplete="drop", **options)
    assert dropped.health.symbols == tuple(f"{name}.US" for name in STATES if name in accepted)
    assert dropped.health.dropped == tuple(f"{name}.US" for name in STATES if name not in accepted)
    assert list(dropped.frame["symbol"].unique()) == list(dropped.health.symbols)


def test_the_health_counts_every_state_and_the_grid_shows_it(states: ReadingStore) -> None:
    result = states.read(list(STATES), require="any", grid=True)
    cells = result.health.to_frame().set_index(["symbol", "session"])
    at_slot = result.frame[result.frame["timestamp"] == SLOT].set_index("symbol")
    assert len(result.frame) == result.health.expected == len(STATES) * 26
    for name, state in STATES.items():
        size = 13 if name == "NOTRADE" else 1
        assert cells.loc[(f"{name}.US", MONDAY), state] == (13 if state == "present" else size)
        assert at_slot.loc[f"{name}.US", "state"] == state
        is_without_row = state in ("provisional", "missing", "no_trade", "vendor_gap")
        assert np.isnan(at_slot.loc[f"{name}.US", "close"]) == is_without_row
    assert result.health.totals["suspect"] == 6
    assert result.health.explained == 13 + 1 + 3
    assert not result.health.is_complete
    assert str(result.health).startswith("12 symbols, 2 sessions (2026-06-01 to 2026-06-02), 312 slots expected: ")


def test_rows_have_only_what_was_asked_for(states: ReadingStore) -> None:
    assert len(states.read("LIVE", require="any").frame) == 25
    with_provisional = states.read("LIVE", require="any", provisional=True).frame
    assert list(with_provisional["state"][3:6]) == ["present", "provisional", "present"]
    assert list(states.read("OTHER", unverified=True).frame["state"][3:6]) == ["present", "unverified", "present"]
    frame = states.read("STANDS", require="explained", columns=["close", "symbol"], format="arrow").frame
    assert frame.column_names == ["close", "symbol"]


def test_an_error_says_what_where_and_why(states: ReadingStore) -> None:
    with pytest.raises(IncompleteBars) as raised:
        states.read(list(STATES))
    error = raised.value
    assert isinstance(error, BackfillError)
    assert error.exit_code == 3
    assert len(error.problems) == 10
    assert error.problems[0].slots == (SLOT,)
    lines = str(error).splitlines()
    assert lines[0] == "the bars are not complete: 10 slots in 1 session of 10 symbols"
    assert lines[1].endswith("LIVE.US 2026-06-01: 1 slot provisional (15:30 UTC); backfill-assets why LIVE 2026-06-01")
    assert lines[-1].strip() == "… and 5 more (problems)"
    with pytest.raises(IncompleteBars, match="unverified=True accepts them"):
        states.read("OTHER")


def test_sessions_that_are_not_published_are_pending(states: ReadingStore) -> None:
    with pytest.raises(PendingSessions, match="the next request is due at 2026-06-22T23:00:00Z") as raised:
        states.read("WHOLE", TODAY, TOMORROW)
    assert raised.value.next_request_at == datetime(2026, 6, 22, 23, tzinfo=UTC)
    assert raised.value.sessions == (TODAY,)
    with pytest.raises(PendingSessions) as raised:
        states.read("WHOLE", TODAY, date(2026, 6, 25), require="explained", on_incomplete="drop")
    assert len(raised.value.sessions) == 3
    future = states.read("WHOLE", date(2026, 6, 30), date(2026, 7, 1), require="any")
    assert len(future.frame) == 0
    assert future.health.totals["pending"] == 13


def test_a_window_without_sessions_is_said(states: ReadingStore) -> None:
    for columns in (None, ["volume", "close"]):
        weekend = states.read("WHOLE", date(2026, 5, 30), MONDAY, columns=columns)
        assert len(weekend.frame) == 0
        assert str(weekend.health) == "1 symbol, and no session lies in the window."


def test_sessions_outside_of_a_listing_are_said(database: Database, settings: Settings) -> None:
    store = ReadingStore(database, settings)
    symbol_id = store.add_symbol("NEW")
    store.add_bars(symbol_id, MONDAY, TUESDAY)
    store.execute("UPDATE market_data SET timestamp = timestamp + interval '7 minutes' WHERE timestamp = %s", STARTS[2])
    life = {"first_day": TUESDAY, "last_day": TUESDAY, "has_ended": False}
    store.insert("backfill.listing_lives", symbol_id=symbol_id, read_at=NOW, **life)
    result = store.read("NEW")
    assert set(result.frame["session"].astype(str)) == {"2026-06-02"}
    assert result.health.outside_listing == 12
    assert result.health.off_grid == 1
    assert "1 sessions of symbols lie outside of their listing" in str(result.health)
    before = store.read("NEW", MONDAY, TUESDAY)
    assert before.health.expected == 0
    assert "never: NEW.US" in str(before.health)


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("2026-06-01T13:30:00Z", "2026-06-01T14:00:00Z", 1),
        ("2026-06-01T13:30:00Z", "2026-06-01T13:59:59Z", 0),
        ("2026-06-01T09:30:01-04:00", "2026-06-01T16:00:00-04:00", 12),
        (datetime(2026, 6, 1, 19, 30, tzinfo=UTC), datetime(2026, 6, 2, 14, tzinfo=UTC), 2),
        (np.datetime64("2026-06-01"), "2026-06-02", 13),
    ],
)
def test_a_slot_counts_if_it_begins_and_ends_within(states: ReadingStore, start: Any, end: Any, count: int) -> None:
    result = states.read("WHOLE", start, end)
    assert len(result.frame) == result.health.expected == count


def test_early_closes_and_daylight_saving(database: Database, settings: Settings) -> None:
    store = ReadingStore(database, settings)
    symbol_id = store.add_symbol("AAPL")
    for first, last in ((date(2025, 11, 26), date(2025, 11, 28)), (date(2026, 3, 6), date(2026, 3, 9))):
        store.add_bars(symbol_id, first, last)
    thanksgiving = store.read("AAPL", date(2025, 11, 26), date(2025, 11, 29))
    assert thanksgiving.health.expected == len(thanksgiving.frame) == 13 + 7
    assert thanksgiving.frame["slot_end"].iloc[-1] == datetime(2025, 11, 28, 18, tzinfo=UTC)
    around = store.read("AAPL", date(2026, 3, 6), date(2026, 3, 10)).frame
    first_of_day = around.groupby("session")["timestamp"].min()
    assert [f"{at:%H:%M}" for at in first_of_day] == ["14:30", "13:30"]


@pytest.mark.parametrize("delay", [None, timedelta(0), timedelta(hours=1)])
def test_no_row_is_newer_than_the_point_in_time(states: ReadingStore, delay: timedelta | None) -> None:
    for moment in (STARTS[0], STARTS[5] + timedelta(minutes=14), STARTS[5] + timedelta(minutes=15), STARTS[12]):
        read = states.read("WHOLE", point_in_time=moment, publication_delay=delay)
        shown = timedelta(minutes=15) if delay is None else delay
        assert list(read.frame["timestamp"]) == [at for at in STARTS if at + timedelta(minutes=30) + shown <= moment]
        assert read.health.not_public == 26 - len(read.frame)
        assert read.health.assumed == len(read.frame)  # all were loaded later


def test_arguments_of_another_store_are_refused(states: ReadingStore) -> None:
    with pytest.raises(UsageError, match=r"does not have NONE\.US, NADA\.US; add"):
        states.read(["WHOLE", "NONE", "NADA"])
    with pytest.raises(UsageError, match="no universe 'model'"):
        states.read(None, universe="model")
    assert len(states.read(None, MONDAY, WEDNESDAY, universe="all", require="any").health.symbols) == len(STATES)
    with pytest.raises(UsageError, match="more than one read can hold"):
        states.read(list(STATES), date(2004, 1, 2), date(2099, 1, 1), interval="1m", require="any")


def test_bars_as_they_were_known(database: Database, settings: Settings) -> None:
    # Versions are stamped by the clock of the database.
    store = ReadingStore(database, settings.model_copy(update={"as_of": None}))
    symbol_id, start, before = store.add_symbol("AAPL"), STARTS[2], datetime.now(UTC)
    store.add_bars(symbol_id, MONDAY, without=(4,), fetched_at=before - timedelta(minutes=1))
    store.replace_bar(symbol_id, STARTS[12], **EXTERNAL)
    store.replace_bar(symbol_id, start, close_price=100.7, fetched_at=datetime.now(UTC))
    between = datetime.now(UTC)
    store.add_bars(symbol_id, MONDAY, without=tuple(at for at in range(13) if at != 4), fetched_at=datetime.now(UTC))

    def read(**options: Any) -> Any:
        return store.read("AAPL", MONDAY, TUESDAY, require="any", **options)

    now, then, first = read(), read(known_at=between), read(known_at=before)
    assert [len(one.frame) for one in (now, then, first)] == [13, 11, 12]
    assert [one.frame["close"].iloc[2] for one in (now, then, first)] == [100.7, 100.7, 100.5]
    assert [one.health.external_left_out for one in (now, then, first)] == [0, 1, 0]
    assert then.health.totals["missing"] == 2
    assert then.health.measured_at == between
    assert len(read(known_at=between, external=True).frame) == 12
    assert read(known_at=datetime(2026, 6, 1, tzinfo=UTC)).health.unknown_before is not None
