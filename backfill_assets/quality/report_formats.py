"""The data-quality report as JSON, CSV and Markdown; the table in the terminal is in ``cli.rendering``."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

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
    return str(value).replace("T", " ").removesuffix(":00Z") if field.endswith("_timestamp") else str(value)


def format_reasons(reasons: Mapping[str, int]) -> str:
    """``6 volume_running_total, 1 source_rows``: the most frequent reason first; empty without any."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)


def to_json(rows: Sequence[SymbolReport], live_accuracy: Mapping[str, LiveAccuracy]) -> str:
    """A JSON array with one object for each symbol.

    ``live_accuracy`` is by symbol; it becomes the field ``live``, null if none of the symbol's live bars was replaced.
    """
    live_by_symbol = {symbol: accuracy.as_dict() for symbol, accuracy in live_accuracy.items()}
    return json.dumps([{**row.as_dict(), "live": live_by_symbol.get(row.symbol)} for row in rows], indent=1)


def to_csv(rows: Sequence[SymbolReport]) -> str:
    """Comma-separated values with a header; a missing timestamp is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(SymbolReport.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row.as_dict(), "suspect_reasons": format_reasons(row.suspect_reasons)} for row in rows)
    return text.getvalue()


def to_markdown(rows: Sequence[SymbolReport]) -> str:
    """A Markdown table."""
    header = "| " + " | ".join(title for title, _ in REPORT_COLUMNS) + " |"
    left_aligned = {"symbol", "suspect_reasons", "first_timestamp", "last_timestamp"}
    rule = "|" + "|".join("---" if field in left_aligned else "--:" for _, field in REPORT_COLUMNS) + "|"
    body = ["| " + " | ".join(format_cell(row, field) for _, field in REPORT_COLUMNS) + " |" for row in rows]
    return "\n".join([header, rule, *body]) + "\n"
