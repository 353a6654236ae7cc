"""The sandbox with several exchanges: each has its own hours, symbols, prices and switches (docs/vendor.md §8)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import numpy as np
import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.exchanges.profile import CalendarOverrides
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.config import ExchangeConfig, SandboxConfig
from backfill_assets.sandbox.exchange_feed import AuctionRows, DailyVolumes, ExchangeFeed, NullVolumeRows
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.exchange_worlds import build_realistic_exchange
from backfill_assets_tests.waiting import LONGEST_SECONDS

NOW = datetime(2024, 12, 30, 18, tzinfo=UTC)
FUND = "0P00007962"
CONFIG = SandboxConfig(
    symbols=3,
    more_symbols=("BHP",),
    now=NOW,
    clock_rate=0.0,
    exchanges={
        "LSE": ExchangeConfig(symbols=3, foreign_copies=5, absences=Absences(daily_only=frozenset({FUND}))),
        "PA": ExchangeConfig(symbols=2),
        "IR": ExchangeConfig(symbols=2, thin=frozenset({"A5G"})),
        "AU": ExchangeConfig(symbols=8, thin=frozenset({"X"})),
    },
)


class Client:
    """Requests of JSON, and of one day of 5m rows by the exchange's own clock."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def get(self, path: str, **params: Any) -> Any:
        query = {"api_token": "x", "fmt": "json", **params}
        response = httpx.get(self.sandbox.base_url + path, params=query, timeout=LONGEST_SECONDS)
        return response.json() if response.status_code == 200 else response.status_code

    def get_day(self, ticker: str, day: date, interval: str = "5m") -> list[dict[str, Any]]:
        """The rows of a session, with ``local``, their time of day at the exchange."""
        session_index = self.sandbox.worlds.get_world(ticker.rpartition(".")[2]).session_index
        session = session_index.find_session(day)
        assert session is not None
        start, end = int(session.open.timestamp()), int(session.close.timestamp()) + 3600
        rows: list[dict[str, Any]] = self.get(
            f"/intraday/{ticker}", interval=interval, **{"from": start - 3600, "to": end}
        )
        zone = session.market.zone
        return [{**row, "local": f"{datetime.fromtimestamp(row['timestamp'], zone):%H:%M}"} for row in rows]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Sandbox(CONFIG) as sandbox:
        yield Client(sandbox)


def make_sandbox(feed: ExchangeFeed, exchange: str = "LSE", **more: Any) -> Sandbox:
    config = ExchangeConfig(symbols=3, feed=feed, **more)
    return Sandbox(SandboxConfig(symbols=1, now=NOW, clock_rate=0.0, exchanges={exchange: config}))


@pytest.mark.parametrize(
    ("ticker", "day", "first", "last", "rows"),
    [
        ("VOD.LSE", date(2024, 12, 23), "08:00", "16:25", 102),
        ("VOD.LSE", date(2024, 12, 24), "08:00", "12:25", 54),
        ("MC.PA", date(2024, 12, 24), "09:00", "14:00", 61),  # closes at 14:05
        ("RYA.IR", date(2024, 12, 23), "08:00", "16:25", 102),  # closes at 16:28
        ("BHP.AU", date(2024, 12, 23), "10:00", "15:55", 72),  # opens on the previous UTC day
    ],
)
def test_intraday_rows_are_in_the_hours_of_the_exchange(
    client: Client, ticker: str, day: date, first: str, last: str, rows: int
) -> None:
    found = client.get_day(ticker, day)
    assert (found[0]["local"], found[-1]["local"], len(found)) == (first, last, rows)
    one_minute = client.get_day(ticker, day, "1m")
    assert one_minute[0]["local"] == first
    assert one_minute[-1]["local"] >= last


def test_a_session_appears_hours_after_its_own_close(client: Client) -> None:
    """London closes at 16:30 and is published from 19:00 on, Sydney long before."""
    assert client.get("/intraday/VOD.LSE")[-1]["datetime"] < "2024-12-30"
    assert client.get("/intraday/BHP.AU")[-1]["datetime"] == "2024-12-30 04:55:00"


