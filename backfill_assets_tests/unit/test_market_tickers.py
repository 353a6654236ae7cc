"""Parsing intervals, tickers and exchanges that users type, and those that other programs store."""

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import (
    INTERVALS,
    choose_source_interval,
    is_other_length,
    parse_interval,
    recognize_interval,
)
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker, parse_tickers, recognize_ticker
from backfill_assets.market.exchanges.names import find_exchange, list_exchange_names
from backfill_assets.market.exchanges.refused import REFUSED
from backfill_assets.market.exchanges.registry import PROFILES


@pytest.mark.parametrize(
    ("spelling", "name", "seconds"),
    [
        ("1m", "1m", 60),
        ("5m", "5m", 300),
        ("5min", "5m", 300),
        ("15m", "15m", 900),
        ("30m", "30m", 1800),
        ("30min", "30m", 1800),
        ("1h", "1h", 3600),
        ("60min", "1h", 3600),
    ],
)
def test_an_interval_is_found_by_any_of_its_spellings(spelling: str, name: str, seconds: int) -> None:
    interval = parse_interval(spelling)
    assert (interval.name, interval.seconds) == (name, seconds)


@pytest.mark.parametrize("text", ["", "30", "30M", "2h", "d", " 30m"])
def test_an_unknown_interval_names_the_known_ones(text: str) -> None:
    with pytest.raises(UsageError, match="1m, 5m, 15m, 30m, 1h"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("interval", "preferred", "source"),
    [("30m", "5m", "5m"), ("30m", "1m", "1m"), ("5m", "5m", "5m"), ("1h", "5m", "5m"), ("1m", "5m", "1m")],
)
def test_bars_come_from_the_preferred_source_unless_it_is_too_coarse(
    interval: str, preferred: str, source: str
) -> None:
    assert choose_source_interval(INTERVALS[interval], preferred).name == source


