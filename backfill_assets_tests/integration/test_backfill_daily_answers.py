"""Daily data of which rows cannot be read, are of the future, or come with a remark of the vendor."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backfill_assets.backfill.absence.market_file import explain_skipped_days, fetch_market_file
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listing_ends import SymbolChangeList
from backfill_assets.market.purposes import Purpose
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import PLAN_LIMITED
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.test_backfill_absence_lookup import (
    MONDAY,
    build_two_day_job,
    explain,
    list_details,
    query,
    query_days_without_row,
    record_empty_responses,
)

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
ACCOUNT = b'{"apiRequests":1,"apiRequestsDate":"2026-06-03","dailyRateLimit":100000,"extraLimit":0}'


def build_daily_file(*rows: Any) -> bytes:
    """A file of Monday with 300 other symbols, so that few of its rows are unreadable."""
    others = [{"code": f"X{n}", "date": "2026-06-01", "close": 1.0, "volume": 9} for n in range(300)]
    return json.dumps([*others, *rows]).encode()


AMZN_ROW = {"code": "AMZN", "date": "2026-06-01", "close": 1.0, "volume": 9}


@pytest.mark.parametrize(
    ("row", "silent"),
    [
        (None, ["AMZN", "MSFT"]),
        ({**AMZN_ROW, "volume": "1,234"}, ["MSFT"]),
        ({**AMZN_ROW, "date": "1 June"}, ["MSFT"]),
        ({**AMZN_ROW, "date": "2099-06-01"}, ["MSFT"]),
        ({**AMZN_ROW, "code": 7}, []),
        ("AMZN", []),
    ],
    ids=["absent", "odd volume", "odd date", "of the future", "odd code", "no object"],
)
def test_symbol_with_an_unreadable_row_is_not_silent(
    make_engine: MakeEngine, start_sandbox: StartSandbox, row: Any, silent: list[str]
) -> None:
    body = build_daily_file(*([] if row is None else [row]))
    with serve_stub(StubVendor(by_path={"eod-bulk-last-day": (200, body)})) as url:
        engine = make_engine(start_sandbox(), ("AMZN", "MSFT"), base_url=url)
        record_empty_responses(engine, MONDAY)
        look_up_skipped(engine, 0, 1)
    assert [symbol for symbol, _, _ in query_days_without_row(engine)] == silent


def look_up_skipped(engine: Engine, *rows: int) -> None:
    """Look up Monday of the symbols, as one that their histories lack."""
    coverage = engine.measure(build_two_day_job(engine))

    async def run() -> None:
        async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
            await explain_skipped_days(client, engine.database, coverage, [(row, 0) for row in rows])

    asyncio.run(run())


@pytest.mark.parametrize("body", [b"<p>Sorry</p>", b"[[]", b'[{"a": 1}]', b'{"data": []}'])
def test_file_and_history_that_cannot_be_read_are_not_paid_again_on_the_same_day(
    make_engine: MakeEngine, start_sandbox: StartSandbox, body: bytes
) -> None:
    vendor = StubVendor(body=body)
    with serve_stub(vendor) as url:
        for _ in range(2):  # of two processes
            engine = make_engine(start_sandbox(), ("AMZN", "MSFT"), base_url=url, attempts=1)
            if not vendor.request_paths:
                record_empty_responses(engine, MONDAY)
            look_up_skipped(engine, 0, 1)
            explain(engine)
        assert (vendor.count_requests("eod-bulk"), vendor.count_requests("eod/")) == (1, 2)
        engine = make_engine(start_sandbox(), base_url=url, attempts=1, as_of=NOW + timedelta(hours=21))
        look_up_skipped(engine, 0)
        explain(engine)
        assert (vendor.count_requests("eod-bulk"), vendor.count_requests("eod/")) == (2, 4)
    assert query_days_without_row(engine) == []
    assert list_details(engine) == []


def test_daily_rows_of_the_future_are_ignored(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    rows = [{"date": "2099-06-01", "close": 1.0, "volume": 9}]
    with serve_stub(StubVendor(by_path={"user": (200, ACCOUNT), "eod/": (200, json.dumps(rows).encode())})) as url:
        engine = make_engine(start_sandbox(), base_url=url)
        record_empty_responses(engine, MONDAY)
        explain(engine)
    assert engine.measure(build_two_day_job(engine)).expected.tolist() == [26]
    assert query(engine, "SELECT first_day, last_day FROM backfill.listing_lives") == [(None, None)]


def test_warnings_in_the_daily_file_and_the_list_of_renames_are_findings_until_they_are_gone(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    limit = "Data is limited by one year as you have free subscription."
    vendor = StubVendor()
    with serve_stub(vendor) as url:
        engine = make_engine(start_sandbox(), ("AMZN",), base_url=url)
        coverage = engine.measure(build_two_day_job(engine))

        async def request_both() -> None:
            async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
                await fetch_market_file(client, engine.database, coverage, 0, max_age=timedelta(0))
                await SymbolChangeList(client, engine.database, NOW).list_since(MONDAY)

        for remarks, endpoints in (([{"warning": limit}], ["/eod-bulk-last-day", "/symbol-change-history"]), ([], [])):
            vendor.by_path["eod-bulk-last-day"] = (200, build_daily_file(*remarks))
            vendor.by_path["symbol-change-history"] = (200, json.dumps(remarks).encode())
            asyncio.run(request_both())
            assert sorted(list_details(engine)) == [(PLAN_LIMITED, endpoint, limit) for endpoint in endpoints]
