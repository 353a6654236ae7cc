"""The sandbox over HTTP: every endpoint responds as docs/vendor.md describes."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.sandbox.actions import CashDividend, Split
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.waiting import LONGEST_SECONDS

NOON = datetime(2026, 6, 3, 16, tzinfo=UTC)  # a Wednesday, 12:00 in New York
MONDAY, DAY = 1780272000, 86400  # 2026-06-01T00:00Z
SETTINGS = SandboxConfig(
    symbols=60,
    now=NOON,
    clock_rate=0.0,
    thin=frozenset({"GE"}),
    listed={"NEW": date(2026, 6, 2)},
    delisted={"DEAD": date(2026, 5, 20)},
    renamed={"FB": ("FBM", date(2026, 5, 4))},
    publication=Publication(never_published=frozenset({("MSFT", date(2026, 6, 1))})),
)


class SandboxClient:
    """A plain HTTP client, independent of the client of the package."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._http = httpx.Client(timeout=LONGEST_SECONDS)

    def get(self, path: str, **params: Any) -> httpx.Response:
        query = {name.rstrip("_"): value for name, value in params.items()}
        return self._http.get(self.sandbox.base_url + path, params={"api_token": "x", "fmt": "json", **query})

    def control(self, path: str, body: Any = None) -> httpx.Response:
        url = self.sandbox.base_url.removesuffix("/api") + path
        return self._http.get(url) if body is None else self._http.post(url, json=body)

    def get_rows(
        self, ticker: str, interval: str = "5m", start: int = MONDAY, end: int = MONDAY + 4 * DAY
    ) -> list[Any]:
        response = self.get(f"/intraday/{ticker}", interval=interval, from_=start, to=end)
        assert response.status_code == 200
        rows: list[Any] = response.json()
        return rows

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SETTINGS) as sandbox:
        yield sandbox


@pytest.fixture
def client(shared_sandbox: Sandbox) -> Iterator[SandboxClient]:
    shared_sandbox.move_clock(NOON)
    shared_sandbox.reset_stats()
    client = SandboxClient(shared_sandbox)
    yield client
    client.close()


def test_intraday_is_a_json_array_in_the_recorded_form(client: SandboxClient) -> None:
    response = client.get("/intraday/AAPL.US", interval="5m", from_=MONDAY, to=MONDAY + 4 * DAY)
    rows = response.json()
    assert response.headers["content-type"] == "application/json"
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.headers["x-ratelimit-limit"] == "1200"
    assert "x-ratelimit-reset" not in response.headers
    assert "content-encoding" not in response.headers
    assert list(rows[0]) == ["timestamp", "gmtoffset", "datetime", "open", "high", "low", "close", "volume"]
    assert (rows[0]["timestamp"], rows[0]["datetime"]) == (1780320600, "2026-06-01 13:30:00")
    assert rows[78]["volume"] is None
    assert len(rows) == 158  # two published sessions, none of today
    assert client.sandbox.stats()["calls"] == 5


def test_served_rows_equal_the_true_bars(client: SandboxClient) -> None:
    world = client.sandbox.world
    session = world.session_index.find_session(date(2026, 6, 2))
    assert session is not None
    served = [row for row in client.get_rows("AAPL.US") if row["volume"] and row["timestamp"] > MONDAY + DAY]
    true_bars = world.true_bars("AAPL", session, INTERVALS["5m"], "5m")
    for column in ("timestamp", "open", "high", "low", "close", "volume"):
        assert [row[column] for row in served] == true_bars[column].tolist()


def test_from_and_to_are_inclusive_and_can_lie_inside_a_session(client: SandboxClient) -> None:
    rows = client.get_rows("AAPL.US", start=1780320900, end=1780321500)
    assert [row["timestamp"] for row in rows] == [1780320900, 1780321200, 1780321500]
    rows_1m = client.get_rows("AAPL.US", "1m", start=1780344000, end=1780344060)
    assert [row["timestamp"] for row in rows_1m] == [1780344000, 1780344060]


