"""Quotes, daily rows, accounts and symbol lists in the forms of docs/vendor.md §3 and §5."""

import json
from datetime import date, time

import numpy as np
import pytest

from backfill_assets.eodhd.eod import parse_bulk_eod, parse_eod
from backfill_assets.eodhd.quotes import parse_exchange_quotes, parse_quotes, split_batches
from backfill_assets.eodhd.reference import (
    parse_account,
    parse_exchange_codes,
    parse_exchange_hours,
    parse_symbol_changes,
    parse_symbols,
)
from backfill_assets.market.vendor import AccountUsage, ListedSymbol, Quote, SymbolChange
from backfill_assets.market.vendor_errors import BrokenAnswer, VendorError

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
    assert traded == Quote("AMD.US", 1787603340, 468.54, 468.54, 451, 456.745, 15968263)
    assert absent == Quote("RICHTER.BUD")


def test_single_quote_is_an_object_with_possibly_a_string_timestamp() -> None:
    (quote,) = parse_quotes(b'{"code":"A.US","timestamp":"1787603340","close":"1.5","previousClose":"NA"}')
    assert quote == Quote("A.US", 1787603340, close=1.5)


def test_no_quotes() -> None:
    assert parse_quotes(b"[]") == []


TRADED = {"code": "A.US", "timestamp": 1787603340, "close": 1}
UNREADABLE_QUOTES = [
    {"close": 1},
    {"code": "NA", "timestamp": 1787603340},
    {"Code": "A.US", "Timestamp": 1787603340},
    {"code": "A.US", "close": 1},
    {"code": "A.US", "timestamp": 1787603340000},
    {"code": "A.US", "timestamp": "2026-08-24 13:49:00"},
]


@pytest.mark.parametrize("unreadable", UNREADABLE_QUOTES)
def test_a_quote_that_cannot_be_read_does_not_cost_its_batch_but_most_of_them_break_it(
    unreadable: dict[str, object],
) -> None:
    quotes = parse_quotes(json.dumps([TRADED, unreadable]).encode())
    assert quotes[0] == Quote("A.US", 1787603340, close=1)
    assert all(quote.timestamp is None for quote in quotes[1:])
    with pytest.raises(BrokenAnswer, match=r"^1 of 1 rows cannot be read .*, for example {"):
        parse_quotes(json.dumps([unreadable]).encode())
    with pytest.raises(BrokenAnswer, match=r"^2 of 3 rows cannot be read"):
        parse_quotes(json.dumps([TRADED, unreadable, unreadable]).encode())


@pytest.mark.parametrize("absent", ["NA", None, ""])
def test_a_quote_without_values_is_readable(absent: object) -> None:
    assert parse_quotes(json.dumps({"code": "A.US", "timestamp": absent}).encode()) == [Quote("A.US")]


def test_one_percent_of_the_exchanges_quotes_may_be_unreadable() -> None:
    many = [TRADED] * 198
    assert len(parse_exchange_quotes(json.dumps([*many, *UNREADABLE_QUOTES[:2]]).encode())) == 198
    with pytest.raises(BrokenAnswer, match=r"^3 of 201 rows cannot be read"):
        parse_exchange_quotes(json.dumps([*many, *UNREADABLE_QUOTES[:3]]).encode())


def test_batches_have_at_most_100_tickers_and_fit_a_url() -> None:
    short = [f"T{n}.US" for n in range(250)]
    assert [len(batch) for batch in split_batches(short)] == [100, 100, 50]
    long = [f"SYMBOL{n:04}.EXCHANGE" for n in range(250)]
    batches = list(split_batches(long))
    assert [ticker for batch in batches for ticker in batch] == long
    assert max(len(",".join(batch)) for batch in batches) <= 1_800
    assert list(split_batches([])) == []


def test_daily_rows() -> None:
    rows = parse_eod(json.dumps([EOD, {**EOD, "date": "2026-07-10", "open": None}]).encode())
    assert rows.date.tolist() == [date(2026, 7, 9), date(2026, 7, 10)]
    assert rows.volume.tolist() == [44882363] * 2
    assert np.isnan(rows.open[1])
    assert (len(rows), rows.warning) == (2, None)


