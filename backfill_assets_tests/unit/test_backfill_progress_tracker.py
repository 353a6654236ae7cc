"""Progress of a pass: a ticker is done when it has no outstanding request."""

from dataclasses import replace

from backfill_assets.backfill.fetch.progress_tracker import ProgressTracker
from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.backfill.results import Progress, TickerOutcome
from backfill_assets.market.calendar.tickers import Symbol, Ticker

AAPL, MSFT = (
    PlannedRequest(Symbol(number, Ticker(name), is_active=True), 0, 0, 1, 0, 0, 1, 0, 0, (Ticker(name),))
    for number, name in ((1, "AAPL"), (2, "MSFT"))
)


def make_tracker(total_tickers: int = 2, usage: Usage | None = None) -> tuple[ProgressTracker, list[Progress]]:
    reports: list[Progress] = []
    return ProgressTracker(reports.append, total_tickers, usage or Usage()), reports


def make_outcome(request: PlannedRequest) -> TickerOutcome:
    return TickerOutcome(request.symbol.ticker, "nothing new")


def test_ticker_is_done_after_its_last_request() -> None:
    tracker, reports = make_tracker()
    tracker.start_batch([AAPL, replace(AAPL, start=2), MSFT], 1, 1)
    for request in (AAPL, MSFT, AAPL):
        tracker.report(request.symbol.symbol_id, make_outcome(request))
    assert [report.done for report in reports] == [0, 1, 2]


def test_ticker_with_requests_in_a_later_batch_is_not_done_until_they_end() -> None:
    tracker, reports = make_tracker()
    tracker.start_batch([AAPL], 1, 2)
    tracker.report(1, make_outcome(AAPL))
    tracker.start_batch([replace(AAPL, start=2), MSFT], 2, 2)
    tracker.report(2, make_outcome(MSFT))
    tracker.report(1, make_outcome(AAPL))
    assert [(report.done, report.batch, report.batches) for report in reports] == [(1, 1, 2), (1, 2, 2), (2, 2, 2)]


def test_reports_have_bars_calls_and_merged_outcomes() -> None:
    usage = Usage(calls=5)
    tracker, reports = make_tracker(usage=usage)
    tracker.start_batch([AAPL, replace(AAPL, start=2)], 1, 1)
    tracker.add_bars(13)
    tracker.report(1, TickerOutcome(AAPL.symbol.ticker, "stored", 13))
    usage.calls = 10
    tracker.add_bars(2)
    tracker.report(1, TickerOutcome(AAPL.symbol.ticker, "stored", 2))
    assert [(report.bars, report.calls, report.outcome.bars) for report in reports] == [(13, 5, 13), (15, 10, 15)]
