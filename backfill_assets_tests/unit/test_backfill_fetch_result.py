"""Merging results of requests: outcomes per symbol, counts, warnings, and the error that stopped them."""

from datetime import date

from backfill_assets.backfill.fetch.fetch_result import FetchResult, merge_results
from backfill_assets.backfill.results import TickerOutcome
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.vendor_errors import QuotaExhausted, ServerFault
from backfill_assets.store.bars.bar_writer import WriteCounts

AAPL, MSFT = Ticker("AAPL"), Ticker("MSFT")
FAILED = TickerOutcome(AAPL, "error", error=ServerFault("HTTP status 502"))


def test_no_results_merge_into_an_empty_one() -> None:
    assert merge_results([]) == FetchResult()


def test_counts_and_sets_add_up() -> None:
    day = date(2026, 6, 1)
    first = FetchResult(
        written=WriteCounts(inserted=1),
        rejected=2,
        published_sessions=frozenset([(1, 0)]),
        off_calendar_days={day: 1},
    )
    second = FetchResult(
        written=WriteCounts(inserted=10),
        rejected=20,
        published_sessions=frozenset([(2, 0)]),
        off_calendar_days={day: 1},
    )
    merged = merge_results([first, second])
    assert (merged.written.inserted, merged.rejected) == (11, 22)
    assert merged.published_sessions == {(1, 0), (2, 0)}
    assert merged.off_calendar_days == {day: 2}


def test_warnings_are_grouped_by_message() -> None:
    first = FetchResult(vendor_warnings={"limited": frozenset([AAPL])})
    second = FetchResult(vendor_warnings={"limited": frozenset([AAPL, MSFT]), "other": frozenset([MSFT])})
    assert merge_results([first, second]).vendor_warnings == {
        "limited": frozenset([AAPL, MSFT]),
        "other": frozenset([MSFT]),
    }


def test_error_of_a_request_is_the_outcome_of_its_ticker_in_a_pass() -> None:
    stored = FetchResult(outcomes={1: TickerOutcome(AAPL, "stored", 13)})
    failed = FetchResult(outcomes={1: FAILED})
    assert merge_results([failed, stored]).outcomes == {1: FAILED}
    assert merge_results([stored, failed]).outcomes == {1: FAILED}


def test_outcome_of_a_later_pass_replaces_the_error_of_the_first() -> None:
    first = FetchResult(outcomes={1: FAILED, 2: TickerOutcome(MSFT, "nothing new")}, rejected=1)
    second = FetchResult(outcomes={1: TickerOutcome(AAPL, "stored", 13)}, rejected=1)
    both = first.add_later_pass(second)
    assert [both.outcomes[symbol_id].kind for symbol_id in (1, 2)] == ["stored", "nothing new"]
    assert both.rejected == 2


def test_merged_result_has_the_first_error_that_stopped_requests() -> None:
    first, second = QuotaExhausted("first"), QuotaExhausted("second")
    results = [FetchResult(), FetchResult(stopped=first), FetchResult(stopped=second)]
    assert merge_results(results).stopped is first
