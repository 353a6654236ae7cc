"""One request as the vendor reads it: endpoint, ticker, parameters, moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.sandbox.wire.responses import invalid, not_found


@dataclass(frozen=True)
class Asked:
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
    argument: str
    params: Mapping[str, str]
    now: datetime
    free: bool = False
    demo: bool = False

    @property
    def csv(self) -> bool:
        """CSV unless JSON is asked for: the documents contradict each other on the default."""
        return self.params.get("fmt") != "json"

    @property
    def today(self) -> date:
        """The UTC day."""
        return self.now.date()

    def symbol(self) -> str:
        """The symbol of a US ticker in the path.

        Raises:
            Refusal: 404 for another exchange, 422 for one with parentheses (EODHD.md §5).
        """
        return symbol_of(self.argument)

    def symbols(self, name: str = "s") -> tuple[str, ...]:
        """The ticker names in a comma-separated parameter, as they were written."""
        return tuple(part.strip() for part in self.params.get(name, "").split(",") if part.strip())

    def stamp(self, name: str) -> int | None:
        """An epoch parameter, or None."""
        text = self.params.get(name, "")
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise invalid(**{name: f"The {name} must be an integer."}) from None

    def day(self, name: str) -> date | None:
        """A ``YYYY-MM-DD`` parameter, or None."""
        text = self.params.get(name, "")
        if not text:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise invalid(**{name: f"The {name} is not a valid date."}) from None


def symbol_of(ticker: str) -> str:
    """``AAPL`` of ``AAPL.US``; without an exchange US is meant."""
    if "(" in ticker:
        raise invalid(ticker="The ticker format is invalid.")
    symbol, dot, exchange = ticker.upper().rpartition(".")
    if not dot:
        return exchange
    if exchange != "US" or "." in symbol or "/" in symbol:
        raise not_found()
    return symbol
