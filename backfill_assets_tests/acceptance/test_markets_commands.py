"""The commands ``markets`` and ``symbols`` about exchanges other than the US, as a user sees them."""

import json
from collections.abc import Callable

from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
BOTH = '["US", "LSE"]'


def test_a_symbol_of_an_exchange_that_is_not_enabled_is_added_with_what_to_do(
    make_user: MakeUser, start_sandbox: StartSandbox
) -> None:
    user = make_user(start_sandbox())
    added = user.run_cli("symbols add VOD.LSE AAPL")
    assert (added.code, "2 added" in added.out) == (0, True)
    what_to_do = 'exchange LSE is not collected, only US; to collect it set BACKFILL_EXCHANGES=\'["US", "LSE"]\''
    assert what_to_do in added.err
    several = user.run_cli("symbols add BHP.AU VOD.LSE").err
    assert (
        'exchanges AU, LSE are not collected, only US; to collect them set BACKFILL_EXCHANGES=\'["US", "AU", "'
        in several
    )
    user.run_cli("symbols deactivate BHP.AU")
    assert user.run_cli("symbols list").out == "AAPL.US\n"
    assert user.run_cli("symbols list --exchange lse").out == "VOD.LSE  GBX\n"
    assert "add some: backfill-assets symbols add SYMBOL.AU" in user.run_cli("symbols list --exchange AU").err
    both = user.run_cli("symbols list", BACKFILL_EXCHANGES=BOTH)
    assert both.out == "AAPL.US\nVOD.LSE  GBX\n"
    shown = user.run_cli("symbols show VOD.LSE AAPL").out
    assert "VOD.LSE  active\n  prices in GBX (a hundredth of GBP): usual at the exchange\n" in shown
    assert "AAPL.US  active\n  one instrument on all days\n" in shown


def test_a_list_with_more_than_200_new_symbols_needs_yes(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(exchanges={"LSE": ExchangeConfig(symbols=203, foreign_copies=3)})
    user = make_user(sandbox, BACKFILL_EXCHANGES=BOTH)
    refused = user.run_cli("symbols sync --exchange LSE")
    assert (refused.code, "calls a day" in refused.error, "--yes" in refused.error) == (2, True, True)
    assert user.run_cli("symbols list --exchange LSE").out == ""
    added = user.run_cli("symbols sync --exchange LSE --yes")
    assert added.code == 0
    assert "3 left out: further line of a foreign share (0" in added.out
    assert len(user.run_cli("symbols list --exchange LSE").out.splitlines()) > 200


def test_markets_show_says_what_is_assumed_and_why_a_code_is_refused(make_user: MakeUser) -> None:
    user = make_user(BACKFILL_EXCHANGES=BOTH)
    listed = json.loads(user.run_cli("markets list --enabled --format json").out)
    assert [(line["code"], line["status"], line["enabled"]) for line in listed] == [
        ("US", "verified", True),
        ("LSE", "experimental", True),
    ]
    shown = user.run_cli("markets show lse").out
    assert "LSE  London Stock Exchange: experimental, enabled\n  hours    08:00-16:30 London, 17 slots" in shown
    assert "daily_volume_tells\n  assumed  " in shown
    assert "Daily data: compared in 0 of 20 sessions; until then they judge nothing." in shown
    report = json.loads(user.run_cli("markets show LSE --format json").out)
    assert {item["name"] for item in report["learned"]} >= {"closing_seconds", "null_volume", "daily_volume_tells"}
    assert "Nothing is assumed" in user.run_cli("markets show US").out
    assert "  volumes  shares" in shown
    assert 'add "PA" to BACKFILL_EXCHANGES' in user.run_cli("markets show PA").out
    refused = user.run_cli("markets show IL")
    assert (refused.code, "'IL' is not supported" in refused.error) == (2, True)


def test_requests_around_the_clock_are_told_with_their_calls(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox(), BACKFILL_EXCHANGES='["US", "CC"]')
    costs = "CC: 4 requests a symbol and day (20 calls), plus the probe: 240 calls a day"
    shown = user.run_cli("markets show CC").out
    assert f"  requests {costs}\n" in shown
    assert "an absent bar is missing 24:00 h after its slot's end; not counted\n" in shown
    added = user.run_cli("symbols add BTC-USD.CC ETH-USD.CC AAPL").out
    assert f"{costs}; with 2 symbols up to 280 calls a day\n" in added
    assert f"{costs}; with 2 symbols up to 280 calls a day\n" in user.run_cli("plan --exchange CC").out
    rare = user.run_cli("markets show CC --format json", BACKFILL_AROUND_THE_CLOCK_ASK_HOURS="12").out
    assert json.loads(rare)["requests"] == {
        "requests_per_symbol_and_day": 2,
        "calls_per_symbol_and_day": 10,
        "probe_calls_a_day": 240,
        "calls_a_day": 260,
    }
    assert "requests" not in json.loads(user.run_cli("markets show LSE --format json").out)
    assert "a symbol and day" not in user.run_cli("plan --exchange US").out