@pytest.mark.parametrize("preferred", ["1h", "30m", ""])
def test_an_unknown_source_interval_is_refused(preferred: str) -> None:
    with pytest.raises(UsageError, match="1m, 5m"):
        choose_source_interval(INTERVALS["30m"], preferred)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("AAPL", "AAPL"),
        ("nasdaq:AAPL", "AAPL"),
        ("NYSE: BRK-B", "BRK-B"),
        ("aapl.us", "AAPL"),
        (" BRK-B.US ", "BRK-B"),
        ("ABC_old1.US", "ABC_old1"),
        ("0700", "0700"),
    ],
)
def test_a_ticker_is_read_in_any_usual_form(text: str, symbol: str) -> None:
    assert parse_ticker(text) == Ticker(symbol, "US")
    assert str(parse_ticker(text)) == f"{symbol}.US"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a symbol"),
        (".US", "not a symbol"),
        ("ABCDEFGHIJK", "1 to 10"),
        ("A B", "not a symbol"),
        ("BC/PA", "not a symbol"),
        ("-A", "not a symbol"),
        ("VOD.XYZ", "exchange 'XYZ' is not supported; the command markets list"),
        ("BMW.F", "exchange 'F' is not supported; it is one of several German venues"),
        ("VOD.L", "dash: VOD-L; symbols of London Stock Exchange are written VOD.LSE"),
        ("BMW.DE", "exchange 'DE' is not supported; symbols of Xetra are written BMW.XETRA"),
        ("Sß.U_ B", "expected 1 to 10 of A-Z 0-9 - _, optionally followed by .US"),
        ("VOD.XLON", "the vendor's code of London Stock Exchange is LSE"),
        ("ABC.IL", "use LSE"),
        ("LSE:VOD", "not a symbol"),
        ("LSE:VOD", "the vendor writes VOD.LSE"),
        ("VOD .LSE", "not a symbol"),
        ("X" * 21 + ".AU", "1 to 20"),
        *[(text, "not a symbol") for text in (":AAPL", "A:Agilent", "IEX:Idex", "CBOE:Cboe")],
        ("BRK.B", "BRK-B"),
        ("AAPL.", "exchange '' is not supported"),
        ("X" * 500, "…"),
    ],
)
def test_an_invalid_us_ticker_is_explained(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ticker(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_repeated_tickers_are_read_once_in_the_order_given() -> None:
    assert [t.symbol for t in parse_tickers(["MSFT", "aapl", "MSFT.US", "AAPL"])] == ["MSFT", "AAPL"]


STORED_INTERVALS = {
    "1m": ["1m", "1Min", "1min", "1T", "M1", "PT1M", "00:01:00", "1 minute", "60s", "1"],
    "5m": ["5m", "5Min", "5T", "5M", "M5", "300", "0:05:00", "5"],
    "15m": ["15min", "15T", "900", "PT15M", "M15", "15"],
    "30m": [
        *(
            "30m",
            "30min",
            "30Min",
            "30MIN",
            "30T",
            "30M",
            "M30",
            "PT30M",
            "1800",
            "1800s",
            "30 min",
            "30-minute",
            "30_min",
        ),
        *("30minutes", "30", "00:30:00", "0:30", "P0DT0H30M0S", "0 days 00:30:00", " 30m ", "PT1800S", "30 min bars"),
    ],
    "1h": ["1h", "1H", "H1", "60min", "60m", "60T", "3600", "PT1H", "PT60M", "01:00:00", "1 hour", "1hr"],
}


@pytest.mark.parametrize("name", STORED_INTERVALS)
def test_an_interval_of_another_program_is_recognized(name: str) -> None:
    recognized = {text: recognize_interval(text) for text in STORED_INTERVALS[name]}
    assert recognized == dict.fromkeys(STORED_INTERVALS[name], INTERVALS[name])


@pytest.mark.parametrize("text", ["half-hourly", "", "intraday", "1M", "60", "10", "bars", "30x", "x" * 200])
def test_an_interval_that_may_mean_something_else_is_not_recognized(text: str) -> None:
    assert (recognize_interval(text), is_other_length(text)) == (None, False)


@pytest.mark.parametrize(
    "text",
    ["1d", "D", "D1", "daily", "1Day", "P1D", "1w", "weekly", "1mo", "MN1", "2h", "4H", "10m", "45min", "tick", "eod"],
)
def test_another_length_is_no_unknown_spelling(text: str) -> None:
    assert (recognize_interval(text), is_other_length(text)) == (None, True)


US_NAMES = "US,us, US,USA,NASDAQ,Nasdaq,NasdaqGS,NASDAQ-GM,XNAS,NYSE,NYSE ARCA,NYSE_ARCA,ARCA,arcx,NYSE American,AMEX"
OTHER_US_NAMES = "BATS,Cboe BZX,IEX,PINK,OTC Markets,OTCQB,N,Q,P"


@pytest.mark.parametrize("name", [*US_NAMES.split(","), *OTHER_US_NAMES.split(","), "", " ", None])
def test_names_of_us_markets_mean_the_vendors_exchange_us(name: str | None) -> None:
    assert find_exchange(name) == "US"


@pytest.mark.parametrize(
    ("text", "symbol", "exchange"),
    [
        ("VOD.LSE", "VOD", "LSE"),
        ("bmw.xetra", "BMW", "XETRA"),
        ("BHP.AU", "BHP", "AU"),
        (" NOVO-B.CO ", "NOVO-B", "CO"),
        ("0P00007962.AU", "0P00007962", "AU"),
        ("005930.KO", "005930", "KO"),
        ("ABC.V", "ABC", "V"),
        ("A" * 20 + ".LSE", "A" * 20, "LSE"),
        ("ABC_OLD.LSE", "ABC_old", "LSE"),
    ],
)
def test_a_ticker_of_another_exchange_has_the_vendors_code_behind_a_dot(text: str, symbol: str, exchange: str) -> None:
    assert parse_ticker(text) == Ticker(symbol, exchange)
    assert parse_ticker(str(parse_ticker(text))) == parse_ticker(text)


def test_one_symbol_on_two_exchanges_is_two_tickers() -> None:
    assert parse_tickers(["BHP.AU", "BHP", "BHP.US"]) == (Ticker("BHP", "AU"), Ticker("BHP", "US"))


@pytest.mark.parametrize(
    ("name", "exchange"),
    [
        ("LSE", "LSE"),
        ("xlon", "LSE"),
        ("LON", "LSE"),
        ("London Stock Exchange", "LSE"),
        ("XETRA", "XETRA"),
        ("NASDAQ STOCKHOLM", "ST"),
        ("BMEX", "MC"),
        ("XTSX", "V"),
        ("TSX", "TO"),
        ("XKOS", "KQ"),
        ("ROCO", "TWO"),
    ],
)
def test_names_of_other_exchanges_mean_the_vendors_code(name: str, exchange: str) -> None:
    assert find_exchange(name) == exchange


def test_no_name_means_two_exchanges() -> None:
    names = [name for exchange in PROFILES for name in list_exchange_names(exchange)]
    assert len(names) == len(set(names))
    assert all(find_exchange(exchange) == exchange for exchange in PROFILES)
    assert not set(REFUSED) & set(names)


@pytest.mark.parametrize(
    ("symbol", "exchange", "ticker"),
    [
        ("VOD.L", "LSE", "VOD"),
        ("VOD.LSE", "XLON", "VOD"),
        ("LSE:VOD", "LSE", "VOD"),
        ("bmw.de", "Xetra", "BMW"),
        ("NOVO.B", "CO", "NOVO-B"),
        ("VOLV B", "XSTO", "VOLV-B"),
        ("005930.KS", "KOSPI", "005930"),
        ("VOD", "LSE", "VOD"),
    ],
)
def test_a_symbol_of_another_exchange_is_recognized(symbol: str, exchange: str, ticker: str) -> None:
    assert recognize_ticker(symbol, exchange) == Ticker(ticker, find_exchange(exchange))


@pytest.mark.parametrize(("symbol", "exchange"), [("NASDAQ:VOD", "LSE"), ("BHP.AX", "LSE"), ("VOD.L", "US")])
def test_a_symbol_that_names_another_exchange_than_its_row_is_not_recognized(symbol: str, exchange: str) -> None:
    assert recognize_ticker(symbol, exchange) is None


@pytest.mark.parametrize("name", ["XYZ", "US2", "KRX", "FRA", "OSE", "PPX", "ＵＳ"])
def test_another_exchange_is_not_recognized(name: str) -> None:
    assert find_exchange(name) is None


@pytest.mark.parametrize(
    ("symbol", "exchange", "ticker"),
    [
        ("AAPL", "US", "AAPL"),
        ("aapl", "US", "AAPL"),
        (" MSFT", "NASDAQ", "MSFT"),
        ("MSFT\t", "US", "MSFT"),
        ("AAPL.US", "US", "AAPL"),
        ("aapl.us ", "NYSE", "AAPL"),
        ("NASDAQ:AAPL", "US", "AAPL"),
        ("BRK.B", "NYSE", "BRK-B"),
        ("BRK/B", "NYSE", "BRK-B"),
        ("brk b", "NYSE", "BRK-B"),
        ("BRK-B", "NYSE", "BRK-B"),
        ("BRK.B.US", "US", "BRK-B"),
        ("ABCDEFGHIJK-WS", "US", "ABCDEFGHIJK-WS"),
        ("AAPL", None, "AAPL"),
    ],
)
def test_a_symbol_of_another_program_is_recognized(symbol: str, exchange: str | None, ticker: str) -> None:
    assert recognize_ticker(symbol, exchange) == Ticker(ticker, "US")


@pytest.mark.parametrize(
    ("symbol", "exchange"),
    [
        *[
            (symbol, "US")
            for symbol in ("AAPL Inc", "AAPL.O", "IBM.N", "VOD.LSE", "LSE:VOD", "AAPL.US.US", "", " ", ".US")
        ],
        *[(symbol, "US") for symbol in ("^GSPC", "ES=F", "ТSLA", "ßIG", "A" * 31, "BRK.BB", "-A", "A\nB", None)],
        *[(symbol, "US") for symbol in ("BACpL", "ABRpD", "BRKb", "BACpL.US")],
        ("AAPL", "XYZ"),
    ],
)
def test_a_symbol_that_the_vendor_cannot_have_is_not_recognized(symbol: str | None, exchange: str) -> None:
    assert recognize_ticker(symbol, exchange) is None


@pytest.mark.parametrize(
    ("text", "symbol"),
    [("ABC_old", "ABC_old"), ("abc_OLD1.us", "ABC_old1"), ("BRK-B_old", "BRK-B_old"), ("GOLD", "GOLD"), ("OLD", "OLD")],
)
def test_former_codes_are_spelled_as_the_vendor_spells_them(text: str, symbol: str) -> None:
    assert parse_ticker(text) == recognize_ticker(text, "US") == Ticker(symbol)


def test_a_former_code_that_no_table_holds_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"has at most 10 characters here, .* this one has 11 and cannot be stored"):
        parse_ticker("ABCDEFG_old")
