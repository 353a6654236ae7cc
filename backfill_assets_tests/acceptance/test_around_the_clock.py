"""Crypto pairs and currencies over days in which clocks change, weekends and holidays: holes heal, nothing else alarms.

The vendor's rows are as they are recorded: crypto without volume in two rows of five and hours behind, an hour that
stands twice; currencies with rows through the weekend, some of them of nothing but zeros.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.exchange_feed import BreakRows
from backfill_assets.sandbox.exchange_traits import build_feed
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.around_the_clock import (
    SOURCES,
    AroundTheClock,
    Hole,
    aggregate,
    build_exchanges,
    punch,
    utc,
)

pytestmark = pytest.mark.no_cover
MakeWorld = Callable[..., AroundTheClock]
MISSING = {"no_missing_bars"}


@pytest.fixture
def make_world(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeWorld:
    """Make a store and a vendor with so many pairs each; ``days`` sessions are kept."""

    def make(symbols: int, start: datetime, holes: Sequence[Hole], days: int) -> AroundTheClock:
        exchanges = build_exchanges(symbols, holes, (start - timedelta(days=days + 5)).date())
        sandbox = start_sandbox(now=start, symbols=1, per_minute=1_000_000, daily=1_000_000, exchanges=exchanges)
        settings = {
            "requests_per_minute": 1_000_000,
            "exchanges": tuple(SOURCES),
            "as_of": start,
            "partition_days": days,
        }
        clock = AroundTheClock(make_engine(sandbox, (), **settings), sandbox, holes)
        clock.add_all_pairs()
        return clock

    return make


def test_holes_of_two_days_heal(make_world: MakeWorld) -> None:
    """Also in the hour that stands twice; one alarm, of currencies, while their hole is overdue."""
    holes = [
        punch("BTC-USD.CC", "2026-11-01 01:00", 0.5, "2026-11-02 08:10"),
        punch("ETH-USD.CC", "2026-11-02 10:00", 2.0, "2026-11-03 05:00"),
    ]
    clock = make_world(3, utc("2026-11-02 00:00"), holes, 3)
    clock.drive_to("2026-11-02 12:00")
    assert clock.look() == {"CC": set(), "FOREX": set(), "findings": set()}
    clock.drive_to("2026-11-03 09:00")
    assert clock.look() == {"CC": set(), "FOREX": set(), "findings": set()}
    clock.assert_healed_in_time()
    clock.assert_true_bars()
    clock.assert_paid_once()


@pytest.mark.long
def test_november(make_world: MakeWorld) -> None:
    """America's clocks change on the first, a Sunday; the seventh and the eighth are a weekend."""
    holes = [
        punch("BTC-USD.CC", "2026-11-01 01:00", 0.5, "2026-11-02 08:10"),  # in the hour that stands twice
        punch("ETH-USD.CC", "2026-11-02 10:00", 0.5, "2026-11-03 01:10"),
        punch("SHIB-USD.CC", "2026-11-03 00:00", 3.0, "2026-11-03 20:00"),
        punch("SOL-USD.CC", "2026-11-04 00:00", 24.0, "2026-11-06 09:00"),
        punch("EURUSD.FOREX", "2026-11-03 14:00", 0.5, "2026-11-05 00:30"),
        punch("XAUUSD.FOREX", "2026-11-04 02:00", 5.0, "2026-11-05 10:00"),
        punch("GBPUSD.FOREX", "2026-11-04 22:00", 24.0, "2026-11-06 12:00"),  # a trade date
    ]
    clock = make_world(20, utc("2026-11-01 00:00"), holes, 4)
    expected = {
        "2026-11-01 12:00": {"CC": MISSING},  # a Sunday; bitcoin's rows reach beyond the half hour that they lack
        "2026-11-02 12:00": {},
        "2026-11-05 12:00": {"CC": MISSING, "FOREX": MISSING},  # of solana, and of gold
        "2026-11-06 18:00": {},
        "2026-11-07 12:00": {},
        "2026-11-08 12:00": {},
        "2026-11-08 23:30": {},  # the market of currencies is open again
    }
    for moment, failing in expected.items():
        clock.drive_to(moment)
        assert clock.look() == {"CC": set(), "FOREX": set(), "findings": set(), **failing}, moment
    clock.assert_healed_in_time()
    clock.assert_true_bars()
    clock.assert_paid_once()


