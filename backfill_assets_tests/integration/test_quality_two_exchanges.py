"""Reports of two exchanges in one database: each is what it would be alone, and its states add up.

Random stores, read at random times around Sydney's clock change on 7 April 2024 and Good Friday.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.exchange_criteria import combine_exchanges
from backfill_assets.quality.heatmap import build_heatmap
from backfill_assets.quality.html_report import to_html_of_exchanges
from backfill_assets.quality.html_report_data import collect_report_data
from backfill_assets.quality.status import read_status
from backfill_assets.quality.symbol_reports import read_symbol_reports
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols

EXCHANGES = ("US", "AU")
SYMBOLS = ("AAPL", "BHP", "BHP.AU", "CBA.AU", "CSL.AU")
FIRST, LAST = date(2024, 3, 25), date(2024, 4, 12)
SOURCE, INTERVAL = INTERVALS["5m"], INTERVALS["30m"]
INSERT_BAR = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
VALUES (%s, '30m', %s, 10, 11, 9, 10, 100, 'x', '5m', 6, %s, %s)
"""
INSERT_EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
                                       source_rows, data_until, is_published, published_at, not_returned)
VALUES (%s, '30m', '5m', %s, %s, 70, %s, %s, %s, '{}')
"""
Reports = dict[str, Any]


@dataclass(frozen=True)
class World:
    """A database with two exchanges, each with a random store."""

    engine: Engine
    random: np.random.Generator

    def fill(self, exchange: str, now: datetime) -> None:
        """Write random bars and evidence of an exchange, as they can be at ``now``."""
        sessions = [s for s in list_sessions(PROFILES[exchange], FIRST, LAST) if s.close < now - timedelta(hours=2)]
        starts = build_slot_grid(tuple(sessions), INTERVAL).starts.tolist()
        with self.engine.database.transaction() as connection:
            for symbol in list_symbols(connection, exchange):
                share = self.random.choice([0.0, 0.6, 1.0])
                chosen = [to_datetime(at) for at in starts if self.random.random() < share]
                bars = [(symbol.symbol_id, at, bool(self.random.random() < 0.9), now) for at in chosen]
                known = [
                    (
                        symbol.symbol_id,
                        s.day,
                        now,
                        s.close,
                        published,
                        s.close + timedelta(hours=2) if published else None,
                    )
                    for s in sessions
                    if self.random.random() < 0.6
                    for published in [bool(self.random.random() < 0.7)]
                ]
                with connection.cursor() as cursor:
                    cursor.executemany(INSERT_BAR, bars)
                    cursor.executemany(INSERT_EVIDENCE, known)

    def clear(self, *exchanges: str) -> None:
        with self.engine.database.transaction() as connection:
            for exchange in exchanges:
                ids = [symbol.symbol_id for symbol in list_symbols(connection, exchange)]
                connection.execute("DELETE FROM market_data WHERE symbol_id = ANY (%s)", (ids,))
                connection.execute("DELETE FROM backfill.session_evidence WHERE symbol_id = ANY (%s)", (ids,))

    def at(self, now: datetime) -> Engine:
        return Engine(self.engine.database, self.engine.settings.model_copy(update={"as_of": now}))


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(SYMBOLS))
    both = settings.model_copy(update={"exchanges": EXCHANGES, "token": SecretStr("demo")})
    return World(Engine(database, both), np.random.default_rng(18))


def report(engine: Engine, exchange: str) -> Reports:
    """Everything that a report says of one exchange, and proof that it adds up."""
    job, _ = build_job(engine, JobRequest(exchange=exchange))
    coverage = engine.measure(job)
    with engine.database.transaction() as connection:
        rows = read_symbol_reports(connection, coverage)
    for row, counts in zip(rows, coverage.counts.tolist(), strict=True):
        absent = row.pending_bars + counts[SlotState.MISSING] + row.no_trade_bars + row.vendor_gap_bars
        assert row.expected_bars == coverage.grid.size == row.bar_count + absent
    is_missing = coverage.has_state(SlotState.MISSING)
    if not coverage.request_history.published.any() and not coverage.request_history.data_until.any():
        sessions = set(coverage.grid.session_index[coverage.open_slots.ordinal[is_missing]].tolist())
        assert all(coverage.overdue_at[session] <= coverage.now for session in sessions)
    page = collect_report_data(
        engine.database, engine.settings, coverage, job.window.description, job.source_interval, market=job.market
    )
    status = read_status(engine.database, engine.settings)["exchanges"][exchange]
    assert (
        status["missing"] == sum(row.estimated_missing_bars for row in rows) == page.sum_field("estimated_missing_bars")
    )
    assert status["window"] == [session.day.isoformat() for session in job.window.sessions]
    return {
        "rows": rows,
        "criteria": page.criteria,
        "cells": build_heatmap(coverage).cells.tolist(),
        "completeness": page.completeness,
        "status": status,
        "half": [None if np.isnan(at) else at for at in coverage.absence_evidence.half_published_at.tolist()],
    }


@pytest.mark.no_cover
def test_the_report_of_one_exchange_does_not_depend_on_what_is_stored_of_another(world: World) -> None:
    half_seen = missing = 0
    for _ in range(3):
        minutes = int(world.random.integers(0, 14 * 1440))
        now = datetime(2024, 3, 29, tzinfo=UTC) + timedelta(minutes=minutes)
        world.clear(*EXCHANGES)
        for exchange in EXCHANGES:
            world.fill(exchange, now)
        engine = world.at(now)
        together = {exchange: report(engine, exchange) for exchange in EXCHANGES}
        world.clear("AU")
        assert report(engine, "US") == together["US"], now
        world.clear("US")
        world.fill("AU", now)
        alone = report(engine, "AU")
        world.fill("US", now)
        together = {"US": report(engine, "US"), "AU": report(engine, "AU")}
        assert together["AU"] == alone, now
        criteria = {exchange: together[exchange]["criteria"] for exchange in EXCHANGES}
        (whole,) = (c for c in combine_exchanges(criteria) if c.name == "no_missing_bars")
        missing += int(whole.figure)
        assert whole.figure == sum(row.estimated_missing_bars for one in together.values() for row in one["rows"])
        assert whole.passed is all(c.passed for of_one in criteria.values() for c in of_one if c.name == whole.name)
        half_seen += sum(at is not None for one in together.values() for at in one["half"])
    assert missing > 100
    assert half_seen > 5  # so that a count over both exchanges would show


def test_times_and_units_of_two_exchanges_on_one_page(world: World) -> None:
    """Sunday evening in New York, and Monday morning in Sydney, a day after its clock change."""
    engine = world.at(datetime(2024, 4, 8, 0, 30, tzinfo=UTC))
    status = read_status(engine.database, engine.settings)["exchanges"]
    assert status["AU"]["window"] == ["2024-04-04", "2024-04-05", "2024-04-08"]
    assert status["US"]["window"] == ["2024-04-04", "2024-04-05"]
    assert status["AU"]["next_session"]["open"] == "2024-04-08T00:00:00Z"
    assert status["US"]["next_session"]["day"] == "2024-04-08"
    assert (status["AU"]["price_unit"], status["AU"]["status"]) == ("AUD", "experimental")
    assert status["AU"]["notice"].startswith("AU is experimental.")
    assert status["US"]["notice"] is None
    pages = [collect_page(engine, exchange) for exchange in EXCHANGES]
    html = to_html_of_exchanges(pages)
    assert "2024-04-08 10:30 Sydney (AU)" in html
    assert "2024-04-07 20:30 New York (US)" in html
    assert html.count("<!doctype html>") == html.count("</html>") == html.count('id="budget"') == 1
    assert 'id="criteria-AU"' in html
    assert "passes for US; not judged for AU" in html or "not judged for US, AU" in html
    assert "sessions_agree_with_eod</th><td>not judged: AU is experimental: daily data are compared and judge" in html
    assert [c.name for c in pages[1].criteria][-2:] == ["calendar_is_known", "history_is_complete"]
    assert "calendar_is_known" not in [c.name for c in pages[0].criteria]


def collect_page(engine: Engine, exchange: str) -> Any:
    job, _ = build_job(engine, JobRequest(exchange=exchange))
    coverage = engine.measure(job)
    return collect_report_data(
        engine.database, engine.settings, coverage, job.window.description, job.source_interval, market=job.market
    )
