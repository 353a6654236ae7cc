"""What a user sees of answers that cannot be read, of refusals in words, and of rejected rows."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.stub_vendor import FAST_RETRIES, StubVendor, serve_stub

MakeUser = Callable[..., User]
OPEN = int(datetime(2026, 6, 1, 13, 30, tzinfo=UTC).timestamp())
RUN_MONDAY = "run --start 2026-06-01 --end 2026-06-01"
QUOTA = b"You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
WARNING = "Data is limited by one year as you have free subscription."


def build_session_rows(first: int = OPEN) -> list[dict[str, Any]]:
    """The 5m rows of a session, ended by the close print."""
    prices = dict.fromkeys(("open", "high", "low", "close"), 10.5)
    rows = [{"timestamp": first + 300 * n, **prices, "volume": 100} for n in range(78)]
    return [*rows, {"timestamp": first + 300 * 78, **prices, "volume": None}]


def count_rows(database: Database, table: str) -> int:
    with database.transaction() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0])


def to_iso(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "timestamp": str(datetime.fromtimestamp(row["timestamp"], UTC))}


def to_milliseconds(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "timestamp": 1000 * row["timestamp"]}


def to_grouped_digits(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "volume": "1,234"}


def to_capitals(row: dict[str, Any]) -> dict[str, Any]:
    return {name.capitalize(): value for name, value in row.items()}


@pytest.mark.parametrize(
    ("change", "every", "message"),
    [
        (
            to_milliseconds,
            1,
            "79 of 79 rows cannot be read ('timestamp' must be epoch seconds), for example {\"timestamp",
        ),
        (to_milliseconds, 2, "40 of 79 rows cannot be read"),
        (to_iso, 1, "79 of 79 rows cannot be read"),
        (to_grouped_digits, 3, "27 of 79 rows cannot be read (prices and volume must be numbers)"),
        (to_capitals, 1, "none of 79 rows has timestamp, open, high, low, close, volume"),
    ],
    ids=["milliseconds", "half in milliseconds", "ISO", "a third with grouped digits", "capital names"],
)
def test_an_answer_with_unreadable_rows_is_an_error_and_leaves_no_trace(
    make_user: MakeUser, database: Database, change: Callable[..., Any], every: int, message: str
) -> None:
    rows = [change(row) if n % every == 0 else row for n, row in enumerate(build_session_rows())]
    with serve_stub(StubVendor(body=json.dumps(rows).encode())) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add MSFT")
        result = user.run_cli(RUN_MONDAY)
    assert (result.code, message in result.out.replace("\n", " ")) == (4, True), result.out
    assert "not published" not in result.out
    assert [count_rows(database, t) for t in ("market_data", "backfill.session_evidence", "backfill.rejects")] == [
        0
    ] * 3


def test_an_answer_that_cannot_be_read_is_paid_once_in_a_run(make_user: MakeUser) -> None:
    """The vendor sends the same rows again at once, and bills them; a body that is cut off is requested again."""
    rows = build_session_rows()
    unreadable, cut = json.dumps([*map(to_iso, rows)]).encode(), json.dumps(rows)[:-1].encode()
    vendor = StubVendor(
        body=json.dumps(rows).encode(), by_path={"intraday/MSFT": (200, unreadable), "intraday/TSLA": (200, cut)}
    )
    with serve_stub(vendor) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add AAPL MSFT TSLA")
        assert user.run_cli(RUN_MONDAY).code == 3
    counts = [vendor.count_requests(f"intraday/{symbol}.US") for symbol in ("AAPL", "MSFT", "TSLA")]
    assert counts == [1, 1, 4]  # two attempts in each of two passes


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (QUOTA, 4, "You exceeded your daily API requests limit."),
        (b"Sorry [/bold], we are moving house", 4, "Sorry [/bold], we are moving house"),
        (json.dumps({"warning": WARNING}).encode(), 3, f"the vendor says: {WARNING}"),
        (json.dumps([{"warning": WARNING}]).encode(), 3, f"the vendor says: {WARNING}"),
    ],
    ids=["quota", "other words", "a warning only", "a row with a warning only"],
)
def test_the_vendors_words_reach_the_user(make_user: MakeUser, body: bytes, code: int, words: str) -> None:
    with serve_stub(StubVendor(body=body)) as url:
        user = make_user(EODHD_BASE_URL=url, COLUMNS="300", **FAST_RETRIES)
        user.run_cli("symbols add MSFT")
        result = user.run_cli(RUN_MONDAY)
    assert (result.code, words in result.out) == (code, True), result.out


def test_a_bar_around_a_rejected_row_is_suspect_and_a_person_asks_for_it_at_once(
    make_user: MakeUser, database: Database
) -> None:
    rows = build_session_rows()
    vendor = StubVendor(body=json.dumps([{**rows[0], "high": -1, "low": -1, "volume": 0}, *rows[1:]]).encode())
    with serve_stub(vendor) as url:
        user = make_user(EODHD_BASE_URL=url, COLUMNS="300", **FAST_RETRIES)
        user.run_cli("symbols add MSFT")
        user.run_cli(RUN_MONDAY)
        why = json.loads(user.run_cli("why MSFT 2026-06-01 --format json").out)["slots"][0]
        assert why["state"] == "suspect"
        assert "1 row rejected: a price is zero or negative (2026-06-01T13:30:00Z)" in why["evidence"]
        asked = len(vendor.request_paths)
        assert user.run_cli(RUN_MONDAY).code == 0
        assert not any("/intraday/" in path for path in vendor.request_paths[asked:])  # the retry schedule waits a day
        for _ in range(2):
            asked = len(vendor.request_paths)
            user.run_cli(f"{RUN_MONDAY} --symbols MSFT")
            assert sum("/intraday/" in path for path in vendor.request_paths[asked:]) == 1
        vendor.body = json.dumps(rows).encode()
        user.run_cli(f"{RUN_MONDAY} --symbols MSFT")
        states = {slot["state"] for slot in json.loads(user.run_cli("why MSFT 2026-06-01 --format json").out)["slots"]}
    assert states == {"present"}
    with database.transaction() as connection:
        volumes = [row[0] for row in connection.execute("SELECT volume FROM market_data ORDER BY timestamp")]
    assert volumes == np.full(13, 600).tolist()


def test_why_explains_a_spike_so_that_a_person_can_decide(make_user: MakeUser) -> None:
    rows = build_session_rows()
    rows[20] = {**rows[20], "high": 9_999.0}
    with serve_stub(StubVendor(body=json.dumps(rows).encode())) as url:
        user = make_user(EODHD_BASE_URL=url, COLUMNS="300", **FAST_RETRIES)
        user.run_cli("symbols add MSFT")
        user.run_cli(RUN_MONDAY)
        explained = user.run_cli("why MSFT 2026-06-01 --format json").json
        text = user.run_cli("why MSFT 2026-06-01").out
    (doubt,) = explained["doubts"]
    assert (doubt["rule"], doubt["first_row"], doubt["outcome"]) == ("price_spike", "2026-06-01T15:10:00Z", None)
    assert (doubt["figures"]["price"], doubt["figures"]["close_before"]) == (9_999.0, 10.5)
    assert [bar["high"] for bar in (doubt["bar_before"], *doubt["bars"], doubt["bar_after"])] == [10.5, 9_999.0, 10.5]
    slot = explained["slots"][3]
    assert (slot["state"], slot["slot"]) == ("suspect", doubt["first_slot"])
    assert slot["ask_again"] == doubt["ask_again"]
    assert slot["evidence"].endswith(f"a price lies far from its neighbours and returns (doubt {doubt['doubt_id']})")
    for words in (
        f"doubt {doubt['doubt_id']}: a price lies far from its neighbours and returns (price_spike)",
        "bar in doubt: 2026-06-01T15:00:00Z  open 10.5, high 9,999, low 10.5, close 10.5, volume 600",
        "the vendor's other feed was not asked",
    ):
        assert words in text


def test_symbols_sync_prints_the_vendors_remark_about_its_list(make_user: MakeUser) -> None:
    line = {"Code": "MSFT", "Exchange": "NASDAQ", "Type": "Common Stock"}
    with serve_stub(StubVendor(body=json.dumps([line, {"warning": WARNING}]).encode())) as url:
        result = make_user(EODHD_BASE_URL=url, COLUMNS="300", **FAST_RETRIES).run_cli("symbols sync")
    assert (result.code, result.out.splitlines()) == (
        0,
        ["1 listed by the vendor, 1 added, 0 left out", f"  the vendor says: {WARNING}"],
    )


def test_why_and_plan_say_that_the_answer_could_not_be_read_and_when_the_next_try_is(make_user: MakeUser) -> None:
    unreadable = json.dumps([*map(to_iso, build_session_rows())]).encode()
    with serve_stub(StubVendor(body=unreadable)) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add MSFT")
        assert "never requested" in user.run_cli("why MSFT 2026-06-01").out
        user.run_cli(RUN_MONDAY)
        plan = user.run_cli(RUN_MONDAY.replace("run", "plan")).out
        explained = user.run_cli("why MSFT 2026-06-01 --format json").json
    found = re.search(r"1 ticker deferred: the vendor's answer could not be read, until (.{10}) (.{5}) UTC", plan)
    assert found, plan
    next_try = f"{found[1]}T{found[2]}"
    sentence = explained["evidence"][0]
    assert sentence.startswith(f"the vendor's newest answer could not be read; next try at {next_try}")
    assert "never requested" not in str(explained)
    assert {slot["evidence"] for slot in explained["slots"]} == {"the vendor's newest answer could not be read"}
    assert all(slot["ask_again"].startswith(next_try) for slot in explained["slots"])
