"""Each data quirk changes rows as docs/vendor.md describes, and changes nothing when it is off."""

import sys
from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import DataQuirks, SandboxConfig
from backfill_assets.sandbox.endpoints.intraday_rows import build_intraday_rows, split_datetimes
from backfill_assets.sandbox.wire.encoding import encode_csv, encode_json_fragment
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns
from backfill_assets.sandbox.world.publication import FINAL_STAGE
from backfill_assets.sandbox.world.session_index import get_session_index
from backfill_assets.sandbox.world.simulation import World

DAY = date(2026, 6, 1)


def find_session(day: date) -> Session:
    session = get_session_index(date(2018, 1, 2)).find_session(day)
    assert session is not None
    return session


def get_rows(
    quirks: DataQuirks, interval: str = "5m", symbol: str = "AAPL", day: date = DAY, **stage: object
) -> IntradayColumns:
    return World(SandboxConfig(quirks=quirks, symbols=150)).get_published_rows(
        symbol, find_session(day), interval, FINAL_STAGE._replace(**stage)
    )  # type: ignore[arg-type]


@cache
def get_clean_rows(interval: str = "5m") -> IntradayColumns:
    return get_rows(DataQuirks.build_clean(), interval)


def test_close_print_can_be_missing() -> None:
    for quirks in (
        DataQuirks(close_print=False),
        DataQuirks(close_print_missing=1.0),
        DataQuirks(close_print_missing_weeks=1.0),
    ):
        assert np.array_equal(get_rows(quirks).timestamps, get_clean_rows().timestamps[:-1])


def test_week_without_close_print_affects_all_tickers() -> None:
    quirks = DataQuirks(close_print_missing_weeks=0.5)
    market = World(SandboxConfig(quirks=quirks))
    sessions = get_session_index(date(2018, 1, 2)).sessions[1900:2000]
    printed = [{len(market.get_published_rows(s, d, "5m")) % 2 for s in ("AAPL", "V", "VTI")} for d in sessions]
    assert {frozenset(found) for found in printed} == {frozenset({0}), frozenset({1})}
    recorded_outage = date(2025, 10, 20)
    assert len(get_rows(DataQuirks(close_print_missing_weeks=1e-9), day=recorded_outage)) == 78


def test_close_print_of_an_early_close_can_deviate_by_a_tenth_of_a_percent() -> None:
    early = date(2025, 11, 28)
    wrong, right = (
        get_rows(DataQuirks(close_print_off_at_early_close=1.0), day=early),
        get_rows(DataQuirks.build_clean(), day=early),
    )
    assert 0.00107 < wrong.prices[3, -1] / right.prices[3, -1] - 1 < 0.00118
    assert datetime.fromtimestamp(wrong.timestamps[-1], UTC).astimezone(ZoneInfo("America/New_York")).hour == 13


def test_post_close_print_is_a_second_flat_row() -> None:
    found = get_rows(DataQuirks(post_close_prints=1.0))
    assert len(found) == 80
    assert found.volumes[-2:].tolist() == [-1, -1]
    assert found.timestamps[-1] > found.timestamps[-2]


def test_null_and_flat_rows_leave_no_gaps_in_the_grid() -> None:
    nulls, flats = get_rows(DataQuirks(null_rows=0.3)), get_rows(DataQuirks(flat_rows=0.3))
    for found in (nulls, flats):
        assert np.array_equal(found.timestamps, get_clean_rows().timestamps)
    is_null = nulls.volumes[:-1] == -1
    assert 5 < is_null.sum() < 50
    assert np.isnan(nulls.prices[:, :-1][:, is_null]).all()
    flat = np.flatnonzero((flats.volumes[:-1] == -1) & ~np.isnan(flats.prices[0, :-1]))
    assert len(flat) > 5
    assert all(len(set(flats.prices[:, at])) == 1 for at in flat)


def test_halt_prints_are_off_the_grid_and_have_null_volume() -> None:
    found = get_rows(DataQuirks(halt_prints=1.0))
    is_off_grid = found.timestamps % 300 != 0
    assert 1 <= is_off_grid.sum() <= 2
    assert (found.volumes[is_off_grid] == -1).all()
    assert (np.diff(found.timestamps) > 0).all()


