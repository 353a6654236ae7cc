"""The data-quality report of each exchange as an asset, and what all of them come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration import checks
from backfill_assets.orchestration.catalog import ROW_COUNT
from backfill_assets.orchestration.daily_data import read_and_record
from backfill_assets.orchestration.exchange_loop import Attempts
from backfill_assets.orchestration.exchange_names import (
    GROUP,
    add_exchange,
    build_bars_key,
    build_market_metadata,
    build_report_key,
    describe_market,
    name_exchange,
)
from backfill_assets.quality.action_entries import mark_sessions
from backfill_assets.quality.corporate_actions_listing import list_window_actions
from backfill_assets.quality.experimental import describe_experimental, read_comparison
from backfill_assets.quality.heatmap import build_heatmap
from backfill_assets.quality.live_accuracy import read_live_accuracy
from backfill_assets.quality.report import SymbolReport
from backfill_assets.quality.report_formats import to_markdown
from backfill_assets.quality.symbol_reports import read_symbol_reports

OVERVIEW_KEY = dg.AssetKey("data_quality_overview")
_MAX_SHOWN_SYMBOLS = 100  # the worst ones
_FIGURES = ("symbols", "expected_bars", "bar_count", "estimated_missing_bars", "criteria_failed")
_COLUMNS = ("exchange", "status", "window", *_FIGURES)


def build_report_asset(market: MarketProfile, exchanges: tuple[str, ...]) -> dg.AssetsDefinition:
    """The report of one exchange; ``exchanges`` are all that are collected."""
    key = build_report_key(market.exchange)

    @dg.asset(
        key=key,
        group_name=add_exchange(GROUP, market.exchange),
        kinds={"postgres"},
        deps=[build_bars_key(DEFAULT_INTERVAL, market.exchange)],
        description="The data-quality report over the default window, with a heat map of all retained sessions."
        + describe_market(market),
        metadata=build_market_metadata(market, exchanges),
    )
    def data_quality_report(
        context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> dg.MaterializeResult[Any]:
        current = backfill_engine.settings.get_market(market.exchange)
        if backfill_engine.settings.token is not None:
            read_and_record(context, backfill_engine, [current])
        return dg.MaterializeResult(metadata=_build_report(backfill_engine, current))

    return data_quality_report


def _build_report(engine: Engine, market: MarketProfile) -> dict[str, Any]:
    from backfill_assets.quality.heatmap_image import render_heatmap_markdown  # matplotlib is slow to import

    retained_coverage = engine.measure(build_retained_sessions_job(engine, market, DEFAULT_INTERVAL))
    evaluation = checks.evaluate(engine, market, DEFAULT_INTERVAL)
    if evaluation is None:
        return {"symbols": 0}
    with engine.database.transaction() as connection:
        rows = read_symbol_reports(connection, evaluation.coverage)
        actions = list_window_actions(connection, retained_coverage)
    accuracy = read_live_accuracy(engine.database, evaluation.coverage)
    worst = sorted(rows, key=lambda row: (-row.estimated_missing_bars, row.completeness, row.symbol))
    days = [session.day for session in retained_coverage.grid.sessions]
    picture = render_heatmap_markdown(build_heatmap(retained_coverage, mark_sessions(actions, days)))
    notice = describe_experimental(market, read_comparison(engine.database, market))
    return {
        **({"experimental": notice} if notice else {}),
        **{**_sum_figures(evaluation, rows), ROW_COUNT: len(rows)},
        "live_bars": str(accuracy or "no live bar was replaced by a final bar"),
        **({"corporate_actions": len(actions)} if market.has_actions else {}),
        "heat-map": dg.MarkdownMetadataValue(picture),
        "report": dg.MarkdownMetadataValue(to_markdown(worst[:_MAX_SHOWN_SYMBOLS])),
    }


def _sum_figures(evaluation: checks.WindowEvaluation, rows: Sequence[SymbolReport]) -> dict[str, int]:
    return {
        "symbols": len(rows),
        "expected_bars": sum(row.expected_bars for row in rows),
        "bar_count": sum(row.bar_count for row in rows),
        "estimated_missing_bars": sum(row.estimated_missing_bars for row in rows),
        "criteria_failed": sum(not criterion.passed for criterion in evaluation.criteria),
    }


@dataclass(frozen=True, slots=True)
class _Line:
    """One exchange in the overview; figures by name."""

    market: MarketProfile
    window: str
    figures: dict[str, int]

    @property
    def record(self) -> dg.TableRecord:
        named = {"exchange": name_exchange(self.market), "status": str(self.market.status), "window": self.window}
        return dg.TableRecord({**named, **self.figures})


def build_overview_asset(markets: Sequence[MarketProfile]) -> dg.AssetsDefinition:
    """The whole: a line for each exchange and the sums; made with each exchange's report."""

    @dg.asset(
        key=OVERVIEW_KEY,
        group_name=GROUP,
        kinds={"postgres"},
        deps=[build_report_key(market.exchange) for market in markets],
        description="The data quality of all exchanges: a line for each, over its own default window, and the sums.",
    )
    def data_quality_overview(
        context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> dg.MaterializeResult[Any]:
        current = backfill_engine.settings.markets
        attempts = Attempts(current, context.log)
        tried = [attempts.attempt(market, lambda market: _measure(backfill_engine, market)) for market in current]
        lines = [line for line in tried if line is not None]
        schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in _COLUMNS])
        return dg.MaterializeResult(
            metadata={
                **{name: sum(line.figures[name] for line in lines) for name in _FIGURES},
                "exchanges": dg.TableMetadataValue([line.record for line in lines], schema),
                **({"failed": attempts.describe_failures()} if attempts.failures else {}),
            }
        )

    return data_quality_overview


def _measure(engine: Engine, market: MarketProfile) -> _Line | None:
    """An exchange's line; None without an active symbol."""
    evaluation = checks.evaluate(engine, market, DEFAULT_INTERVAL)
    if evaluation is None:
        return None
    with engine.database.transaction() as connection:
        rows = read_symbol_reports(connection, evaluation.coverage)
    sessions = evaluation.coverage.grid.sessions
    window = f"{sessions[0].day} to {sessions[-1].day}" if sessions else "no session"
    return _Line(market, window, _sum_figures(evaluation, rows))
