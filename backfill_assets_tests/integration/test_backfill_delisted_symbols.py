"""Delisted tickers: added with their listing for their history alone, from a sandbox over real HTTP."""

from collections.abc import Callable
from datetime import date

import pytest

from backfill_assets.backfill.delisted_symbols import DelistedSymbol, add_delisted
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker, parse_tickers
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.listings import list_listings
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_absence_lookup import query
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars

THURSDAY, FRIDAY, LONG_AGO = date(2026, 5, 28), date(2026, 5, 29), date(2020, 11, 30)


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return start_sandbox(delisted={"ENRN": LONG_AGO, "ABC_old": FRIDAY})


@pytest.fixture
def engine(make_engine: Callable[..., Engine], sandbox: Sandbox) -> Engine:
    return make_engine(sandbox)


def add(engine: Engine, *names: str) -> list[DelistedSymbol]:
    return add_delisted(engine, parse_tickers(names), "ann@a")


def test_delisted_tickers_get_a_listing_and_only_their_history_is_requested(engine: Engine, sandbox: Sandbox) -> None:
    results = add(engine, "ENRN", "abc_OLD.us")
    assert sandbox.stats()["calls"] == 3  # one for the list, one for each ticker
    assert [result.describe() for result in results] == [
        "ENRN.US was listed from 2018-01-02 to 2020-11-30; the vendor has intraday data only of listings that ended"
        " after 2021",
        "ABC_old.US was listed from 2018-01-02 to 2026-05-29; to fetch its bars: backfill-assets run --symbols ABC_old"
        " --start 2020-10-12 --end 2026-05-29",
    ]
    with engine.database.transaction() as connection:
        symbols = {s.ticker.symbol: s for s in list_symbols(connection, "US", only_active=False)}
        assert {name: symbol.is_active for name, symbol in symbols.items()} == {
            "AAPL": True, "ABC_old": False, "ENRN": False,
        }  # fmt: skip
        (listing,) = list_listings(connection, [symbols["ABC_old"].symbol_id])
        assert listing.describe() == "2018-01-02 to 2026-05-29"
    assert query(engine, "SELECT symbol, is_active, kind FROM backfill.universe_changes ORDER BY change_id") == [
        ("AAPL", True, "recorded"), ("ENRN", False, "added"), ("ABC_old", False, "added"),
    ]  # fmt: skip
    assert [s.ticker.symbol for s in build_job(engine, JobRequest())[0].symbols] == ["AAPL"]

    job, unknown = build_job(engine, JobRequest(start=THURSDAY, end=date(2026, 6, 2), symbols=["ABC_old"]))
    result = run_backfill(engine, job, lambda _: None)
    assert (unknown, result.after.missing, result.calls) == ((), 0, 5)
    assert read_stored_bars(engine.database, "ABC_old") == build_expected_bars(sandbox, "ABC_old", THURSDAY, FRIDAY)

    (again,) = add(engine, "ENRN")
    assert (again.is_added, again.describe()) == (
        False, "ENRN.US has a listing already: 2018-01-02 to 2020-11-30",
    )  # fmt: skip
    assert sandbox.stats()["calls"] == 8


def test_a_plan_that_limits_the_history_leaves_the_begin_of_the_listing_open(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    engine = make_engine(start_sandbox(delisted={"ABC_old": FRIDAY}, quirks=DataQuirks(plan_limit_days=30)))
    (added,) = add(engine, "ABC_old")
    assert added.describe() == (
        "ABC_old.US was listed until 2026-05-29; to fetch its bars: backfill-assets run --symbols ABC_old"
        f" --start {added.first_day} --end 2026-05-29"
    )
    with engine.database.transaction() as connection:
        assert [listing.describe() for listing in list_listings(connection)] == ["until 2026-05-29"]


def test_names_that_are_not_delisted_are_refused_and_nothing_is_added(engine: Engine) -> None:
    with pytest.raises(UsageError, match=r"active in the universe: AAPL\.US; symbols deactivate removes them"):
        add(engine, "AAPL", "ENRN")
    with pytest.raises(UsageError, match=r"not in the vendor's list .*: MSFT\.US, NOSUCH\.US; nothing added"):
        add(engine, "ENRN", "MSFT", "NOSUCH")
    assert query(engine, "SELECT symbol FROM market_symbols") == [("AAPL",)]
    assert DelistedSymbol(Ticker("ENRN")).describe() == (
        "ENRN.US not added: the vendor has no daily data of it, so its listing is unknown"
    )
