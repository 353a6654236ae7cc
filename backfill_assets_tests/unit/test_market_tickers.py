"""Parsing intervals and tickers that users type."""

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS, choose_source_interval, parse_interval
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker, parse_tickers


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
    [("AAPL", "AAPL"), ("aapl.us", "AAPL"), (" BRK-B.US ", "BRK-B"), ("ABC_old1.US", "ABC_OLD1"), ("0700", "0700")],
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
        ("VOD.LSE", "exchange 'LSE' is not supported"),
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
