"""Parsing of dividends."""

import json
from datetime import date
from decimal import Decimal

import pytest

from backfill_assets.eodhd.dividends import parse_bulk_dividends, parse_dividends
from backfill_assets.market.vendor_actions import DividendRow
from backfill_assets.market.vendor_errors import BrokenAnswer, VendorError

ROW = (
    b'{"date":"2025-11-10","declarationDate":"2025-10-30","recordDate":"2025-11-10","paymentDate":"2025-11-13",'
    b'"period":"Quarterly","value":0.26,"unadjustedValue":0.26,"currency":"USD"}'
)


def test_a_dividend_has_the_amount_of_the_text_as_paid() -> None:
    adjusted = (
        b'{"date":"2020-08-07","period":null,"value":0.205,"unadjustedValue":0.8200000000000001,"currency":"USD"}'
    )
    dividends = parse_dividends(b"[" + adjusted + b"," + ROW + b"]")
    days = (date(2025, 10, 30), date(2025, 11, 10), date(2025, 11, 13))
    assert dividends.rows == (
        DividendRow("", date(2020, 8, 7), "", Decimal("0.8200000000000001"), "USD"),
        DividendRow("", date(2025, 11, 10), "quarterly", Decimal("0.26"), "USD", *days),
    )
    assert len(parse_dividends(b"[]")) == 0


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0.1", "0.1"),
        ('"0.10"', "0.1"),
        ("3", "3"),
        ("1e-3", "0.001"),
        ("1E1", "10"),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_an_amount_may_be_any_number_above_0(amount: str, expected: str) -> None:
    (dividend,) = parse_dividends(f'[{{"date":"2025-11-10","unadjustedValue":{amount}}}]'.encode()).rows
    assert dividend == DividendRow("", date(2025, 11, 10), "", Decimal(expected), None)
    assert str(dividend.amount) == expected


@pytest.mark.parametrize(
    "amount",
    ["null", "0", "-0.1", '"NA"', '""', "true", '"NaN"', '"inf"', "1e400", "[]", "{}", "0." + "1" * 40, '"1e-9999"'],
)  # fmt: skip
def test_a_row_without_an_amount_as_paid_cannot_be_read(amount: str) -> None:
    row = f'{{"date":"2024-02-09","value":0.24,"unadjustedValue":{amount}}}'
    dividends = parse_dividends(f"[{row},".encode() + ROW + b"]")
    assert (len(dividends), dividends.unparsable_rows, dividends.unreadable_until) == (1, 1, date(2024, 2, 9))
    with pytest.raises(VendorError):
        parse_dividends(f"[{row}]".encode())


def test_a_markets_file_names_its_symbols_also_in_upper_case_keys() -> None:
    rows = [
        {"code": "AAPL", "date": "2026-06-03", "unadjustedValue": "0.26", "currency": "USD", "period": "Quarterly"},
        {"Code": "VOD", "Date": "2026-06-03", "UnadjustedValue": 4.5, "Currency": "GBX"},
        {"code": "GE", "date": "2026-06-03", "value": 0.5},
        {"code": None, "date": "2026-06-03", "unadjustedValue": 0.5},
        7,
    ]
    dividends = parse_bulk_dividends(json.dumps(rows).encode())
    found = [(row.code, row.period, row.amount, row.currency) for row in dividends.rows]
    assert found == [("AAPL", "quarterly", Decimal("0.26"), "USD"), ("VOD", "", Decimal("4.5"), "GBX")]
    assert (dividends.unparsable_rows, dividends.unreadable_codes) == (3, {"GE"})


@pytest.mark.parametrize("body", [b'[{"date":"2026-06-03","amount":"2"}]', b"<html>", b"[1]", b"{}"])
def test_an_answer_without_a_readable_dividend_is_broken(body: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parse_dividends(body)
