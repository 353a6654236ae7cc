"""One request as the vendor reads it: endpoint, ticker, parameters, moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.sandbox.wire.responses import ticker_not_found_error, validation_error


@dataclass(frozen=True)
class ParsedRequest:
    """A request under ``/api``.

    Attributes:
        endpoint: ``intraday``, ``eod`` …
        argument: what follows it in the path, empty if nothing.
        params: the query.
        now: the sandbox's time at which it is answered.
        free: the token is of the free plan.
        demo: the token is ``demo``.
    """

    endpoint: str
    path_argument: str
    params: Mapping[str, str]
    now: datetime
    is_free_plan: bool = False
    is_demo_token: bool = False

    @property
    def wants_csv(self) -> bool:
        """CSV unless JSON is asked for: the documents contradict each other on the default."""
        return self.params.get("fmt") != "json"

    @property
    def today(self) -> date:
        """The UTC day."""
        return self.now.date()

    def parse_symbol(self) -> str:
        """The symbol of a US ticker in the path.

        Raises:
            Refusal: 404 for another exchange, 422 for one with parentheses (EODHD.md §5).
        """
        return parse_us_symbol(self.path_argument)

    def split_tickers(self, name: str = "s") -> tuple[str, ...]:
        """The ticker names in a comma-separated parameter, as they were written."""
        return tuple(part.strip() for part in self.params.get(name, "").split(",") if part.strip())

    def parse_timestamp(self, name: str) -> int | None:
        """An epoch parameter, or None."""
        text = self.params.get(name, "")
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise validation_error(**{name: f"The {name} must be an integer."}) from None

    def parse_date(self, name: str) -> date | None:
        """A ``YYYY-MM-DD`` parameter, or None."""
        text = self.params.get(name, "")
        if not text:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise validation_error(**{name: f"The {name} is not a valid date."}) from None


def parse_us_symbol(ticker: str) -> str:
    """``AAPL`` of ``AAPL.US``; without an exchange US is meant."""
    if "(" in ticker:
        raise validation_error(ticker="The ticker format is invalid.")
    symbol, dot, exchange = ticker.upper().rpartition(".")
    if not dot:
        return exchange
    if exchange != "US" or "." in symbol or "/" in symbol:
        raise ticker_not_found_error()
    return symbol
