"""Parsing of splits."""

import json
from datetime import date
from decimal import Decimal

import pytest

from backfill_assets.eodhd.splits import parse_bulk_splits, parse_ratio, parse_splits
from backfill_assets.market.vendor_errors import BrokenAnswer


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("10.000000/1.000000", ("10", "1")),
        ("1.000000/8.000000", ("1", "8")),
        ("3/2", ("3", "2")),
        ("1.050000/1.000000", ("1.05", "1")),
        (" 4 : 1 ", ("4", "1")),
        ("1e1/1", ("10", "1")),
        *(
            (text, None)
            for text in (
                "0/1",
                "1/0",
                "-4/1",
                "4",
                "",
                "4/1/1",
                "a/b",
                "1e308/1e-308",
                None,
                4.0,
                True,
                "NA",
                "1000001/1",
                "1/1000001",
            )
        ),
    ],
)
def test_a_ratio_is_new_shares_and_old_ones_exactly(text: object, ratio: tuple[str, str] | None) -> None:
    assert parse_ratio(text) == (ratio and tuple(Decimal(shares) for shares in ratio))


def test_splits_of_a_ticker_keep_the_vendors_order_and_duplicates() -> None:
    rows = [
        {"date": "2020-08-31", "split": "4.000000/1.000000"},
        {"date": "2024-05-01", "split": "1/20"},
        {"date": "2024-05-01", "split": "1/20", "warning": "limited"},
    ]
    splits = parse_splits(json.dumps(rows).encode())
    assert [row.ex_date for row in splits.rows] == [date(2020, 8, 31), date(2024, 5, 1), date(2024, 5, 1)]
    assert [(row.new_shares, row.old_shares) for row in splits.rows] == [(4, 1), (1, 20), (1, 20)]
    assert (splits.unparsable_rows, splits.warning) == (0, "limited")
    assert len(parse_splits(b"[]")) == 0


def test_rows_that_cannot_be_read_are_counted() -> None:
    rows = [
        {"code": "AAPL", "date": "2026-06-03", "split": "2/1"},
        {"Code": "MSFT", "date": "2026-06-03", "split": "3/1"},
        {"code": "TSLA", "date": "soon", "split": "3/1"},
        {"code": "", "date": "2026-06-03", "split": "3/1"},
        {"code": "GE", "date": "2026-06-03", "split": "?"},
        7,
    ]
    splits = parse_bulk_splits(json.dumps(rows).encode())
    assert [row.code for row in splits.rows] == ["AAPL", "MSFT"]
    assert (splits.unparsable_rows, splits.unreadable_codes) == (4, {"TSLA", "GE"})
    assert splits.unreadable_until is None  # of one row the day cannot be read either


def test_of_rows_that_cannot_be_read_the_newest_day_is_known() -> None:
    rows = [
        {"date": day, "split": split} for day, split in (("2020-01-02", "?"), ("2019-01-02", ""), ("2021-01-04", "2/1"))
    ]
    splits = parse_splits(json.dumps(rows).encode())
    assert (len(splits), splits.unparsable_rows, splits.unreadable_until) == (1, 2, date(2020, 1, 2))


@pytest.mark.parametrize("body", [b'[{"date":"2026-06-03","ratio":"2/1"}]', b"<html>", b"[1]", b"{}"])
def test_an_answer_without_a_readable_split_is_broken(body: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parse_splits(body)
