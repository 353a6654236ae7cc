"""The sandbox's crypto pairs, currencies and sessions with a break: its rows are as they are recorded of the vendor."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import httpx
import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.sandbox.around_the_clock import ClockDailyVolumes, RowPublication, Withheld
from backfill_assets.sandbox.config import ExchangeConfig, SandboxConfig
from backfill_assets.sandbox.exchange_feed import BreakRows
from backfill_assets.sandbox.exchange_traits import build_feed
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.exchange_worlds import ExchangeWorlds
from backfill_assets_tests.waiting import LONGEST_SECONDS

NOW = datetime(2026, 11, 9, 12, tzinfo=UTC)
SINCE, LONG_SINCE = date(2026, 1, 1), date(2024, 10, 1)
StartSandbox = Callable[..., Sandbox]


def parse_moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def get(sandbox: Sandbox, path: str, **params: Any) -> Any:
    query = {"api_token": "x", "fmt": "json", **params}
    response = httpx.get(sandbox.base_url + path, params=query, timeout=LONGEST_SECONDS)
    return response.json() if response.status_code == 200 else response.status_code


def get_rows(sandbox: Sandbox, ticker: str, interval: str, first: str, last: str) -> list[dict[str, Any]]:
    bounds = {"from": int(parse_moment(first).timestamp()), "to": int(parse_moment(last).timestamp())}
    rows: list[dict[str, Any]] = get(sandbox, f"/intraday/{ticker}", interval=interval, **bounds)
    return rows


def make_exchange(code: str, withheld: tuple[Withheld, ...] = (), **traits: Any) -> ExchangeConfig:
    """An exchange with other ``traits`` of its rows."""
    feed = build_feed(code)
    assert feed.clock is not None
    feed = replace(feed, clock=replace(feed.clock, **traits))
    return ExchangeConfig(symbols=5, feed=feed, history_from=SINCE, withheld=withheld)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    exchanges = {code: make_exchange(code) for code in ("CC", "FOREX")}
    with Sandbox(SandboxConfig(now=NOW, clock_rate=0.0, symbols=1, exchanges=exchanges)) as sandbox:
        yield sandbox


def test_rows_of_a_crypto_pair(sandbox: Sandbox) -> None:
    """Null volumes with moving prices, multiples of 1,024, a flat row at 03:29, and no night or weekend."""
    rows = get_rows(sandbox, "BTC-USD.CC", "5m", "2026-10-25 00:00", "2026-10-31 23:59")
    priced = [row for row in rows if row["open"] is not None]
    assert 0.98 < len(rows) / (7 * 288) < 1.0
    assert 0 < len(rows) - len(priced) < 15
    without_volume = [row for row in priced if row["volume"] is None]
    assert 0.37 < len(without_volume) / len(priced) < 0.43
    assert sum(row["high"] > row["low"] for row in without_volume) > 0.99 * len(without_volume)
    assert {row["volume"] % 1024 for row in priced if row["volume"] is not None} == {0}
    assert all(row["low"] <= min(row["open"], row["close"]) <= row["high"] for row in priced)
    beside_grid = [row for row in rows if row["timestamp"] % 300]
    assert {row["datetime"][11:] for row in beside_grid} == {"03:29:00"}
    assert {(row["high"] - row["low"], row["volume"]) for row in beside_grid} == {(0.0, None)}


@pytest.mark.parametrize(("day", "times"), [("2026-03-08", 2), ("2026-11-01", 2), ("2026-03-15", 1)])
def test_an_hour_stands_twice_where_american_clocks_change(sandbox: Sandbox, day: str, times: int) -> None:
    rows = get_rows(sandbox, "BTC-USD.CC", "5m", f"{day} 00:00", f"{day} 03:00")
    stamps = Counter(row["datetime"][11:13] for row in rows)
    assert 11 * times <= stamps["01"] <= 12 * times
    assert stamps["00"] <= 12
    by_stamp: dict[int, set[float]] = {}
    for row in rows:
        by_stamp.setdefault(row["timestamp"], set()).add(row["close"])
    assert (max(map(len, by_stamp.values())) == 2) is (times == 2)


def test_the_newest_rows_are_hours_old_and_some_series_ended(sandbox: Sandbox) -> None:
    world = sandbox.worlds.get_world("CC")
    ages = set()
    for symbol in world.symbols:
        newest = get_rows(sandbox, f"{symbol}.CC", "5m", "2026-11-08 00:00", "2026-11-09 12:00")[-1]
        ages.add(round((NOW.timestamp() - newest["timestamp"]) / 3600, 1))
    assert 6.0 < min(ages) < max(ages) <= 10.2
    assert len(ages) > 2
    assert get_rows(sandbox, "BTC-USD.CC", "1m", "2026-08-01 00:00", "2026-11-09 12:00") == []
    assert get_rows(sandbox, "BTC-USD.CC", "1m", "2026-07-13 00:00", "2026-07-31 00:00")[-1]["datetime"] < "2026-07-14"
    assert (
        get_rows(sandbox, "ETH-USD.CC", "1m", "2026-11-08 00:00", "2026-11-09 12:00")[-1]["datetime"] < "2026-11-09 02"
    )


def test_small_coins_have_eight_significant_digits(sandbox: Sandbox) -> None:
    for ticker, price in (("SHIB-USD.CC", 1.2e-05), ("BABYDOGE-USD.CC", 1.5e-09)):
        rows = get_rows(sandbox, ticker, "5m", "2026-11-05 00:00", "2026-11-05 06:00")
        closes = [row["close"] for row in rows if row["close"] is not None]
        assert all(0.5 * price < close < 2 * price for close in closes)
        assert all(float(f"{close:.7e}") == close for close in closes)
        assert len(set(closes)) > 60


def test_currencies_have_rows_through_the_weekend(sandbox: Sandbox) -> None:
    """60 an hour that go nowhere, some with prices of 0; of gold at 1m only; 5m is another source."""
    saturday = get_rows(sandbox, "EURUSD.FOREX", "1m", "2026-10-31 00:00", "2026-10-31 23:59")
    assert len(saturday) == 1440
    zeros = [row for row in saturday if row["close"] == 0]
    assert 3 < len(zeros) < 40
    priced = [row["close"] for row in saturday if row["close"]]
    assert np.std(priced) < 0.0005
    assert all(row["volume"] > 0 for row in saturday)
    on_change = get_rows(sandbox, "EURUSD.FOREX", "1m", "2026-11-01 01:00", "2026-11-01 01:59")
    assert {row["high"] for row in on_change} == {0.0}
    friday = {
        row["timestamp"]: row for row in get_rows(sandbox, "EURUSD.FOREX", "1m", "2026-10-30 12:00", "2026-10-30 15:59")
    }
    assert len(friday) == 240
    other = get_rows(sandbox, "EURUSD.FOREX", "5m", "2026-10-30 12:00", "2026-10-30 15:59")
    assert all(row["open"] != friday[row["timestamp"]]["open"] for row in other[:5])
    assert get_rows(sandbox, "XAUUSD.FOREX", "5m", "2026-10-30 12:00", "2026-10-30 15:59") == []
    assert len(get_rows(sandbox, "XAUUSD.FOREX", "1m", "2026-10-30 12:00", "2026-10-30 15:59")) == 240


def test_other_intervals_of_currencies_have_lows_near_zero(sandbox: Sandbox) -> None:
    rows = get_rows(sandbox, "EURUSD.FOREX", "5m", "2026-10-01 00:00", "2026-10-31 00:00")
    near_zero = [row for row in rows if 0 < row["low"] < 0.01]
    assert 0 < len(near_zero) < 30
    assert all(row["close"] > 1 for row in near_zero)


def test_daily_candles_of_currencies_are_of_utc_days(start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(
        now=NOW,
        symbols=1,
        exchanges={
            "FOREX": make_exchange("FOREX", daily_volumes=ClockDailyVolumes.NULL),
            "CC": make_exchange("CC"),
        },
    )
    rows = get(sandbox, "/eod/EURUSD.FOREX", **{"from": "2026-11-05"})
    assert [row["date"] for row in rows] == ["2026-11-05", "2026-11-06", "2026-11-07", "2026-11-08"]
    assert {row["volume"] for row in rows} == {None}
    minutes = get_rows(sandbox, "EURUSD.FOREX", "5m", "2026-11-05 00:00", "2026-11-05 23:59")
    assert (rows[0]["open"], rows[0]["close"]) == (minutes[0]["open"], minutes[-1]["close"])
    coins = get(sandbox, "/eod/BTC-USD.CC", **{"from": "2026-11-08"})
    assert [row["volume"] > 0 for row in coins] == [True]


def test_currencies_may_be_published_in_session_or_after_the_close(start_sandbox: StartSandbox) -> None:
    now = parse_moment("2026-11-05 12:00")
    trailing = {"publication": RowPublication.TRAILING, "trailing_hours": {"1m": (0.25, 0.25)}}
    for traits, newest in (({}, "2026-11-04 21:59:00"), (trailing, "2026-11-05 11:44:00")):
        sandbox = start_sandbox(now=now, symbols=1, exchanges={"FOREX": make_exchange("FOREX", **traits)})
        assert get_rows(sandbox, "EURUSD.FOREX", "1m", "2026-11-04 12:00", "2026-11-05 12:00")[-1]["datetime"] == newest


def test_rows_are_withheld_until_a_moment(start_sandbox: StartSandbox) -> None:
    hole = Withheld("BTC-USD", *map(parse_moment, ("2026-11-05 10:00", "2026-11-05 10:30", "2026-11-09 13:00")))
    sandbox = start_sandbox(now=NOW, symbols=1, exchanges={"CC": make_exchange("CC", (hole,))})
    for moment, count in (("2026-11-09 12:59", 12), ("2026-11-09 13:00", 18)):
        sandbox.move_clock(parse_moment(moment))
        rows = get_rows(sandbox, "BTC-USD.CC", "5m", "2026-11-05 09:30", "2026-11-05 10:59")
        assert count - 2 <= len(rows) <= count


def test_lists_name_pairs_as_currencies(sandbox: Sandbox) -> None:
    (first, *_) = get(sandbox, "/exchange-symbol-list/CC")
    assert (first["Code"], first["Currency"], first["Type"], first["Isin"]) == ("BTC-USD", "USD", "Currency", None)
    listed = {row["Code"]: row["Currency"] for row in get(sandbox, "/exchange-symbol-list/FOREX")}
    assert listed["USDJPY"] == "JPY"
    assert "BABYDOGE-USD" in {row["Code"] for row in get(sandbox, "/exchange-symbol-list/CC")}


@pytest.mark.parametrize(
    ("code", "day", "hours", "in_break"),
    [
        ("TSE", "2026-11-05", [("09:00", "11:25"), ("12:30", "15:25")], 12),
        ("TSE", "2024-11-01", [("09:00", "11:25"), ("12:30", "14:55")], 12),  # before its hours were longer
        ("HK", "2026-11-05", [("09:30", "11:55"), ("13:00", "15:55")], 12),
        ("HK", "2025-12-24", [("09:30", "11:55")], 0),  # a half day ends where the break begins
        ("SHG", "2026-11-05", [("09:30", "11:25"), ("13:00", "14:55")], 18),
    ],
)
def test_sessions_with_a_break(code: str, day: str, hours: list[tuple[str, str]], in_break: int) -> None:
    """No rows in the break, or flat ones as a switch; the true bars are the same."""
    bars = []
    for kind in (BreakRows.NONE, BreakRows.WITH_VOLUME, BreakRows.WITHOUT_VOLUME):
        exchange = ExchangeConfig(symbols=1, feed=replace(build_feed(code), break_rows=kind), history_from=LONG_SINCE)
        now = parse_moment(f"{day} 23:00")
        world = ExchangeWorlds(SandboxConfig(symbols=1, now=now, exchanges={code: exchange})).get_world(code)
        session = world.session_index.find_session(now.date())
        assert session is not None
        stamps = world.get_published_rows(world.symbols[0], session, "5m").timestamps.tolist()
        local = [f"{datetime.fromtimestamp(stamp, session.market.zone):%H:%M}" for stamp in stamps]
        inside = [at for at in local if any(first <= at <= last for first, last in hours)]
        assert {at for span in hours for at in span} <= set(inside)
        assert len(local) - len(inside) == (0 if kind is BreakRows.NONE else in_break)
        bars.append(world.true_bars(world.symbols[0], session, INTERVALS["30m"], "5m"))
        assert len(inside) == 6 * len(bars[-1])
    assert bars[0].equals(bars[1])
    assert bars[0].equals(bars[2])


def test_hours_name_lunch_breaks(sandbox: Sandbox) -> None:
    codes = get(sandbox, "/v2/exchange-details")["data"]
    assert {"XIDX", "XBKK", "XKLS", "XPHS", "XTKS", "XHKG"} <= set(codes)
    tokyo = get(sandbox, "/v2/exchange-details/xtks")["data"]
    hours = tokyo["TradingHours"]
    assert (hours["LunchBreakStart"], hours["LunchBreakEnd"]) == ("11:30:00", "12:30:00")
    assert tokyo["ExchangeHolidays"]["2026-11-03"]["Type"] == "Official"
    york = get(sandbox, "/v2/exchange-details/US")["data"]
    assert "LunchBreakStart" not in york["TradingHours"]
    assert york["ExchangeHolidays"]["2026-12-24"] == {
        "Holiday": "Half Day",
        "Type": "EarlyClose",
        "EarlyClose": "13:00:00",
    }
    assert get(sandbox, "/v2/exchange-details/XXXX") == 404
    assert get(sandbox, "/v2/other") == 404


def test_equal_requests_get_equal_rows(sandbox: Sandbox) -> None:
    """A row does not depend on the range that was asked for."""
    whole = get_rows(sandbox, "ETH-USD.CC", "5m", "2026-10-25 00:00", "2026-11-05 00:00")
    part = get_rows(sandbox, "ETH-USD.CC", "5m", "2026-10-31 22:00", "2026-11-01 04:00")
    stamps = {row["timestamp"] for row in part}
    assert part == [row for row in whole if row["timestamp"] in stamps]