def test_duplicate_is_an_outdated_copy_before_the_complete_row() -> None:
    found = get_rows(DataQuirks(duplicate_rows=1.0))
    second = int(np.flatnonzero(np.diff(found.timestamps) == 0)[0]) + 1
    assert len(found) == 80
    assert found.volumes[second - 1] < found.volumes[second]
    assert found.prices[0, second - 1] == found.prices[0, second]
    assert np.array_equal(np.delete(found.volumes, second - 1), get_clean_rows().volumes)


def test_running_totals_are_in_6_to_12_rows_until_repaired() -> None:
    before = get_rows(DataQuirks(cumulative_volume_months=1.0), repaired=False)
    wrong = before.volumes != get_clean_rows().volumes
    assert 6 <= wrong.sum() <= 12
    running = np.cumsum(np.maximum(get_clean_rows().volumes, 0))
    assert np.array_equal(before.volumes[wrong], running[wrong])
    assert np.array_equal(before.prices, get_clean_rows().prices)
    assert np.array_equal(get_rows(DataQuirks(cumulative_volume_months=1.0)).volumes, get_clean_rows().volumes)


def test_rows_can_be_unordered() -> None:
    found = get_rows(DataQuirks(unordered_rows=1.0))
    assert (np.diff(found.timestamps) < 0).any()
    assert np.array_equal(np.sort(found.timestamps), get_clean_rows().timestamps)
    assert DataQuirks.build_realistic().unordered_rows == 0


def test_minutes_without_a_trade_are_omitted() -> None:
    found = get_rows(DataQuirks(quiet_minutes=0.1), "1m")
    missing = np.setdiff1d(get_clean_rows("1m").timestamps, found.timestamps)
    assert 15 < len(missing) < 80
    assert missing.min() >= find_session(DAY).open.timestamp()
    assert missing.max() < find_session(DAY).close.timestamp()


def test_extended_hours_have_gaps_and_null_volume_quote_rows() -> None:
    small = get_rows(DataQuirks(extended_hours_gaps=True), "1m", "S0140")
    quotes = get_rows(DataQuirks(extended_hours_gaps=True, premarket_quote_rows=1.0), "1m")
    assert len(get_rows(DataQuirks(extended_hours_gaps=True), "1m")) < 960
    assert 390 < len(small) < 800
    quoted = quotes.volumes == -1
    assert quoted.any()
    assert quotes.timestamps[quoted].max() < find_session(DAY).open.timestamp()
    assert not np.isnan(quotes.prices[:, quoted]).any()
    assert len(set(quotes.prices[3, quoted])) > 1


def test_trailing_row_is_flat_with_null_volume() -> None:
    found = get_rows(DataQuirks(trailing_row=1.0), "1m")
    assert found.timestamps[-1] == get_clean_rows("1m").timestamps[-1]
    assert found.volumes[-1] == -1
    assert len(set(found.prices[:, -1])) == 1


def test_first_version_of_a_revised_session_has_slightly_other_values() -> None:
    for interval in ("5m", "1m"):
        first, last = get_rows(DataQuirks(revisions=1.0), interval, revised=False), get_clean_rows(interval)
        assert np.array_equal(first.timestamps, last.timestamps)
        changed = np.flatnonzero(first.volumes != last.volumes)
        assert 1 <= len(changed) <= 4
        assert (first.volumes[changed] > 0.85 * last.volumes[changed]).all()
        assert (first.prices[[0, 1, 2]] == last.prices[[0, 1, 2]]).all()


def test_partial_session_is_the_beginning_of_the_complete_one() -> None:
    found = get_rows(DataQuirks.build_clean(), share=0.5)
    assert len(found) == 39
    assert np.array_equal(found.volumes, get_clean_rows().volumes[:39])


def test_json_has_null_for_absent_values_and_integers_for_whole_prices() -> None:
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


def test_session_is_made_in_columns_not_row_by_row() -> None:
    """Counts Python calls instead of time: far fewer than the session has rows."""
    world = World(SandboxConfig(symbols=150, quirks=DataQuirks.build_realistic()))
    # Formatted time stamps are cached for all tickers: fill that cache first.
    encode_json_fragment(build_intraday_rows(get_clean_rows("1m"), True))
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        encoded = encode_json_fragment(
            build_intraday_rows(world.get_published_rows("MSFT", find_session(DAY), "1m"), True)
        )
    finally:
        sys.setprofile(before)
    assert encoded.count(b"timestamp") > 800
    assert calls < 400
