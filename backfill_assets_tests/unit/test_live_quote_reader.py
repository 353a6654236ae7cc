"""Quotes as a sample table."""

import numpy as np
import pytest

from backfill_assets.live.quote_reader import QuoteReading, build_sample_table, qualify_code
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.vendor import Quote


def test_fractional_volumes_of_the_day_are_rounded_half_to_even() -> None:
    volumes = {"A": 9_099.618093, "B": 2.5, "C": 3.5, "D": 7.0, "E": None}
    quotes = {f"{name}.US": Quote(f"{name}.US", 1_780_343_700, 1, 1, 1, 1, volume) for name, volume in volumes.items()}
    symbols = [Symbol(number, Ticker(name), is_active=True) for number, name in enumerate(volumes)]
    samples = build_sample_table(QuoteReading("tickers", quotes), symbols)
    assert samples["volume"].tolist()[:4] == [9_100, 2, 4, 7]
    assert np.isnan(samples["volume"].iloc[4])


@pytest.mark.parametrize(
    ("code", "ticker"),
    [
        ("AAPL.US", "AAPL.US"),
        ("aapl", "AAPL.US"),
        ("BRK-B.US", "BRK-B.US"),
        ("ABC_old.US", "ABC_old.US"),
        ("ABC_OLD1", "ABC_old1.US"),
        ("BRK.B", "BRK.B"),
        ("VOD.LSE", "VOD.LSE"),
    ],
)
def test_a_quotes_code_is_the_ticker_that_was_requested(code: str, ticker: str) -> None:
    assert qualify_code(Quote(code), "US") == ticker
