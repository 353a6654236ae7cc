"""Quotes as a sample table."""

import numpy as np

from backfill_assets.live.quote_reader import QuoteReading, build_sample_table
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.vendor import Quote


def test_fractional_volumes_of_the_day_are_rounded_half_to_even() -> None:
    volumes = {"A": 9_099.618093, "B": 2.5, "C": 3.5, "D": 7.0, "E": None}
    quotes = {f"{name}.US": Quote(f"{name}.US", 1_780_343_700, 1, 1, 1, 1, volume) for name, volume in volumes.items()}
    symbols = [Symbol(number, Ticker(name), is_active=True) for number, name in enumerate(volumes)]
    samples = build_sample_table(QuoteReading("tickers", quotes), symbols)
    assert samples["volume"].tolist()[:4] == [9_100, 2, 4, 7]
    assert np.isnan(samples["volume"].iloc[4])