def test_equal_symbols_of_two_exchanges_have_nothing_in_common(client: Client) -> None:
    at_home, abroad = (
        {row["date"]: row["close"] for row in client.get(f"/eod/BHP.{exchange}", **{"from": "2024-01-01"})}
        for exchange in ("AU", "US")
    )
    both = at_home.keys() & abroad.keys()
    assert len(both) > 200
    assert np.corrcoef([[at_home[day], abroad[day]] for day in both], rowvar=False)[0, 1] < 0.99
    assert not any(at_home[day] == abroad[day] for day in both)


def test_lists_have_the_unit_the_copies_and_the_fund_of_the_exchange(client: Client) -> None:
    rows = {row["Code"]: row for row in client.get("/exchange-symbol-list/LSE")}
    assert list(rows)[:3] == ["VOD", "BP", "SHEL"]
    assert {rows[code]["Currency"] for code in ("VOD", "BP")} == {"GBX"}
    copies = [code for code in rows if len(code) == 4 and code.startswith("0")]
    assert len(copies) == 5
    assert {rows[code]["Currency"] for code in copies} == {"EUR", "USD", "GBP"}
    assert rows[FUND]["Type"] == "FUND"
    assert {row["Exchange"] for row in rows.values()} == {"LSE"}
    codes = {row["Code"]: row["OperatingMIC"] for row in client.get("/exchanges-list")}
    assert codes == {"US": "XNAS, XNYS, OTCM", "LSE": "XLON", "PA": "XPAR", "IR": "XDUB", "AU": "XASX"}


def test_details_have_the_hours_and_holidays_of_the_exchange(client: Client) -> None:
    details = client.get("/exchange-details/AU", **{"from": "2024-12-20", "to": "2025-01-03"})
    assert (details["Timezone"], details["Currency"]) == ("Australia/Sydney", "AUD")
    assert (details["TradingHours"]["Open"], details["TradingHours"]["OpenUTC"]) == ("10:00:00", "23:00:00")
    assert [row["Date"] for row in details["ExchangeHolidays"].values()] == ["2024-12-25", "2024-12-26", "2025-01-01"]
    early = {row["Date"]: row["EarlyClose"] for row in details["ExchangeEarlyCloseDays"].values()}
    assert early == {"2024-12-24": "14:10", "2024-12-31": "14:10"}


def test_daily_file_of_an_exchange_carries_names_forward(client: Client) -> None:
    """A name without a trade stands there with four equal prices, those of the last close, and volume 0."""
    history = client.get("/eod/X.AU", **{"from": "2024-01-01"})
    at = next(index for index, row in enumerate(history) if row["volume"] == 0 and index)
    file = {row["code"]: row for row in client.get("/eod-bulk-last-day/AU", date=history[at]["date"])}
    assert len(file) == 8
    assert {row["exchange_short_name"] for row in file.values()} == {"AU"}
    assert {file["X"][price] for price in ("open", "high", "low", "close")} == {history[at - 1]["close"]}
    assert file["X"]["volume"] == 0
    assert any(row["volume"] != int(row["volume"]) for row in client.get("/eod/BHP.AU"))


def test_what_only_the_us_has_is_absent_elsewhere(client: Client) -> None:
    assert client.get("/real-time/VOD.LSE")["timestamp"] == "NA"
    assert client.get("/real-time/AAPL.US", ex="LSE") == 404
    assert client.get("/us-quote-delayed", s="VOD.LSE")["data"] == {}
    assert client.get("/intraday/VOD.XETRA") == 404  # not served here
    assert client.get("/intraday/AAPL.LSE") == 404
    assert client.get("/eod-bulk-last-day/XETRA") == 404


def test_requests_and_calls_are_counted_for_their_exchange(client: Client) -> None:
    client.sandbox.reset_stats()
    for path in ("/intraday/VOD.LSE", "/eod/BHP.AU", "/exchange-details/AU", "/eod/BHP.US", "/user"):
        client.get(path)
    stats = client.sandbox.stats()
    assert stats["by_exchange"] == {"LSE": 1, "AU": 2, "US": 2}
    assert stats["calls_by_exchange"] == {"LSE": 5, "AU": 6, "US": 1}


