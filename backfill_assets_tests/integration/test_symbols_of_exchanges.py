"""Symbols of other exchanges: lists with their copies and costs, units of prices, and jumps of a level by 100."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from backfill_assets.backfill.daily_reading import find_due_reading, read_daily_data
from backfill_assets.backfill.decisions.inbox import decide, refresh_inbox, undo
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.listing_filter import ListingFilter
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.symbol_sync import (
    MAX_NEW_AT_ONCE,
    add_new_symbols,
    find_new_symbols,
    sync_universe,
)
from backfill_assets.backfill.unit_changes import drop_doubts_of_units, find_changed_units
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.decisions import list_open_decisions
from backfill_assets.store.evidence.proposals import Answer, Decision
from backfill_assets.store.price_units import list_units, read_price_units, record_listed_units
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
LSE = get_profile("LSE")


@pytest.fixture
def open_engine(make_engine: MakeEngine, start_sandbox: StartSandbox) -> MakeEngine:
    """An engine over two exchanges; London has ``symbols`` symbols and as many ``copies``."""

    def make(symbols: int = 3, copies: int = 2, **overrides: Any) -> Engine:
        london = ExchangeConfig(symbols=symbols, foreign_copies=copies)
        sandbox = start_sandbox(symbols=2, exchanges={"LSE": london})
        settings = {"exchanges": ("US", "LSE"), "partition_days": 8, "requests_per_minute": 100_000, **overrides}
        return make_engine(sandbox, (), **settings)

    return make


def list_names(engine: Engine, exchange: str = "LSE") -> list[str]:
    with engine.database.transaction() as connection:
        return [str(symbol.ticker) for symbol in list_symbols(connection, exchange)]


def test_a_list_of_london_adds_primary_lines_with_their_units_and_says_what_they_cost(open_engine: MakeEngine) -> None:
    engine = open_engine()
    found = find_new_symbols(engine, "LSE", ListingFilter())
    assert list_names(engine) == []
    count = len(found.new)
    assert found.describe_new() == f"{count} new symbols: about {5 * count} calls a day"
    assert not found.needs_consent
    result = add_new_symbols(engine, found)
    assert (result.added, result.unplaced) == (count, 0)
    assert len(result.left_out["further line of a foreign share"]) == 2
    assert all(name.endswith(".LSE") for name in list_names(engine))
    with engine.database.transaction() as connection:
        units = read_price_units(connection, [symbol.symbol_id for symbol in list_symbols(connection, "LSE")])
    assert {(unit.price_unit, unit.currency, unit.valid_from) for unit in units.values()} == {("GBX", "GBP", None)}
    assert all("the vendor's list of LSE" in str(unit) for unit in units.values())
    assert add_new_symbols(engine, find_new_symbols(engine, "LSE", ListingFilter(has_copies=True))).added == 2


def test_daily_data_and_the_market_s_file_count_in_what_new_symbols_cost(open_engine: MakeEngine) -> None:
    alone = open_engine(symbols=14, daily_data=True)
    assert find_new_symbols(alone, "LSE", ListingFilter()).calls_a_day >= 14 * (5 + 1)
    of_file = replace(alone, settings=alone.settings.model_copy(update={"daily_file_symbols": 10, "action_calls": 0}))
    found = find_new_symbols(of_file, "LSE", ListingFilter())
    assert found.calls_a_day == 5 * len(found.new) + 100


def test_more_than_200_symbols_need_consent_and_a_setting_adds_no_more_at_once(open_engine: MakeEngine) -> None:
    engine = open_engine(symbols=230, copies=0)
    found = find_new_symbols(engine, "LSE", ListingFilter())
    assert found.needs_consent
    first = sync_universe(engine, "LSE", ListingFilter())
    assert (first.added, first.postponed) == (MAX_NEW_AT_ONCE, len(found.new) - MAX_NEW_AT_ONCE)
    assert any("symbols sync --exchange LSE --yes" in note for note in first.describe())
    assert sync_universe(engine, "LSE", ListingFilter()).added == first.postponed
    assert sync_universe(engine, "LSE", ListingFilter()).added == 0


def test_an_exchange_that_is_not_enabled_is_refused_with_what_to_do(open_engine: MakeEngine) -> None:
    engine = open_engine()
    with pytest.raises(UsageError, match=r'set BACKFILL_EXCHANGES=.\["US", "LSE", "PA"\].$'):
        find_new_symbols(engine, "PA", ListingFilter())
    with pytest.raises(UsageError, match="not supported"):
        find_new_symbols(engine, "NOWHERE", ListingFilter())


def make_london_job(engine: Engine) -> BackfillJob:
    return build_job(engine, JobRequest(start=date(2026, 5, 20), end=date(2026, 6, 1), exchange="LSE"))[0]


def test_each_exchange_reads_its_own_daily_data_and_a_request_of_one_is_none_of_another(
    open_engine: MakeEngine,
) -> None:
    engine = open_engine(daily_data=True)
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["VOD.LSE", "BP.LSE", "AAPL"]))
    london, us = read_daily_data(engine, LSE), read_daily_data(engine, US)
    assert (london.requested, us.requested) == (2, 1)
    assert not find_due_reading(engine, LSE)
    with engine.database.transaction() as connection:
        rows = connection.execute(
            "SELECT exchange, count(*) FROM backfill.daily_prices JOIN market_symbols USING (symbol_id) GROUP BY 1"
        ).fetchall()
    assert {exchange for exchange, _ in rows} == {"US", "LSE"}
    assert engine.settings.now() == NOW


@pytest.fixture
def jumped(open_engine: MakeEngine) -> tuple[Engine, BackfillJob, int]:
    """An engine with bars of VOD.LSE whose level is a hundredth from 28 May on."""
    engine = open_engine()
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["VOD.LSE"]))
    job = make_london_job(engine)
    run_backfill(engine, job, ignore_progress)
    with engine.database.transaction() as connection:
        connection.execute(
            b"UPDATE market_data SET (open_price, high_price, low_price, close_price) ="
            b" (open_price / 100, high_price / 100, low_price / 100, close_price / 100) WHERE timestamp >= '2026-05-28'"
        )
    find_changed_units(engine, job)
    return engine, job, job.symbols[0].symbol_id


def list_proposed(engine: Engine) -> list[Decision]:
    refresh_inbox(engine.database, NOW)
    with engine.database.transaction() as connection:
        return [one for one in list_open_decisions(connection) if one.proposal.kind == "price_unit"]


def answer(engine: Engine, decision: Decision, given: Answer) -> None:
    decide(engine.database, [decision.decision_id], given, by="ann@host", note=None, now=NOW)


def test_a_jump_of_the_level_by_100_is_proposed_as_another_unit_once(jumped: tuple[Engine, BackfillJob, int]) -> None:
    engine, job, symbol_id = jumped
    (decision,) = list_proposed(engine)
    assert decision.proposal.subject == "VOD.LSE may be quoted in GBP from 2026-05-28 on"
    find_changed_units(engine, job)
    assert [one.decision_id for one in list_proposed(engine)] == [decision.decision_id]
    with engine.database.transaction() as connection:
        before = connection.execute(b"SELECT sum(close_price) FROM market_data").fetchall()
    answer(engine, decision, Answer.ACCEPTED)
    assert list_proposed(engine) == []
    with engine.database.transaction() as connection:
        unit = read_price_units(connection, [symbol_id])[symbol_id]
        assert (unit.price_unit, unit.valid_from) == ("GBP", date(2026, 5, 28))
        assert connection.execute(b"SELECT sum(close_price) FROM market_data").fetchall() == before
    undo(engine.database, decision.decision_id, by="ann@host", note=None, now=NOW)
    with engine.database.transaction() as connection:
        assert read_price_units(connection, [symbol_id])[symbol_id].price_unit == "GBX"
    assert len(list_proposed(engine)) == 1


def record_listed(engine: Engine, symbol_id: int, unit: str, day: date) -> list[tuple[date | None, str]]:
    """The recorded units, after the vendor's list said ``unit`` on ``day``."""
    with engine.database.transaction() as connection:
        record_listed_units(connection, {symbol_id: unit}, "the vendor's list of LSE", day, NOW)
        return list_units(connection, symbol_id)


