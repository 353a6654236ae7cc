"""``symbols add --listed-from``: FB became META, and later FB is another company."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.actions import Split
from backfill_assets.sandbox.recycled import Recycled
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import CommandResult, User
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars

FB_BEGIN, FB_END, META_BEGIN = date(2026, 5, 26), date(2026, 5, 27), date(2026, 5, 28)
FB_AGAIN, SPLIT_DAY = date(2026, 6, 1), date(2026, 6, 2)
BEFORE, RENAMED_ON, LATER = (datetime(2026, *moment, tzinfo=UTC) for moment in ((5, 27, 12), (5, 29, 14), (6, 3, 14)))
WINDOW = "--start 2026-05-26 --end 2026-06-02"
ADD = "symbols add FB --listed-from 2026-06-01"


class Store:
    """A user of the command line whose clock the vendor shares."""

    def __init__(self, user: User, database: Database, sandbox: Sandbox) -> None:
        self.user, self.database, self.sandbox, self.now = user, database, sandbox, BEFORE

    def move_to(self, now: datetime) -> None:
        self.now = now
        self.sandbox.move_clock(now)

    def run(self, command: str, code: int = 0) -> CommandResult:
        result = self.user.run_cli(command, BACKFILL_AS_OF=self.now.isoformat())
        assert result.code == code, result
        return result

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            return connection.execute(statement.encode()).fetchall()

    def report(self) -> dict[str, tuple[int, int]]:
        """By symbol, expected and stored bars."""
        rows = json.loads(self.run(f"report {WINDOW} --format json").out)
        return {row["symbol"]: (row["expected_bars"], row["bar_count"]) for row in rows}

    def read_state(self) -> list[list[tuple[Any, ...]]]:
        return [
            self.query("SELECT symbol, is_active FROM market_symbols ORDER BY 1"),
            self.query("SELECT listing_id FROM backfill.listings WHERE withdrawn_at IS NULL ORDER BY 1"),
        ]

    def read_factors(self, symbol: str) -> dict[date, float]:
        """By session, what splits multiply the prices of a ticker by."""
        statement = """
        SELECT s.symbol, backfill.session_day(r.timestamp), round((b.close_price / r.close_price)::numeric, 6)
        FROM backfill.adjusted_bars('splits') b
        JOIN market_data r USING (symbol_id, timestamp) JOIN market_symbols s USING (symbol_id)
        """
        return {day: float(factor) for name, day, factor in self.query(statement) if name == symbol}


@pytest.fixture
def store(make_user: Callable[..., User], database: Database, start_sandbox: Callable[..., Sandbox]) -> Store:
    """FB until May 27 and META since are one instrument, recorded; its split is 2:1. The new FB's is 3:1."""
    sandbox = start_sandbox(
        renamed={"FB": ("META", META_BEGIN)},
        recycled={"FB": Recycled(ended=FB_END, since=FB_AGAIN)},
        actions={"META": (Split(SPLIT_DAY, 2),), "FB": (Split(SPLIT_DAY, 3),)},
    )
    store = Store(make_user(sandbox), database, sandbox)
    store.move_to(BEFORE)
    store.run("symbols add FB")
    store.run("run --start 2026-05-26 --end 2026-05-26")
    store.move_to(RENAMED_ON)
    store.run(f"symbols rename FB META --on {META_BEGIN} --yes")
    store.run("run --start 2026-05-26 --end 2026-05-28")
    store.move_to(LATER)
    return store


def test_a_renamed_ticker_that_another_company_took_over_is_filled_from_its_first_session_on(store: Store) -> None:
    old_bars = build_expected_bars(store.sandbox, "META", FB_BEGIN, FB_END)
    assert read_stored_bars(store.database, "FB") == old_bars
    ended = "FB.US renamed to META.US on 2026-05-28"
    assert store.run("symbols add FB").err.startswith(f"{ended}: later bars are neither expected nor requested; if")
    assert store.report()["FB"] == (26, 26)  # its last sessions before the rename

    said = store.run(ADD).out
    assert said.startswith("FB.US is another company's from 2026-06-01 on: an instrument of its own, active\n")
    assert store.report()["FB"] == (26, 0)
    store.run(f"run {WINDOW}")
    new_bars = build_expected_bars(store.sandbox, "FB", FB_AGAIN, SPLIT_DAY)
    assert read_stored_bars(store.database, "FB") == [*old_bars, *new_bars]
    assert store.report() == {"FB": (26, 26), "META": (52, 52)}
    assert store.read_factors("FB") == {
        FB_BEGIN: 0.5, FB_END: 0.5, FB_AGAIN: pytest.approx(1 / 3, abs=1e-6), SPLIT_DAY: 1,
    }  # fmt: skip
    assert store.read_factors("META")[date(2026, 6, 1)] == 0.5

    shown = store.run("symbols show FB").out
    assert "FB.US  active\n  until 2026-05-27, as the same instrument META.US from 2026-05-28 on\n" in shown
    assert "  from 2026-06-01 on\n    FB.US is another company's from 2026-06-01 on: symbols add --listed-from" in shown
    assert store.query("SELECT symbol, is_active FROM backfill.universe_changes ORDER BY change_id DESC LIMIT 1") == [
        ("FB", True)
    ]
    store.run("symbols deactivate FB")
    assert store.run("symbols list").out == "META.US\n"


def test_it_can_be_taken_back_and_is_refused_by_name(store: Store) -> None:
    before = store.read_state()
    for arguments, reason in {
        "FB --listed-from 2026-05-31": "--listed-from: 2026-05-31 is no session of US",
        "FB --listed-from 2026-06-04": "--listed-from 2026-06-04 is yet to come (today is 2026-06-03)",
        "FB --listed-from 2026-05-27": "--listed-from 2026-05-27 must lie after the ticker's last listing: FB.US"
        " renamed to META.US on 2026-05-28",
        "META --listed-from 2026-06-01": "META.US has no listing that has ended, so --listed-from is not needed",
        "NEW --listed-from 2026-06-01": "NEW.US has no listing that has ended, so --listed-from is not needed",
        "FB META --listed-from 2026-06-01": "--listed-from is about one ticker",
        "FB --delisted --listed-from 2026-06-01": "--listed-from is about one ticker",
    }.items():
        assert reason in store.run(f"symbols add {arguments}", code=2).error
    assert store.read_state() == before

    number = store.run(ADD).out.split()[-1]
    assert "no listing that has ended" in store.run(ADD, code=2).error
    assert "changed since" in store.run("symbols rename FB META --undo", code=2).error
    store.run(f"decisions undo {number}")
    assert store.read_state() == before
    assert store.run("decisions list").out.count("another company") == 0
    store.run(ADD)
    store.run("symbols rename FB META --undo", code=2)
    assert [str(t) for t in parse_tickers(store.run("symbols list").out.split())] == ["FB.US", "META.US"]
