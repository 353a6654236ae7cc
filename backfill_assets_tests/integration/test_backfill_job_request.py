"""Jobs of several exchanges: one each, with its own calendar, and what becomes of symbols that are not there."""

from collections.abc import Callable
from datetime import date

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import (
    JobRequest,
    NoActiveSymbols,
    UnknownSymbols,
    build_job,
    build_jobs,
    split_request,
)
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols

BOTH = [Ticker("BHP", "US"), Ticker("BHP", "AU")]


@pytest.fixture
def make_engine_of(database: Database, settings: Settings) -> Callable[..., Engine]:
    """Make an engine that collects the exchanges, with the tickers in its store; it sends no requests."""

    def make(exchanges: tuple[str, ...], *tickers: Ticker) -> Engine:
        with database.transaction() as connection:
            add_symbols(connection, tickers)
        return Engine(database, settings.model_copy(update={"exchanges": exchanges}))

    return make


def test_each_exchange_has_a_job_over_its_own_sessions(make_engine_of: Callable[..., Engine]) -> None:
    engine = make_engine_of(("US", "AU"), *BOTH)
    jobs, unknown = build_jobs(engine, JobRequest(start=date(2026, 5, 22), end=date(2026, 5, 26)))
    assert unknown == ()
    found = {job.market.exchange: [str(s.ticker) for s in job.symbols] for job in jobs}
    assert found == {"US": ["BHP.US"], "AU": ["BHP.AU"]}
    days = [{session.day for session in job.window.sessions} for job in jobs]
    assert days[1] - days[0] == {date(2026, 5, 25)}  # Memorial Day in America alone


def test_exchanges_without_symbols_have_no_job(make_engine_of: Callable[..., Engine]) -> None:
    engine = make_engine_of(("US", "LSE", "AU"), *BOTH)
    jobs, _ = build_jobs(engine, JobRequest())
    assert [job.market.exchange for job in jobs] == ["US", "AU"]


def test_without_any_symbol_all_exchanges_are_named(make_engine_of: Callable[..., Engine]) -> None:
    with pytest.raises(NoActiveSymbols, match=r"there are no active symbols of US, AU; add some: .* add AAPL VOD\.LSE"):
        build_jobs(make_engine_of(("US", "AU")), JobRequest())


def test_one_exchange_keeps_its_words(make_engine_of: Callable[..., Engine]) -> None:
    engine = make_engine_of(("US",))
    with pytest.raises(NoActiveSymbols) as caught:
        build_jobs(engine, JobRequest())
    assert str(caught.value) == "there are no active symbols; add some: backfill-assets symbols add AAPL MSFT"
    with pytest.raises(NoActiveSymbols):
        build_job(engine, JobRequest())


def test_an_exchange_that_is_not_collected_is_refused_with_the_setting(settings: Settings) -> None:
    with pytest.raises(
        UsageError, match=r"AU is not collected, only US; .* set BACKFILL_EXCHANGES='\[\"US\", \"AU\"\]'"
    ):
        split_request(settings, JobRequest(exchange="AU"))
    with pytest.raises(UsageError, match="'XX' is not supported"):
        split_request(settings, JobRequest(exchange="XX"))


def test_a_plain_symbol_is_of_the_us_which_need_not_be_collected(settings: Settings) -> None:
    london = settings.model_copy(update={"exchanges": ("LSE",)})
    with pytest.raises(UsageError, match="US is not collected, only LSE; symbols without a suffix are of it"):
        split_request(london, JobRequest(symbols=["VOD"]))


def test_of_one_exchange_alone(make_engine_of: Callable[..., Engine]) -> None:
    engine = make_engine_of(("US", "AU"), *BOTH)
    jobs, _ = build_jobs(engine, JobRequest(exchange="AU"))
    assert [str(symbol.ticker) for job in jobs for symbol in job.symbols] == ["BHP.AU"]


def test_symbols_choose_their_exchanges(make_engine_of: Callable[..., Engine]) -> None:
    engine = make_engine_of(("US", "AU"), *BOTH)
    jobs, unknown = build_jobs(engine, JobRequest(symbols=["BHP.AU", "AAPL"]))
    assert [str(symbol.ticker) for job in jobs for symbol in job.symbols] == ["BHP.AU"]
    assert [str(ticker) for ticker in unknown] == ["AAPL.US"]
    with pytest.raises(UnknownSymbols, match=r"none of the symbols is active in the universe: AAPL\.US, CBA\.AU; see"):
        build_jobs(engine, JobRequest(symbols=["AAPL", "CBA.AU"]))
    assert str(build_job(engine, JobRequest(symbols=["BHP.AU"]))[0].symbols[0].ticker) == "BHP.AU"


def test_a_symbol_that_is_of_another_exchange_is_named_with_it(make_engine_of: Callable[..., Engine]) -> None:
    engine = make_engine_of(("US", "AU"), Ticker("AAPL", "US"), Ticker("BHP", "AU"))
    with pytest.raises(UnknownSymbols, match=r"in the universe: BHP\.US; did you mean BHP\.AU\? see: backfill-assets"):
        build_jobs(engine, JobRequest(symbols=["BHP"]))


def test_symbols_without_an_exchange_are_of_the_one_that_is_named(make_engine_of: Callable[..., Engine]) -> None:
    engine = make_engine_of(("US", "AU"), *BOTH)
    jobs, unknown = build_jobs(engine, JobRequest(exchange="AU", symbols=["BHP", "BHP.AU", "CBA"]))
    assert [str(symbol.ticker) for job in jobs for symbol in job.symbols] == ["BHP.AU"]
    assert [str(ticker) for ticker in unknown] == ["CBA.AU"]
    with pytest.raises(UsageError, match=r"^BHP\.US and exchange AU contradict each other"):
        build_jobs(engine, JobRequest(exchange="AU", symbols=["BHP", "BHP.US"]))


def test_an_exchange_without_symbols_says_how_to_add_them(make_engine_of: Callable[..., Engine]) -> None:
    with pytest.raises(NoActiveSymbols, match=r"no active symbols of AU; add some, .* symbols sync --exchange AU$"):
        build_jobs(make_engine_of(("US", "AU"), Ticker("BHP", "US")), JobRequest(exchange="AU"))
