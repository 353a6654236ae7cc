"""Corporate actions, read from the sandbox with the morning's daily data: what is stored, and what it costs."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from backfill_assets.backfill.actions.action_kinds import DIVIDEND_KIND, SPLIT_KIND
from backfill_assets.backfill.actions.action_reading import ActionReading
from backfill_assets.backfill.actions.market_action_files import MarketActionFiles
from backfill_assets.backfill.daily_reading import DailyReading, find_due_reading, read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.optional_endpoints import DIVIDENDS, DIVIDENDS_FILE
from backfill_assets.market.actions.corporate_actions import Dividend
from backfill_assets.market.actions.listed_actions import ListedSplit
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_actions import ActionRows, DividendRow, DividendRows, SplitRow, SplitRows
from backfill_assets.market.vendor_errors import BudgetSpent, UnreadableRows
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.actions import Action, CashDividend, Record, Split
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.actions.dividends import list_dividends
from backfill_assets.store.actions.splits import list_splits
from backfill_assets.store.evidence.findings import (
    ADJUSTED_CLOSES_DIFFER,
    DIVIDENDS_CONTRADICT,
    ENDPOINT_NOT_IN_PLAN,
    SPLITS_CONTRADICT,
    list_findings,
)
from backfill_assets.store.quota.calls_by_purpose import read_calls_by_purpose
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.test_backfill_daily_reading import move_to
from backfill_assets_tests.integration.test_backfill_engine import list_sandbox_symbols

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2026, 6, day) for day in range(1, 6))
OLD_DAYS = (date(2024, 8, 12), date(2025, 2, 18), date(2026, 3, 2))  # 2025-02-17 is a holiday
OLD_CUM_DAYS = (date(2024, 8, 9), date(2025, 2, 14), date(2026, 2, 27))


def pay(ex_date: date, amount: str = "0.25", period: str | None = "Quarterly", **record: Any) -> CashDividend:
    return CashDividend(ex_date, Decimal(amount), period=period, record=Record(**record))


@pytest.fixture
def open_market(make_engine: MakeEngine, start_sandbox: StartSandbox) -> Callable[..., tuple[Engine, Sandbox]]:
    """An engine that reads daily data of three retained sessions, and its sandbox with the same actions of payers."""

    def make(
        *actions: Action,
        symbols: tuple[str, ...] = ("AAPL", "MSFT"),
        payers: tuple[str, ...] = ("AAPL",),
        sandbox: Any = (),
        **overrides: Any,
    ) -> tuple[Engine, Sandbox]:
        running = start_sandbox(splits={}, actions=dict.fromkeys(payers, actions), per_minute=100_000, **dict(sandbox))
        settings = {"daily_data": True, "partition_days": 3, "requests_per_minute": 100_000, **overrides}
        return make_engine(running, symbols, **settings), running

    return make


def read_after(engine: Engine, sandbox: Sandbox, days: int, **overrides: Any) -> DailyReading:
    return read_daily_data(move_to(engine, sandbox, NOW + timedelta(days=days), **overrides), US)


def list_stored_dividends(engine: Engine, *, with_versions: bool = False) -> list[Dividend]:
    with engine.database.transaction() as connection:
        return list_dividends(connection, with_versions=with_versions)


def list_amounts(engine: Engine, *, with_versions: bool = False) -> list[str]:
    """Each as amount and the days of June from and to which it was known."""
    texts = []
    for dividend in list_stored_dividends(engine, with_versions=with_versions):
        since, until = dividend.listed.revised_at or dividend.listed.first_seen, dividend.listed.withdrawn_at
        texts.append(f"{dividend.amount} {since.day}-{until.day if until else ''}")
    return texts


def list_daily_days(engine: Engine, symbol: str = "AAPL") -> set[date]:
    with engine.database.transaction() as connection:
        rows = connection.execute(
            "SELECT day FROM backfill.daily_prices JOIN market_symbols USING (symbol_id)"
            " WHERE symbol = %s AND close_price > 0 AND adjusted_close > 0",
            [symbol],
        )
        return {day for (day,) in rows}


def read_calls(engine: Engine, now: datetime) -> dict[str, int]:
    with engine.database.transaction() as connection:
        return dict(read_calls_by_purpose(connection, "test-token-4711", now).today)


def list_found(engine: Engine, *kinds: str) -> list[tuple[str, str]]:
    with engine.database.transaction() as connection:
        return [(f.kind, f.subject) for f in list_findings(connection) if f.kind in kinds]


def test_a_new_tickers_history_is_read_once_and_its_closes_with_the_next_mornings_request(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = open_market(*map(pay, OLD_DAYS), Split(date(2025, 6, 9), 4))
    assert str(read_daily_data(engine, US)) == "2 symbols, splits of 2 symbols, dividends of 2 symbols"
    stored = list_stored_dividends(engine)
    assert [(d.ex_date, d.cum_day, d.period) for d in stored] == [
        (ex_date, cum_day, "quarterly") for ex_date, cum_day in zip(OLD_DAYS, OLD_CUM_DAYS, strict=True)
    ]
    assert {(d.amount, d.currency, d.listed.source, d.listed.first_seen) for d in stored} == {
        (Decimal("0.25"), "USD", DIVIDENDS, NOW)
    }
    needed = {*OLD_CUM_DAYS, date(2025, 6, 6), date(2025, 6, 9)}
    assert not needed & list_daily_days(engine)
    thursday = read_after(engine, sandbox, 1)
    assert (thursday.requested, thursday.splits_requested, thursday.dividends_requested) == (2, 0, 0)
    assert needed <= list_daily_days(engine)
    assert len(list_daily_days(engine)) == len(list_daily_days(engine, "MSFT")) + len(needed)
    assert read_calls(engine, NOW + timedelta(days=1)) == {"daily": 2}
    assert thursday.as_dict() == {
        "symbols": 2, "failed": 0, "splits": 0, "dividends": 0, "closes": 0, "renamed": [],
        "file": None, "splits_file": None, "dividends_file": None, "stopped": None,
    }  # fmt: skip


def test_a_close_that_the_vendor_lacks_is_asked_for_again_after_a_week(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    absences = Absences(eod_skipped=frozenset({("AAPL", OLD_CUM_DAYS[0])}))
    engine, sandbox = open_market(pay(OLD_DAYS[0]), sandbox={"absences": absences})
    first_days = []
    for days in (0, 1, 2, 8):
        read_after(engine, sandbox, days)
        with engine.database.transaction() as connection:
            row = connection.execute(
                "SELECT closes_requested_at FROM backfill.dividend_reads WHERE symbol_id = 1"
            ).fetchone()
        first_days.append(row and row[0])
    asked = [NOW + timedelta(days=days) for days in (1, 8)]
    assert first_days == [None, asked[0], asked[0], asked[1]]
    assert OLD_CUM_DAYS[0] not in list_daily_days(engine)


def test_a_late_one_a_correction_and_a_withdrawal_are_kept_as_versions(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    late = pay(MONDAY, "0.10", listed_after_days=4)
    corrected = pay(TUESDAY, "0.20", wrong_value=Decimal("2.00"), corrected_after_days=5)
    withdrawn = pay(THURSDAY, "0.30", listed_after_days=-9, withdrawn_after_days=3)
    engine, sandbox = open_market(late, corrected, withdrawn)
    read_daily_data(engine, US)
    assert list_amounts(engine) == ["2 3-", "0.3 3-"]  # the announced one is stored, too
    assert read_after(engine, sandbox, 7).dividends_requested == 2
    assert list_amounts(engine) == ["0.1 10-", "0.2 10-"]
    assert list_amounts(engine, with_versions=True) == ["0.1 10-", "2 3-10", "0.2 10-", "0.3 3-10"]
    late_one = list_stored_dividends(engine)[0]
    assert (late_one.ex_date, late_one.listed.first_seen.date()) == (MONDAY, date(2026, 6, 10))
    read_after(engine, sandbox, 14)
    assert list_amounts(engine, with_versions=True) == ["0.1 10-", "2 3-10", "0.2 10-", "0.3 3-10"]


def test_what_is_listed_twice_counts_once_and_a_contradiction_is_a_finding_until_it_ends(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, _ = open_market(
        pay(OLD_DAYS[0], copies=2),
        pay(OLD_DAYS[1]),
        pay(OLD_DAYS[1], "1.00", "Special"),
        pay(OLD_DAYS[2], "0.25", wrong_value=Decimal("0.52")),
        pay(OLD_DAYS[2], "0.26", "Special", withdrawn_after_days=100),
    )
    read_daily_data(engine, US)
    stored = list_stored_dividends(engine)
    assert [(d.ex_date, d.period, d.contradiction is not None) for d in stored] == [
        (OLD_DAYS[0], "quarterly", False),
        (OLD_DAYS[1], "quarterly", False),
        (OLD_DAYS[1], "special", False),
        (OLD_DAYS[2], "quarterly", True),
        (OLD_DAYS[2], "special", False),
    ]
    assert list_found(engine, DIVIDENDS_CONTRADICT) == [(DIVIDENDS_CONTRADICT, "AAPL.US")]
    with engine.database.transaction() as connection:
        detail = list_findings(connection)[0].detail
    assert "(2026-03-02: 0.25 USD quarterly, 0.52 USD quarterly)" in detail


def test_of_two_ratios_of_a_day_the_daily_data_tell_the_right_one(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = open_market(Split(date(2025, 6, 9), 4, record=Record(wrong_value=Decimal(5))))
    read_daily_data(engine, US)
    assert list_found(engine, SPLITS_CONTRADICT) == [(SPLITS_CONTRADICT, "AAPL.US")]
    read_after(engine, sandbox, 1)  # with the closes of both sides
    read_after(engine, sandbox, 7)
    with engine.database.transaction() as connection:
        (split,) = list_splits(connection)
        versions = list_splits(connection, with_versions=True)
    assert (split.new_shares, split.old_shares, split.contradiction) == (4, 1, None)
    assert [version.contradiction is None for version in versions] == [False, True]
    assert list_found(engine, SPLITS_CONTRADICT) == []


def test_a_plan_without_dividends_is_told_once_and_splits_are_read_all_the_same(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    refusal = (403, "Only EOD data allowed for free users. Please, contact our support team.")
    engine, sandbox = open_market(pay(OLD_DAYS[0]), sandbox={"refused_endpoints": {"div": refusal}})
    first = read_daily_data(engine, US)
    assert (first.splits_requested, first.dividends_requested, first.stopped) == (2, 0, None)
    assert read_after(engine, sandbox, 1).stopped is None
    assert sandbox.stats()["by_endpoint"]["div"] == 1
    assert list_found(engine, ENDPOINT_NOT_IN_PLAN) == [(ENDPOINT_NOT_IN_PLAN, DIVIDENDS)]


def test_a_reading_that_ends_early_goes_on_where_it_ended(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    """Two daily rows, two lists of splits, and calls for one list of dividends."""
    engine, sandbox = open_market(pay(OLD_DAYS[0]), sandbox={"daily": 5}, collector_reserve=0.0)
    first = read_daily_data(engine, US)
    assert (first.splits_requested, first.dividends_requested, type(first.stopped)) == (2, 1, BudgetSpent)
    assert read_after(engine, sandbox, 1).dividends_requested == 1
    assert sandbox.stats()["by_endpoint"]["div"] == 2


def test_two_processes_at_once_read_each_list_once(open_market: Callable[..., tuple[Engine, Sandbox]]) -> None:
    symbols = tuple(list_sandbox_symbols(12))
    engine, sandbox = open_market(symbols=symbols, sandbox={"symbols": 12})
    read_daily_data(
        move_to(engine, sandbox, NOW, base_url=sandbox.base_url, action_calls=1), US
    )  # daily rows; one list
    due = find_due_reading(engine, US)

    async def read_at_once() -> list[int]:
        readings = [ActionReading(DIVIDEND_KIND, engine, due.job.symbols, due.settled, uses_file=False) for _ in "12"]
        async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
            assert await asyncio.gather(*(reading.read(client, 8) for reading in readings)) == [None, None]
        return [reading.requested for reading in readings]

    requested = asyncio.run(read_at_once())
    assert sum(requested) == 11
    assert min(requested) > 0
    assert sandbox.stats()["by_endpoint"]["div"] == 12


def test_many_tickers_at_once_stay_within_the_days_calls(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    """Beyond the number from which the market's file is read: lists first, then closes, also on days without a file."""
    symbols = tuple(list_sandbox_symbols(12))
    engine, sandbox = open_market(
        pay(OLD_DAYS[0]), symbols=symbols[:6], payers=symbols[:9], action_calls=4, daily_file_symbols=5,
        sandbox={"symbols": 12},
    )  # fmt: skip
    days = []
    for day in range(3, 12):  # from Wednesday on; Sunday and Monday have no file
        at = move_to(engine, sandbox, datetime(2026, 6, day, 14, tzinfo=UTC))
        reading = read_daily_data(at, US)
        calls = read_calls(at, at.settings.now())
        assert max(calls.get("splits", 0), calls.get("dividends", 0)) <= 4
        days.append((reading.splits_requested, reading.dividends_requested, reading.closes_requested))
        if day == 4:
            with engine.database.transaction() as connection:
                add_symbols(connection, parse_tickers(symbols))
    assert days == [
        (4, 4, 0), (2, 2, 2), (4, 4, 0), (2, 2, 2), (0, 0, 4), (0, 0, 1),
        (0, 0, 0), (4, 4, 0), (2, 2, 0),
    ]  # fmt: skip
    assert all(OLD_CUM_DAYS[0] in list_daily_days(engine, symbol) for symbol in symbols[:9])


