"""How much one request covers: the rows of its answer are bounded, and nothing changes where sessions are short."""

from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.backfill.request_spans import RequestSpans, SpanLimits
from backfill_assets.eodhd.pricing import REQUEST_LIMITS
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import get_profile

YEAR = (date(2025, 9, 1), date(2026, 11, 20))


def build_grid(exchange: str) -> SlotGrid:
    return build_slot_grid(list_sessions(get_profile(exchange), *YEAR), INTERVALS["30m"])


GRIDS = {exchange: build_grid(exchange) for exchange in ("US", "LSE", "CC", "FOREX")}


def build_limits(source: str, overlap: int = 2, max_days: int = 600) -> SpanLimits:
    seconds = INTERVALS[source].seconds
    longest = min(timedelta(days=max_days), REQUEST_LIMITS.get_max_span(source))
    return SpanLimits(overlap, longest, timedelta(seconds=REQUEST_LIMITS.max_rows * seconds))


def split_as_before(grid: SlotGrid, limits: SpanLimits, sessions: list[int]) -> list[tuple[int, int]]:
    """The rule for sessions that are shorter than a day: their time alone counts."""
    spans, first, last = [], sessions[0], sessions[0]
    closing = timedelta(seconds=grid.sessions[0].market.closing_seconds)
    for session in sessions:
        begin = max(0, first - limits.overlap)
        covered = grid.sessions[begin : session + 1]
        traded = sum((one.close - one.open for one in covered), timedelta())
        if session > first and (
            covered[-1].close - covered[0].open > limits.max_span - closing or traded > limits.max_trading
        ):
            spans.append((first, last))
            first = session
        last = session
    return [*spans, (first, last)]


@given(
    st.sampled_from(["US", "LSE"]),
    st.sampled_from(["1m", "5m"]),
    st.integers(0, 3),
    st.integers(1, 600),
    st.sets(st.integers(0, 250), min_size=1, max_size=40),
)
@settings(max_examples=60)
def test_requests_of_markets_that_close_at_night_are_as_before(
    exchange: str, source: str, overlap: int, max_days: int, chosen: set[int]
) -> None:
    grid, limits, sessions = GRIDS[exchange], build_limits(source, overlap, max_days), sorted(chosen)
    found = [(first, last) for first, last, _ in RequestSpans(grid, limits).split(np.array(sessions, np.int64))]
    assert found == split_as_before(grid, limits, sessions)


def count_rows(grid: SlotGrid, first: int, last: int, seconds: int) -> int:
    """The rows of an answer: one for each interval of the clock, whether the market is open or not."""
    return int(grid.session_closes[last] - grid.session_opens[first]) // seconds


@given(
    st.sampled_from([("CC", "5m"), ("FOREX", "1m"), ("CC", "1m")]),
    st.integers(0, 3),
    st.sets(st.integers(0, 300), min_size=1),
)
@settings(max_examples=60)
def test_an_answer_around_the_clock_has_at_most_100_000_rows(
    market: tuple[str, str], overlap: int, chosen: set[int]
) -> None:
    exchange, source = market
    grid, limits = GRIDS[exchange], build_limits(source, overlap)
    for first, last, _ in RequestSpans(grid, limits).split(np.array(sorted(chosen), np.int64)):
        assert count_rows(grid, max(0, first - overlap), last, INTERVALS[source].seconds) <= REQUEST_LIMITS.max_rows


def test_ninety_days_of_currencies_are_two_requests_and_a_year_of_crypto_is_two() -> None:
    """Trade dates alone would be 129,600 rows, but with the weekends they are 180,000."""
    spans = RequestSpans(GRIDS["FOREX"], build_limits("1m")).split(np.arange(200, 290))
    assert len(list(spans)) == 2
    assert len(list(RequestSpans(GRIDS["CC"], build_limits("5m")).split(np.arange(366)))) == 2