@pytest.mark.parametrize(
    "unreadable",
    [
        {**EOD, "date": "soon"},
        {**EOD, "date": "0001-01-01"},
        {**EOD, "date": "9999-12-31"},
        {**EOD, "date": 1783555200},
        None,
        {"Date": "2026-07-10"},
    ],
)
def test_a_daily_row_that_cannot_be_read_breaks_the_history(unreadable: object) -> None:
    with pytest.raises(BrokenAnswer, match=r"^1 of 3 rows cannot be read \('date' must be YYYY-MM-DD\)"):
        parse_eod(json.dumps([EOD, unreadable, EOD]).encode())


def test_daily_columns_of_another_name_break_the_history() -> None:
    with pytest.raises(BrokenAnswer, match=r"^none of 1 rows has close, volume"):
        parse_eod(json.dumps([{"date": "2026-07-09", "Close": 1, "Volume": 2}]).encode())


def test_daily_rows_of_a_free_plan_carry_a_warning() -> None:
    rows = parse_eod(json.dumps([{**EOD, "warning": "limited"}]).encode())
    assert (len(rows), rows.warning) == (1, "limited")
    assert len(parse_eod(b"[]")) == 0


def test_bulk_rows_parse_alike_in_either_case() -> None:
    upper = {name.capitalize(): value for name, value in BULK.items()}
    for row in (BULK, upper, {**BULK, "close": "316.22"}):
        rows = parse_bulk_eod(json.dumps([row, row]).encode())
        assert rows.code.tolist() == ["AAPL", "AAPL"]
        assert rows.date.tolist() == [date(2026, 7, 9)] * 2
        assert rows.close.tolist() == [316.22] * 2
        assert rows.adjusted_close.tolist() == [316.22] * 2
        assert (len(rows), rows.unparsable_rows) == (2, 0)


def test_one_percent_of_the_bulk_rows_may_be_unreadable() -> None:
    unreadable = [{**BULK, "code": None}, {**BULK, "date": "2026-13-45"}, 5]
    rows = parse_bulk_eod(json.dumps([*[BULK] * 198, *unreadable[:2]]).encode())
    assert (len(rows), rows.unparsable_rows) == (198, 2)
    with pytest.raises(BrokenAnswer, match=r"^3 of 201 rows cannot be read \('code', 'date' and numbers are needed\)"):
        parse_bulk_eod(json.dumps([*[BULK] * 198, *unreadable]).encode())
    assert len(parse_bulk_eod(b"[]")) == 0


def test_bulk_columns_of_another_name_break_the_file() -> None:
    renamed = {"code": "A", "date": "2026-07-09", "close": 1, "vol": 2}
    with pytest.raises(BrokenAnswer, match=r"^none of 1 rows has volume"):
        parse_bulk_eod(json.dumps([renamed]).encode())


def test_the_symbol_na_is_a_symbol() -> None:
    assert parse_bulk_eod(json.dumps([{**BULK, "code": "NA", "close": "1"}]).encode()).code.tolist() == ["NA"]
    assert [listed.code for listed in parse_symbols(b'[{"Code":"NA"}]')] == ["NA"]


def test_account() -> None:
    raw = (
        b'{"subscriptionType":"monthly","apiRequests":5301,"apiRequestsDate":"2026-01-25","dailyRateLimit":100000,'
        b'"extraLimit":"500","inviteToken":null,"availableMarketplaceDataFeeds":[]}'
    )
    assert parse_account(raw) == AccountUsage(5301, date(2026, 1, 25), 100000, 500)


