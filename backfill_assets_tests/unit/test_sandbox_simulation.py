"""The sandbox's market: the same for everybody, right on every calendar, and honest about its truth."""

from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import DataQuirks, SandboxConfig
from backfill_assets.sandbox.wire.rows import IntradayColumns
from backfill_assets.sandbox.world.minute_paths import truncate_to_float32
from backfill_assets.sandbox.world.publication import FINAL_STAGE, PublicationStage
from backfill_assets.sandbox.world.session_index import get_session_index
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.sandbox.world.universe import FAMILIAR_SYMBOLS, build_universe, describe_symbol

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")

HALF_HOURS = INTERVALS["30m"]
SUMMER, WINTER, EARLY = date(2026, 6, 1), date(2026, 1, 15), date(2025, 11, 28)
NEW_YORK = ZoneInfo("America/New_York")
# Every trait at once and often, apart from errors that are never put right.
WILD = DataQuirks(
    close_print_missing=0.3,
    close_print_off_at_early_close=0.5,
    post_close_prints=0.5,
    null_rows=0.1,
    flat_rows=0.1,
    halt_prints=0.5,
    duplicate_rows=0.5,
    cumulative_volume_months=1.0,
    whole_prices_as_int=True,
    quiet_minutes=0.3,
    extended_hours_gaps=True,
    premarket_quote_rows=0.5,
    trailing_row=0.5,
    late_auction=0.5,
    unordered_rows=0.5,
    revisions=0.5,
)


def on(day: date) -> Session:
    session = get_session_index(date(2018, 1, 2)).find_session(day)
    assert session is not None
    return session


def world(traits: DataQuirks | None = None, **more: object) -> World:
    return World(SandboxConfig(quirks=traits or DataQuirks.build_clean(), **more))  # type: ignore[arg-type]


@cache
def wild() -> World:
    return world(WILD, symbols=110, thin=frozenset({"THIN"}))


def clock_times(rows: IntradayColumns) -> list[str]:
    return [datetime.fromtimestamp(s, UTC).astimezone(NEW_YORK).strftime("%H:%M") for s in rows.timestamps.tolist()]


def same(one: IntradayColumns, other: IntradayColumns) -> bool:
    return (
        np.array_equal(one.timestamps, other.timestamps)
        and np.array_equal(one.prices, other.prices, equal_nan=True)
        and np.array_equal(one.volumes, other.volumes)
    )