def test_the_markets_files_are_read_in_order_and_histories_on_days_without_one(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    """The morning of Thursday is missed: Friday goes on with what was missed, and Saturday with the next session."""
    symbols = tuple(list_sandbox_symbols(501))
    engine, sandbox = open_market(
        pay(OLD_DAYS[0]), pay(WEDNESDAY), pay(THURSDAY, "0.5", None), symbols=symbols, partition_days=5,
        sandbox={"symbols": 501},
    )  # fmt: skip

    def read_day(day: int) -> tuple[date | None, int, int]:
        at = move_to(engine, sandbox, datetime(2026, 6, day, 14, tzinfo=UTC))
        reading = read_daily_data(at, US)
        assert read_calls(at, at.settings.now())["dividends"] == 100
        return reading.dividends_day, reading.dividends_requested, reading.closes_requested

    assert read_day(3) == (TUESDAY, 0, 0)
    assert [read_day(5), read_day(6)] == [(WEDNESDAY, 0, 0), (THURSDAY, 0, 0)]
    stored = [(d.ex_date, d.cum_day, d.period, d.listed.source) for d in list_stored_dividends(engine)]
    assert stored == [
        (WEDNESDAY, TUESDAY, "quarterly", DIVIDENDS_FILE),
        (THURSDAY, WEDNESDAY, "", DIVIDENDS_FILE),
    ]
    with engine.database.transaction() as connection:
        known = connection.execute("SELECT DISTINCT known_after, known_until FROM backfill.dividend_reads").fetchall()
    assert known == [(MONDAY, THURSDAY)]
    assert read_day(7) == (FRIDAY, 0, 0)
    assert read_day(8) == (None, 100, 0)  # Monday: no session has settled since Saturday
    assert [d.ex_date for d in list_stored_dividends(engine)] == [OLD_DAYS[0], WEDNESDAY, THURSDAY]


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("record", "before", "after"),
    [
        ({"listed_after_days": 4}, [], ["30 8-"]),
        ({"wrong_value": Decimal(3), "corrected_after_days": 4}, ["3 4-"], ["30 8-"]),
    ],
    ids=["late", "corrected"],
)
def test_with_the_markets_files_a_correction_is_found_where_the_closes_show_one(
    open_market: Callable[..., tuple[Engine, Sandbox]], record: dict[str, Any], before: list[str], after: list[str]
) -> None:
    """No file has it. The fall lets the rows be read again, and what they show lets the list be read."""
    symbols = tuple(list_sandbox_symbols(501))
    engine, sandbox = open_market(
        pay(WEDNESDAY, "30", "Special", **record), symbols=symbols, payers=symbols[-1:], partition_days=5,
        sandbox={"symbols": 501},
    )  # fmt: skip
    found = []
    for day in (3, 4, 5, 6, 7, 8):
        at = move_to(engine, sandbox, datetime(2026, 6, day, 14, tzinfo=UTC))
        read_daily_data(at, US)
        assert read_calls(at, at.settings.now())["dividends"] == 100
        found.append((bool(list_found(at, ADJUSTED_CLOSES_DIFFER)), list_amounts(at)))
    assert found[4:] == [(True, before), (False, after)]


