"""``/real-time/{T}`` and ``/us-quote-delayed``: parameters, prices and formats (docs/vendor.md §3, §4).

The quotes are made in ``live_quotes``.
"""

from asyncio import sleep
from typing import Any

from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.live_quotes import DelayedQuote, QuoteGenerator
from backfill_assets.sandbox.wire.encoding import encode_json
from backfill_assets.sandbox.wire.request import ParsedRequest, normalize_ticker, parse_symbol
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN_TEXT,
    ErrorResponse,
    SuccessResponse,
    build_rows_response,
    ticker_not_found_error,
    validation_error,
)
from backfill_assets.sandbox.world.random_draws import draw_unit
from backfill_assets.sandbox.world.simulation import World

EXCHANGE_CALLS = 100
_TICKERS_PER_YIELD = 50
_PAGE_DEFAULTS = (("limit", 100), ("offset", 0))
_TIMESTAMP_ERROR_SECONDS = 14400  # the time stamp of delayed quotes is wrong by this much (docs/vendor.md §4)
_NA_FIELDS: dict[str, Any] = {
    "timestamp": "NA",
    "gmtoffset": 0,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "previousClose", "change", "change_p"), "NA"),
}


class LiveEndpoints:
    """The live endpoints of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world
        self._quote_generator = QuoteGenerator(config, world)

    async def serve_real_time(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/real-time``: one ticker as an object, several as an array, or the whole exchange."""
        if request.is_free_plan:
            raise ErrorResponse(403, FREE_PLAN_TEXT)
        if request.params.get("ex"):
            return await self._respond_exchange(request)
        more_tickers = request.split_tickers()
        if not more_tickers:
            return self._respond_single(request)
        tickers = (request.path_argument, *more_tickers)
        return build_rows_response(await self._build_rows(request, tickers), len(tickers), csv=request.wants_csv)

    async def serve_delayed(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/us-quote-delayed``: an object per known ticker; unknown ones are left out without a sign."""
        if request.is_free_plan:
            raise ErrorResponse(403, FREE_PLAN_TEXT)
        tickers = request.split_tickers()
        if not tickers:
            raise validation_error(s="The s field is required.")
        limit, offset = _parse_page(request)
        page = tickers[offset : offset + limit]
        data = {normalize_ticker(ticker): self._build_delayed_row(request, ticker) for ticker in page}
        resolved = {name: row for name, row in data.items() if row is not None}
        has_next = offset + limit < len(tickers)
        link = f"/api/us-quote-delayed?s={','.join(tickers)}&page[limit]={limit}&page[offset]={offset + limit}"
        body = {"meta": {"count": len(resolved)}, "data": resolved, "links": {"next": link if has_next else None}}
        return SuccessResponse(encode_json(body), len(page))

    def _respond_single(self, request: ParsedRequest) -> SuccessResponse:
        row = self._build_row(request, request.path_argument)
        if row["timestamp"] == "NA" and self._config.quirks.live_unknown_404:
            raise ticker_not_found_error()
        return build_rows_response([row], 1, csv=True) if request.wants_csv else SuccessResponse(encode_json(row), 1)

    async def _respond_exchange(self, request: ParsedRequest) -> SuccessResponse:
        """Return all tickers for a fixed price; delisted ones have the quote of their last day."""
        if request.params["ex"].upper() != "US":
            raise ticker_not_found_error()
        today, listings = request.today, self._world.listings
        tickers = [f"{symbol}.US" for symbol in self._world.symbols if listings.is_known(symbol, today)]
        return build_rows_response(
            await self._build_rows(request, tickers, include_delisted=True), EXCHANGE_CALLS, csv=request.wants_csv
        )

    async def _build_rows(
        self, request: ParsedRequest, tickers: "list[str] | tuple[str, ...]", *, include_delisted: bool = False
    ) -> list[dict[str, Any]]:
        rows = []
        for number, ticker in enumerate(tickers, 1):
            rows.append(self._build_row(request, ticker, include_delisted=include_delisted))
            if number % _TICKERS_PER_YIELD == 0:
                await sleep(0)
        return rows

    def _build_row(self, request: ParsedRequest, ticker: str, *, include_delisted: bool = False) -> dict[str, Any]:
        symbol = self._resolve_symbol(request, ticker)
        quote = None if symbol is None else self._find_quote(request, symbol, include_delisted=include_delisted)
        if symbol is None or quote is None:
            return {"code": normalize_ticker(ticker), **_NA_FIELDS}
        if self._is_affected("live gap", symbol, self._config.quirks.missing_live_quotes):
            return {"code": normalize_ticker(ticker), **_NA_FIELDS, "previousClose": quote.previous_close or "NA"}
        as_text = self._is_affected("text stamp", symbol, self._config.quirks.string_timestamps)
        return {"code": normalize_ticker(ticker), **_build_quote_fields(quote, as_text=as_text)}

    def _build_delayed_row(self, request: ParsedRequest, ticker: str) -> dict[str, Any] | None:
        symbol = self._resolve_symbol(request, ticker)
        quote = None if symbol is None else self._find_quote(request, symbol, include_delisted=False)
        if symbol is None or quote is None:
            return None
        price, timestamp = self._quote_generator.get_extended_price(symbol, quote)
        is_after_close = timestamp > quote.session.close.timestamp() and timestamp <= quote.timestamp
        last_trade = (
            (price, timestamp)
            if is_after_close
            else (quote.close, min(quote.timestamp, int(quote.session.close.timestamp())))
        )
        return {
            "open": quote.open,
            "high": quote.high,
            "low": quote.low,
            "lastTradePrice": last_trade[0],
            "lastTradeTime": last_trade[1] * 1000,
            "volume": quote.volume,
            "previousClosePrice": quote.previous_close,
            "ethPrice": price,
            "ethTime": timestamp * 1000,
            "timestamp": last_trade[1] + _TIMESTAMP_ERROR_SECONDS,
        }

    def _find_quote(self, request: ParsedRequest, symbol: str, *, include_delisted: bool) -> DelayedQuote | None:
        if self._world.listings.is_delisted(symbol, request.today):
            return self._quote_generator.find_final_quote(symbol) if include_delisted else None
        return self._quote_generator.find_quote(symbol, request.now.timestamp())

    def _resolve_symbol(self, request: ParsedRequest, ticker: str) -> str | None:
        try:
            symbol = parse_symbol(ticker)
        except ErrorResponse:
            return None
        listings = self._world.listings
        return listings.find_holder(symbol, request.today) if listings.is_known(symbol, request.today) else None

    def _is_affected(self, purpose: str, symbol: str, probability: float) -> bool:
        return (
            probability > 0
            and draw_unit(self._config.seed, purpose, self._world.listings.get_root(symbol)) < probability
        )


def _build_quote_fields(quote: DelayedQuote, *, as_text: bool) -> dict[str, Any]:
    previous_close = quote.previous_close
    change = None if previous_close is None else round(quote.close - previous_close, 4)
    return {
        "timestamp": str(quote.timestamp) if as_text else quote.timestamp,
        "gmtoffset": 0,
        "open": quote.open,
        "high": quote.high,
        "low": quote.low,
        "close": quote.close,
        "volume": quote.volume,
        "previousClose": "NA" if previous_close is None else previous_close,
        "change": "NA" if change is None else change,
        "change_p": "NA" if change is None or not previous_close else round(100 * change / previous_close, 4),
    }


def _parse_page(request: ParsedRequest) -> tuple[int, int]:
    try:
        limit, offset = (int(request.params.get(f"page[{name}]") or default) for name, default in _PAGE_DEFAULTS)
    except ValueError:
        raise validation_error(page="The page must be numbers.") from None
    if not 1 <= limit <= 100 or offset < 0:
        raise validation_error(**{"page.limit": "The page.limit must be between 1 and 100."})
    return limit, offset
