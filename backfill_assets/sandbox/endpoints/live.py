"""``/real-time/{T}`` and ``/us-quote-delayed`` (EODHD.md §3, §4)."""

from asyncio import sleep
from typing import Any

from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.live_quotes import Quote, Quotes
from backfill_assets.sandbox.wire.encoding import json_bytes
from backfill_assets.sandbox.wire.request import Asked, symbol_of
from backfill_assets.sandbox.wire.responses import FREE_PLAN, Answer, Refusal, invalid, not_found, rows_answer
from backfill_assets.sandbox.world.random_draws import unit
from backfill_assets.sandbox.world.simulation import World

EXCHANGE_CALLS = 100
_AT_ONCE = 50
_ET_OFFSET = 14400  # the delayed quotes' timestamp is wrong by this much (EODHD.md §4)
_NA: dict[str, Any] = {
    "timestamp": "NA",
    "gmtoffset": 0,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "previousClose", "change", "change_p"), "NA"),
}


class Live:
    """Both live endpoints over one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world
        self._quotes = Quotes(config, world)

    async def real_time(self, asked: Asked) -> Answer:
        """One ticker as an object, several as an array, or the whole exchange."""
        if asked.free:
            raise Refusal(403, FREE_PLAN)
        if asked.params.get("ex"):
            return await self._exchange(asked)
        more = asked.symbols()
        if not more:
            return self._single(asked)
        tickers = (asked.argument, *more)
        return rows_answer(await self._rows(asked, tickers), len(tickers), csv=asked.csv)

    async def delayed(self, asked: Asked) -> Answer:
        """Delayed quotes as an object per resolved ticker; the others are silently left out."""
        if asked.free:
            raise Refusal(403, FREE_PLAN)
        tickers = asked.symbols()
        if not tickers:
            raise invalid(s="The s field is required.")
        limit, offset = _page(asked)
        page = tickers[offset : offset + limit]
        data = {_full_name(ticker): self._delayed_row(asked, ticker) for ticker in page}
        found = {name: row for name, row in data.items() if row is not None}
        follows = offset + limit < len(tickers)
        link = f"/api/us-quote-delayed?s={','.join(tickers)}&page[limit]={limit}&page[offset]={offset + limit}"
        body = {"meta": {"count": len(found)}, "data": found, "links": {"next": link if follows else None}}
        return Answer(json_bytes(body), len(page))

    def _single(self, asked: Asked) -> Answer:
        row = self._row(asked, asked.argument)
        if row["timestamp"] == "NA" and self._config.traits.live_unknown_404:
            raise not_found()
        return rows_answer([row], 1, csv=True) if asked.csv else Answer(json_bytes(row), 1)

    async def _exchange(self, asked: Asked) -> Answer:
        """Every ticker there is, dead ones frozen on their last day; a flat price."""
        if asked.params["ex"].upper() != "US":
            raise not_found()
        today, lives = asked.today, self._world.lives
        tickers = [f"{symbol}.US" for symbol in self._world.tickers if lives.known(symbol, today)]
        return rows_answer(await self._rows(asked, tickers, ghosts=True), EXCHANGE_CALLS, csv=asked.csv)

    async def _rows(
        self, asked: Asked, tickers: "list[str] | tuple[str, ...]", *, ghosts: bool = False
    ) -> list[dict[str, Any]]:
        rows = []
        for number, ticker in enumerate(tickers, 1):
            rows.append(self._row(asked, ticker, ghosts=ghosts))
            if number % _AT_ONCE == 0:
                await sleep(0)
        return rows

    def _row(self, asked: Asked, ticker: str, *, ghosts: bool = False) -> dict[str, Any]:
        symbol = self._resolved(asked, ticker)
        quote = None if symbol is None else self._quote(asked, symbol, ghosts=ghosts)
        if symbol is None or quote is None:
            return {"code": _full_name(ticker), **_NA}
        if self._struck("live gap", symbol, self._config.traits.live_gaps):
            return {"code": _full_name(ticker), **_NA, "previousClose": quote.previous_close or "NA"}
        texts = self._struck("text stamp", symbol, self._config.traits.string_stamps)
        return {"code": _full_name(ticker), **_shown(quote, as_text=texts)}

    def _delayed_row(self, asked: Asked, ticker: str) -> dict[str, Any] | None:
        symbol = self._resolved(asked, ticker)
        quote = None if symbol is None else self._quote(asked, symbol, ghosts=False)
        if symbol is None or quote is None:
            return None
        price, stamp = self._quotes.extended(symbol, quote)
        after = stamp > quote.session.close.timestamp() and stamp <= quote.stamp
        traded = (price, stamp) if after else (quote.close, min(quote.stamp, int(quote.session.close.timestamp())))
        return {
            "open": quote.open,
            "high": quote.high,
            "low": quote.low,
            "lastTradePrice": traded[0],
            "lastTradeTime": traded[1] * 1000,
            "volume": quote.volume,
            "previousClosePrice": quote.previous_close,
            "ethPrice": price,
            "ethTime": stamp * 1000,
            "timestamp": traded[1] + _ET_OFFSET,
        }

    def _quote(self, asked: Asked, symbol: str, *, ghosts: bool) -> Quote | None:
        if self._world.lives.dead(symbol, asked.today):
            return self._quotes.last_of(symbol) if ghosts else None
        return self._quotes.at(symbol, asked.now.timestamp())

    def _resolved(self, asked: Asked, ticker: str) -> str | None:
        try:
            symbol = symbol_of(ticker)
        except Refusal:
            return None
        return symbol if self._world.lives.known(symbol, asked.today) else None

    def _struck(self, what: str, symbol: str, probability: float) -> bool:
        return probability > 0 and unit(self._config.seed, what, self._world.lives.root(symbol)) < probability


def _shown(quote: Quote, *, as_text: bool) -> dict[str, Any]:
    before = quote.previous_close
    change = None if before is None else round(quote.close - before, 4)
    return {
        "timestamp": str(quote.stamp) if as_text else quote.stamp,
        "gmtoffset": 0,
        "open": quote.open,
        "high": quote.high,
        "low": quote.low,
        "close": quote.close,
        "volume": quote.volume,
        "previousClose": "NA" if before is None else before,
        "change": "NA" if change is None else change,
        "change_p": "NA" if change is None or not before else round(100 * change / before, 4),
    }


def _full_name(ticker: str) -> str:
    return ticker.upper() if "." in ticker else f"{ticker.upper()}.US"


def _page(asked: Asked) -> tuple[int, int]:
    try:
        limit, offset = (int(asked.params.get(f"page[{name}]") or start) for name, start in _PAGING)
    except ValueError:
        raise invalid(page="The page must be numbers.") from None
    if not 1 <= limit <= 100 or offset < 0:
        raise invalid(**{"page.limit": "The page.limit must be between 1 and 100."})
    return limit, offset


_PAGING = (("limit", 100), ("offset", 0))
