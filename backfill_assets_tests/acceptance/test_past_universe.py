"""Delisted tickers and the universe of a past day, through the command line."""

import json
from collections.abc import Callable
from datetime import date

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User


def test_delisted_tickers_are_added_filled_and_shown_on_demand(
    make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox]
) -> None:
    user = make_user(start_sandbox(delisted={"ABC_old": date(2026, 5, 29)}))
    user.run_cli("symbols add AAPL")
    added = user.run_cli("symbols add --delisted ABC_old")
    assert added.out.splitlines()[0] == "1 delisted symbol added, 0 left as they are"
    assert user.run_cli("run --symbols ABC_old --start 2026-05-28 --end 2026-06-01").code == 0
    assert user.run_cli("symbols list").out == "AAPL.US\n"
    assert user.run_cli("symbols list --all").out == "AAPL.US\nABC_old.US  ended on 2026-05-29\n"
    shown = {row["symbol"]: row for row in json.loads(user.run_cli("report --ended --format json").out)}
    assert (shown["ABC_old"]["expected_bars"], shown["ABC_old"]["listed_until"]) == (0, "2026-05-29")
    assert shown["AAPL"]["listed_until"] is None
    assert [row["symbol"] for row in json.loads(user.run_cli("report --format json").out)] == ["AAPL"]
    refused = user.run_cli("symbols add --delisted MSFT")
    assert (refused.code, "not in the vendor's list of delisted symbols" in refused.err) == (2, True)


def test_a_past_universe_is_assumed_before_the_first_record(make_user: Callable[..., User]) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    line = "universe of 2026-06-03 14:00 UTC: assumed to be today's, because changes are recorded since"
    for command in ("report", "verify", "plan", "why AAPL 2026-06-02"):
        assert line in user.run_cli(command).out
        as_json = user.run_cli(f"{command} --format json")
        assert line in as_json.err
        json.loads(as_json.out)
