"""``actions list``: corporate actions on the command line, with what the vendor listed before."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.quality.action_entries import ACTION_FIELDS
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, deactivate_symbols
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.test_reports_and_alerts import Page
from backfill_assets_tests.conftest import NOW

MakeUser = Callable[..., User]
STATEMENTS = (
    "INSERT INTO backfill.splits (symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen, revised_at)"
    " SELECT symbol_id, '2026-06-02', 10, 10, 1, '/splits', %(old)s, %(new)s FROM market_symbols WHERE symbol = 'NFLX'",
    "INSERT INTO backfill.split_revisions"
    " SELECT symbol_id, '2026-06-02', 7, 7, 1, '/bulk', %(old)s, %(new)s FROM market_symbols WHERE symbol = 'NFLX'",
    "INSERT INTO backfill.splits (symbol_id, ex_date, ratio, source, first_seen, withdrawn_at)"
    " SELECT symbol_id, '2026-05-20', 1.5, '/splits', %(old)s, %(new)s FROM market_symbols WHERE symbol = 'NFLX'",
    "INSERT INTO backfill.dividends (symbol_id, ex_date, period, cum_day, amount, currency, source, first_seen)"
    " SELECT symbol_id, '2026-06-12', 'quarterly', '2026-06-11', 0.2600, 'USD', '/div', %(old)s"
    " FROM market_symbols WHERE symbol = 'AAPL'",
    "INSERT INTO backfill.spinoffs (symbol_id, ex_date, factor, sessions, source, first_seen)"
    " SELECT symbol_id, '2024-04-02', 0.7975, 5, 'daily data', %(old)s FROM market_symbols WHERE symbol = 'GE'",
)


@pytest.fixture
def user(make_user: MakeUser, database: Database) -> User:
    """A user whose store has actions of three symbols; GE is inactive."""
    values = {"old": NOW - timedelta(days=3), "new": NOW - timedelta(days=1)}
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "GE", "NFLX"]))
        deactivate_symbols(connection, parse_tickers(["GE"]))
        for statement in STATEMENTS:
            connection.execute(statement.encode(), values)
    return make_user()


def read(user: User, options: str = "") -> list[dict[str, Any]]:
    result = user.run_cli(f"actions list {options} --format json")
    assert result.code == 0, result
    listed: list[dict[str, Any]] = result.json
    return listed


def name_actions(listed: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(a["ticker"], a["kind"], a["ex_date"], a["state"]) for a in listed]


def test_actions_are_listed_the_newest_first_also_of_inactive_symbols(user: User) -> None:
    dividend, split, spinoff = read(user)
    assert name_actions([dividend, split, spinoff]) == [
        ("AAPL.US", "dividend", "2026-06-12", "announced"),
        ("NFLX.US", "split", "2026-06-02", "effective"),
        ("GE.US", "spinoff", "2024-04-02", "effective"),
    ]
    assert (dividend["amount"], dividend["currency"], dividend["cum_day"]) == ("0.26", "USD", "2026-06-11")
    assert (split["new_shares"], split["old_shares"], split["ratio"]) == ("10", "1", 10.0)
    assert (split["first_seen"], split["revised_at"]) == ("2026-05-31T14:00:00Z", "2026-06-02T14:00:00Z")
    assert (split["is_derived"], spinoff["is_derived"]) == (False, True)
    assert (dividend["factor"], split["factor"], spinoff["factor"]) == (None, 0.1, 0.7975)
    assert (split["proof"], spinoff["proof"]) == (None, "shown by 5 sessions")  # there are no bars
    assert all(tuple(action) == ACTION_FIELDS for action in (dividend, split, spinoff))


def test_all_shows_what_was_withdrawn_and_what_the_vendor_listed_before(user: User) -> None:
    new, old, withdrawn = read(user, "NFLX --all")
    assert [a["state"] for a in (new, old, withdrawn)] == ["effective", "replaced", "withdrawn"]
    assert (old["new_shares"], old["known_until"], old["source"]) == ("7", new["known_from"], "/bulk")
    assert (withdrawn["withdrawn_at"], withdrawn["new_shares"], withdrawn["ratio"]) == (new["revised_at"], None, 1.5)


def test_an_action_without_a_factor_says_why(user: User, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("UPDATE backfill.dividends SET ex_date = '2026-06-02', cum_day = '2026-06-01'")
        connection.execute("UPDATE backfill.splits SET contradiction = '10:1, 7:1' WHERE ratio = 10")
    dividend, split = read(user, "--start 2026-06-01")
    assert (dividend["factor"], dividend["factor_missing"]) == (None, "the daily close of 2026-06-01 is not stored")
    assert (split["factor"], split["contradiction"]) == (None, "10:1, 7:1")
    assert "no factor: the daily close of 2026-06-01 is not stored" in user.run_cli("actions list").out
    assert "no factor: the vendor lists it as 10:1, 7:1" in user.run_cli("report --format html").out


def test_a_record_of_another_ticker_of_the_instrument_is_not_counted_twice(user: User, database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["NFLQ"]))
        connection.execute(
            "INSERT INTO backfill.splits (symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen)"
            " SELECT o.symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen"
            " FROM backfill.splits, market_symbols o WHERE o.symbol = 'NFLQ' AND ratio = 10"
        )
        connection.execute(
            "INSERT INTO backfill.listings (instrument_id, symbol_id, listed_from, listed_until, source, recorded_by,"
            " recorded_at) SELECT 1, symbol_id, CASE symbol WHEN 'NFLX' THEN date '2026-05-01' END,"
            " CASE symbol WHEN 'NFLQ' THEN date '2026-04-30' END, 'test', 'test', now()"
            " FROM market_symbols WHERE symbol IN ('NFLX', 'NFLQ')"
        )
    factors = {action["ticker"]: action["factor"] for action in read(user, "--kind split")}
    assert factors == {"NFLX.US": 0.1, "NFLQ.US": None}


def test_with_a_past_time_the_list_is_what_was_known_then(user: User) -> None:
    before = (NOW - timedelta(days=2)).isoformat().replace("+00:00", "Z")
    listed = read(user, f"NFLX --as-of {before}")
    assert [(a["ratio"], a["state"]) for a in listed] == [(7.0, "announced"), (1.5, "effective")]


@pytest.mark.parametrize(
    ("options", "tickers"),
    [
        ("--kind split", ["NFLX.US"]),
        ("--kind split --kind spinoff", ["NFLX.US", "GE.US"]),
        ("--start 2026-06-02", ["AAPL.US", "NFLX.US"]),
        ("--end 2026-06-02", ["NFLX.US", "GE.US"]),
        ("aapl GE.US", ["AAPL.US", "GE.US"]),
    ],
)
def test_options_choose_actions(user: User, options: str, tickers: list[str]) -> None:
    assert [action["ticker"] for action in read(user, options)] == tickers


def test_the_table_and_csv_have_the_same_actions(user: User) -> None:
    shown = user.run_cli("actions list").out
    assert "10:1" in shown
    assert "0.26 USD, quarterly" in shown
    assert "a part worth 20.250 % of the price" in shown
    assert "3 actions" in shown
    rows = list(csv.DictReader(io.StringIO(user.run_cli("actions list --format csv").out)))
    assert [row["ex_date"] for row in rows] == ["2026-06-12", "2026-06-02", "2024-04-02"]
    assert rows[0]["withdrawn_at"] == ""


def test_what_cannot_be_listed_is_said(user: User) -> None:
    unknown = user.run_cli("actions list ZZZZ")
    assert (unknown.code, "ZZZZ.US is not in the universe" in unknown.err) == (0, True)
    assert "no corporate action is stored" in unknown.out
    assert "backfill-assets run reads them" in unknown.out
    assert "after --end" in user.run_cli("actions list --start 2026-06-02 --end 2026-06-01").error


def test_currencies_have_no_actions_that_a_run_could_read(make_user: MakeUser) -> None:
    user = make_user()
    assert user.run_cli("symbols add EURUSD.FOREX").code == 0
    shown = " ".join(user.run_cli("actions list EURUSD.FOREX").out.split())
    assert "no corporate action is stored for these symbols and ex-dates; FOREX has none" in shown


def test_an_empty_universe_says_what_to_do_first(make_user: MakeUser) -> None:
    listed = make_user().run_cli("actions list --format json")
    assert (listed.code, listed.json, "no symbols; add some: backfill-assets" in listed.err) == (0, [], True)


def test_the_report_names_actions_of_its_window_for_people_and_programs(user: User) -> None:
    shown = user.run_cli("report").out
    assert "2026-06-02  NFLX.US  split 10:1" in shown
    assert "GE.US" not in shown  # long ago
    rows = {row["symbol"]: row["actions"] for row in user.run_cli("report --format json").json}
    assert (name_actions(rows["NFLX"]), rows["AAPL"]) == ([("NFLX.US", "split", "2026-06-02", "effective")], [])
    assert "actions" not in user.run_cli("report --format csv").out.splitlines()[0]
    assert "corporate actions" not in user.run_cli("report --start 2026-05-26 --end 2026-05-28").out


def test_a_split_is_not_hidden_in_the_report_by_many_dividends(user: User, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.dividends (symbol_id, ex_date, period, cum_day, amount, currency, source, first_seen)"
            " SELECT symbol_id, '2026-06-02', 'payment ' || n, '2026-06-01', 0.1, 'USD', '/div', date '2026-05-31'"
            " FROM market_symbols, generate_series(1, 8) AS n WHERE symbol = 'AAPL'"
        )
    shown = user.run_cli("report").out
    assert "2026-06-02  NFLX.US  split 10:1" in shown
    assert "… and 4 more: backfill-assets actions list --start 2026-06-02 --end 2026-06-02" in shown


def test_the_page_lists_actions_and_marks_them_in_the_heat_map(user: User) -> None:
    html = user.run_cli("report --format html").out
    page = Page(html)
    assert page.contains("1 with an ex-date in the window. Stored bars are raw")
    assert page.contains(
        "NFLX.US 2026-06-02 split 10:1 0.1 effective first 2026-05-31 14:00 UTC, revised 2026-06-02 14:00 UTC /splits"
    )
    assert page.contains("NFLX.US 2026-06-02: split 10:1")  # the title of the cell
    assert page.contains("corporate action the dark corner marks an ex-date")
    without = user.run_cli("report --format html --start 2026-05-26 --end 2026-05-28").out
    assert "corporate action" not in without.lower()


def test_why_names_the_actions_of_the_session_and_says_that_bars_are_raw(user: User) -> None:
    shown = user.run_cli("why NFLX 2026-06-02")
    assert "ex-date of a split 10:1, source /splits: stored bars are raw" in shown.out
    assert "from it on; factor 0.1\n" in shown.out
    assert "a split 7:1 (replaced) was listed for this session until 2026-06-02T14:00:00Z" in shown.out
    explained = user.run_cli("why NFLX 2026-06-02 --format json").json
    assert [action["state"] for action in explained["actions"]] == ["effective", "replaced"]
    assert user.run_cli("why NFLX 2026-06-01 --format json").json["actions"] == []


def test_an_ex_date_without_a_session_counts_for_the_next_one(user: User, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("UPDATE backfill.splits SET ex_date = '2026-05-30' WHERE ratio = 10")  # a Saturday
    assert "split 10:1" in user.run_cli("why NFLX 2026-06-01").out
    assert "NFLX.US 2026-06-01: split 10:1" in user.run_cli(
        "report --format html --start 2026-05-28 --end 2026-06-02"
    ).out  # fmt: skip