def test_session_is_empty_before_publication_and_complete_after(client: SandboxClient) -> None:
    after = MONDAY + 2 * DAY
    assert client.get_rows("AAPL.US", start=after) == []
    client.sandbox.move_clock(datetime(2026, 6, 3, 22, 29, tzinfo=UTC))
    assert client.get_rows("AAPL.US", start=after) == []
    client.sandbox.move_clock(datetime(2026, 6, 3, 23, 1, tzinfo=UTC))
    assert len(client.get_rows("AAPL.US", start=after)) == 79
    assert client.get_rows("AAPL.US", "1m", start=after + 43200) == []
    assert client.get_rows("MSFT.US", end=MONDAY + DAY) == []  # never published


def test_too_long_range_is_refused_and_not_cut(client: SandboxClient) -> None:
    for interval, days in (("1m", 120), ("5m", 600), ("1h", 7200)):
        end = int(NOON.timestamp())
        assert client.get("/intraday/NEW.US", interval=interval, from_=end - days * DAY, to=end).status_code == 200
        response = client.get("/intraday/NEW.US", interval=interval, from_=end - days * DAY - 1, to=end)
        message = f"Max period length is {days} days"
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {"errors": {"to": [message], "from": [message]}}
    assert client.sandbox.stats()["calls"] == 15


def test_default_range_is_the_last_120_days(client: SandboxClient) -> None:
    rows = client.get("/intraday/AAPL.US", interval="5m").json()
    assert NOON.timestamp() - 121 * DAY < rows[0]["timestamp"] < NOON.timestamp() - 118 * DAY


@pytest.mark.parametrize("params", [{"interval": "d"}, {"interval": "30m"}, {"from_": "yesterday"}])
def test_invalid_parameters_are_a_422(client: SandboxClient, params: dict[str, str]) -> None:
    response = client.get("/intraday/AAPL.US", **params)
    assert response.status_code == 422
    assert "errors" in response.json()


@pytest.mark.parametrize("ticker", ["NOPE.US", "AAPL.MX", "FB.US", "BRK.B", "BC%2FPA.US"])
def test_unknown_ticker_is_a_404_in_html_and_costs_one_call(client: SandboxClient, ticker: str) -> None:
    response = client.get(f"/intraday/{ticker}")
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert client.sandbox.stats()["calls"] == 1


def test_csv_and_split_dates_have_their_own_columns(client: SandboxClient) -> None:
    split = client.get("/intraday/AAPL.US", from_=MONDAY, **{"split-dt": "1"}).json()
    assert (split[0]["date"], split[0]["time"]) == ("2026-06-01", "13:30:00")
    assert "datetime" not in split[0]
    lines = client.get("/intraday/AAPL.US", from_=MONDAY, fmt="csv").text.splitlines()
    assert lines[0] == "Timestamp,Gmtoffset,Datetime,Open,High,Low,Close,Volume"
    assert len(lines) == 159


def test_1h_rows_start_at_the_open(client: SandboxClient) -> None:
    stamps = [row["datetime"][11:16] for row in client.get_rows("AAPL.US", "1h", end=MONDAY + DAY)]
    assert stamps == ["13:30", "14:30", "15:30", "16:30", "17:30", "18:30", "19:30"]


def test_delisted_ticker_has_its_history_and_new_ticker_has_none(client: SandboxClient) -> None:
    assert len(client.get_rows("DEAD.US", start=MONDAY - 20 * DAY)) == 79 * 7
    assert client.get_rows("DEAD.US") == []
    assert len(client.get_rows("NEW.US")) == 79


def test_live_quote_is_one_object_15_minutes_old(client: SandboxClient) -> None:
    quote = client.get("/real-time/AAPL.US").json()
    age = NOON.timestamp() - quote["timestamp"]
    assert 15 * 60 <= age <= 17 * 60
    assert quote["code"] == "AAPL.US"
    assert quote["low"] <= min(quote["open"], quote["close"]) <= quote["high"]
    assert quote["change"] == pytest.approx(quote["close"] - quote["previousClose"], abs=1e-4)
    client.sandbox.move_clock(NOON + timedelta(hours=1))
    later = client.get("/real-time/AAPL.US").json()
    assert later["volume"] > quote["volume"]
    assert later["high"] >= quote["high"]
    assert later["open"] == quote["open"]


