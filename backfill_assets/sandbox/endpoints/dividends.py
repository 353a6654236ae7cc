"""``/div/{T}``, and the dividends of a whole market on one day (docs/vendor.md §5.5, §5.7)."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from backfill_assets.sandbox.actions import CashDividend
from backfill_assets.sandbox.endpoints.splits import is_in_range
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN_TEXT,
    ErrorResponse,
    SuccessResponse,
    build_rows_response,
    ticker_not_found_error,
)
from backfill_assets.sandbox.world.action_factors import list_values
from backfill_assets.sandbox.world.simulation import World


class DividendEndpoints:
    """The dividends of one world; each is listed from its ex-date on, or as its ``Record`` says."""

    def __init__(self, world: World) -> None:
        self._world = world

    def serve_dividends(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/div/{T}``: one ticker's dividends, oldest first."""
        if request.is_free_plan:
            raise ErrorResponse(403, FREE_PLAN_TEXT)
        symbol = request.parse_symbol()
        if not self._world.listings.is_known(symbol, request.today):
            raise ticker_not_found_error()
        rows = [
            row
            for row in self._list_records(symbol, request.today)
            if is_in_range(date.fromisoformat(row["date"]), request)
        ]
        return build_rows_response(rows, 1, csv=request.wants_csv)

    def list_market_rows(self, day: date, codes: Iterable[str], today: date) -> list[dict[str, Any]]:
        """List the rows of the market's file: every dividend of ``codes`` with the ex-date ``day``."""
        return [
            {"code": code, "exchange": self._world.market.exchange, **row}
            for code in codes
            for row in self._list_records(code, today)
            if row["date"] == day.isoformat()
        ]

    def _list_records(self, code: str, today: date) -> list[dict[str, Any]]:
        return [
            self._build_row(symbol, dividend, amount, today)
            for symbol in self._world.listings.list_served_holders(code, today)
            for dividend in self._world.listings.list_actions(symbol)
            if isinstance(dividend, CashDividend)
            for amount in list_values(dividend, today)
        ]

    def _build_row(self, symbol: str, dividend: CashDividend, amount: Decimal, today: date) -> dict[str, Any]:
        """Build a row; ``value`` is adjusted for the splits that the vendor lists and that have taken effect."""
        shares = self._world.action_factors.get_vendor(symbol, today).shares
        later_shares = shares.get_products(np.array([dividend.ex_date.toordinal()], np.int64))[0]
        return {
            "date": dividend.ex_date.isoformat(),
            "declarationDate": _format_day(dividend.declared_on),
            "recordDate": _format_day(dividend.record_on),
            "paymentDate": _format_day(dividend.paid_on),
            "period": dividend.period,
            "value": round(float(amount) / float(later_shares), 5),
            "unadjustedValue": float(amount),
            "currency": dividend.currency,
        }


def _format_day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
