"""What people see of London beside New York: each exchange with its own days, zone, unit and counts."""

import csv
import io
import json
from collections.abc import Callable

import pytest

from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User

DAYS = "--start 2026-06-01 --end 2026-06-02"
NOTICE = (
    "LSE is experimental. Assumed: when bars are published, which rows belong to the close, what daily volumes prove"
)


@pytest.fixture
def user(make_user: Callable[..., User], start_sandbox: Callable[..., Sandbox]) -> User:
    """A user of New York and London, with Monday and Tuesday of both stored, but the first hour of VOD."""
    sandbox = start_sandbox(exchanges={"LSE": ExchangeConfig()})
    made = make_user(sandbox, BACKFILL_EXCHANGES='["US", "LSE"]', BACKFILL_AS_OF="2026-06-03T14:00:00Z")
    assert made.run_cli("symbols add AAPL VOD.LSE BP.LSE").code == 0
    assert made.run_cli(f"run --quiet --symbols AAPL,BP.LSE {DAYS}").code == 0
    return made


def test_report_of_two_exchanges_in_each_format(user: User) -> None:
    lines = user.run_cli(f"report {DAYS}").out.splitlines()
    us, london = (
        lines.index("US · United States · prices in USD"),
        lines.index("LSE · London Stock Exchange · prices in GBX"),
    )
    assert lines[us + 1].startswith("2 sessions (2026-06-01 to 2026-06-02, as of 2026-06-03 10:00 New York (US)): 2026")
    assert lines[london + 1].startswith(NOTICE)
    assert "as of 2026-06-03 15:00 London (LSE)" in lines[london + 2]
    assert any(line.split()[:3] == ["AAPL", "26", "26"] and "2026-06-01 09:30" in line for line in lines[us:london])
    assert any(line.split()[:3] == ["BP", "34", "34"] and "2026-06-01 08:00" in line for line in lines[london:])
    assert "34 bars missing in 1 of 2 symbols · 68 expected · 0 pending" in lines[london:]
    assert lines[-1] == "all exchanges: 34 bars missing (LSE 34 in 1 of 2 symbols)"
    check_formats(user)
    check_one_exchange(user)


def check_formats(user: User) -> None:
    """Rows name unit and status, and their times are UTC; texts for people have them in the exchange's zone."""
    result = user.run_cli(f"report {DAYS} --format json")
    rows = {(row["symbol"], row["exchange"]): row for row in result.json}
    assert {key: (row["price_unit"], row["exchange_status"]) for key, row in rows.items()} == {
        ("AAPL", "US"): ("USD", "verified"),
        ("BP", "LSE"): ("GBX", "experimental"),
        ("VOD", "LSE"): ("GBX", "experimental"),
    }
    assert rows["BP", "LSE"]["first_timestamp"] == "2026-06-01T07:00:00Z"
    assert NOTICE in result.err
    table = list(csv.DictReader(io.StringIO(user.run_cli(f"report {DAYS} --format csv").out)))
    assert [(row["symbol"], row["currency"], row["completeness"]) for row in table] == [
        ("AAPL", "USD", "1.0"),
        ("BP", "GBP", "1.0"),
        ("VOD", "GBP", "0.0"),
    ]
    text = user.run_cli(f"report {DAYS} --format markdown").out
    assert "## LSE · London Stock Exchange · prices in GBX" in text
    assert "Times are those of London, LSE." in text
    page = user.run_cli(f"report {DAYS} --format html").out
    assert page.count('<section class="exchange"') == 2
    assert "2026-06-03 15:00 London (LSE)" in page


def check_one_exchange(user: User) -> None:
    result = user.run_cli(f"report --exchange LSE {DAYS}")
    assert "LSE · London Stock Exchange · prices in GBX" in result.out.splitlines()
    assert "AAPL" not in result.out
    assert "all exchanges" not in result.out
    alone = user.run_cli(f"report {DAYS}", BACKFILL_EXCHANGES='["LSE"]').out
    assert alone == result.out
    us_alone = user.run_cli(f"report {DAYS}", BACKFILL_EXCHANGES='["US"]').out
    assert us_alone.startswith("2 sessions (2026-06-01 to 2026-06-02, as of 2026-06-03 14:00 UTC)")
    refused = user.run_cli("report --exchange AU")
    assert refused.code == 2
    assert "exchange AU is not collected, only US, LSE; to collect it set BACKFILL_EXCHANGES='" in refused.error


def test_status_and_why_of_two_exchanges(user: User) -> None:
    lines = user.run_cli("status").out.splitlines()
    assert "symbols       3 active · 0 inactive" in lines
    title = next(line for line in lines if line.startswith("LSE "))
    assert (
        "London Stock Exchange · prices in GBX · 2026-06-03 15:00 London (LSE) · open until 2026-06-03 16:30" in title
    )
    status = json.loads(user.run_cli("status --format json").out)
    exchanges = status["exchanges"]
    assert status["missing"] == sum(exchange["missing"] for exchange in exchanges.values()) == 34
    assert exchanges["LSE"]["newest_bar"] == "2026-06-02T15:00:00Z"
    assert exchanges["US"]["symbols"] == {"active": 1, "inactive": 0}
    assert "exchanges" not in json.loads(user.run_cli("status --format json", BACKFILL_EXCHANGES='["US"]').out)
    check_why(user)


def check_why(user: User) -> None:
    """A person reads the exchange's zone, a program UTC."""
    lines = user.run_cli("why BP.LSE 2026-06-02").out.splitlines()
    assert any(line.startswith("slot (London, LSE)") for line in lines)
    assert any(line.startswith("2026-06-02 08:00") for line in lines)
    assert any("overdue from 2026-06-03 08:30 London (LSE) at the latest" in line for line in lines)
    explained = user.run_cli("why BP.LSE 2026-06-02 --format json").json
    assert explained["slots"][0]["slot"] == "2026-06-02T07:00:00Z"
    assert any("overdue from 2026-06-03T07:30:00Z" in sentence for sentence in explained["evidence"])