def by_the_book(rows: IntradayColumns, session: Session, source: str) -> pd.DataFrame:
    """The half-hours that a careful client builds from what the vendor wrote."""
    opened, high, low, close = rows.prices
    written = pd.DataFrame(
        {"timestamp": rows.timestamps, "open": opened, "high": high, "low": low, "close": close, "volume": rows.volumes}
    )
    step = {"5m": 300, "1m": 60}[source]
    first, end = session.open.timestamp(), session.close.timestamp()
    kept = written[(written.volume >= 0) & (written.timestamp >= first) & (written.timestamp < end)]
    kept = kept[(kept.timestamp - first) % step == 0].sort_values("timestamp", kind="stable")
    kept = kept.sort_values(["timestamp", "volume"]).drop_duplicates("timestamp", keep="last")
    slot = ((kept.timestamp - first) // 1800 * 1800 + first).astype("int64")
    bars = kept.groupby(slot).agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    return bars.rename_axis("timestamp").reset_index()


def test_two_worlds_of_one_seed_are_the_same_and_another_seed_is_another() -> None:
    session = on(SUMMER)
    for interval in ("1m", "5m", "1h"):
        rows = world(WILD).get_published_rows("MSFT", session, interval)
        assert same(rows, world(WILD, symbols=500).get_published_rows("MSFT", session, interval))
        assert not same(rows, world(WILD, seed=1).get_published_rows("MSFT", session, interval))
        assert not same(rows, world(WILD).get_published_rows("AAPL", session, interval))


def test_asking_in_another_order_changes_nothing() -> None:
    forwards, backwards = world(WILD), world(WILD)
    asked = [(s, on(d)) for s in ("AAPL", "MSFT", "V") for d in (WINTER, SUMMER, EARLY)]
    first = [forwards.get_published_rows(s, d, "5m") for s, d in asked]
    second = [backwards.get_published_rows(s, d, "5m") for s, d in reversed(asked)][::-1]
    assert all(map(same, first, second))


@pytest.mark.parametrize(
    ("day", "first", "last", "bars"),
    [
        (SUMMER, "2026-06-01 13:30:00", "2026-06-01 20:00:00", 78),
        (WINTER, "2026-01-15 14:30:00", "2026-01-15 21:00:00", 78),
        (EARLY, "2025-11-28 14:30:00", "2025-11-28 18:00:00", 42),
    ],
)
def test_a_clean_5m_session_is_a_full_grid_and_the_print_at_the_close(
    day: date, first: str, last: str, bars: int
) -> None:
    rows = world().get_published_rows("AAPL", on(day), "5m")
    stamps = pd.to_datetime(rows.timestamps, unit="s")
    assert len(rows) == bars + 1
    assert (str(stamps[0]), str(stamps[-1])) == (first, last)
    assert set(np.diff(rows.timestamps)) == {300}
    assert rows.volumes[-1] == -1
    assert (rows.volumes[:-1] > 0).all()
    assert len(set(rows.prices[:, -1])) == 1


def test_the_print_is_the_official_close_as_a_32_bit_float() -> None:
    market = world()
    session = on(SUMMER)
    day, _ = market.get_minute_path("AAPL", session)
    printed = market.get_published_rows("AAPL", session, "5m").prices[3, -1]
    assert printed == truncate_to_float32(np.array([day.close]))[0]
    assert truncate_to_float32(np.array([306.31, 309.535, 310.03])).tolist() == [306.309997, 309.535003, 310.029998]
    assert market.draw_daily_history("AAPL", np.array([SUMMER.toordinal()])).close[0] == day.close


def test_1m_has_extended_hours_that_reach_into_the_next_utc_day_in_winter() -> None:
    rows = world().get_published_rows("AAPL", on(WINTER), "1m")
    times = clock_times(rows)
    assert (times[0], times[-1], len(rows)) == ("04:00", "19:59", 960)
    assert datetime.fromtimestamp(rows.timestamps[-1], UTC).date() == date(2026, 1, 16)
    assert clock_times(world().get_published_rows("AAPL", on(EARLY), "1m"))[-1] == "16:59"


def test_the_closing_auction_is_the_1600_row_of_1m_and_sometimes_a_later_one() -> None:
    for traits, minutes in ((DataQuirks.build_clean(), {"16:00"}), (DataQuirks(late_auction=1.0), {"16:03", "16:04"})):
        market = world(traits)
        for symbol in FAMILIAR_SYMBOLS[:20]:
            rows = market.get_published_rows(symbol, on(SUMMER), "1m")
            after = rows.select(rows.timestamps >= on(SUMMER).close.timestamp())
            biggest = int(np.argmax(after.volumes))
            assert clock_times(after)[biggest] in minutes
            assert after.volumes[biggest] > 0.05 * rows.volumes.sum()
            assert after.prices[3, biggest] == market.get_minute_path(symbol, on(SUMMER))[0].close


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from([*FAMILIAR_SYMBOLS[:25], "S0103", "S0104"]),
    index=st.integers(720, 2300),
    interval=st.sampled_from(["1m", "5m", "1h"]),
    stage=st.builds(PublicationStage, st.sampled_from([0.4, 1.0]), st.booleans(), st.booleans()),
)
def test_no_written_bar_breaks_its_own_range(symbol: str, index: int, interval: str, stage: PublicationStage) -> None:
    rows = wild().get_published_rows(symbol, get_session_index(date(2018, 1, 2)).sessions[index], interval, stage)
    opened, high, low, close = rows.select(~np.isnan(rows.prices[0])).prices
    assert (low > 0).all()
    assert (low <= np.minimum(opened, close)).all()
    assert (high >= np.maximum(opened, close)).all()
    digits = 6 if interval == "5m" else 4
    assert np.array_equal(np.round(rows.prices, digits), rows.prices, equal_nan=True)
    assert (rows.volumes >= -1).all()
    assert (rows.volumes != 0).all()


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from([*FAMILIAR_SYMBOLS[:25], "THIN", "S0103"]),
    index=st.integers(720, 2300),
    source=st.sampled_from(["1m", "5m"]),
)
def test_a_client_by_the_book_ends_up_with_the_truth_whatever_the_traits(symbol: str, index: int, source: str) -> None:
    session = get_session_index(date(2018, 1, 2)).sessions[index]
    truth = wild().true_bars(symbol, session, HALF_HOURS, source)
    built = by_the_book(wild().get_published_rows(symbol, session, source, FINAL_STAGE), session, source)
    pd.testing.assert_frame_equal(built, truth, check_dtype=False, check_exact=True)


def test_the_truth_of_a_clean_session_is_every_slot() -> None:
    for source in ("1m", "5m"):
        assert len(world().true_bars("AAPL", on(SUMMER), HALF_HOURS, source)) == 13
        assert len(world().true_bars("AAPL", on(EARLY), HALF_HOURS, source)) == 7
        assert len(world().true_bars("AAPL", on(SUMMER), INTERVALS["1h"], source)) == 7


def test_the_venues_differ_in_volume_and_a_little_in_price() -> None:
    market = world()
    tape = market.true_bars("AAPL", on(SUMMER), HALF_HOURS, "1m")
    venue = market.true_bars("AAPL", on(SUMMER), HALF_HOURS, "5m")
    share = venue.volume / tape.volume
    assert (share < 0.95).all()
    assert share.std() > 0.001
    assert not tape.close.equals(venue.close)
    assert (tape.close - venue.close).abs().max() < 0.02


def test_volumes_are_high_at_both_ends_of_the_session() -> None:
    volume = np.sum([world().true_bars(s, on(SUMMER), HALF_HOURS, "5m").volume for s in FAMILIAR_SYMBOLS[:30]], axis=0)
    assert volume[0] > 1.5 * volume[6]
    assert volume[-1] > 1.2 * volume[6]