def test_before_the_open_the_quote_of_the_last_session_is_served(client: SandboxClient) -> None:
    session = client.sandbox.world.session_index.find_session(date(2026, 6, 2))
    assert session is not None
    client.sandbox.move_clock(datetime(2026, 6, 3, 3, tzinfo=UTC))
    evening = client.get("/real-time/AAPL.US").json()
    client.sandbox.move_clock(datetime(2026, 6, 3, 13, 29, tzinfo=UTC))
    assert client.get("/real-time/AAPL.US").json() == evening
    assert 28 * 60 <= evening["timestamp"] - session.close.timestamp() < 30 * 60
    assert evening["close"] == client.sandbox.world.get_official_bar("AAPL", session).close


def test_live_batch_is_an_array_with_na_for_delisted_tickers(client: SandboxClient) -> None:
    batch = client.get("/real-time/AAPL.US", s="DEAD.US,NOPE.US,FB.US,FBM,GE.US").json()
    assert [quote["code"] for quote in batch] == ["AAPL.US", "DEAD.US", "NOPE.US", "FB.US", "FBM.US", "GE.US"]
    for quote in batch[1:4]:
        assert {value for name, value in quote.items() if name not in {"code", "gmtoffset"}} == {"NA"}
    assert isinstance(batch[4]["close"], float)
    assert client.sandbox.stats()["calls"] == 6


def test_exchange_quotes_cost_100_calls_and_include_delisted_tickers(client: SandboxClient) -> None:
    quotes = {quote["code"]: quote for quote in client.get("/real-time/AAPL.US", ex="US").json()}
    assert len(quotes) == 63
    assert datetime.fromtimestamp(quotes["DEAD.US"]["timestamp"], UTC).date() == date(2026, 5, 20)
    assert client.sandbox.stats()["calls"] == 100


def test_delayed_quotes_omit_unknown_tickers_and_are_four_hours_off(client: SandboxClient) -> None:
    body = client.get("/us-quote-delayed", s="AAPL.US,NOPE.US,DEAD.US").json()
    quote = body["data"]["AAPL.US"]
    assert list(body["data"]) == ["AAPL.US"]
    assert body["meta"] == {"count": 1}
    assert body["links"] == {"next": None}
    assert quote["timestamp"] == quote["lastTradeTime"] / 1000 + 14400
    assert quote["ethTime"] / 1000 < NOON.timestamp() - 12 * 3600
    assert client.sandbox.stats()["calls"] == 3
    client.sandbox.move_clock(datetime(2026, 6, 3, 21, tzinfo=UTC))
    after_close = client.get("/us-quote-delayed", s="AAPL.US").json()["data"]["AAPL.US"]
    assert (
        after_close["ethTime"] == after_close["lastTradeTime"] > datetime(2026, 6, 3, 20, tzinfo=UTC).timestamp() * 1000
    )


def test_delayed_quotes_have_pages(client: SandboxClient) -> None:
    body = client.get("/us-quote-delayed", s="AAPL.US,MSFT.US,AMZN.US", **{"page[limit]": 2}).json()
    assert list(body["data"]) == ["AAPL.US", "MSFT.US"]
    assert "page[offset]=2" in body["links"]["next"]
    assert "api_token" not in body["links"]["next"]
    assert client.get("/us-quote-delayed", s="AAPL.US", **{"page[limit]": 101}).status_code == 422
    assert client.get("/us-quote-delayed").status_code == 422


def test_eod_has_the_whole_history_and_the_official_close(client: SandboxClient) -> None:
    response = client.get("/eod/AAPL.US")
    rows = response.json()
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == "Accept-Encoding"
    assert (rows[0]["date"], rows[-1]["date"]) == ("2018-01-02", "2026-06-02")
    assert list(rows[0]) == ["date", "open", "high", "low", "close", "adjusted_close", "volume"]
    close_price = client.get_rows("AAPL.US")[-1]["close"]
    assert np.float32(close_price) == pytest.approx(np.float32(rows[-1]["close"]), abs=2e-6)
    assert client.sandbox.stats()["calls"] == 6


