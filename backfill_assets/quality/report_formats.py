"""The data-quality report as JSON, CSV and Markdown; the table in the terminal is in ``cli.rendering``."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backfill_assets.quality.action_entries import ActionEntry
from backfill_assets.quality.live_accuracy import LiveAccuracy
from backfill_assets.quality.report import SymbolReport

REPORT_COLUMNS = (
    ("symbol", "symbol"),
    ("bars", "bar_count"),
    ("expected", "expected_bars"),
    ("missing", "estimated_missing_bars"),
    ("pending", "pending_bars"),
    ("no trade", "no_trade_bars"),
    ("vendor gap", "vendor_gap_bars"),
    ("provisional", "provisional_bars"),
    ("unverified", "unverified_bars"),
    ("suspect", "suspect_bars"),
    ("suspect because of", "suspect_reasons"),
    ("other feed", "other_feed_bars"),
    ("complete", "completeness"),
    ("first", "first_timestamp"),
    ("newest", "last_timestamp"),
    ("ended", "listed_until"),
)


def format_cell(row: SymbolReport, field: str) -> str:
    """One value of a report as text: percent, time without seconds, or – for None."""
    value = getattr(row, field)
    if value is None:
        return "–"
    if field == "suspect_reasons":
        return format_reasons(value) or "–"
    if field == "completeness":
        return f"{value:.1%}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("T", " ").removesuffix(":00Z") if field.endswith("_timestamp") else str(value)


def format_reasons(reasons: Mapping[str, int]) -> str:
    """``6 volume_running_total, 1 source_rows``: the most frequent reason first; empty without any."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)


def to_json(
    rows: Sequence[SymbolReport], live_accuracy: Mapping[str, LiveAccuracy], actions: Iterable[ActionEntry] = ()
) -> str:
    """A JSON array with one object for each symbol.

    Args:
        rows: the report.
        live_accuracy: by symbol; becomes the field ``live``, null if none of the symbol's live bars was replaced.
        actions: of the window; those of a symbol become its field ``actions``.
    """
    return json.dumps(build_objects(rows, live_accuracy, actions), indent=1)


def build_objects(
    rows: Sequence[SymbolReport], live_accuracy: Mapping[str, LiveAccuracy], actions: Iterable[ActionEntry] = ()
) -> list[dict[str, Any]]:
    """The objects of ``to_json``; symbols of one exchange, because ``live_accuracy`` is by symbol."""
    live_by_symbol = {symbol: accuracy.as_dict() for symbol, accuracy in live_accuracy.items()}
    actions_by_ticker: dict[str, list[dict[str, Any]]] = {}
    for action in actions:
        actions_by_ticker.setdefault(action.ticker, []).append(action.as_dict())
    fields = [
        {
            "live": live_by_symbol.get(row.symbol),
            "actions": actions_by_ticker.get(f"{row.symbol}.{row.exchange}", []),
        }
        for row in rows
    ]
    return [{**row.as_dict(), **more} for row, more in zip(rows, fields, strict=True)]


def to_csv(rows: Sequence[SymbolReport]) -> str:
    """Comma-separated values with a header; a missing timestamp is an empty field."""
    return write_csv([row.as_dict() for row in rows], list(SymbolReport.__dataclass_fields__))


def write_csv(objects: Iterable[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """Rows as JSON objects, in the fields' order, with their reasons as text."""
    return write_rows([{**row, "suspect_reasons": format_reasons(row["suspect_reasons"])} for row in objects], fields)


def write_rows(objects: Iterable[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """Rows as comma-separated values with a header, in the fields' order."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(objects)
    return text.getvalue()


def to_markdown(rows: Sequence[SymbolReport]) -> str:
    """A Markdown table; with the column of ended tickers only if there is one."""
    has_ended = any(row.listed_until for row in rows)
    columns = [column for column in REPORT_COLUMNS if has_ended or column[1] != "listed_until"]
    header = "| " + " | ".join(title for title, _ in columns) + " |"
    left_aligned = {"symbol", "suspect_reasons", "first_timestamp", "last_timestamp", "listed_until"}
    rule = "|" + "|".join("---" if field in left_aligned else "--:" for _, field in columns) + "|"
    body = ["| " + " | ".join(format_cell(row, field) for _, field in columns) + " |" for row in rows]
    return "\n".join([header, rule, *body]) + "\n"
