"""The log of requests: which tickers are not requested yet, because their requests failed."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from backfill_assets.market.purposes import Purpose
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.request_log import RequestLogEntry, find_failing_tickers, log_requests

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("errors", "minutes_ago", "waits"),
    [
        (["ServerFault"] * 8, 59, True),
        (["ServerFault"] * 8, 61, False),
        (["UnreadableRows"] * 8, 4 * 60, True),  # 2⁸ minutes
        (["UnreadableRows"] * 8, 4 * 60 + 17, False),
        (["UnreadableRows"] * 10, 6 * 60 + 1, False),
        ([*["UnreadableRows"] * 7, "ServerFault"], 61, False),
        ([*["UnreadableRows"] * 7, None], 1, False),
    ],
)
def test_answers_that_were_billed_and_cannot_be_read_are_waited_for_longer(
    database: Database, errors: list[str | None], minutes_ago: int, waits: bool
) -> None:
    newest = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    with database.transaction() as connection:
        for n, error in enumerate(errors):
            at = newest - timedelta(minutes=len(errors) - 1 - n)
            entry = RequestLogEntry(at, "/intraday", "MSFT.US", 200, error, 5, None, 9, 0.1, Purpose.GAP)
            log_requests(connection, UUID(int=n), [entry])
        failing = find_failing_tickers(connection, HOUR, 6 * HOUR, "access")
    assert failing.keys() == ({"MSFT.US"} if waits else set())
    assert all(found.is_unreadable == (errors[-1] == "UnreadableRows") for found in failing.values())