def test_eod_volume_is_split_adjusted_and_close_is_not(client: SandboxClient) -> None:
    rows = client.get("/eod/AAPL.US", from_="2020-08-28", to="2020-08-31").json()
    before, after = rows
    assert before["close"] == pytest.approx(4 * before["adjusted_close"])
    assert after["close"] == after["adjusted_close"]
    friday = client.sandbox.world.session_index.find_session(date(2020, 8, 28))
    assert friday is not None
    one_minute_volume = client.sandbox.world.get_published_rows("AAPL", friday, "1m").volumes.sum()
    assert 0.2 < one_minute_volume / before["volume"] < 0.26


def test_eod_parameters_change_period_order_and_filter(client: SandboxClient) -> None:
    may = {"from_": "2026-05-01", "to": "2026-05-31"}
    days = client.get("/eod/AAPL.US", **may).json()
    assert client.get("/eod/AAPL.US", order="d", **may).json() == days[::-1]
    weeks = client.get("/eod/AAPL.US", period="w", **may).json()
    months = client.get("/eod/AAPL.US", period="m", **may).json()
    assert (len(days), len(weeks), len(months)) == (20, 5, 1)
    assert months[0]["high"] == max(row["high"] for row in days)
    assert months[0]["volume"] == sum(row["volume"] for row in days) == sum(row["volume"] for row in weeks)
    assert client.get("/eod/AAPL.US", filter="last_close", **may).json() == days[-1]["close"]
    assert client.get("/eod/AAPL.US", from_="June").status_code == 422
    assert client.get("/eod/AAPL.US", period="y").status_code == 422


def test_eod_has_share_classes_and_delisted_symbols(client: SandboxClient) -> None:
    assert len(client.get("/eod/BRK-B.US").json()) > 2000
    assert client.get("/eod/BRKB.US").json() == []
    assert client.get("/eod/BRK.B").status_code == 404
    assert client.get("/eod/BC/PA.US").status_code == 404
    assert client.get("/eod/NXT(EXP20091224).US").status_code == 422
    assert client.get("/eod/DEAD.US").json()[-1]["date"] == "2026-05-20"


def test_bulk_file_appears_20_minutes_after_the_close_and_equals_eod(client: SandboxClient) -> None:
    assert client.get("/eod-bulk-last-day/US", date="2026-06-03").json() == []
    assert client.get("/eod-bulk-last-day/US", date="2026-05-31").json() == []
    assert client.get("/eod-bulk-last-day/US").json()[0]["date"] == "2026-06-02"
    client.sandbox.move_clock(datetime(2026, 6, 3, 20, 21, tzinfo=UTC))
    rows = {row.pop("code"): row for row in client.get("/eod-bulk-last-day/US").json()}
    assert "DEAD" not in rows
    assert {"AAPL", "FBM", "NEW"} <= rows.keys()
    assert client.sandbox.stats()["calls"] == 400
    for symbol in ("AAPL", "V", "NEW"):
        (eod,) = client.get(f"/eod/{symbol}.US", from_="2026-06-03").json()
        assert {"exchange_short_name": "US", **eod} == rows[symbol]


def test_bulk_file_shows_tickers_without_a_trade(client: SandboxClient) -> None:
    world = client.sandbox.world
    sessions = world.session_index.sessions[world.session_index.slice_days(date(2025, 1, 1), date(2026, 6, 2))]
    without_trades = [s.day for s in sessions if world.get_official_bar("GE", s).volume == 0]
    responses = [client.get("/eod-bulk-last-day/US", date=day, symbols="GE.US").json() for day in without_trades]
    assert {tuple(row["volume"] for row in rows) for rows in responses} == {(), (0,)}
    assert client.sandbox.stats()["calls"] == 101 * len(without_trades)


