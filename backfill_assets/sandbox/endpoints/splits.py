"""``/splits/{T}``, and the splits of a whole market on one day (docs/vendor.md §5.5, §5.6)."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN_TEXT,
    ErrorResponse,
    SuccessResponse,
    build_rows_response,
    ticker_not_found_error,
)
from backfill_assets.sandbox.world.random_draws import draw_unit
from backfill_assets.sandbox.world.simulation import World


class SplitEndpoints:
    """The splits of one world; each is listed from its ex-date on."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world

    def serve_splits(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/splits/{T}``: one ticker's splits, oldest first."""
        if request.is_free_plan:
            raise ErrorResponse(403, FREE_PLAN_TEXT)
        symbol = request.parse_symbol()
        if not self._world.listings.is_known(symbol, request.today):
            raise ticker_not_found_error()
        first, last = request.parse_date("from") or date.min, request.parse_date("to") or request.today
        last = min(last, request.today)
        rows = [
            {"date": ex_date.isoformat(), "split": format_ratio(ratio)}
            for ex_date, ratio in self._list_records(symbol)
            if first <= ex_date <= last
        ]
        return build_rows_response(rows, 1, csv=request.wants_csv)

    def list_market_rows(self, day: date, symbols: Iterable[str]) -> list[dict[str, Any]]:
        """List the rows of the market's file: every split of ``symbols`` that takes effect on ``day``."""
        return [
            {"code": symbol, "exchange": "US", "date": day.isoformat(), "split": format_ratio(ratio)}
            for symbol in symbols
            for ex_date, ratio in self._list_records(symbol)
            if ex_date == day
        ]

    def _list_records(self, symbol: str) -> list[tuple[date, float]]:
        """The records of a ticker; one may be there twice."""
        root = self._world.listings.get_root(symbol)
        split = self._config.splits.get(symbol) or self._config.splits.get(root)
        if split is None:
            return []
        return [split] * (
            2 if draw_unit(self._config.seed, "split twice", root) < self._config.quirks.duplicate_splits else 1
        )


def format_ratio(ratio: float) -> str:
    """``4.000000/1.000000``: new shares, and old ones; a reverse split has more old ones."""
    return f"{ratio:.6f}/1.000000" if ratio >= 1 else f"1.000000/{1 / ratio:.6f}"