@pytest.mark.long
def test_christmas_and_new_year(make_world: MakeWorld) -> None:
    """Currencies are not traded on 25 December and 1 January, although the vendor has rows; crypto knows no holiday."""
    holes = [
        punch("USDJPY.FOREX", "2026-12-23 15:00", 0.5, "2026-12-24 05:00"),
        punch("EURCHF.FOREX", "2026-12-23 22:00", 24.0, "2026-12-25 04:00"),  # the trade date before Christmas
        punch("BTC-USD.CC", "2026-12-24 23:30", 1.0, "2026-12-25 10:00"),  # over midnight
        punch("AUDUSD.FOREX", "2026-12-30 10:00", 1.0, "2026-12-31 12:00"),
        punch("DOGE-USD.CC", "2026-12-30 12:00", 24.0, "2027-01-01 05:00"),
    ]
    clock = make_world(20, utc("2026-12-22 00:00"), holes, 4)
    for moment in (
        "2026-12-23 12:00",
        "2026-12-25 12:00",
        "2026-12-26 12:00",  # a Saturday
        "2026-12-27 23:30",
        "2026-12-29 12:00",
        "2027-01-01 12:00",
        "2027-01-02 23:30",
    ):
        clock.drive_to(moment)
        assert clock.look() == {"CC": set(), "FOREX": set(), "findings": set()}, moment
    clock.assert_healed_in_time()
    clock.assert_true_bars()
    clock.assert_paid_once()


@pytest.mark.long
def test_probe_of_a_night(make_world: MakeWorld) -> None:
    """One crypto pair is asked for every half hour, the others when it is their turn."""
    clock = make_world(3, utc("2026-11-04 00:00"), [], 3)
    clock.drive_to("2026-11-04 08:00", with_probes=True)
    asked = sorted(len(moments) for ticker, moments in clock.asked_at.items() if ticker.endswith(".CC"))
    assert asked[:2] in ([2, 2], [2, 3])  # the probe may have been another one
    assert 12 <= asked[2] <= 17
    clock.assert_true_bars()
    clock.assert_paid_once()


TOKYO_HOURS = (("00:00", "02:30"), ("03:30", "06:30"))  # UTC, without the break at noon


def test_a_week_in_tokyo(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> None:
    """A half hour that is lost is missing until the vendor has it; flat rows in the break feed no bar."""
    hole = punch("7203.TSE", "2026-11-10 01:00", 0.5, "2026-11-11 20:00")
    start = utc("2026-11-09 09:30")
    feed = replace(build_feed("TSE"), break_rows=BreakRows.WITH_VOLUME)
    exchange = ExchangeConfig(symbols=4, feed=feed, withheld=(hole.rows,), history_from=date(2026, 10, 26))
    sandbox = start_sandbox(now=start, symbols=1, per_minute=100_000, exchanges={"TSE": exchange})
    settings = {"requests_per_minute": 100_000, "exchanges": ("TSE",), "as_of": start, "partition_days": 3}
    clock = AroundTheClock(make_engine(sandbox, (), **settings), sandbox, [hole], ("TSE",))
    clock.add_all_pairs()
    failing = []
    for moment in ("2026-11-09 12:00", "2026-11-11 06:00", "2026-11-12 12:00", "2026-11-13 12:00"):
        clock.drive_to(moment)
        failing.append(clock.look())
    assert [look["TSE"] & MISSING for look in failing] == [set(), MISSING, set(), set()]
    clock.assert_healed_in_time()
    assert {len(moments) for ticker, moments in clock.asked_at.items() if ticker != hole.ticker} == {5}
    stored = clock.read_bars("TSE")
    world, wanted = clock.get_world("TSE"), {}
    sessions = world.session_index.sessions[world.session_index.slice_days(date(2026, 11, 5), date(2026, 11, 13))]
    for symbol in world.symbols:
        for session in sessions:
            rows = world.get_published_rows(symbol, session, "5m")
            times = [f"{datetime.fromtimestamp(stamp, UTC):%H:%M}" for stamp in rows.timestamps.tolist()]
            is_traded = [any(first <= at < last for first, last in TOKYO_HOURS) for at in times]
            assert len(times) - sum(is_traded) == 12
            traded = rows.select(np.array(is_traded))
            values = zip(traded.timestamps.tolist(), traded.prices.T.tolist(), traded.volumes.tolist(), strict=True)
            wanted.update({(symbol, bar_start): bar for bar_start, bar in aggregate(values, 300)})
    assert stored == wanted
    assert len(stored) == 4 * len(sessions) * 11