def test_bulk_file_has_splits(client: SandboxClient) -> None:
    (split,) = client.get("/eod-bulk-last-day/US", type="splits", date="2020-08-31").json()
    assert (split["code"], split["split"]) == ("AAPL", "4.000000/1.000000")
    assert client.get("/eod-bulk-last-day/US", type="dividends").json() == []
    assert client.get("/eod-bulk-last-day/US", type="gossip").status_code == 422
    assert client.get("/eod-bulk-last-day/XETRA").status_code == 404
    assert "name" in client.get("/eod-bulk-last-day/US", filter="extended").json()[0]


def test_dividends_are_listed_by_ticker_and_by_day() -> None:
    dividend = CashDividend(
        date(2026, 6, 2),
        Decimal("0.52"),
        declared_on=date(2026, 5, 4),
        record_on=date(2026, 6, 2),
        paid_on=date(2026, 6, 23),
    )
    actions = {"MSFT": (dividend, Split(date(2026, 6, 3), 4), CashDividend(date(2026, 5, 5), Decimal(3), period=None))}
    config = SandboxConfig(now=NOON, clock_rate=0.0, actions=actions, free_tokens=frozenset({"free"}))
    with Sandbox(config) as sandbox:
        client = SandboxClient(sandbox)
        row = {
            "date": "2026-06-02",
            "declarationDate": "2026-05-04",
            "recordDate": "2026-06-02",
            "paymentDate": "2026-06-23",
            "period": "Quarterly",
            "value": 0.13,
            "unadjustedValue": 0.52,
            "currency": "USD",
        }
        special, quarterly = client.get("/div/MSFT.US").json()
        assert (special["period"], special["declarationDate"], special["value"]) == (None, None, 0.75)
        assert quarterly == row
        assert client.get("/div/MSFT.US", from_="2026-06-01").json() == [row]
        assert client.get("/div/AAPL.US").json() == []
        assert client.get("/div/NOPE.US").status_code == 404
        bulk = client.get("/eod-bulk-last-day/US", type="dividends", date="2026-06-02").json()
        assert bulk == [{"code": "MSFT", "exchange": "US", **row}]
        assert client.get("/div/MSFT.US", api_token="free").status_code == 403  # noqa: S106 - no secret
        assert [client.get(f"/div/{t}.US", api_token="demo").status_code for t in ("MSFT", "SPY")] == [200, 403]  # noqa: S106
        assert client.get("/splits/MSFT.US").json() == [{"date": "2026-06-03", "split": "4.000000/1.000000"}]
        client.close()


def test_old_names_currencies_and_isins_are_in_the_symbol_lists() -> None:
    config = SandboxConfig(
        symbols=5,
        now=NOON,
        clock_rate=0.0,
        renamed={"FB": ("META", date(2022, 6, 9)), "SHORT": ("LONGER", date(2026, 6, 2))},
        delisted={"META_old": date(2022, 1, 28), "GONE_old1": date(2024, 3, 1)},
        currencies={"MSFT": "GBX"},
    )
    with Sandbox(config) as sandbox:
        client = SandboxClient(sandbox)
        sandbox.move_clock(NOON - timedelta(days=2))
        before = {row["Code"]: row for row in client.get("/exchange-symbol-list/US").json()}
        sandbox.move_clock(NOON)
        after = {row["Code"]: row for row in client.get("/exchange-symbol-list/US").json()}
        assert (set(before) - set(after), set(after) - set(before)) == ({"SHORT"}, {"LONGER"})
        assert after["LONGER"]["Isin"] == before["SHORT"]["Isin"] is not None
        assert (after["MSFT"]["Currency"], after["AAPL"]["Currency"]) == ("GBX", "USD")
        delisted = [row["Code"] for row in client.get("/exchange-symbol-list/US", delisted=1).json()]
        assert delisted == ["META_old", "GONE_old1"]
        assert client.get("/eod/META_old.US", to="2022-02-28").json()[-1]["date"] == "2022-01-28"
        changes = client.get("/symbol-change-history").json()
        assert [row["old_symbol"] for row in changes] == ["SHORT"]  # the list begins on 2022-07-22
        assert [client.get(f"/eod/{name}.US").status_code for name in ("FB", "SHORT", "META")] == [404, 404, 200]
        client.close()


