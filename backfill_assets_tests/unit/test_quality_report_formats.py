"""A report as JSON, CSV and Markdown."""

import csv
import io
import json
from dataclasses import replace

import pytest

from backfill_assets.quality.live_accuracy import LiveAccuracy
from backfill_assets.quality.report import SymbolReport, describe_suspect_bars
from backfill_assets.quality.report_formats import format_cell, to_csv, to_json, to_markdown

AAPL = SymbolReport(
    symbol="AAPL",
    exchange="US",
    interval="30m",
    bar_count=1300,
    first_timestamp="2026-06-01T13:30:00Z",
    last_timestamp="2026-06-02T19:30:00Z",
    estimated_missing_bars=2,
    expected_bars=1310,
    pending_bars=1,
    no_trade_bars=3,
    vendor_gap_bars=4,
    provisional_bars=5,
    unverified_bars=6,
    suspect_bars=7,
    completeness=0.99542,
    suspect_reasons={"price_spike": 1, "volume_running_total": 6},
)
EMPTY = replace(
    AAPL, symbol="BRK-B", bar_count=0, first_timestamp=None, last_timestamp=None, completeness=0.0, suspect_reasons={}
)
ACCURACY = LiveAccuracy(bars=26, median_bp=1.5, largest_bp=20.0, exact_share=0.25, volume_ratio=None)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("symbol", "AAPL"),
        ("bar_count", "1,300"),
        ("completeness", "99.5%"),
        ("suspect_reasons", "6 volume_running_total, 1 price_spike"),
        ("first_timestamp", "2026-06-01 13:30"),
        ("last_timestamp", "2026-06-02 19:30"),
    ],
)
def test_cell_is_short_text(field: str, text: str) -> None:
    assert format_cell(AAPL, field) == text


def test_cell_of_an_absent_timestamp_is_a_dash() -> None:
    assert format_cell(EMPTY, "first_timestamp") == "–"


def test_json_has_an_object_for_each_symbol_with_its_live_accuracy() -> None:
    first, second = json.loads(to_json([AAPL, EMPTY], {"AAPL": ACCURACY}))
    assert first == AAPL.as_dict() | {"live": ACCURACY.as_dict(), "actions": []}
    assert second == EMPTY.as_dict() | {"live": None, "actions": []}


def test_json_without_symbols_is_an_empty_array() -> None:
    assert json.loads(to_json([], {})) == []


def test_csv_has_a_header_and_all_fields() -> None:
    first, second = csv.DictReader(io.StringIO(to_csv([AAPL, EMPTY])))
    reasons = "6 volume_running_total, 1 price_spike"
    fields = {name: str(value) for name, value in AAPL.as_dict().items()}
    assert first == fields | {"suspect_reasons": reasons, "listed_until": ""}
    assert (second["symbol"], second["first_timestamp"], second["last_timestamp"]) == ("BRK-B", "", "")


def test_csv_without_symbols_is_the_header_alone() -> None:
    assert to_csv([]).splitlines() == [",".join(AAPL.as_dict())]


def test_markdown_is_a_table_with_numbers_aligned_to_the_right() -> None:
    header, rule, first, second = to_markdown([AAPL, EMPTY]).splitlines()
    assert header.startswith("| symbol | bars | expected | missing | pending |")
    assert rule == "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|---|---|"
    assert first == (
        "| AAPL | 1,300 | 1,310 | 2 | 1 | 3 | 4 | 5 | 6 | 7 | 6 volume_running_total, 1 price_spike | 0 | 99.5% |"
        " 2026-06-01 13:30 | 2026-06-02 19:30 |"
    )
    assert second.endswith("| 0.0% | – | – |")
    assert len({line.count("|") for line in (header, rule, first, second)}) == 1


def test_markdown_names_the_last_session_of_tickers_that_ended() -> None:
    header, _, first, second = to_markdown([AAPL, replace(EMPTY, listed_until="2026-05-29")]).splitlines()
    assert header.endswith("| newest | ended |")
    assert first.endswith("| 2026-06-02 19:30 | – |")
    assert second.endswith("| – | – | 2026-05-29 |")


def test_suspect_bars_of_complete_symbols_are_summed_up() -> None:
    other = replace(AAPL, symbol="MSFT", suspect_bars=2, suspect_reasons={"price_spike": 2})
    assert describe_suspect_bars([AAPL, replace(AAPL, suspect_bars=0, suspect_reasons={}), other]) == (
        "9 suspect bars of 2 symbols because of: 6 volume_running_total, 3 price_spike"
    )
    assert describe_suspect_bars([]) == ""
