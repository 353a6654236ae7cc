"""Each awkward trait does what EODHD.md describes, and off it does nothing."""

import sys
from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import DataQuirks, SandboxConfig
from backfill_assets.sandbox.wire.encoding import build_intraday_rows, encode_csv, encode_json_fragment, split_datetimes
from backfill_assets.sandbox.wire.rows import IntradayColumns
from backfill_assets.sandbox.world.publication import FINAL_STAGE
from backfill_assets.sandbox.world.session_index import get_session_index
from backfill_assets.sandbox.world.simulation import World

pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")

DAY = date(2026, 6, 1)


def on(day: date) -> Session:
    session = get_session_index(date(2018, 1, 2)).find_session(day)
    assert session is not None
    return session


def rows(
    traits: DataQuirks, interval: str = "5m", symbol: str = "AAPL", day: date = DAY, **stage: object
) -> IntradayColumns:
    return World(SandboxConfig(quirks=traits, symbols=150)).get_published_rows(
        symbol, on(day), interval, FINAL_STAGE._replace(**stage)
    )  # type: ignore[arg-type]


@cache
def clean(interval: str = "5m") -> IntradayColumns:
    return rows(DataQuirks.build_clean(), interval)


def test_the_close_print_can_be_missing() -> None:
    for traits in (
        DataQuirks(close_print=False),
        DataQuirks(close_print_missing=1.0),
        DataQuirks(close_print_missing_weeks=1.0),
    ):
        assert np.array_equal(rows(traits).timestamps, clean().timestamps[:-1])


def test_whole_weeks_without_a_print_are_missing_for_everybody() -> None:
    traits = DataQuirks(close_print_missing_weeks=0.5)
    market = World(SandboxConfig(quirks=traits))
    sessions = get_session_index(date(2018, 1, 2)).sessions[1900:2000]
    printed = [{len(market.get_published_rows(s, d, "5m")) % 2 for s in ("AAPL", "V", "VTI")} for d in sessions]
    assert {frozenset(found) for found in printed} == {frozenset({0}), frozenset({1})}
    assert len(rows(DataQuirks(close_print_missing_weeks=1e-9), day=date(2025, 10, 20))) == 78  # the recorded fortnight


def test_the_early_print_can_be_a_tenth_of_a_percent_off() -> None:
    early = date(2025, 11, 28)
    off, right = (
        rows(DataQuirks(close_print_off_at_early_close=1.0), day=early),
        rows(DataQuirks.build_clean(), day=early),
    )
    assert 0.00107 < off.prices[3, -1] / right.prices[3, -1] - 1 < 0.00118
    assert datetime.fromtimestamp(off.timestamps[-1], UTC).astimezone(ZoneInfo("America/New_York")).hour == 13


def test_a_second_flat_row_after_the_close() -> None:
    found = rows(DataQuirks(post_close_prints=1.0))
    assert len(found) == 80
    assert found.volumes[-2:].tolist() == [-1, -1]
    assert found.timestamps[-1] > found.timestamps[-2]


def test_null_and_flat_rows_keep_the_grid_full() -> None:
    nulls, flats = rows(DataQuirks(null_rows=0.3)), rows(DataQuirks(flat_rows=0.3))
    for found in (nulls, flats):
        assert np.array_equal(found.timestamps, clean().timestamps)
    quiet = nulls.volumes[:-1] == -1
    assert 5 < quiet.sum() < 50
    assert np.isnan(nulls.prices[:, :-1][:, quiet]).all()
    flat = np.flatnonzero((flats.volumes[:-1] == -1) & ~np.isnan(flats.prices[0, :-1]))
    assert len(flat) > 5
    assert all(len(set(flats.prices[:, at])) == 1 for at in flat)


def test_halt_prints_are_off_the_grid_and_have_no_volume() -> None:
    found = rows(DataQuirks(halt_prints=1.0))
    off = found.timestamps % 300 != 0
    assert 1 <= off.sum() <= 2
    assert (found.volumes[off] == -1).all()
    assert (np.diff(found.timestamps) > 0).all()


def test_a_duplicate_is_a_stale_copy_before_the_whole_row() -> None:
    found = rows(DataQuirks(duplicate_rows=1.0))
    second = int(np.flatnonzero(np.diff(found.timestamps) == 0)[0]) + 1
    assert len(found) == 80
    assert found.volumes[second - 1] < found.volumes[second]
    assert found.prices[0, second - 1] == found.prices[0, second]
    assert np.array_equal(np.delete(found.volumes, second - 1), clean().volumes)