def test_listed_and_delisted_symbols_are_separate_lists(client: SandboxClient) -> None:
    listed = {row["Code"]: row for row in client.get("/exchange-symbol-list/US").json()}
    delisted = [row["Code"] for row in client.get("/exchange-symbol-list/US", delisted=1).json()]
    assert delisted == ["DEAD"]
    assert len(listed) == 62
    assert list(listed["AAPL"]) == ["Code", "Name", "Country", "Exchange", "Currency", "Type", "Isin"]
    assert {row["Isin"] is None for row in listed.values()} == {True, False}
    funds = client.get("/exchange-symbol-list/US", type="etf").json()
    assert {row["Code"] for row in funds} == {"VTI", "SPY", "QQQ"}
    assert len(client.get("/exchange-symbol-list/NASDAQ").json()) < 62
    assert client.get("/exchange-symbol-list/MX").status_code == 404


def test_exchange_details_have_holidays_early_closes_and_hours(client: SandboxClient) -> None:
    body = client.get("/exchange-details/US", from_="2026-01-01", to="2026-12-31").json()
    holidays = {entry["Date"]: entry["Holiday"] for entry in body["ExchangeHolidays"].values()}
    early = {entry["Date"]: entry["EarlyClose"] for entry in body["ExchangeEarlyCloseDays"].values()}
    assert list(body["ExchangeHolidays"])[:2] == ["0", "1"]
    assert holidays["2026-04-03"] == "Good Friday"
    assert len(holidays) == 10
    assert early == {"2026-11-27": "13:00", "2026-12-24": "13:00"}
    assert body["isOpen"] is True
    assert body["TradingHours"]["OpenUTC"] == "13:30:00"
    assert client.sandbox.stats()["calls"] == 5
    assert client.get("/exchange-details/MX").status_code == 404


def test_symbol_changes_list_renamed_tickers(client: SandboxClient) -> None:
    (change,) = client.get("/symbol-change-history").json()
    assert (change["old_symbol"], change["new_symbol"], change["effective"]) == ("FB", "FBM", "2026-05-04")
    assert client.get("/symbol-change-history", from_="2026-05-05").json() == []
    assert len(client.get_rows("FBM.US", start=MONDAY - 60 * DAY)) > 79 * 38


def test_unknown_path_is_a_404(client: SandboxClient) -> None:
    assert client.get("/fundamentals/AAPL.US").status_code == 404
    assert client.sandbox.stats()["by_endpoint"] == {"other": 1}


def test_too_long_query_is_refused(client: SandboxClient) -> None:
    tickers = ",".join(f"S{number:06d}.US" for number in range(900))
    assert client.get("/real-time/AAPL.US", s=tickers).status_code == 414


def test_stats_over_http_are_correct_and_not_counted(client: SandboxClient) -> None:
    client.get_rows("AAPL.US")
    client.get_rows("aapl.us")
    counts = client.control("/__stats").json()
    assert counts == client.sandbox.stats()
    assert counts["requests"] == counts["most_in_window"] == 2
    assert counts["per_ticker"] == {"AAPL.US": 2}
    assert counts["by_status"] == {"200": 2}
    assert client.control("/__stats/reset", {}).json()["requests"] == 0


def test_clock_can_be_moved_over_http(client: SandboxClient) -> None:
    assert client.control("/__clock", {"now": "2026-06-05T10:00:00-04:00"}).json()["now"] == "2026-06-05T14:00:00+00:00"
    assert client.control("/__clock").json() == {"now": "2026-06-05T14:00:00+00:00", "rate": 0.0}
    assert client.sandbox.clock.now() == datetime(2026, 6, 5, 14, tzinfo=UTC)
    for invalid in ({"now": "soon"}, {"now": "2026-06-05T10:00:00"}, {"rate": -1}, {"speed": 2}, ["now"]):
        response = client.control("/__clock", invalid)
        assert response.status_code == 400
        assert response.json()["error"]
    assert client.control("/__clock", {"rate": 0.0}).status_code == 200


