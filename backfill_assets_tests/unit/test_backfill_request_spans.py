"""How much one request covers: gaps take the fewest requests, and the rows of an answer are bounded."""

import itertools
from collections.abc import Collection
from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.backfill.request_spans import TAKEN_ALONG, RequestSpan, RequestSpans, SpanLimits
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


def is_within(grid: SlotGrid, limits: SpanLimits, first: int, last: int) -> bool:
    """Whether one request may cover the sessions, by its definition."""
    closing = timedelta(seconds=grid.sessions[0].market.closing_seconds)
    covered = grid.sessions[first : last + 1]
    span = covered[-1].close - covered[0].open
    traded = span if covered[0].is_whole_day else sum((one.close - one.open for one in covered), timedelta())
    return first == last or (span <= limits.max_span - closing and traded <= limits.max_trading)


def count_by_trying(grid: SlotGrid, limits: SpanLimits, sessions: list[int]) -> int:
    """The fewest requests for gaps of these sessions, of all ways to cut them."""
    fewest = [0]
    for end in range(1, len(sessions) + 1):
        begins = [b for b in range(end) if is_within(grid, limits, sessions[b], sessions[end - 1])]
        fewest.append(1 + min(fewest[begin] for begin in begins))
    return fewest[-1]


def split(exchange: str, limits: SpanLimits, gaps: Collection[int], due: Collection[int]) -> list[RequestSpan]:
    ordered = sorted(gaps)
    is_due = np.isin(ordered, list(due))
    return list(RequestSpans(GRIDS[exchange], limits).split(np.array(ordered, np.int64), is_due))


@given(
    st.sampled_from([("US", "1m"), ("US", "5m"), ("LSE", "5m"), ("CC", "5m"), ("FOREX", "1m"), ("FOREX", "5m")]),
    st.integers(0, 3),
    st.integers(1, 600),
    st.sets(st.integers(0, 250), min_size=1, max_size=25),
    st.sets(st.integers(0, 250), max_size=25),
)
@settings(max_examples=150)
def test_due_gaps_take_the_fewest_requests_of_all_ways_to_cut_them(
    market: tuple[str, str], overlap: int, max_days: int, due: set[int], others: set[int]
) -> None:
    exchange, source = market
    grid, limits = GRIDS[exchange], build_limits(source, overlap, max_days)
    spans = split(exchange, limits, due | others, due)
    assert len(spans) == count_by_trying(grid, limits, sorted(due))
    assert RequestSpans(grid, limits).count(np.array(sorted(due))) == len(spans)
    assert all(any(span.first <= gap <= span.last for span in spans) for gap in due)
    for before, after in itertools.pairwise(spans):
        assert before.last < after.begin  # nothing is read twice
        assert before.entries.stop <= after.entries.start
    for span in spans:
        assert span.first - overlap <= span.begin <= span.first
        assert is_within(grid, limits, span.begin, span.last)
        assert sorted(due | others)[span.entries] == [g for g in sorted(due | others) if span.first <= g <= span.last]
        longest_due = [gap for gap in due if span.first <= gap <= span.last]
        needed = grid.sessions[max(longest_due)].close - grid.sessions[min(longest_due)].open
        assert grid.sessions[span.last].close - grid.sessions[span.first].open <= max(needed, TAKEN_ALONG)


def test_the_overlap_gives_way_where_it_would_cost_a_request() -> None:
    grid = GRIDS["US"]
    days = (grid.sessions[90].close - grid.sessions[5].open).days + 1
    (span,) = split("US", build_limits("5m", overlap=3, max_days=days), [5, 90], [5, 90])
    assert (span.begin, span.last) == (5, 90)


def test_a_first_fill_is_one_request_and_six_years_are_four() -> None:
    grid = build_slot_grid(list_sessions(get_profile("US"), date(2020, 10, 12), date(2026, 10, 9)), INTERVALS["30m"])
    everything = np.arange(len(grid.sessions))
    for source, wanted in {"5m": 4, "1m": 19}.items():
        assert len(list(RequestSpans(grid, build_limits(source)).split(everything, everything >= 0))) == wanted
    newest = everything[-90:]
    assert len(list(RequestSpans(grid, build_limits("5m")).split(newest, newest >= 0))) == 1


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
    for span in split(exchange, limits, chosen, chosen):
        assert count_rows(grid, span.begin, span.last, INTERVALS[source].seconds) <= REQUEST_LIMITS.max_rows


def test_ninety_days_of_currencies_are_two_requests_and_a_year_of_crypto_is_two() -> None:
    """Trade dates alone would be 129,600 rows, but with the weekends they are 180,000."""
    assert len(split("FOREX", build_limits("1m"), range(200, 290), range(200, 290))) == 2
    assert len(split("CC", build_limits("5m"), range(366), range(366))) == 2