def test_a_thin_ticker_has_null_5m_rows_and_omits_1m_rows() -> None:
    market = world(thin=frozenset({"GE"}))
    session = on(SUMMER)
    five, one = market.get_published_rows("GE", session, "5m"), market.get_published_rows("GE", session, "1m")
    nulls = np.isnan(five.prices[0])
    assert len(five) == 79
    assert 10 < nulls.sum() < 70
    assert (five.volumes[nulls] == -1).all()
    regular = one.select((one.timestamps >= five.timestamps[0]) & (one.timestamps < five.timestamps[-1]))
    assert 10 < len(regular) < 200
    assert not np.isnan(one.prices).any()
    in_tape = set((regular.timestamps // 300 * 300).tolist())
    assert set(five.timestamps[:-1][~nulls[:-1]].tolist()) <= in_tape


def test_some_thin_slots_and_some_whole_sessions_have_no_trade() -> None:
    market = world(thin=frozenset({"GE"}))
    sessions = get_session_index(date(2018, 1, 2)).sessions[1900:2100]
    counts = [len(market.true_bars("GE", s, HALF_HOURS, "1m")) for s in sessions]
    assert 0 < counts.count(0) < 40
    assert any(0 < count < 13 for count in counts)
    idle = sessions[counts.index(0)]
    assert market.draw_daily_history("GE", np.array([idle.day.toordinal()])).volume[0] == 0
    assert len(market.get_published_rows("GE", idle, "1m")) == 0
    assert np.isnan(market.get_published_rows("GE", idle, "5m").prices).all()


def test_intraday_is_unadjusted_across_a_split() -> None:
    market = world(splits={"MSFT": (date(2026, 6, 2), 10.0)})
    before, after = (
        market.get_official_bar("MSFT", on(date(2026, 6, 1))),
        market.get_official_bar("MSFT", on(date(2026, 6, 2))),
    )
    plain = world(splits={})
    assert before.close / plain.get_official_bar("MSFT", on(date(2026, 6, 1))).close == pytest.approx(10, rel=1e-3)
    assert after == plain.get_official_bar("MSFT", on(date(2026, 6, 2)))
    assert before.volume == pytest.approx(plain.get_official_bar("MSFT", on(date(2026, 6, 1))).volume / 10, rel=1e-3)


def test_a_renamed_ticker_goes_on_under_its_new_name() -> None:
    market = world(renamed={"AAPL": ("FRUIT", date(2026, 6, 2))})
    assert "FRUIT" in market.symbols
    assert same(
        market.get_published_rows("FRUIT", on(SUMMER), "5m"), world().get_published_rows("AAPL", on(SUMMER), "5m")
    )
    known = [
        (s, market.listings.is_known(s, d)) for d in (date(2026, 6, 1), date(2026, 6, 2)) for s in ("AAPL", "FRUIT")
    ]
    assert known == [("AAPL", True), ("FRUIT", False), ("AAPL", False), ("FRUIT", True)]


def test_a_ticker_has_bars_only_while_it_is_listed() -> None:
    market = world(listed={"NEW": SUMMER}, delisted={"OLD": SUMMER, "GONE": date(2021, 5, 3)})
    friday, tuesday = on(date(2026, 5, 29)), on(date(2026, 6, 2))
    lengths = [
        len(market.get_published_rows(s, d, "5m")) for s in ("NEW", "OLD") for d in (friday, on(SUMMER), tuesday)
    ]
    assert lengths == [0, 79, 79, 79, 79, 0]
    assert market.true_bars("OLD", tuesday, HALF_HOURS, "5m").empty
    assert len(market.get_published_rows("GONE", on(date(2021, 5, 3)), "5m")) == 79
    assert len(market.get_published_rows("GONE", on(date(2021, 5, 3)), "1m")) == 0  # no 1m of tickers dead before 2022


def test_5m_begins_on_the_vendors_first_day() -> None:
    assert len(world().get_published_rows("AAPL", on(date(2020, 10, 9)), "5m")) == 0
    assert len(world().get_published_rows("AAPL", on(date(2020, 10, 12)), "5m")) == 79
    assert len(world().get_published_rows("AAPL", on(date(2020, 10, 9)), "1m")) == 960


def test_the_universe_begins_with_familiar_names_and_stays_unique() -> None:
    assert build_universe(5) == ("AAPL", "MSFT", "AMZN", "TSLA", "VTI")
    assert len(FAMILIAR_SYMBOLS) == 100
    assert "BRK-B" in FAMILIAR_SYMBOLS
    assert build_universe(102)[-2:] == ("S0101", "S0102")
    assert len(set(build_universe(10_000))) == 10_000
    assert max(map(len, build_universe(10_000))) <= 10
    assert {describe_symbol("AAPL").exchange, describe_symbol("VTI").exchange, describe_symbol("GE").exchange} == {
        "NASDAQ",
        "NYSE ARCA",
        "NYSE",
    }
