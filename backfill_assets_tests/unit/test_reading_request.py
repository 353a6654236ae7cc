"""The arguments of a read: which are understood, and what is said of the others."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from backfill_assets.config.settings import load_settings
from backfill_assets.errors import DatabaseUnavailable, UsageError
from backfill_assets.market.calendar.calendar_tables import TableReader, use_table_reader
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.reading import read_bars
from backfill_assets.reading.moments import parse_moment
from backfill_assets.reading.request import COLUMNS, ReadRequest, build_request
from backfill_assets.reading.window import require_readable_size

NEW_YORK = ZoneInfo("America/New_York")
NAIVE = datetime(2026, 6, 1, 9, 30)  # noqa: DTZ001 - what is refused
VOD, BHP = Ticker("VOD", "LSE"), Ticker("BHP", "AU")
DEFAULTS: dict[str, Any] = {
    **{"universe": None, "interval": "30m", "exchange": "US", "adjustment": "none", "point_in_time": None},
    **{"known_at": None, "require": "complete", "on_incomplete": "raise", "provisional": False, "unverified": False},
    **{"external": False, "grid": False, "follow_renames": False, "columns": None, "format": "pandas"},
    "publication_delay": None,
}


def build(symbols: Any = "AAPL", start: Any = "2026-06-01", end: Any = "2026-06-02", **options: Any) -> ReadRequest:
    return build_request(symbols, start, end, **{**DEFAULTS, **options})


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-06-01", datetime(2026, 6, 1, 4, tzinfo=UTC)),
        ("2026-01-05", datetime(2026, 1, 5, 5, tzinfo=UTC)),
        (date(2026, 6, 1), datetime(2026, 6, 1, 4, tzinfo=UTC)),
        (np.datetime64("2026-06-01"), datetime(2026, 6, 1, 4, tzinfo=UTC)),
        ("2026-06-01T13:30:00Z", datetime(2026, 6, 1, 13, 30, tzinfo=UTC)),
        ("2026-06-01 09:30:00-04:00", datetime(2026, 6, 1, 13, 30, tzinfo=UTC)),
        (datetime(2026, 6, 1, 9, 30, tzinfo=NEW_YORK), datetime(2026, 6, 1, 13, 30, tzinfo=UTC)),
        (pd.Timestamp("2026-06-01 09:30", tz="America/New_York"), datetime(2026, 6, 1, 13, 30, tzinfo=UTC)),
    ],
)
def test_moments(value: Any, moment: datetime) -> None:
    parsed = parse_moment(value, "start", NEW_YORK)
    assert parsed == moment
    assert type(parsed) is datetime
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("day", "moment"),
    [
        ("2026-03-09", datetime(2026, 3, 8, 21, tzinfo=UTC)),  # the clocks were changed on that Sunday
        ("2026-03-06", datetime(2026, 3, 5, 22, tzinfo=UTC)),
        (date(2025, 12, 26), datetime(2025, 12, 25, 22, tzinfo=UTC)),
        (np.datetime64("2026-01-02"), datetime(2026, 1, 1, 22, tzinfo=UTC)),
    ],
)
def test_a_trade_date_begins_on_the_evening_before(day: Any, moment: datetime) -> None:
    assert build(["EURUSD.FOREX"], start=day, end="2026-03-11").start == moment


@given(st.datetimes(NAIVE.replace(year=2004), NAIVE.replace(year=2099)), st.integers(-720, 720))
def test_every_aware_moment_keeps_its_microsecond(moment: datetime, offset: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert parse_moment(aware, "start", NEW_YORK) == aware == parse_moment(aware.isoformat(), "start", NEW_YORK)


@pytest.mark.parametrize("value", [NAIVE, "2026-06-01T09:30:00", pd.Timestamp("2026-06-01"), np.datetime64("now")])
def test_naive_stamps_are_refused_with_what_to_write(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^end .* has no time zone, .*ZoneInfo\('America/New_York'\)"):
        build(end=value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "2026-06-02", "end": "2026-06-01"}, "start 2026-06-02 is after end 2026-06-01"),
        ({"start": "2026-06-01", "end": "2026-06-01"}, "the end is not included"),
        ({"start": "yesterday"}, "start 'yesterday' is no date or moment; write a date such as"),
        ({"start": 20260601}, "start '20260601' is no date or moment"),
        ({"start": pd.NaT}, "start 'NaT' is no date or moment"),
        ({"start": np.datetime64("NaT")}, "start 'None' is no date or moment"),
        ({"start": datetime.min.replace(tzinfo=timezone(timedelta(hours=9)))}, "start 0001-01-01"),
        ({"end": datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))}, "end 9999-12-31"),
        ({"start": "1999-01-01"}, "start 1999-01-01 is before the vendor's first data"),
        ({"end": "2200-01-01"}, "end 2200-01-01 is after the last day of the calendar"),
        ({"exchange": "NOWHERE"}, "exchange 'NOWHERE' is not supported"),
        ({"exchange": ["US"]}, "is not supported"),
        ({"interval": "7m"}, "unknown interval '7m'"),
        ({"interval": 30}, "interval: '30' is no text"),
        ({"symbols": None}, "give a ticker, a list of tickers"),
        ({"symbols": []}, "symbols is empty"),
        ({"symbols": 5}, "give a ticker, a list of tickers"),
        ({"symbols": [None]}, "symbols: 'None' is no text"),
        ({"symbols": "A B"}, "is not a symbol"),
        ({"symbols": "AAPL", "universe": "model"}, "either symbols or a universe"),
        ({"symbols": None, "universe": 3}, "universe: '3' is no text"),
        ({"symbols": [Ticker("AAPL"), VOD, BHP]}, "symbols of several exchanges (AAPL.US, VOD.LSE, BHP.AU)"),
        ({"symbols": ["AAPL", VOD]}, "read each exchange by itself"),
        ({"symbols": [VOD], "exchange": "AU"}, "VOD.LSE is not of exchange AU"),
        ({"symbols": [Ticker("ABC", "NOWHERE")]}, "exchange 'NOWHERE' is not supported"),
        ({"symbols": [BHP], "start": NAIVE}, "09:30 in Sydney is another moment than 09:30 UTC"),
        ({"adjustment": "split"}, "adjustment 'split' is unknown; use one of none, splits, splits_and_dividends"),
        ({"require": "all"}, "require 'all' is unknown; use one of complete, explained, any"),
        ({"require": None}, "require 'None' is unknown"),
        ({"on_incomplete": "fill"}, "on_incomplete 'fill' is unknown; use one of raise, drop"),
        ({"format": "csv"}, "format 'csv' is unknown; use one of pandas, polars, arrow"),
        ({"columns": ["open", "vwap"]}, "unknown columns: vwap; there are symbol, timestamp"),
        ({"columns": ["open", "open"]}, "none twice"),
        ({"columns": []}, "give at least one of them"),
        ({"point_in_time": NAIVE}, "point_in_time 2026-06-01 09:30:00 has no time zone"),
        ({"known_at": "x"}, "known_at 'x' is no date or moment"),
        ({"publication_delay": 15}, "publication_delay 15 is no timedelta between 0 and 30 days"),
        ({"publication_delay": timedelta(-1)}, "is no timedelta"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        build(**arguments)
    assert message in str(raised.value)


def test_symbols_and_columns_keep_their_order() -> None:
    for symbols in (["msft", "AAPL.US", "MSFT"], pd.Series(["MSFT", "AAPL"]), np.array(["MSFT", "AAPL"])):
        assert build(symbols).tickers == (Ticker("MSFT"), Ticker("AAPL"))
    assert build(columns="close").columns == ("close",)
    assert build(columns=["close", "symbol"]).columns == ("close", "symbol")
    assert build().columns == COLUMNS


@pytest.mark.parametrize(
    ("options", "exchange", "midnight"),
    [
        ({}, "US", datetime(2026, 6, 1, 4, tzinfo=UTC)),
        ({"symbols": [VOD]}, "LSE", datetime(2026, 5, 31, 23, tzinfo=UTC)),
        ({"symbols": BHP}, "AU", datetime(2026, 5, 31, 14, tzinfo=UTC)),
        ({"symbols": BHP, "exchange": "AU"}, "AU", datetime(2026, 5, 31, 14, tzinfo=UTC)),
        ({"symbols": None, "universe": "all", "exchange": "KO"}, "KO", datetime(2026, 5, 31, 15, tzinfo=UTC)),
        ({"symbols": None, "universe": "all"}, "US", datetime(2026, 6, 1, 4, tzinfo=UTC)),
    ],
)
def test_a_date_is_a_day_of_the_exchange_that_the_symbols_are_of(
    options: dict[str, Any], exchange: str, midnight: datetime
) -> None:
    request = build(**options, point_in_time="2026-06-01")
    assert (request.exchange, request.start) == (exchange, midnight)
    assert request.end == midnight + timedelta(days=1)
    assert request.point_in_time == midnight


def test_a_zone_that_the_user_corrected_is_that_of_dates() -> None:
    perth = replace(get_profile("AU"), zone=ZoneInfo("Australia/Perth"))
    assert build(BHP, find_market=lambda _: perth).start == datetime(2026, 5, 31, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("symbols", "exchange", "expected"),
    [
        (["vod", "BARC.LSE", VOD], "LSE", ("VOD.LSE", "BARC.LSE")),
        (["VOD.LSE", "BARC.LSE"], "US", ("VOD.LSE", "BARC.LSE")),
        (["BMW", "BMW.XETRA"], "XETRA", ("BMW.XETRA",)),
        (["BHP.US"], "US", ("BHP.US",)),
        (["NASDAQ:AAPL"], "US", ("AAPL.US",)),
    ],
)
def test_a_suffix_decides_the_exchange_and_plain_symbols_are_of_the_one_named(
    symbols: list[str], exchange: str, expected: tuple[str, ...]
) -> None:
    request = build(symbols, exchange=exchange)
    assert tuple(map(str, request.tickers or ())) == expected
    assert request.exchange == expected[0].rpartition(".")[2]


def test_wrong_arguments_need_no_database() -> None:
    with pytest.raises(UsageError, match="require 'most' is unknown"):
        read_bars("AAPL", "2026-06-01", "2026-06-02", require="most")


def test_a_read_is_too_large_by_the_hours_of_its_exchange() -> None:
    """An hour more a day: 16 symbols over ten years are 16 million slots of 1m in New York, 21 million in London."""
    window = {"start": "2016-01-01", "end": "2026-01-01", "interval": "1m"}
    require_readable_size(build("AAPL", **window), 16)
    with pytest.raises(UsageError, match=r"16 symbols from 2016-01-01 to 2026-01-01 have some 20,[0-9,]+ slots of 1m"):
        require_readable_size(build(VOD, **window), 16)


def test_dates_are_checked_against_calendars_of_the_disk_before_a_database_is_opened(
    tmp_path: Path, shared_calendars: TableReader
) -> None:
    """Else each process that reads bars loads the library of calendars, which takes longer than the read."""
    settings = load_settings(home=tmp_path, database_url=SecretStr("postgresql://127.0.0.1:9/none"))
    try:
        with pytest.raises(DatabaseUnavailable):
            read_bars("CDR.WAR", "2031-06-02", "2031-06-03", settings=settings)
    finally:
        use_table_reader(shared_calendars)
    assert [path.name for path in tmp_path.rglob("XWAR*")] == ["XWAR-2030"]
