"""Commands over New York and Sydney: one answer for both, in which each is named; and each one alone."""

from collections.abc import Callable

import pytest

from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User

WINDOW = "--start 2026-06-01 --end 2026-06-02"


@pytest.fixture
def user(make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox]) -> User:
    sandbox = start_sandbox(more_symbols=("BHP",), exchanges={"AU": ExchangeConfig()})
    both = make_user(sandbox, BACKFILL_EXCHANGES='["US", "AU"]', BACKFILL_DAILY_DATA="false")
    assert both.run_cli("symbols add AAPL BHP BHP.AU CBA.AU").code == 0
    return both


def test_answers_name_the_exchanges(user: User) -> None:
    planned = user.run_cli(f"plan {WINDOW} --format json").json
    assert planned["requests"] == 4
    assert [(one["exchange"], one["requests"]) for one in planned["exchanges"]] == [("US", 2), ("AU", 2)]
    ran = user.run_cli(f"run {WINDOW} --format json")
    assert (ran.code, ran.json["after"]["missing"], ran.json["failures"]) == (0, 0, {})
    assert [(one["exchange"], one["planned"]) for one in ran.json["exchanges"]] == [("US", 52), ("AU", 48)]
    assert ran.json["planned"] == 100
    checks = user.run_cli(f"verify {WINDOW} --format json").json
    assert {check["exchange"] for check in checks if check["name"] == "no_missing_bars"} == {"US", "AU"}
    audited = user.run_cli("audit --format json").json
    assert [(one["exchange"], one["bars"]) for one in audited["exchanges"]] == [("US", 52), ("AU", 48)]
    reviewed = user.run_cli("review --format json").json
    assert [(one["exchange"], one["reviewed"]) for one in reviewed["exchanges"]] == [("US", 2), ("AU", 2)]
    assert reviewed["reviewed"] == 4


def test_tables_name_the_exchanges_and_the_worst_exit_code_counts(user: User) -> None:
    assert "2 exchanges: 4 requests · 20 calls" in user.run_cli(f"plan {WINDOW}").out
    assert user.run_cli("symbols add QQQQQQ.AU").code == 0
    ran = user.run_cli(f"run {WINDOW}")
    assert ran.code == 3
    assert ran.out.index("US · United States") < ran.out.index("AU · Australian Securities Exchange")
    assert "QQQQQQ.AU: " in ran.out
    assert "2 exchanges: 124 missing before, " in ran.out


def test_one_exchange_of_two_is_as_one_alone(user: User) -> None:
    alone = user.run_cli(f"run {WINDOW} --exchange AU --format json").json
    assert "exchanges" not in alone
    assert alone["before"]["expected"] == 48
    assert set(alone["outcomes"]) == {"BHP.AU", "CBA.AU"}
    named = user.run_cli(f"run {WINDOW} --symbols BHP.AU,BHP --format json").json
    assert [one["planned"] for one in named["exchanges"]] == [26, 0]


def test_actions_are_listed_of_every_exchange_and_of_the_one_that_a_ticker_names(user: User) -> None:
    named = user.run_cli("actions list BHP.AU ZZZ.AU")
    assert "ZZZ.AU is not in the universe" in named.err
    assert "BHP.AU is not" not in named.err
    assert not user.run_cli("actions list").err
    without_new_york = user.run_cli("actions list", BACKFILL_EXCHANGES='["LSE"]')
    assert "no symbols" in without_new_york.err
