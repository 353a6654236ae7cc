"""The strip of months: shares are never rounded up, and say by text what they say by colour."""

from datetime import date
from typing import Any

import pytest

from backfill_assets.quality.month_strip import MonthShare, build_month_strip


def build_row(month: str, expected: int, missing: int, unmeasured: int = 0) -> dict[str, Any]:
    return {"month": month, "expected_bars": expected, "missing_bars": missing, "unmeasured_symbols": unmeasured}


@pytest.mark.parametrize(
    ("expected", "missing", "is_measured", "kind", "text"),
    [
        (1000, 0, True, "whole", "✓"),
        (1_000_000, 1, True, "most", "99.9"),
        (1000, 27, True, "most", "97.3"),
        (1000, 501, True, "some", "49.9"),
        (1000, 1000, True, "none", "0.0"),
        (1000, 1000, False, "none", "0.0"),
        (1000, 400, False, "wait", "?"),
        (1000, 0, False, "wait", "?"),
        (0, 0, True, "whole", "✓"),
    ],
)
def test_only_a_month_without_a_missing_bar_is_whole(
    expected: int, missing: int, is_measured: bool, kind: str, text: str
) -> None:
    share = MonthShare(date(2021, 3, 1), expected, missing, is_measured)
    assert (share.kind, share.text) == (kind, text)


def test_months_are_laid_out_by_year_the_newest_first_and_exchanges_are_added_up() -> None:
    rows = [build_row("2025-12", 100, 0), build_row("2026-02", 100, 30), build_row("2026-02", 100, 0, 1)]
    strip = build_month_strip(rows)
    assert [(year, [share.text if share else "" for share in months]) for year, months in strip.years] == [
        (2026, ["", "?", *[""] * 10]),
        (2025, [*[""] * 11, "✓"]),
    ]
    shared = strip.years[0][1][1]
    assert shared is not None
    assert shared.describe() == "2026-02: 30 of 200 bars missing, some of them not looked at yet"
    assert [kind for kind, _, _ in strip.legend] == ["whole", "wait"]


def test_markdown_has_a_line_for_each_year_and_the_meaning_of_what_occurs() -> None:
    assert build_month_strip([]).to_markdown() == ""
    lines = build_month_strip([build_row("2025-01", 100, 60)]).to_markdown().splitlines()
    assert lines[2] == "| 2025 | 40.0 |" + "  |" * 11
    assert lines[4] == "31.0: per cent of the bars, fewer than half of them"
