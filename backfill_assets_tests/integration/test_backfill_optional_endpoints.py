"""An endpoint that the plan lacks is switched off with one finding, and never stops a run."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.optional_endpoints import DAILY_FILE, SYMBOL_CHANGES, judge_refusal
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.eodhd.error_mapping import map_status_to_error
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import AccountUsage
from backfill_assets.market.vendor_errors import EndpointUnavailable, QuotaExhausted, TokenRefused, VendorError
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import ENDPOINT_NOT_IN_PLAN, list_findings
from backfill_assets_tests.conftest import NOW, make_monday_tuesday_job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

PLAN_TEXT = "Only EOD data allowed for free users. Please, contact our support team."
QUOTA_TEXT = "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
TODAY = NOW.date()
RENAMED = {"MSFT": ("NEWNAME", date(2026, 5, 15))}
MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
PLAN_REFUSALS = [(402, PLAN_TEXT), (402, ""), (403, PLAN_TEXT), (403, "Forbidden"), (403, "Unauthenticated")]


def make_account(used: int, limit: int | None = 100_000, extra: int = 0, day: date = TODAY) -> AccountUsage:
    return AccountUsage(used, day, limit, extra)


def read_endpoint_findings(engine: Engine) -> list[tuple[str, datetime]]:
    with engine.database.transaction() as connection:
        found = [f for f in list_findings(connection) if f.kind == ENDPOINT_NOT_IN_PLAN]
    return [(f.subject, f.found_at) for f in found]


def move_by(engine: Engine, sandbox: Sandbox, delta: timedelta) -> Engine:
    """The engine on a sandbox and a clock that are later."""
    sandbox.move_clock(NOW + delta)
    return replace(
        engine, settings=engine.settings.model_copy(update={"as_of": NOW + delta, "base_url": sandbox.base_url})
    )


def fetch_daily_file(engine: Engine) -> VendorError | None:
    """Read the market's daily file; returns the error."""

    async def fetch() -> VendorError | None:
        async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
            try:
                await client.fetch_bulk_daily("US", date(2026, 6, 2))
            except VendorError as error:
                return error
        return None

    return asyncio.run(fetch())


@pytest.mark.parametrize(
    ("status", "text", "account", "verdict"),
    [
        *((status, text, make_account(50), "plan") for status, text in PLAN_REFUSALS),
        (401, "Unauthenticated", make_account(50), "plan"),  # the account answers, so the token is valid
        (402, QUOTA_TEXT, make_account(99_950), "quota"),
        (402, QUOTA_TEXT, make_account(99_950, extra=500), "unclear"),
        (402, QUOTA_TEXT, make_account(99_950, day=date(2026, 6, 2)), "unclear"),  # the counter of yesterday
        (402, QUOTA_TEXT, make_account(50), "unclear"),
        (402, QUOTA_TEXT, make_account(0, limit=None), "unclear"),
        (402, QUOTA_TEXT, make_account(0, limit=20), "plan"),  # the whole day of this plan is too little
    ],
)
def test_words_and_account_tell_a_plan_from_a_quota(
    status: int, text: str, account: AccountUsage, verdict: str
) -> None:
    error = map_status_to_error(status, text, is_ticker_request=False)
    assert judge_refusal(error, account, 100, NOW) == verdict


@pytest.mark.parametrize(("status", "text"), [*PLAN_REFUSALS, (401, "Unauthenticated")])
def test_a_refused_endpoint_is_off_for_a_week_with_one_finding(
    make_engine: MakeEngine, start_sandbox: StartSandbox, status: int, text: str
) -> None:
    sandbox = start_sandbox(refused_endpoints={"eod-bulk-last-day": (status, text)})
    engine = make_engine(sandbox)

    def count_requests() -> int:
        return int(sandbox.stats()["by_endpoint"].get("eod-bulk-last-day", 0))

    assert [type(fetch_daily_file(engine)) for _ in range(3)] == [EndpointUnavailable] * 3
    assert (count_requests(), read_endpoint_findings(engine)) == (1, [(DAILY_FILE, NOW)])
    fetch_daily_file(move_by(engine, sandbox, timedelta(days=6, hours=23)))
    assert count_requests() == 1
    later = move_by(engine, sandbox, timedelta(days=7))
    assert [type(fetch_daily_file(later)) for _ in range(2)] == [EndpointUnavailable] * 2
    assert (count_requests(), read_endpoint_findings(engine)) == (2, [(DAILY_FILE, NOW)])
    better_plan = move_by(engine, start_sandbox(), timedelta(days=14))
    assert fetch_daily_file(better_plan) is None
    assert read_endpoint_findings(engine) == []
    assert fetch_daily_file(move_by(engine, sandbox, timedelta(days=14))) is not None
    assert [subject for subject, _ in read_endpoint_findings(engine)] == [DAILY_FILE]


