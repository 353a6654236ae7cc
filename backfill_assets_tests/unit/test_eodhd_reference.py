"""Quotes, daily rows, accounts, symbol lists and exchange details as EODHD.md §3 and §5 show them."""

import json
from datetime import date, time

import numpy as np
import pytest

from backfill_assets.eodhd.eod import parse_bulk_eod, parse_eod
from backfill_assets.eodhd.errors import BrokenAnswer
from backfill_assets.eodhd.quotes import Quote, parse_quotes, split_batches
from backfill_assets.eodhd.reference import (
    AccountUsage,
    Holiday,
    ListedSymbol,
    SymbolChange,
    parse_account,
    parse_exchange_details,
    parse_symbol_changes,
    parse_symbols,
)

LIVE = (
    b'[{"code":"AMD.US","timestamp":1787603340,"gmtoffset":0,"open":468.54,"high":468.54,"low":451,'
    b'"close":456.745,"volume":15968263,"previousClose":473.25,"change":-16.505,"change_p":-3.4876},'
    b'{"code":"RICHTER.BUD","timestamp":"NA","gmtoffset":0,"open":"NA","high":"NA","low":"NA","close":"NA",'
    b'"volume":"NA","previousClose":12880,"change":"NA","change_p":"NA"}]'
)
EOD = {
    "date": "2026-07-09",
    "open": 310.445,
    "high": 316.53,
    "low": 308.16,
    "close": 316.22,
    "adjusted_close": 316.22,
    "volume": 44882363,
}
BULK = {"code": "AAPL", "exchange_short_name": "US", **EOD}


def test_quotes_of_a_batch() -> None:
    traded, absent = parse_quotes(LIVE)
    assert traded == Quote("AMD.US", 1787603340, 468.54, 468.54, 451, 456.745, 15968263, 473.25)
    assert absent == Quote("RICHTER.BUD", previous_close=12880)
    assert (traded.is_absent, absent.is_absent) == (False, True)


def test_a_single_quote_is_an_object_and_its_stamp_may_be_a_string() -> None:
    (quote,) = parse_quotes(b'{"code":"A.US","timestamp":"1787603340","close":"1.5","previousClose":"NA"}')
    assert quote == Quote("A.US", 1787603340, close=1.5)


@pytest.mark.parametrize("raw", [b"[]", b'[{"close":1}]', b'[{"code":"NA"}]'])
def test_quotes_without_a_code_are_none(raw: bytes) -> None:
    assert parse_quotes(raw) == []


def test_batches_hold_at_most_100_and_stay_within_a_url() -> None:
    short = [f"T{n}.US" for n in range(250)]
    assert [len(batch) for batch in split_batches(short)] == [100, 100, 50]
    long = [f"SYMBOL{n:04}.EXCHANGE" for n in range(250)]
    batches = list(split_batches(long))
    assert [ticker for batch in batches for ticker in batch] == long
    assert max(len(",".join(batch)) for batch in batches) <= 1_800
    assert list(split_batches([])) == []


def test_daily_rows() -> None:
    rows = parse_eod(json.dumps([EOD, {**EOD, "date": "2026-07-10", "open": None}, {"date": "soon"}]).encode())
    assert rows.date.tolist() == [date(2026, 7, 9), date(2026, 7, 10)]
    assert rows.volume.tolist() == [44882363] * 2
    assert np.isnan(rows.open[1])
    assert (len(rows), rows.unparsable_rows, rows.warning) == (2, 1, None)


def test_daily_rows_of_a_free_plan_carry_a_warning() -> None:
    rows = parse_eod(json.dumps([{**EOD, "warning": "limited"}]).encode())
    assert (len(rows), rows.warning) == (1, "limited")
    assert len(parse_eod(b"[]")) == 0


