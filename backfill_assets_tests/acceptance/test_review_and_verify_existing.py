"""The commands that maintain a store: the review, and replacing external bars."""

from collections.abc import Callable

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import bars_in

UserOf = Callable[..., User]
Sandboxed = Callable[..., Sandbox]


def test_external_bars_change_only_with_verify_existing(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox)
    user.types("symbols add AAPL")
    user.types("run --quiet")
    right = bars_in(database, "AAPL")
    with database.transaction() as connection:
        connection.execute("UPDATE market_data SET volume = volume + 1 WHERE extract(minute FROM timestamp) = 0")
    assert user.types("report --format json").json[0]["unverified_bars"] == 12
    assert user.types("run --format json").json["requests"] == 0
    plan = user.types("plan").out
    assert "0 requests" in plan
    verified = user.types("run --verify-existing")
    assert verified.code == 0
    assert "external bars: 0 verified, 12 replaced" in verified.out
    assert "12 slots requested · 12 have a final bar now" in verified.out
    assert bars_in(database, "AAPL") == right
    assert user.types("report --format json").json[0]["unverified_bars"] == 0


def test_a_review(user_of: UserOf, sandboxed: Sandboxed, database: Database) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox, BACKFILL_REVIEW_SESSIONS="3")
    user.types("symbols add AAPL MSFT")
    user.types("run --quiet --start 2026-05-27 --end 2026-06-02")
    right = bars_in(database, "MSFT")
    with database.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET volume = volume + 1, fetched_at = fetched_at - interval '1 day'"
            " WHERE timestamp = '2026-06-01 15:00+00'"
        )
    first = user.types("review --calls 5")
    assert first.code == 0, first.err
    assert "1 of 2 due tickers reviewed, 3 sessions each" in first.out
    assert "1 tickers deferred: not enough unused calls" in first.out
    assert "AAPL.US      stored 1" in first.err
    rest = user.types("review --format json --quiet").json
    assert (rest["due"], rest["reviewed"], rest["written"]["revised"], rest["calls"]) == (1, 1, 1, 5)
    assert bars_in(database, "MSFT") == right
    assert user.types("review --format json").json["due"] == 0
    assert user.types("review --symbols AAPL,NOSUCH").code == 3


def test_review_refused_by_the_vendor(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed(tokens=frozenset({"another"})))
    user.types("symbols add AAPL")
    said = user.types("review")
    assert (said.code, "check EODHD_API_TOKEN" in said.err) == (4, True)
    assert user.types("review", EODHD_API_TOKEN=None).code == 4
    assert user.types("review --calls -1").code == 2