def test_a_markets_file_that_cannot_be_read_does_not_keep_the_later_ones_from_it(
    open_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = open_market(partition_days=8)
    requested = []

    async def fetch(_: VendorClient, __: str, day: date) -> DividendRows:
        requested.append(day)
        if day == TUESDAY:
            raise UnreadableRows("none of 3 dividends can be read")
        return ActionRows((DividendRow("MSFT", day, "", Decimal(1), "USD"),))

    kind = replace(DIVIDEND_KIND, fetch_file=fetch)

    async def read_day(day: int) -> list[bool]:
        at = move_to(engine, sandbox, datetime(2026, 6, day, 14, tzinfo=UTC))
        due = find_due_reading(at, US)
        files = MarketActionFiles(kind, at, due.settled)
        async with at.open_vendor_client(Purpose.DIVIDENDS) as (_, client):
            return [await files.read_next(client) for _ in "12"]

    days = [asyncio.run(read_day(day)) for day in (2, 3, 4, 5, 6)]
    assert days == [[True, False], [False, False], [False, False], [False, False], [True, True]]
    assert requested == [MONDAY, TUESDAY, TUESDAY, TUESDAY, TUESDAY, WEDNESDAY]
    with engine.database.transaction() as connection:
        known = connection.execute("SELECT DISTINCT known_after, known_until FROM backfill.dividend_reads").fetchall()
    assert known == [(TUESDAY, WEDNESDAY)]  # what Tuesday's had is not known


def test_a_list_that_cannot_be_read_is_requested_weekly(open_market: Callable[..., tuple[Engine, Sandbox]]) -> None:
    """Also of splits, while adjusted closes say that there were actions."""
    engine, sandbox = open_market(pay(WEDNESDAY, "30"), partition_days=8)

    async def fetch(_: VendorClient, __: str) -> SplitRows:
        raise UnreadableRows("none of 1 splits can be read")

    kind = replace(SPLIT_KIND, fetch_list=fetch)
    claimed = []
    for day in (5, 6, 7, 8, 9, 10, 12):
        at = move_to(engine, sandbox, datetime(2026, 6, day, 14, tzinfo=UTC))
        due = find_due_reading(at, US)
        if day == 5:
            read_daily_data(at, US)
            with engine.database.transaction() as connection:
                connection.execute("DELETE FROM backfill.split_reads")
        reading = ActionReading(kind, at, due.job.symbols, due.settled, uses_file=False)

        async def read(at: Engine = at, reading: ActionReading[SplitRow, ListedSplit] = reading) -> None:
            async with at.open_vendor_client(Purpose.SPLITS) as (_, client):
                assert await reading.read(client, 8) is None

        asyncio.run(read())
        with engine.database.transaction() as connection:
            rows = connection.execute("SELECT DISTINCT requested_at FROM backfill.split_reads").fetchall()
        claimed.append([at.day for (at,) in rows])
    assert claimed == [[5]] * 6 + [[12]]
