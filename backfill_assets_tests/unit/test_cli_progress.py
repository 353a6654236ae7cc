"""What an interrupted run says."""

from backfill_assets.backfill.results import Progress, TickerOutcome
from backfill_assets.cli.progress import describe_interruption
from backfill_assets.market.calendar.tickers import parse_tickers


def test_interrupted_run_says_how_many_tickers_were_not_requested() -> None:
    outcome = TickerOutcome(parse_tickers(["AAPL"])[0], "stored", 26)
    step = Progress(done=3, tickers=10, bars=78, calls=15, outcome=outcome)
    assert describe_interruption(step) == "3 tickers finished · 7 tickers skipped: the run was interrupted"
