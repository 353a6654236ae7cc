"""A request as endpoints see it: endpoint, ticker, parameters, time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.sandbox.wire.responses import ticker_not_found_error, validation_error


@dataclass(frozen=True)
class ParsedRequest:
    """A request under ``/api``.

    Attributes:
        endpoint: first part of the path: ``intraday``, ``eod`` …
        path_argument: the rest of the path, may be empty.
        params: parameters of the query.
        now: the sandbox's time of the answer.
        is_free_plan: the token has the free plan.
        is_demo_token: the token is ``demo``.
        exchange: the vendor's code of the exchange that answers.
    """

    endpoint: str
    path_argument: str
    params: Mapping[str, str]
    now: datetime
    is_free_plan: bool = False
    is_demo_token: bool = False
    exchange: str = DEFAULT_EXCHANGE

    @property
    def wants_csv(self) -> bool:
        """Whether CSV is requested. CSV is the default here; the vendor's documents contradict each other."""
        return self.params.get("fmt") != "json"

    @property
    def today(self) -> date:
        """The UTC day of ``now``."""
        return self.now.date()

    def parse_symbol(self) -> str:
        """Parse the symbol of the ticker in the path.

        Raises:
            ErrorResponse: 404 for another exchange, 422 for a ticker with parentheses (docs/vendor.md §5.4).
        """
        return parse_symbol(self.path_argument, self.exchange)

    def split_tickers(self, name: str = "s") -> tuple[str, ...]:
        """Split a comma-separated parameter into tickers, as they are written."""
        return tuple(part.strip() for part in self.params.get(name, "").split(",") if part.strip())

    def parse_timestamp(self, name: str) -> int | None:
        """Parse a parameter in epoch seconds; None if it is missing.

        Raises:
            ErrorResponse: 422, not an integer.
        """
        text = self.params.get(name, "")
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise validation_error(**{name: f"The {name} must be an integer."}) from None

    def parse_date(self, name: str) -> date | None:
        """Parse a ``YYYY-MM-DD`` parameter; None if it is missing.

        Raises:
            ErrorResponse: 422, not a date.
        """
        text = self.params.get(name, "")
        if not text:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise validation_error(**{name: f"The {name} is not a valid date."}) from None


def normalize_ticker(ticker: str) -> str:
    """``ticker`` in upper case; ``.US`` is added where the exchange is missing."""
    return ticker.upper() if "." in ticker else f"{ticker.upper()}.US"


def find_exchange(endpoint: str, path_argument: str) -> str:
    """Find whose data a request is about: the exchange in the path or of its ticker, else the US."""
    if endpoint in {"eod-bulk-last-day", "exchange-symbol-list", "exchange-details"}:
        return path_argument.upper()
    return path_argument.upper().rpartition(".")[2] if "." in path_argument else DEFAULT_EXCHANGE


def parse_symbol(ticker: str, market: str = DEFAULT_EXCHANGE) -> str:
    """Parse ``AAPL.US`` to ``AAPL``, ``META_OLD.US`` to ``META_old``; a ticker without an exchange is of ``market``.

    Raises:
        ErrorResponse: 404 for another exchange, 422 for a ticker with parentheses.
    """
    if "(" in ticker:
        raise validation_error(ticker="The ticker format is invalid.")
    symbol, dot, exchange = ticker.upper().rpartition(".")
    if not dot:
        return _write_old(exchange)
    if exchange != market or "." in symbol or "/" in symbol:
        raise ticker_not_found_error()
    return _write_old(symbol)


def _write_old(symbol: str) -> str:
    """Write the mark of a former holder of a code as the symbol list does, in lower case."""
    code, mark, number = symbol.rpartition("_OLD")
    return f"{code}_old{number}" if mark and (not number or number.isdigit()) else symbol