def test_cumulative_volumes_stand_in_6_to_12_rows_until_they_are_put_right() -> None:
    before = rows(DataQuirks(cumulative_volume_months=1.0), repaired=False)
    wrong = before.volumes != clean().volumes
    assert 6 <= wrong.sum() <= 12
    running = np.cumsum(np.maximum(clean().volumes, 0))
    assert np.array_equal(before.volumes[wrong], running[wrong])
    assert np.array_equal(before.prices, clean().prices)
    assert np.array_equal(rows(DataQuirks(cumulative_volume_months=1.0)).volumes, clean().volumes)


def test_rows_can_come_in_no_order() -> None:
    found = rows(DataQuirks(unordered_rows=1.0))
    assert (np.diff(found.timestamps) < 0).any()
    assert np.array_equal(np.sort(found.timestamps), clean().timestamps)
    assert DataQuirks.build_realistic().unordered_rows == 0


def test_quiet_minutes_are_omitted() -> None:
    found = rows(DataQuirks(quiet_minutes=0.1), "1m")
    missing = np.setdiff1d(clean("1m").timestamps, found.timestamps)
    assert 15 < len(missing) < 80
    assert missing.min() >= on(DAY).open.timestamp()
    assert missing.max() < on(DAY).close.timestamp()


def test_extended_hours_have_gaps_and_null_volume_quotes() -> None:
    small = rows(DataQuirks(extended_hours_gaps=True), "1m", "S0140")
    quotes = rows(DataQuirks(extended_hours_gaps=True, premarket_quote_rows=1.0), "1m")
    assert len(rows(DataQuirks(extended_hours_gaps=True), "1m")) < 960
    assert 390 < len(small) < 800
    silent = quotes.volumes == -1
    assert silent.any()
    assert quotes.timestamps[silent].max() < on(DAY).open.timestamp()
    assert not np.isnan(quotes.prices[:, silent]).any()
    assert len(set(quotes.prices[3, silent])) > 1


def test_a_trailing_flat_row_without_volume() -> None:
    found = rows(DataQuirks(trailing_row=1.0), "1m")
    assert found.timestamps[-1] == clean("1m").timestamps[-1]
    assert found.volumes[-1] == -1
    assert len(set(found.prices[:, -1])) == 1


def test_a_session_before_its_revision_has_slightly_other_values() -> None:
    for interval in ("5m", "1m"):
        first, last = rows(DataQuirks(revisions=1.0), interval, revised=False), clean(interval)
        assert np.array_equal(first.timestamps, last.timestamps)
        changed = np.flatnonzero(first.volumes != last.volumes)
        assert 1 <= len(changed) <= 4
        assert (first.volumes[changed] > 0.85 * last.volumes[changed]).all()
        assert (first.prices[[0, 1, 2]] == last.prices[[0, 1, 2]]).all()


def test_a_partial_session_is_the_beginning_of_the_whole_one() -> None:
    found = rows(DataQuirks.build_clean(), share=0.5)
    assert len(found) == 39
    assert np.array_equal(found.volumes, clean().volumes[:39])


def test_json_has_null_for_nothing_and_integers_where_prices_are_whole() -> None:
    prices = np.array([[238.0, np.nan], [238.5, np.nan], [237.5, np.nan], [238.0, np.nan]])
    some = IntradayColumns(np.array([1736974740, 1736975040]), prices, np.array([1072335, -1]))
    assert encode_json_fragment(build_intraday_rows(some, True)).decode() == (
        '{"timestamp":1736974740,"gmtoffset":0,"datetime":"2025-01-15 20:59:00",'
        '"open":238,"high":238.5,"low":237.5,"close":238,"volume":1072335},'
        '{"timestamp":1736975040,"gmtoffset":0,"datetime":"2025-01-15 21:04:00",'
        '"open":null,"high":null,"low":null,"close":null,"volume":null}'
    )
    assert b'"open":238.0,' in encode_json_fragment(build_intraday_rows(some, False))
    assert encode_csv(split_datetimes(build_intraday_rows(some, True))).decode().splitlines() == [
        "Timestamp,Gmtoffset,Date,Time,Open,High,Low,Close,Volume",
        "1736974740,0,2025-01-15,20:59:00,238,238.5,237.5,238,1072335",
        "1736975040,0,2025-01-15,21:04:00,,,,,",
    ]


def test_a_session_is_made_in_columns_not_row_by_row() -> None:
    """Counted in Python calls, not in time: far fewer than the session has rows."""
    world = World(SandboxConfig(symbols=150, quirks=DataQuirks.build_realistic()))
    encode_json_fragment(build_intraday_rows(clean("1m"), True))  # the texts of the stamps are shared by all tickers
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        encoded = encode_json_fragment(build_intraday_rows(world.get_published_rows("MSFT", on(DAY), "1m"), True))
    finally:
        sys.setprofile(before)
    assert encoded.count(b"timestamp") > 800
    assert calls < 400