def test_quirks_of_live_and_reference_responses_can_be_enabled() -> None:
    quirks = DataQuirks(
        string_timestamps=1.0, live_unknown_404=True, upper_case_codes=True, details_as_lists=True, to_inclusive=False
    )
    with Sandbox(SandboxConfig(now=NOON, clock_rate=0.0, quirks=quirks)) as sandbox:
        client = SandboxClient(sandbox)
        assert isinstance(client.get("/real-time/AAPL.US").json()["timestamp"], str)
        assert client.get("/real-time/NOPE.US").status_code == 404
        assert client.get("/eod-bulk-last-day/US").json()[0]["Code"] == "AAPL"
        assert isinstance(client.get("/exchange-details/US").json()["ExchangeHolidays"], list)
        assert len(client.get_rows("AAPL.US", start=1780320600, end=1780321200)) == 2
        client.close()


def test_first_daily_rows_are_revised_by_noon_of_the_next_day() -> None:
    quirks = DataQuirks(daily_revisions=1.0, late_daily_rows=1.0, eod_null_prices=0.05, missing_live_quotes=1.0)
    evening = datetime(2026, 6, 2, 23, 30, tzinfo=UTC)
    with Sandbox(SandboxConfig(now=evening, clock_rate=0.0, quirks=quirks)) as sandbox:
        client = SandboxClient(sandbox)
        early = client.get("/eod/MSFT.US").json()
        bulk = {row["code"]: row["volume"] for row in client.get("/eod-bulk-last-day/US").json()}
        assert early[-1]["volume"] == bulk["MSFT"]
        assert any(row["open"] is None and row["close"] is not None for row in early)
        quote = client.get("/real-time/MSFT.US").json()
        assert quote["close"] == "NA"
        assert isinstance(quote["previousClose"], float)
        sandbox.move_clock(datetime(2026, 6, 3, 12, tzinfo=UTC))
        final = client.get("/eod/MSFT.US").json()
        assert 0.93 < early[-1]["volume"] / final[-1]["volume"] < 1
        assert early[:-1] == final[:-1]
        sandbox.move_clock(datetime(2026, 6, 3, 23, 19, tzinfo=UTC))
        assert client.get("/eod-bulk-last-day/US", date="2026-06-03").json() == []
        client.close()


def test_spinoff_changes_earlier_eod_prices_but_not_intraday() -> None:
    config = SandboxConfig(now=NOON, clock_rate=0.0, spinoffs={"MSFT": (date(2026, 6, 2), 2.39)})
    with Sandbox(config) as sandbox:
        client = SandboxClient(sandbox)
        eod = client.get("/eod/MSFT.US", from_="2026-06-01").json()
        close_price = client.get_rows("MSFT.US", end=MONDAY + DAY)[-1]["close"]
        assert close_price / eod[0]["close"] == pytest.approx(2.39, rel=1e-4)
        bulk = client.get("/eod-bulk-last-day/US", date="2026-06-01", symbols="MSFT").json()
        assert bulk[0]["close"] == eod[0]["close"]
        client.close()


def test_thin_ticker_has_its_last_quote_until_it_trades_again(client: SandboxClient) -> None:
    world = client.sandbox.world
    sessions = world.session_index.sessions[world.session_index.slice_days(date(2025, 1, 1), date(2026, 6, 2))]
    without_trades = next(s for s in sessions if world.get_official_bar("GE", s).volume == 0)
    client.sandbox.move_clock(without_trades.close)
    quote = client.get("/real-time/GE.US").json()
    assert datetime.fromtimestamp(quote["timestamp"], UTC).date() < without_trades.day


def test_new_ticker_has_no_previous_close(client: SandboxClient) -> None:
    client.sandbox.move_clock(datetime(2026, 6, 2, 16, tzinfo=UTC))
    quote = client.get("/real-time/NEW.US").json()
    assert isinstance(quote["close"], float)
    assert (quote["previousClose"], quote["change"], quote["change_p"]) == ("NA", "NA", "NA")
    client.sandbox.move_clock(datetime(2026, 6, 2, 13, 40, tzinfo=UTC))
    assert client.get("/real-time/NEW.US").json()["close"] == "NA"
