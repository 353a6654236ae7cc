"""The simulated market: deterministic, correct for every kind of session, and consistent with its true bars."""

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
from backfill_assets.sandbox.endpoints.eod_rows import EodRowSource
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns
from backfill_assets.sandbox.world.minute_paths import truncate_to_float32
from backfill_assets.sandbox.world.publication import FINAL_STAGE, PublicationStage
from backfill_assets.sandbox.world.session_index import get_session_index
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.sandbox.world.universe import FAMILIAR_SYMBOLS, build_universe, describe_symbol

HALF_HOURS = INTERVALS["30m"]
SUMMER, WINTER, EARLY = date(2026, 6, 1), date(2026, 1, 15), date(2025, 11, 28)
NEW_YORK = ZoneInfo("America/New_York")
# All quirks at once and frequent, except errors that are never corrected.
MANY_QUIRKS = DataQuirks(
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


def find_session(day: date) -> Session:
    session = get_session_index(date(2018, 1, 2)).find_session(day)
    assert session is not None
    return session


def make_world(quirks: DataQuirks | None = None, **more: object) -> World:
    return World(SandboxConfig(quirks=quirks or DataQuirks.build_clean(), **more))  # type: ignore[arg-type]


@cache
def make_irregular_world() -> World:
    return make_world(MANY_QUIRKS, symbols=110, thin=frozenset({"THIN"}))


def format_clock_times(rows: IntradayColumns) -> list[str]:
    return [datetime.fromtimestamp(s, UTC).astimezone(NEW_YORK).strftime("%H:%M") for s in rows.timestamps.tolist()]


def is_equal(one: IntradayColumns, other: IntradayColumns) -> bool:
    return (
        np.array_equal(one.timestamps, other.timestamps)
        and np.array_equal(one.prices, other.prices, equal_nan=True)
        and np.array_equal(one.volumes, other.volumes)
    )


def build_bars_by_hand(rows: IntradayColumns, session: Session, source: str) -> pd.DataFrame:
    """Build 30m bars from published rows, independently of the package."""
    open_, high, low, close = rows.prices
    written = pd.DataFrame(
        {"timestamp": rows.timestamps, "open": open_, "high": high, "low": low, "close": close, "volume": rows.volumes}
    )
    step = {"5m": 300, "1m": 60}[source]
    first, end = session.open.timestamp(), session.close.timestamp()
    selected = written[(written.volume >= 0) & (written.timestamp >= first) & (written.timestamp < end)]
    selected = selected[(selected.timestamp - first) % step == 0].sort_values("timestamp", kind="stable")
    selected = selected.sort_values(["timestamp", "volume"]).drop_duplicates("timestamp", keep="last")
    slot = ((selected.timestamp - first) // 1800 * 1800 + first).astype("int64")
    bars = selected.groupby(slot).agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    return bars.rename_axis("timestamp").reset_index()


def test_equal_seeds_give_equal_rows_and_other_seeds_other_rows() -> None:
    session = find_session(SUMMER)
    for interval in ("1m", "5m", "1h"):
        rows = make_world(MANY_QUIRKS).get_published_rows("MSFT", session, interval)
        assert is_equal(rows, make_world(MANY_QUIRKS, symbols=500).get_published_rows("MSFT", session, interval))
        assert not is_equal(rows, make_world(MANY_QUIRKS, seed=1).get_published_rows("MSFT", session, interval))
        assert not is_equal(rows, make_world(MANY_QUIRKS).get_published_rows("AAPL", session, interval))


def test_rows_do_not_depend_on_the_order_of_requests() -> None:
    forwards, backwards = make_world(MANY_QUIRKS), make_world(MANY_QUIRKS)
    requests = [(s, find_session(d)) for s in ("AAPL", "MSFT", "V") for d in (WINTER, SUMMER, EARLY)]
    first = [forwards.get_published_rows(s, d, "5m") for s, d in requests]
    second = [backwards.get_published_rows(s, d, "5m") for s, d in reversed(requests)][::-1]
    assert all(map(is_equal, first, second))


@pytest.mark.parametrize(
    ("day", "first", "last", "bars"),
    [
        (SUMMER, "2026-06-01 13:30:00", "2026-06-01 20:00:00", 78),
        (WINTER, "2026-01-15 14:30:00", "2026-01-15 21:00:00", 78),
        (EARLY, "2025-11-28 14:30:00", "2025-11-28 18:00:00", 42),
    ],
)
def test_clean_5m_session_is_a_full_grid_and_a_close_print(day: date, first: str, last: str, bars: int) -> None:
    rows = make_world().get_published_rows("AAPL", find_session(day), "5m")
    stamps = pd.to_datetime(rows.timestamps, unit="s")
    assert len(rows) == bars + 1
    assert (str(stamps[0]), str(stamps[-1])) == (first, last)
    assert set(np.diff(rows.timestamps)) == {300}
    assert rows.volumes[-1] == -1
    assert (rows.volumes[:-1] > 0).all()
    assert len(set(rows.prices[:, -1])) == 1


def test_close_print_is_the_official_close_as_a_32_bit_float() -> None:
    market = make_world()
    session = find_session(SUMMER)
    day, _ = market.get_minute_path("AAPL", session)
    printed = market.get_published_rows("AAPL", session, "5m").prices[3, -1]
    assert printed == truncate_to_float32(np.array([day.close]))[0]
    assert truncate_to_float32(np.array([306.31, 309.535, 310.03])).tolist() == [306.309997, 309.535003, 310.029998]
    assert market.draw_daily_history("AAPL", np.array([SUMMER.toordinal()])).close[0] == day.close


def test_1m_extended_hours_reach_the_next_utc_day_in_winter() -> None:
    rows = make_world().get_published_rows("AAPL", find_session(WINTER), "1m")
    times = format_clock_times(rows)
    assert (times[0], times[-1], len(rows)) == ("04:00", "19:59", 960)
    assert datetime.fromtimestamp(rows.timestamps[-1], UTC).date() == date(2026, 1, 16)
    assert format_clock_times(make_world().get_published_rows("AAPL", find_session(EARLY), "1m"))[-1] == "16:59"


def test_closing_auction_is_in_the_1600_row_of_1m_or_in_a_later_one() -> None:
    for quirks, minutes in ((DataQuirks.build_clean(), {"16:00"}), (DataQuirks(late_auction=1.0), {"16:03", "16:04"})):
        market = make_world(quirks)
        for symbol in FAMILIAR_SYMBOLS[:20]:
            rows = market.get_published_rows(symbol, find_session(SUMMER), "1m")
            after = rows.select(rows.timestamps >= find_session(SUMMER).close.timestamp())
            biggest = int(np.argmax(after.volumes))
            assert format_clock_times(after)[biggest] in minutes
            assert after.volumes[biggest] > 0.05 * rows.volumes.sum()
            assert after.prices[3, biggest] == market.get_minute_path(symbol, find_session(SUMMER))[0].close


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from([*FAMILIAR_SYMBOLS[:25], "S0103", "S0104"]),
    index=st.integers(720, 2300),
    interval=st.sampled_from(["1m", "5m", "1h"]),
    stage=st.builds(PublicationStage, st.sampled_from([0.4, 1.0]), st.booleans(), st.booleans()),
)
def test_open_and_close_of_published_rows_are_within_high_and_low(
    symbol: str, index: int, interval: str, stage: PublicationStage
) -> None:
    rows = make_irregular_world().get_published_rows(
        symbol, get_session_index(date(2018, 1, 2)).sessions[index], interval, stage
    )
    open_, high, low, close = rows.select(~np.isnan(rows.prices[0])).prices
    assert (low > 0).all()
    assert (low <= np.minimum(open_, close)).all()
    assert (high >= np.maximum(open_, close)).all()
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
def test_correct_aggregation_gives_the_true_bars_with_any_quirks(symbol: str, index: int, source: str) -> None:
    session = get_session_index(date(2018, 1, 2)).sessions[index]
    truth = make_irregular_world().true_bars(symbol, session, HALF_HOURS, source)
    built = build_bars_by_hand(
        make_irregular_world().get_published_rows(symbol, session, source, FINAL_STAGE), session, source
    )
    pd.testing.assert_frame_equal(built, truth, check_dtype=False, check_exact=True)


def test_true_bars_of_a_clean_session_fill_every_slot() -> None:
    for source in ("1m", "5m"):
        assert len(make_world().true_bars("AAPL", find_session(SUMMER), HALF_HOURS, source)) == 13
        assert len(make_world().true_bars("AAPL", find_session(EARLY), HALF_HOURS, source)) == 7
        assert len(make_world().true_bars("AAPL", find_session(SUMMER), INTERVALS["1h"], source)) == 7


def test_5m_and_1m_differ_in_volume_and_slightly_in_price() -> None:
    market = make_world()
    consolidated = market.true_bars("AAPL", find_session(SUMMER), HALF_HOURS, "1m")
    venue = market.true_bars("AAPL", find_session(SUMMER), HALF_HOURS, "5m")
    share = venue.volume / consolidated.volume
    assert (share < 0.95).all()
    assert share.std() > 0.001
    assert not consolidated.close.equals(venue.close)
    assert (consolidated.close - venue.close).abs().max() < 0.02


def test_volumes_are_high_at_both_ends_of_the_session() -> None:
    volume = np.sum(
        [make_world().true_bars(s, find_session(SUMMER), HALF_HOURS, "5m").volume for s in FAMILIAR_SYMBOLS[:30]],
        axis=0,
    )
    assert volume[0] > 1.5 * volume[6]
    assert volume[-1] > 1.2 * volume[6]


def test_thin_ticker_has_null_5m_rows_and_omitted_1m_rows() -> None:
    market = make_world(thin=frozenset({"GE"}))
    session = find_session(SUMMER)
    five, one = market.get_published_rows("GE", session, "5m"), market.get_published_rows("GE", session, "1m")
    nulls = np.isnan(five.prices[0])
    assert len(five) == 79
    assert 10 < nulls.sum() < 70
    assert (five.volumes[nulls] == -1).all()
    regular = one.select((one.timestamps >= five.timestamps[0]) & (one.timestamps < five.timestamps[-1]))
    assert 10 < len(regular) < 200
    assert not np.isnan(one.prices).any()
    minutes_with_trades = set((regular.timestamps // 300 * 300).tolist())
    assert set(five.timestamps[:-1][~nulls[:-1]].tolist()) <= minutes_with_trades


def test_thin_ticker_has_slots_and_whole_sessions_without_a_trade() -> None:
    market = make_world(thin=frozenset({"GE"}))
    sessions = get_session_index(date(2018, 1, 2)).sessions[1900:2100]
    counts = [len(market.true_bars("GE", s, HALF_HOURS, "1m")) for s in sessions]
    assert 0 < counts.count(0) < 40
    assert any(0 < count < 13 for count in counts)
    idle = sessions[counts.index(0)]
    assert market.draw_daily_history("GE", np.array([idle.day.toordinal()])).volume[0] == 0
    assert len(market.get_published_rows("GE", idle, "1m")) == 0
    assert np.isnan(market.get_published_rows("GE", idle, "5m").prices).all()


def test_intraday_prices_are_not_adjusted_for_a_split() -> None:
    market = make_world(splits={"MSFT": (date(2026, 6, 2), 10.0)})
    before, after = (
        market.get_official_bar("MSFT", find_session(date(2026, 6, 1))),
        market.get_official_bar("MSFT", find_session(date(2026, 6, 2))),
    )
    plain = make_world(splits={})
    assert before.close / plain.get_official_bar("MSFT", find_session(date(2026, 6, 1))).close == pytest.approx(
        10, rel=1e-3
    )
    assert after == plain.get_official_bar("MSFT", find_session(date(2026, 6, 2)))
    assert before.volume == pytest.approx(
        plain.get_official_bar("MSFT", find_session(date(2026, 6, 1))).volume / 10, rel=1e-3
    )


def test_renamed_ticker_continues_under_its_new_name() -> None:
    market = make_world(renamed={"AAPL": ("FRUIT", date(2026, 6, 2))})
    assert "FRUIT" in market.symbols
    assert is_equal(
        market.get_published_rows("FRUIT", find_session(SUMMER), "5m"),
        make_world().get_published_rows("AAPL", find_session(SUMMER), "5m"),
    )
    known = [
        (s, market.listings.is_known(s, d)) for d in (date(2026, 6, 1), date(2026, 6, 2)) for s in ("AAPL", "FRUIT")
    ]
    assert known == [("AAPL", True), ("FRUIT", False), ("AAPL", False), ("FRUIT", True)]


def test_ticker_has_bars_only_while_it_is_listed() -> None:
    market = make_world(listed={"NEW": SUMMER}, delisted={"OLD": SUMMER, "GONE": date(2021, 5, 3)})
    friday, tuesday = find_session(date(2026, 5, 29)), find_session(date(2026, 6, 2))
    lengths = [
        len(market.get_published_rows(s, d, "5m"))
        for s in ("NEW", "OLD")
        for d in (friday, find_session(SUMMER), tuesday)
    ]
    assert lengths == [0, 79, 79, 79, 79, 0]
    assert market.true_bars("OLD", tuesday, HALF_HOURS, "5m").empty
    assert len(market.get_published_rows("GONE", find_session(date(2021, 5, 3)), "5m")) == 79
    # The vendor has no 1m of tickers delisted before 2022.
    assert len(market.get_published_rows("GONE", find_session(date(2021, 5, 3)), "1m")) == 0


def test_5m_history_starts_on_the_vendors_first_day() -> None:
    assert len(make_world().get_published_rows("AAPL", find_session(date(2020, 10, 9)), "5m")) == 0
    assert len(make_world().get_published_rows("AAPL", find_session(date(2020, 10, 12)), "5m")) == 79
    assert len(make_world().get_published_rows("AAPL", find_session(date(2020, 10, 9)), "1m")) == 960


def test_universe_starts_with_well_known_symbols_and_is_unique() -> None:
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


@pytest.mark.parametrize("halt", [None, (90, 150), (330, 390), (0, 390)])
def test_all_minutes_of_a_day_lie_within_its_daily_volume(halt: tuple[int, int] | None) -> None:
    names = build_universe(20)
    quirks = DataQuirks(halts={(name, SUMMER): halt for name in names} if halt else {})
    config = SandboxConfig(symbols=20, quirks=quirks)
    world, session = World(config), find_session(SUMMER)
    rows = EodRowSource(config, world)
    for name in names:
        minutes = world.get_published_rows(name, session, "1m").volumes
        daily = rows.find_row(name, session, datetime(2026, 6, 10, tzinfo=UTC))
        assert daily is not None
        assert 0.7 * daily.volume < minutes[minutes > 0].sum() <= daily.volume