def test_another_token_is_asked_for_at_once(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox(refused_endpoints={"eod-bulk-last-day": (402, PLAN_TEXT)}))
    fetch_daily_file(engine)
    settings = engine.settings.model_copy(update={"token": type(engine.settings.token)("another-token")})
    better_plan = move_by(replace(engine, settings=settings), start_sandbox(), timedelta(hours=1))
    assert fetch_daily_file(better_plan) is None


def test_words_of_a_quota_while_calls_are_left_postpone_the_endpoint_without_a_finding(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(refused_endpoints={"eod-bulk-last-day": (402, QUOTA_TEXT)})
    engine = make_engine(sandbox)
    assert [type(fetch_daily_file(engine)) for _ in range(2)] == [EndpointUnavailable] * 2
    assert sandbox.stats()["by_endpoint"]["eod-bulk-last-day"] == 1
    fetch_daily_file(move_by(engine, sandbox, datetime(2026, 6, 4, tzinfo=UTC) - NOW))
    assert sandbox.stats()["by_endpoint"]["eod-bulk-last-day"] == 2
    assert read_endpoint_findings(engine) == []


def test_a_quota_and_a_token_that_the_account_confirms_are_raised(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(refused_endpoints={"eod-bulk-last-day": (402, QUOTA_TEXT)}, daily=150)
    engine = make_engine(sandbox, ("AAPL", "MSFT", "AMZN", "TSLA"), daily_calls=100_000)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)  # 20 of 150
    run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)  # 40
    run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)  # 60: fewer than 100 are left
    with engine.database.transaction() as connection:  # so that the budget does not refuse the request first
        connection.execute("UPDATE backfill.budget SET account_day = NULL, account_limit = NULL")
    assert type(fetch_daily_file(engine)) is QuotaExhausted
    wrong_token = make_engine(start_sandbox(tokens=frozenset({"another"})))
    assert type(fetch_daily_file(wrong_token)) is TokenRefused
    assert read_endpoint_findings(engine) == []


@pytest.mark.parametrize(("status", "text"), [(402, QUOTA_TEXT), (403, "Unauthenticated"), (402, PLAN_TEXT)])
def test_a_run_whose_lookups_are_refused_stores_its_bars_and_is_not_stopped(
    make_engine: MakeEngine, start_sandbox: StartSandbox, status: int, text: str
) -> None:
    """A symbol that the vendor does not know any more makes the run ask for its new name."""
    refused = {"symbol-change-history": (status, text), "eod-bulk-last-day": (status, text)}
    sandbox = start_sandbox(refused_endpoints=refused, renamed=RENAMED)
    engine = make_engine(sandbox, ("AAPL", "MSFT"), bulk_daily=True, daily_data=True, daily_file_symbols=1)
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (result.stopped, result.written.inserted) == (None, 26)
    assert sandbox.stats()["by_endpoint"]["symbol-change-history"] == 1
    read_daily_data(engine, US)
    subjects = {subject for subject, _ in read_endpoint_findings(engine)}
    assert subjects == (set() if text == QUOTA_TEXT else {SYMBOL_CHANGES, DAILY_FILE})


def test_a_plan_without_the_account_endpoint_is_not_in_the_way_of_bars(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    refused = {"user": (403, PLAN_TEXT), "internal-user": (403, PLAN_TEXT)}
    engine = make_engine(start_sandbox(refused_endpoints=refused))
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (result.stopped, result.exit_code) == (None, 0)


def test_a_failing_account_confirms_nothing(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    failing: dict[str, Any] = {
        "eod-bulk-last-day": (401, "Unauthenticated"),
        "user": (500, ""),
        "internal-user": (500, ""),
    }
    sandbox = start_sandbox(refused_endpoints=failing)
    engine = make_engine(sandbox, attempts=1)
    assert [type(fetch_daily_file(engine)) for _ in range(2)] == [EndpointUnavailable] * 2
    assert sandbox.stats()["by_endpoint"]["eod-bulk-last-day"] == 2  # nothing was recorded
    assert read_endpoint_findings(engine) == []