@pytest.mark.parametrize("auction", [AuctionRows.WITH_VOLUME, AuctionRows.WITHOUT_VOLUME])
def test_closing_auction_has_a_row_after_the_close(auction: AuctionRows) -> None:
    sandbox = make_sandbox(ExchangeFeed("GBX", auction=auction))
    with sandbox:
        last = Client(sandbox).get_day("VOD.LSE", date(2024, 12, 23))[-1]
    assert last["local"] == "16:35"
    assert last["open"] == last["high"] == last["low"] == last["close"]
    assert (last["volume"] is not None) == (auction is AuctionRows.WITH_VOLUME)


@pytest.mark.parametrize("kind", [NullVolumeRows.QUOTES, NullVolumeRows.TRADES])
def test_rows_without_a_volume_are_quotes_or_trades(kind: NullVolumeRows) -> None:
    sandbox = make_sandbox(ExchangeFeed("GBX", null_volume=kind, null_volume_share=0.5))
    day = date(2024, 12, 23)
    with sandbox:
        rows = Client(sandbox).get_day("VOD.LSE", day)
    world = sandbox.worlds.get_world("LSE")
    session = world.session_index.find_session(day)
    assert session is not None
    bars = world.true_bars("VOD", session, INTERVALS["30m"], "5m")
    feeding = [row for row in rows if row["volume"] is not None or kind is NullVolumeRows.TRADES]
    assert 0.3 < sum(row["volume"] is None for row in rows) / len(rows) < 0.7
    assert bars["high"].max() == max(row["high"] for row in feeding)
    assert bars["volume"].sum() == sum(row["volume"] or 0 for row in rows)


def test_daily_volumes_of_market_makers_say_nothing() -> None:
    sandbox = make_sandbox(ExchangeFeed("AUD", daily_volumes=DailyVolumes.MEANINGLESS), "AU", thin=frozenset({"BHP"}))
    with sandbox:
        rows = Client(sandbox).get("/eod/BHP.AU", **{"from": "2024-01-01"})
    world = sandbox.worlds.get_world("AU")
    says_traded, traded = [], []
    for row in rows:
        session = world.session_index.find_session(date.fromisoformat(row["date"]))
        assert session is not None
        says_traded.append(row["volume"] > 0)
        traded.append(world.get_official_bar("BHP", session).volume > 0)
    assert set(zip(says_traded, traded, strict=True)) >= {(False, True), (True, False), (True, True)}


def test_real_sessions_may_differ_from_the_calendar() -> None:
    closure = CalendarOverrides(closures=frozenset({date(2024, 12, 23)}))
    sandbox = make_sandbox(ExchangeFeed("GBX"), overrides=closure)
    assert sandbox.worlds.get_world("LSE").session_index.find_session(date(2024, 12, 23)) is None


def test_us_is_not_configured_as_another_exchange() -> None:
    for exchange in ("US", "XLON"):
        with pytest.raises(UsageError, match=exchange):
            SandboxConfig(exchanges={exchange: ExchangeConfig()})


@pytest.mark.parametrize("exchange", ["LSE", "TSE", "HK", "SHG"])
def test_volumes_of_realistic_exchanges_are_no_running_totals(exchange: str) -> None:
    """They were seen in the US alone; there a first run of one symbol would be half in doubt in a month of fifty."""
    assert build_realistic_exchange(exchange, 4).quirks.cumulative_volume_months == 0


def test_realistic_exchange_is_served() -> None:
    config = {"LSE": build_realistic_exchange("LSE", 4)}
    with Sandbox(SandboxConfig(symbols=1, now=NOW, clock_rate=0.0, exchanges=config)) as sandbox:
        client = Client(sandbox)
        assert len(client.get("/exchange-symbol-list/LSE")) == 4 + 8 + 1
        assert client.get("/intraday/HSBA.LSE")
        assert client.get(f"/intraday/{FUND}.LSE") == []
        assert client.get(f"/eod/{FUND}.LSE")
