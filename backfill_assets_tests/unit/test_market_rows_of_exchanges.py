"""Slots, rows and bars of exchanges with breaks, short slots, odd opens and other units than those of New York."""

from dataclasses import replace
from datetime import UTC, date, datetime, time

import numpy as np
import pandas as pd
import pytest

from backfill_assets.market.actions.splits import SplitHistory, undo_splits
from backfill_assets.market.bars.calendar_drift import find_days_traded_outside
from backfill_assets.market.bars.source_rows import describe_reject, validate_rows
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.profile import MarketProfile, NullVolume
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.market.plausibility.doubted_rows import list_doubted_volumes
from backfill_assets.market.plausibility.listing import ListingLives, find_sessions_outside_listing
from backfill_assets.market.plausibility.session_lines import format_session_day
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, build_panel
from backfill_assets_tests.frames import build_bars
from backfill_assets_tests.unit.exchange_profiles import (
    BANGKOK,
    HONG_KONG,
    KARACHI,
    ROUND_THE_CLOCK,
    SHANGHAI,
    TOKYO,
    correct,
    find_session,
    make_profile,
)
from backfill_assets_tests.unit.market_builders import make_row_table

FIVE, ONE = INTERVALS["5m"], INTERVALS["1m"]
DAY = "2026-06-04"


def list_clock(market: MarketProfile, seconds: np.ndarray) -> list[str]:
    return [datetime.fromtimestamp(at, UTC).astimezone(market.zone).strftime("%H:%M") for at in seconds.tolist()]


def make_grid(market: MarketProfile, day: str = DAY, interval: str = "30m") -> SlotGrid:
    return build_slot_grid([find_session(market, day)], INTERVALS[interval])


def make_rows(session: Session, first: str, last: str, price: float = 10.0, volume: float | None = 100) -> pd.DataFrame:
    """A row of five minutes at every stamp of the exchange's clock from ``first`` to ``last``, the latter included."""
    begin, end = (
        datetime.fromisoformat(f"{session.day} {at}").replace(tzinfo=session.market.zone) for at in (first, last)
    )
    stamps = range(int(begin.timestamp()), int(end.timestamp()) + 1, 300)
    return make_row_table((1, stamp, price, price, price, price, volume) for stamp in stamps)