def test_bulk_rows_in_either_case_are_the_same() -> None:
    upper = {name.capitalize(): value for name, value in BULK.items()}
    for row in (BULK, upper, {**BULK, "close": "316.22"}):
        rows = parse_bulk_eod(json.dumps([row, row]).encode())
        assert rows.code.tolist() == ["AAPL", "AAPL"]
        assert rows.date.tolist() == [date(2026, 7, 9)] * 2
        assert rows.close.tolist() == [316.22] * 2
        assert rows.adjusted_close.tolist() == [316.22] * 2
        assert (len(rows), rows.unparsable_rows) == (2, 0)


def test_bulk_rows_without_code_or_date_are_counted() -> None:
    rows = parse_bulk_eod(json.dumps([BULK, {**BULK, "code": None}, {**BULK, "date": "2026-13-45"}]).encode())
    assert (len(rows), rows.unparsable_rows) == (1, 2)
    assert len(parse_bulk_eod(b"[]")) == 0


def test_the_account() -> None:
    raw = (
        b'{"subscriptionType":"monthly","apiRequests":5301,"apiRequestsDate":"2026-01-25","dailyRateLimit":100000,'
        b'"extraLimit":"500","inviteToken":null,"availableMarketplaceDataFeeds":[]}'
    )
    assert parse_account(raw) == AccountUsage(5301, date(2026, 1, 25), 100000, 500)


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"name":"x"}'])
def test_an_account_without_numbers_is_broken(raw: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parse_account(raw)


def test_the_symbol_list() -> None:
    raw = (
        b'[{"Code":"AB","Name":"Atok Big Wedge Co Inc","Country":"Philippines","Exchange":"PSE","Currency":"PHP",'
        b'"Type":"Common Stock","Isin":"PHY044931210"},{"Code":"NA1","Name":null,"Isin":null},{"Name":"nameless"}]'
    )
    assert parse_symbols(raw) == [
        ListedSymbol("AB", "Atok Big Wedge Co Inc", "Philippines", "PSE", "PHP", "Common Stock", "PHY044931210"),
        ListedSymbol("NA1", None, None, None, None, None, None),
    ]


HOLIDAY = {"Holiday": "Good Friday", "Date": "2026-04-03", "Type": "official"}
EARLY = {"Holiday": "Post-Thanksgiving", "Date": "2026-11-27", "Type": "official", "EarlyClose": "13:00"}


@pytest.mark.parametrize("form", ["map", "list"])
def test_exchange_details(form: str) -> None:
    def listed(row: object) -> object:
        return {"1": row} if form == "map" else [row]

    details = parse_exchange_details(
        json.dumps(
            {
                "Timezone": "America/New_York",
                "ExchangeHolidays": listed(HOLIDAY),
                "ExchangeEarlyCloseDays": listed(EARLY),
                "isOpen": False,
                "TradingHours": {"Open": "09:30:00", "Close": "16:00:00", "WorkingDays": "Mon,Tue,Wed"},
            }
        ).encode()
    )
    assert (details.timezone, details.open_time, details.close_time) == ("America/New_York", time(9, 30), time(16))
    assert (details.working_days, details.is_open) == (("Mon", "Tue", "Wed"), False)
    assert details.holidays == (Holiday(date(2026, 4, 3), "Good Friday", "official"),)
    assert details.early_closes == (Holiday(date(2026, 11, 27), "Post-Thanksgiving", "official", time(13)),)


def test_exchange_details_may_be_almost_empty() -> None:
    details = parse_exchange_details(
        b'{"ExchangeHolidays":[],"ExchangeEarlyCloseDays":{"0":{"Date":"?"}},"TradingHours":{"Open":"late"}}'
    )
    assert (details.holidays, details.early_closes, details.open_time, details.is_open) == ((), (), None, None)
    with pytest.raises(BrokenAnswer):
        parse_exchange_details(b"[]")


def test_symbol_changes() -> None:
    raw = (
        b'[{"exchange":"US","old_symbol":"CBTX","new_symbol":"STEL","company_name":"Stellar Bancorp, Inc.",'
        b'"effective":"2022-10-03"},{"old_symbol":"X"}]'
    )
    assert parse_symbol_changes(raw) == [SymbolChange("US", "CBTX", "STEL", "Stellar Bancorp, Inc.", date(2022, 10, 3))]
