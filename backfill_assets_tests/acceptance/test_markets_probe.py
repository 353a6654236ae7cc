"""``markets probe`` against the sandbox: the price first, a recording without the token, and what follows from it."""

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import TOKEN, CommandResult, User
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub

NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
MakeProbe = Callable[..., CommandResult]


@pytest.fixture
def probe(make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox], tmp_path: Path) -> MakeProbe:
    """Probe an exchange of a sandbox and record it in a file of the test's folder."""

    def run(code: str, options: str = "--yes", **environment: str) -> CommandResult:
        sandbox = start_sandbox(now=NOW, exchanges={code: ExchangeConfig(symbols=3)})
        user = make_user(sandbox, NOW, **environment)
        return user.run_cli(f"markets probe {code} --output {tmp_path / 'probe.json'} {options}")

    return run


def test_the_price_comes_first_and_nothing_is_sent_without_consent(probe: MakeProbe, tmp_path: Path) -> None:
    refused = probe("TSE", "")
    assert refused.code == 2
    lines = refused.err.splitlines()
    assert lines[0] == "  1  /exchanges-list: whether the plan holds TSE"
    assert lines[1] == "  ?  /v2/exchange-details/XTKS: hours, breaks and early closes"
    assert lines[3] == "  5  /intraday/(a share) at 5m 2026-10-29 to 2026-11-06: rows of a week"
    assert lines[-2] == "5 requests, 8 calls and one of an unknown price, counted as 5"
    assert lines[-1] == "error: nothing was requested: without a terminal to ask on, confirm with --yes"
    assert not (tmp_path / "probe.json").exists()


def test_a_session_with_a_break_is_compared_with_rows_and_hours(
    probe: MakeProbe, make_user: Callable[..., User], tmp_path: Path
) -> None:
    result = probe("TSE")
    assert result.code == 0, result.err
    assert "TSE is among the 2 exchanges that the vendor lists for this token" in result.out
    assert "/v2/exchange-details cost 5 calls by the account's count, at most" in result.out
    assert "  seen     the vendor's hours have 11:30 to 12:30; 7203 has no row at 11:30 to 12:30" in result.out
    file = tmp_path / "probe.json"
    recorded = json.loads(file.read_text())
    assert [answer["kind"] for answer in recorded["answers"]] == ["exchanges", "hours", "symbols", "rows", "daily"]
    assert TOKEN not in file.read_text()
    assert recorded["answers"][3]["params"]["interval"] == "5m"
    user = make_user(now=NOW)
    again = user.run_cli(f"markets probe TSE --from {file}")
    assert (again.code, again.out) == (0, result.out)
    assert user.run_cli(f"markets probe LSE --from {file}").error.endswith("is a recording of exchange TSE, not of LSE")
    assert "is never overwritten" in user.run_cli(f"markets probe TSE --yes --output {file}").error
    file.write_text(file.read_text().replace('"started_at"', '"begun_at"'))
    assert "cannot be read as a recording of markets probe" in user.run_cli(f"markets probe TSE --from {file}").error


def test_hours_of_jakarta_give_the_line_that_makes_it_usable(
    probe: MakeProbe, make_user: Callable[..., User], tmp_path: Path
) -> None:
    shown = probe("JK", "--yes --format json").json
    assert "breaks" in tomllib.loads(shown["settings"])["JK"]
    assert shown["attributes"][0]["seen"] == (
        "the vendor's hours have 12:00 to 13:30; BBCA has no row at 12:00 to 13:30"
    )
    assert any("a weekday with another one belongs into JK.weekday_hours" in fact for fact in shown["facts"])
    (tmp_path / "markets.toml").write_text(shown["settings"])
    settings = {"BACKFILL_MARKETS_FILE": str(tmp_path / "markets.toml"), "BACKFILL_EXCHANGES": '["US", "JK"]'}
    listed = make_user(now=NOW).run_cli("markets show JK", **settings)
    assert "  hours    09:00-12:00, 13:30-15:50 Jakarta, 11 slots of 30 minutes" in listed.out


def test_tails_and_volumes_of_crypto_pairs(probe: MakeProbe) -> None:
    result = probe("CC", "--yes --symbols BTC-USD,SHIB-USD,NONE-USD")
    assert result.code == 0, result.err
    assert "refused: /intraday/NONE-USD.CC at 5m: HTTP status 404 (Ticker Not Found.)" in result.out
    assert "the newest row of 2 pairs at 5m ended 8:10 h to 9:35 h before the request" in result.out
    assert "at moving prices\n  proposed no change" in result.out  # as assumed: they are trades
    assert result.out.endswith('[CC]\naskable_after = "8h"\n')


def test_christmas_weekends_and_volumes_of_currencies(probe: MakeProbe) -> None:
    result = probe("FOREX", "--yes --symbols EURUSD")
    assert result.code == 0, result.err
    assert "EURUSD 1m of 25 December 2025: 1,440 rows" in result.out
    assert "at a weekend" in result.out
    assert "14 daily rows: 14 with volume 0, 0 with null, 4 of a Saturday or Sunday" in result.out
    assert "EURUSD 1m: newest " in result.out


def test_what_the_plan_lacks_is_a_result(make_user: Callable[..., User], tmp_path: Path) -> None:
    vendor = StubVendor(by_path={"exchanges-list": (200, b'[{"Code": "US"}]'), "eod": (404, b"Ticker Not Found.")})
    vendor.status, vendor.body = 403, b"Forbidden. Please contact support@eodhistoricaldata.com"
    with serve_stub(vendor) as url:
        user = make_user(now=NOW, EODHD_BASE_URL=url)
        result = user.run_cli(f"markets probe HK --yes --symbols 0700 --output {tmp_path / 'hk.json'}")
    assert result.code == 0, result.err
    assert "HK is not among the 1 exchanges that the vendor lists for this token" in result.out
    assert "refused: /v2/exchange-details/XHKG: HTTP status 403" in result.out
    assert "refused: /intraday/0700.HK at 5m: HTTP status 403" in result.out
    assert "refused: /eod/0700.HK: HTTP status 404" in result.out
    gone = user.run_cli(f"markets probe HK --yes --symbols 0700 --output {tmp_path / 'gone.json'}")
    assert (gone.code, "no response" in gone.err) == (6, True)
    assert not (tmp_path / "gone.json").exists()


def test_a_pause_ends_the_probe_before_the_first_request(
    make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = start_sandbox(now=NOW)
    user = make_user(sandbox, NOW)
    assert user.run_cli("pause").code == 0
    result = user.run_cli(f"markets probe TSE --yes --output {tmp_path / 'probe.json'}")
    assert (result.code, "spending is paused" in result.err) == (4, True)
    assert not (tmp_path / "probe.json").exists()
    assert sandbox.stats()["calls_by_endpoint"] == {}
