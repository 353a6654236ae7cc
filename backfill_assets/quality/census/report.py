"""The whole history of exchanges as rows: by month for ``census``, by symbol for ``report --all``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.quality.census.answer import WholeStore, build_answer
from backfill_assets.quality.census.month_table import MonthTable, read_month_table
from backfill_assets.quality.census.scope import read_scope
from backfill_assets.quality.census.whole_store import examine_stored_months
from backfill_assets.quality.report_formats import write_rows
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.postgres.connection import Database

MONTH_COLUMNS = (
    ("month", "month"),
    ("symbols", "symbols"),
    ("expected", "expected_bars"),
    ("bars", "bar_count"),
    ("provisional", "provisional_bars"),
    ("explained", "explained_bars"),
    ("missing", "missing_bars"),
    ("symbols with missing", "symbols_with_missing"),
    ("not examined", "unmeasured_symbols"),
    ("complete", "completeness"),
)
SYMBOL_COLUMNS = (
    ("symbol", "symbol"),
    ("since", "first_month"),
    ("expected", "expected_bars"),
    ("bars", "bar_count"),
    ("provisional", "provisional_bars"),
    ("explained", "explained_bars"),
    ("missing", "missing_bars"),
    ("months with missing", "missing_months"),
    ("not examined", "unmeasured_months"),
    ("oldest missing", "oldest_missing_month"),
    ("complete", "completeness"),
)
_TEXTS = frozenset({"month", "symbol", "first_month", "oldest_missing_month"})


@dataclass(frozen=True, eq=False)
class WholeHistory:
    """One exchange: the answer, and its months and symbols."""

    answer: WholeStore
    table: MonthTable

    def describe(self) -> dict[str, Any]:
        """As a JSON object, without the symbols."""
        return {**self.answer.as_dict(), "months": self.table.list_by_month()}


def read_whole_histories(
    database: Database, settings: Settings, markets: Sequence[MarketProfile], interval_name: str
) -> list[WholeHistory]:
    """The whole history of some exchanges, each in a snapshot.

    Raises:
        SessionsUnknown: the sessions of one cannot be told.
        UsageError: there is no such interval.
    """
    with database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [parse_interval(interval_name)])
    histories = []
    for market in markets:
        with database.snapshot() as connection:
            scope = read_scope(connection, settings, market, interval, settings.now())
            table = read_month_table(connection, examine_stored_months(connection, scope))
            histories.append(WholeHistory(build_answer(connection, scope, table.lacking), table))
    return histories


def list_month_rows(histories: Sequence[WholeHistory]) -> list[dict[str, Any]]:
    """One JSON object for each exchange and month."""
    return [row for history in histories for row in history.table.list_by_month()]


def list_symbol_rows(histories: Sequence[WholeHistory]) -> list[dict[str, Any]]:
    """One JSON object for each symbol."""
    return [row for history in histories for row in history.table.list_by_symbol()]


def select_worst(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those symbols that lack something, the worst first."""
    lacking = [row for row in rows if row["missing_bars"] or row["unmeasured_months"]]
    return sorted(lacking, key=lambda row: (-row["missing_bars"], -row["unmeasured_months"], row["symbol"]))


def format_cell(value: Any, field: str) -> str:
    """One value as text: thousands with a comma, a share never rounded up to 100 %, – for None."""
    if value is None:
        return "–"
    if field == "completeness":
        return f"{int(value * 1000) / 10:.1f} %"
    return f"{value:,}" if isinstance(value, int) else str(value)


def to_csv(rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    """Rows as comma-separated values; each with its exchange and interval."""
    keys = [field for _, field in columns]
    return write_rows(rows, [keys[0], "exchange", "interval", *keys[1:]])


def to_markdown(rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    """Rows as a Markdown table."""
    header = "| " + " | ".join(title for title, _ in columns) + " |"
    rule = "|" + "|".join("---" if field in _TEXTS else "--:" for _, field in columns) + "|"
    body = ["| " + " | ".join(format_cell(row[field], field) for _, field in columns) + " |" for row in rows]
    return "\n".join([header, rule, *body])