def test_account_with_impossible_counts() -> None:
    """They must fit the integers of the budget."""
    raw = b'{"apiRequests": 1e30, "apiRequestsDate": "2026-01-25", "dailyRateLimit": 99999999999, "extraLimit": -5}'
    assert parse_account(raw) == AccountUsage(1_000_000_000, date(2026, 1, 25), 1_000_000_000, None)


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"name":"x"}'])
def test_account_without_numbers_is_a_broken_answer(raw: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parse_account(raw)


def test_symbol_list() -> None:
    raw = (
        b'[{"Code":"AB","Name":"Atok Big Wedge Co Inc","Country":"Philippines","Exchange":"PSE","Currency":"PHP",'
        b'"Type":"Common Stock","Isin":"PHY044931210"},{"Code":"NA1","Name":null,"Isin":null}]'
    )
    assert parse_symbols(raw) == [
        ListedSymbol("AB", "Atok Big Wedge Co Inc", "Philippines", "PSE", "PHP", "Common Stock", "PHY044931210"),
        ListedSymbol("NA1", None, None, None, None, None, None),
    ]


def test_one_percent_of_the_symbol_list_may_lack_a_code() -> None:
    lines = [{"Code": f"A{n}"} for n in range(198)]
    assert len(parse_symbols(json.dumps([*lines, {"Name": "nameless"}, {"Code": ""}]).encode())) == 198
    with pytest.raises(BrokenAnswer, match=r"^200 of 200 rows cannot be read \('Code' is needed\)"):
        parse_symbols(json.dumps([{"code": "A"}] * 200).encode())


def test_symbol_changes() -> None:
    raw = (
        b'[{"exchange":"US","old_symbol":"CBTX","new_symbol":"STEL","company_name":"Stellar Bancorp, Inc.",'
        b'"effective":"2022-10-03"},{"old_symbol":"X"}]'
    )
    assert parse_symbol_changes(raw) == [SymbolChange("US", "CBTX", "STEL", "Stellar Bancorp, Inc.", date(2022, 10, 3))]


def test_the_vendors_remark_in_files_and_lists_is_kept() -> None:
    remark = {"warning": "Data is limited"}
    change = {"old_symbol": "CBTX", "new_symbol": "STEL"}
    for body in ([BULK, {**BULK, **remark}], [BULK, remark], [{**BULK, "close": "316.22"}, remark]):
        assert parse_bulk_eod(json.dumps(body).encode()).warning == "Data is limited"
    assert parse_symbols(json.dumps([{"Code": "A"}, remark]).encode()).warning == "Data is limited"
    assert parse_symbol_changes(json.dumps([{**change, **remark}]).encode()).warning == "Data is limited"
    assert parse_symbols(b'[{"Code":"A"}]').warning is None


def test_bulk_rows_that_cannot_be_read_are_named_as_far_as_possible() -> None:
    dropped = [{**BULK, "code": None}, {**BULK, "code": "ODD", "date": "2026-13-45"}]
    rows = parse_bulk_eod(json.dumps([*[BULK] * 198, *dropped]).encode())
    assert (rows.unparsable_rows, rows.unreadable_codes, rows.unnamed_rows) == (2, {"ODD"}, 1)


HOURS = {
    "data": {
        "Name": "Jakarta Stock Exchange",
        "Code": "XIDX",
        "Timezone": "Asia/Jakarta",
        "TradingHours": {
            "Open": "09:00:00",
            "Close": "15:50:00",
            "LunchBreakStart": "12:00:00",
            "LunchBreakEnd": "13:30:00",
            "PreMarketOpen": None,
        },
        "ExchangeHolidays": {
            "2026-12-25": {"Holiday": "Christmas Day", "Type": "Official"},
            "2026-12-26": {"Holiday": "Bank Holiday", "Type": "Bank"},
            "2026-12-31": {"Holiday": "Half Day", "Type": "EarlyClose", "EarlyClose": "12:00"},
            "soon": {"Type": "Official"},
        },
    },
    "meta": [],
}


def test_hours_with_a_break_and_kinds_of_holidays() -> None:
    hours = parse_exchange_hours(json.dumps(HOURS).encode())
    assert (hours.zone, hours.opens, hours.closes) == ("Asia/Jakarta", time(9), time(15, 50))
    assert hours.lunch == (time(12), time(13, 30))
    assert (hours.holidays, hours.bank_holidays) == ({date(2026, 12, 25)}, {date(2026, 12, 26)})
    assert hours.early_closes == {date(2026, 12, 31): time(12)}


@pytest.mark.parametrize(
    "trading",
    [
        {},
        {"LunchBreakStart": "12:00"},
        {"LunchBreakStart": "13:00", "LunchBreakEnd": "12:00"},
        {"Open": 9, "Close": ""},
    ],
)
def test_hours_without_a_usable_break(trading: dict[str, object]) -> None:
    hours = parse_exchange_hours(json.dumps({"TradingHours": trading, "ExchangeHolidays": []}).encode())
    assert (hours.lunch, hours.opens, hours.holidays) == (None, None, frozenset())


@pytest.mark.parametrize("body", [b"[]", b'{"data": ["XIDX"]}', b'{"data": {"Name": "x"}}'])
def test_hours_of_another_shape_are_refused(body: bytes) -> None:
    with pytest.raises(VendorError):
        parse_exchange_hours(body)


def test_codes_of_the_list_of_exchanges() -> None:
    assert parse_exchange_codes(b'[{"Code": "US"}, {"Code": "LSE ", "Currency": "GBP"}, {"Name": "x"}]') == {
        "US",
        "LSE",
    }
