"""``/splits/{T}``, and the splits of a whole market on one day (docs/vendor.md §5.5, §5.6)."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from backfill_assets.sandbox.actions import Split
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN_TEXT,
    ErrorResponse,
    SuccessResponse,
    build_rows_response,
    ticker_not_found_error,
)
from backfill_assets.sandbox.world.action_factors import list_values
from backfill_assets.sandbox.world.random_draws import draw_unit
from backfill_assets.sandbox.world.simulation import World


class SplitEndpoints:
    """The splits of one world; each is listed from its ex-date on, or as its ``Record`` says."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world

    def serve_splits(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/splits/{T}``: one ticker's splits, oldest first."""
        if request.is_free_plan:
            raise ErrorResponse(403, FREE_PLAN_TEXT)
        symbol = request.parse_symbol()
        if not self._world.listings.is_known(symbol, request.today):
            raise ticker_not_found_error()
        rows = [
            {"date": split.ex_date.isoformat(), "split": ratio}
            for split, ratio in self._list_records(symbol, request.today)
            if is_in_range(split.ex_date, request)
        ]
        return build_rows_response(rows, 1, csv=request.wants_csv)

    def list_market_rows(self, day: date, codes: Iterable[str], today: date) -> list[dict[str, Any]]:
        """List the rows of the market's file: every split of ``codes`` that takes effect on ``day``."""
        return [
            {"code": code, "exchange": self._config.exchange, "date": day.isoformat(), "split": ratio}
            for code in codes
            for split, ratio in self._list_records(code, today)
            if split.ex_date == day
        ]

    def _list_records(self, code: str, today: date) -> list[tuple[Split, str]]:
        """The records of a ticker with their ratios; some may be there twice."""
        records = []
        for symbol in self._world.listings.list_served_holders(code, today):
            is_twice = self._is_listed_twice(symbol)
            for split in self._world.listings.list_actions(symbol):
                if isinstance(split, Split):
                    ratios = [format_ratio(split, value) for value in list_values(split, today)]
                    records += [(split, ratio) for ratio in (ratios[:1] if is_twice else []) + ratios]
        return records

    def _is_listed_twice(self, symbol: str) -> bool:
        root, rate = self._world.listings.get_root(symbol), self._config.quirks.duplicate_splits
        return rate > 0 and draw_unit(self._config.seed, "split twice", root) < rate


def is_in_range(ex_date: date, request: ParsedRequest) -> bool:
    """Whether an ex-date lies between ``from`` and ``to``, both inclusive; without ``to`` coming ones do, too."""
    first, last = request.parse_date("from") or date.min, request.parse_date("to") or date.max
    return first <= ex_date <= last


def format_ratio(split: Split, value: Decimal) -> str:
    """``4.000000/1.000000``: new shares, and old ones. A value that is not the split's own is for one old share."""
    new, old = (split.new_shares, split.old_shares) if value == split.value else (value, 1)
    return f"{new:.6f}/{old:.6f}"