def test_an_accepted_jump_corrects_what_a_list_said_of_the_time_before(
    jumped: tuple[Engine, BackfillJob, int],
) -> None:
    engine, _, symbol_id = jumped
    record_listed(engine, symbol_id, "GBP", date(2026, 6, 1))  # read after the jump, and taken to have held before
    (decision,) = list_proposed(engine)
    answer(engine, decision, Answer.ACCEPTED)
    changed = [(None, "GBX"), (date(2026, 5, 28), "GBP")]
    assert record_listed(engine, symbol_id, "GBP", date(2026, 6, 2)) == changed
    undo(engine.database, decision.decision_id, by="ann@host", note=None, now=NOW)
    assert record_listed(engine, symbol_id, "GBP", date(2026, 6, 3)) == [(None, "GBP")]


def test_a_list_that_says_what_it_said_before_does_not_undo_a_decision(jumped: tuple[Engine, BackfillJob, int]) -> None:
    engine, _, symbol_id = jumped
    record_listed(engine, symbol_id, "GBX", date(2026, 5, 1))
    (decision,) = list_proposed(engine)
    answer(engine, decision, Answer.ACCEPTED)
    changed = [(None, "GBX"), (date(2026, 5, 28), "GBP")]
    assert record_listed(engine, symbol_id, "GBX", date(2026, 6, 2)) == changed


def test_a_line_in_another_currency_has_no_jump_between_units(jumped: tuple[Engine, BackfillJob, int]) -> None:
    engine, job, symbol_id = jumped
    record_listed(engine, symbol_id, "USD", date(2026, 6, 1))
    find_changed_units(engine, job)
    assert list_proposed(engine) == []


def test_an_open_change_of_unit_is_no_doubt_and_a_denied_one_is(jumped: tuple[Engine, BackfillJob, int]) -> None:
    engine, job, symbol_id = jumped
    grid = build_slot_grid(job.window.sessions, job.interval)
    session = [one.day for one in grid.sessions].index(date(2026, 5, 28))
    doubts = [
        build_doubt(symbol_id, at, rule)
        for at in (session - 1, session)
        for rule in (Rule.STEP_WITHOUT_SPLIT, Rule.FROZEN)
    ]
    (decision,) = list_proposed(engine)

    def list_kept() -> list[tuple[int, Rule]]:
        with engine.database.transaction() as connection:
            return [(doubt.session - session, doubt.rule) for doubt in drop_doubts_of_units(connection, doubts, grid)]

    step = Rule.STEP_WITHOUT_SPLIT
    assert list_kept() == [(-1, step), (-1, Rule.FROZEN), (0, Rule.FROZEN)]
    answer(engine, decision, Answer.REJECTED)
    assert list_kept() == [(-1, step), (-1, Rule.FROZEN), (0, step), (0, Rule.FROZEN)]
    assert list_proposed(engine) == []


def build_doubt(symbol_id: int, session: int, rule: Rule) -> Doubt:
    return Doubt(rule, symbol_id, session, 0, 0, {})