@pytest.mark.parametrize(
    ("market", "interval", "starts", "lengths"),
    [
        (
            TOKYO,
            "30m",
            "09:00 09:30 10:00 10:30 11:00 12:30 13:00 13:30 14:00 14:30 15:00",
            [30] * 11,
        ),
        (TOKYO, "1h", "09:00 10:00 11:00 12:30 13:00 14:00 15:00", [60, 60, 30, 30, 60, 60, 30]),
        (HONG_KONG, "1h", "09:30 10:30 11:30 13:00 13:30 14:30 15:30", [60, 60, 30, 30, 60, 60, 30]),
        (SHANGHAI, "30m", "09:30 10:00 10:30 11:00 13:00 13:30 14:00 14:30", [30] * 8),
        (BANGKOK, "1h", "10:00 11:00 12:00 14:00 15:00 16:00", [60, 60, 30, 60, 60, 30]),
        (
            KARACHI,
            "30m",
            "09:30 10:00 10:30 11:00 11:30 12:00 12:30 13:00 13:30 14:00 14:30 15:00",
            [30] * 12,
        ),
        (make_profile("TA", "XTAE", "Asia/Jerusalem", "10:00"), "1h", "09:55 10:00", [5, 60]),
        (correct("LSE", late_opens={date(2026, 6, 4): time(9, 40)}), "30m", "09:40 10:00 10:30", [20, 30, 30]),
        (make_profile("NSE", "XBOM", "Asia/Kolkata", "09:15"), "1h", "09:15 10:15 11:15", [60, 60, 60]),
    ],
    ids=lambda value: getattr(value, "exchange", None),
)
def test_slots_follow_the_clock_of_the_market_in_each_segment(
    market: MarketProfile, interval: str, starts: str, lengths: list[int]
) -> None:
    grid = make_grid(market, interval=interval)
    count = len(lengths)
    assert list_clock(market, grid.starts)[:count] == starts.split()
    assert ((grid.ends - grid.starts) // 60).tolist()[:count] == lengths
    assert grid.find_ordinals(grid.starts).tolist() == list(range(grid.size))


@pytest.mark.parametrize("market", [TOKYO, HONG_KONG, SHANGHAI, BANGKOK], ids=lambda market: market.exchange)
def test_a_perfect_feed_fills_every_slot_and_rows_at_noon_feed_none(market: MarketProfile) -> None:
    grid = make_grid(market)
    (session,) = grid.sessions
    rows = pd.concat([make_rows(session, f"{a:%H:%M}", f"{b:%H:%M}") for a, b in [_span(session)]])
    built = build_bars(rows, grid, FIVE)
    noon = sum((b - a) // 300 for a, b in grid.pauses.tolist())
    assert built.bars["ordinal"].tolist() == list(range(grid.size))
    assert built.bars["source_rows"].tolist() == [6] * grid.size
    assert built.bars["is_final"].all()
    assert (len(built.rejects), built.ignored_rows["extended_hours"]) == (0, noon)
    assert len(rows) == 6 * grid.size + noon


def _span(session: Session) -> tuple[datetime, datetime]:
    zone = session.market.zone
    last = datetime.fromtimestamp(session.close.timestamp() - 300, UTC)
    return session.open.astimezone(zone), last.astimezone(zone)


def test_trading_at_noon_contradicts_the_break_of_a_calendar() -> None:
    session = find_session(TOKYO, DAY)
    grid = build_slot_grid([session], INTERVALS["30m"])
    assert find_days_traded_outside(Columns(make_rows(session, "11:30", "12:25")), grid, FIVE) == {session.day: 1}
    assert find_days_traded_outside(Columns(make_rows(session, "11:30", "12:25", volume=0)), grid, FIVE) == {}
    assert find_days_traded_outside(Columns(make_rows(session, "11:25", "11:25")), grid, FIVE) == {}
    assert find_days_traded_outside(Columns(make_rows(session, "12:30", "15:30")), grid, FIVE) == {}


def test_rows_on_the_clock_are_kept_where_a_session_opens_beside_it() -> None:
    session = find_session(KARACHI, DAY)
    grid = build_slot_grid([session], INTERVALS["30m"])
    assert list_clock(KARACHI, np.array([int(session.open.timestamp())])) == ["09:32"]
    built = build_bars(make_rows(session, "09:25", "15:25"), grid, FIVE)
    assert (len(built.rejects), built.bars["source_rows"].tolist()) == (0, [6] * 12)
    beside = build_bars(make_rows(session, "09:32", "15:27"), grid, FIVE)
    assert set(beside.rejects["reason"]) == {"off_grid"}
    assert len(beside.bars) == 0


def test_rows_of_a_minute_before_an_open_beside_the_clock_are_outside() -> None:
    session = find_session(KARACHI, DAY)
    validated = validate_rows(
        Columns(make_row_table((1, int(session.open.timestamp()) + 60 * n, 1, 1, 1, 1, 5) for n in range(-3, 3))),
        build_slot_grid([session], INTERVALS["30m"]),
        ONE,
    )
    assert validated.usable.tolist() == [False] * 3 + [True] * 3
    assert validated.ignored_rows["extended_hours"] == 3


@pytest.mark.parametrize(
    ("exchange", "day", "last_row", "length"),
    [("OL", DAY, "16:15", 20), ("IR", DAY, "16:25", 28), ("PA", "2024-12-24", "14:00", 5), ("AU", DAY, "15:55", 30)],
)
def test_a_short_last_slot_is_full_with_its_rows(exchange: str, day: str, last_row: str, length: int) -> None:
    market = get_profile(exchange)
    session = find_session(market, day)
    grid = build_slot_grid([session], INTERVALS["30m"])
    built = build_bars(make_rows(session, market.grid_anchor.isoformat("minutes"), last_row), grid, FIVE)
    assert built.bars["ordinal"].tolist() == list(range(grid.size))
    assert built.bars["is_final"].all()
    assert int(grid.ends[-1] - grid.starts[-1]) == 60 * length
    assert built.bars["source_rows"].iloc[-1] == -(-length // 5)
    assert not built.sessions["ends_before_close"].any()


@pytest.mark.parametrize(
    ("exchange", "last_closing", "first_outside"),
    [("US", "16:00", "16:05"), ("LSE", "16:35", "16:40"), ("XETRA", "17:35", "17:40"), ("AU", "16:10", "16:15")],
)
def test_the_closing_window_is_that_of_the_profile(exchange: str, last_closing: str, first_outside: str) -> None:
    session = find_session(get_profile(exchange), DAY)
    grid = build_slot_grid([session], INTERVALS["30m"])
    auction = make_rows(session, last_closing, last_closing, price=12.0, volume=5_000)
    built = build_bars(auction, grid, FIVE)
    assert len(built.bars) == 0
    assert built.sessions[["official_close", "auction_volume"]].to_numpy().tolist() == [[12.0, 5_000.0]]
    assert find_days_traded_outside(Columns(auction), grid, FIVE) == {}
    later = make_rows(session, first_outside, first_outside)
    assert build_bars(later, grid, FIVE).ignored_rows["extended_hours"] == 1
    assert find_days_traded_outside(Columns(later), grid, FIVE) == {session.day: 1}


def test_trading_of_sydney_outside_its_calendar_is_of_the_day_in_sydney() -> None:
    market = get_profile("AU")
    monday, tuesday = find_session(market, "2026-01-12"), find_session(market, "2026-01-13")
    assert monday.open.date() == date(2026, 1, 11)
    grid = build_slot_grid([find_session(market, "2026-01-09")], INTERVALS["30m"])
    rows = pd.concat([make_rows(monday, "10:00", "10:30"), make_rows(tuesday, "15:00", "15:30")])
    twice = pd.concat([rows, rows.assign(symbol_id=2)])
    assert find_days_traded_outside(Columns(twice), grid, FIVE) == {date(2026, 1, 12): 2, date(2026, 1, 13): 2}


def test_a_row_without_volume_is_a_trade_where_the_profile_says_so() -> None:
    for null_volume, unknown in ((NullVolume.QUOTE, []), (NullVolume.TRADE, [False])):
        market = replace(ROUND_THE_CLOCK, null_volume=null_volume)
        session = find_session(market, "2026-06-06")
        rows = pd.concat(
            [make_rows(session, "00:00", "23:25", volume=100 / 6), make_rows(session, "23:30", "23:55", volume=None)]
        )
        built = build_bars(rows, build_slot_grid([session], INTERVALS["30m"]), FIVE)
        assert built.bars["volume_known"].tolist() == [True] * 47 + unknown
        assert built.bars["volume"].dropna().tolist() == [100] * 47
        assert built.ignored_rows["no_volume"] == (6 if null_volume is NullVolume.QUOTE else 0)
        assert (built.ignored_rows["closing"], len(built.rejects)) == (0, 0)


@pytest.mark.parametrize(("market", "is_usable"), [(US, False), (get_profile("TW"), True), (get_profile("JSE"), True)])
def test_a_price_of_a_million_is_a_price_where_the_exchange_has_such(market: MarketProfile, is_usable: bool) -> None:
    session = find_session(market, DAY)
    anchor = market.grid_anchor.isoformat("minutes")
    built = build_bars(make_rows(session, anchor, anchor, price=1_234_567.125), make_grid(market), FIVE)
    assert built.bars["close"].tolist() == ([1_234_567.125] if is_usable else [])
    assert built.rejects["reason"].tolist() == ([] if is_usable else ["price_too_large"])


def test_prices_below_the_limit_keep_six_decimals() -> None:
    market = get_profile("TW")
    session, price = find_session(market, DAY), 999_999_999.123456
    built = build_bars(make_rows(session, "09:00", "09:00", price=price), make_grid(market), FIVE)
    assert built.bars["close"].tolist() == [price]
    too_large = make_rows(session, "09:00", "09:00", price=market.price_limit)
    assert build_bars(too_large, make_grid(market), FIVE).rejects["reason"].tolist() == ["price_too_large"]


def test_a_panel_has_the_days_of_sydney_although_it_opens_on_the_evening_before_in_utc() -> None:
    session = find_session(get_profile("AU"), "2026-01-12")
    grid = build_slot_grid([session], INTERVALS["30m"])
    rows = make_rows(session, "10:00", "15:55")
    values = {name: rows[name].to_numpy(float) for name in PANEL_VALUES}
    ids, stamps = (rows[name].to_numpy(np.int64) for name in ("symbol_id", "timestamp"))
    panel, _, _ = build_panel(ids, stamps, values, grid, 300)
    assert [str(day) for day in panel.session_days] == ["2026-01-12"]
    assert format_session_day(panel, 0) == "2026-01-12"
    lives = ListingLives(
        np.array(["2026-01-12"], "datetime64[D]"),
        np.array(["2026-01-12"], "datetime64[D]"),
        np.ones(1, bool),
        np.ones(1, bool),
    )
    assert find_sessions_outside_listing(panel, lives, np.ones(1, bool)) == []
    assert len(build_bars(rows, grid, FIVE, find_lives=lambda _: lives).bars) == 12


def test_rows_of_a_doubt_after_midnight_in_utc_are_of_the_next_day() -> None:
    first = int(datetime(2026, 1, 11, 23, 55, tzinfo=UTC).timestamp())
    figures = {"row": "23:55 UTC, 00:00 UTC", "volume": "5, 7"}
    assert list_doubted_volumes(first, figures) == [(first, 5.0), (first + 300, 7.0)]


def test_a_daily_row_is_read_on_the_day_of_its_exchange() -> None:
    """A split on 13 January in Sydney; its row was read on the 13th there, which is the 12th in New York."""
    read_at = np.array([datetime(2026, 1, 12, 20, tzinfo=UTC).timestamp()], np.int64)
    days = np.array(["2026-01-12"], "datetime64[D]")
    history = SplitHistory(
        symbol_id=np.ones(1, np.int64),
        ex_date=np.array(["2026-01-13"], "datetime64[D]"),
        ratio=np.array([2.0]),
        read_symbol_id=np.ones(1, np.int64),
        read_at=read_at + 1,
        known_after=np.array(["2020-01-01"], "datetime64[D]"),
        known_until=np.array(["2026-06-01"], "datetime64[D]"),
    )
    volumes = [
        undo_splits(np.array([10.0]), history, np.ones(1, np.int64), days, read_at, np.array([0.5]), zone).tolist()
        for zone in (get_profile("AU").zone, US.zone)
    ]
    assert volumes == [[5.0], [10.0]]


def test_a_rejected_row_names_the_price_limit_of_its_exchange() -> None:
    assert describe_reject("price_too_large", US) == "a price is 1,000,000 or more"
    assert describe_reject("price_too_large", get_profile("LSE")) == "a price is 1,000,000,000 or more"
    assert describe_reject("written by a newer version", US) == "written by a newer version"
