# ruff: noqa: N818 - each class names a state of the world, not a mistake of ours
"""What can go wrong between us and the vendor, as one tree.

    BackfillError
    └── VendorError                exit 4
        ├── PermanentError         asking again does not help
        │   ├── TokenRefused       401, 403 `Unauthenticated`    stops the run
        │   ├── PlanRefused        403 with the plan's text      stops the run
        │   ├── QuotaExhausted     402, until midnight UTC       stops the run
        │   ├── TickerRefused      403 `Forbidden` (demo token)  this ticker only
        │   ├── UnknownTicker      404                           this ticker only
        │   └── RequestRefused     422, other 4xx, redirects     this request only
        └── TransientError         asking again may help
            ├── RateLimited        429
            ├── ServerFault        5xx
            ├── BrokenAnswer       200 with a cut, non-JSON, HTML or wrong-shaped body
            └── Unreachable        no connection, time-out, cut connection; exit 6

Which status and body becomes which class is decided in ``verdicts``. No message here ever holds
the token or a URL's query; whoever raises takes care of that (``secrecy``).
"""

from collections.abc import Callable
from typing import ClassVar, Literal, Self

from backfill_assets.errors import BackfillError

Scope = Literal["run", "ticker", "request"]


class VendorError(BackfillError):
    """The vendor did not give what was asked.

    Attributes:
        what: what happened, without place or advice.
        endpoint: ``/intraday`` and the like, if known.
        ticker: whom it was about, if it was about one.
        scope: what is lost: the whole run, this ticker, or this request.
        stops_run: whether going on with other tickers is pointless.
    """

    exit_code = 4
    scope: ClassVar[Scope] = "request"
    stops_run: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    def __init__(self, message: str, *, endpoint: str | None = None, ticker: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.endpoint = endpoint
        self.ticker = ticker

    def add_context(self, endpoint: str, ticker: str | None) -> Self:
        """The same error with its place filled in where it was not known."""
        self.endpoint = self.endpoint or endpoint
        self.ticker = self.ticker or ticker
        return self

    def rewrite_message(self, sanitize: Callable[[str], str]) -> Self:
        """The same error with its text passed through ``clean``: vendors echo what they were sent."""
        self.message = sanitize(self.message)
        self.args = (self.message,)
        return self

    def __str__(self) -> str:
        place = " ".join(part for part in (self.ticker, self.endpoint) if part)
        sentence = f"{place}: {self.message}" if place else self.message
        return f"{sentence}; {self.advice}" if self.advice else sentence


class PermanentError(VendorError):
    """Asking the same again gives the same answer."""


class TokenRefused(PermanentError):
    """The vendor does not know the token (401)."""

    scope = "run"
    stops_run = True
    advice = "check EODHD_API_TOKEN"


class PlanRefused(PermanentError):
    """The token's plan does not include the endpoint (403)."""

    scope = "run"
    stops_run = True
    advice = "the token's plan does not include this; intraday needs EOD+Intraday or All-In-One"


class QuotaExhausted(PermanentError):
    """The day's calls are used up (402)."""

    scope = "run"
    stops_run = True
    advice = "the vendor counts anew from midnight UTC"


class TickerRefused(PermanentError):
    """The demo token may not see this ticker (403 ``Forbidden``)."""

    scope = "ticker"
    advice = "the demo token knows only a few tickers; use a token of your own"


class UnknownTicker(PermanentError):
    """The vendor has no such ticker (404)."""

    scope = "ticker"
    advice = "check its spelling in the vendor's symbol list, or whether it was renamed"


class RequestRefused(PermanentError):
    """The vendor found fault with this request (422, another 4xx, a redirect)."""


class TransientError(VendorError):
    """Asking again later may work; the client already did, as often as it is set to.

    Attributes:
        retry_after: seconds the vendor asked us to wait, if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: str | None = None,
        ticker: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, endpoint=endpoint, ticker=ticker)
        self.retry_after = retry_after


class RateLimited(TransientError):
    """Too many requests in a minute (429)."""

    advice = "the request was put off; lower EODHD_REQUESTS_PER_MINUTE if this goes on"


class ServerFault(TransientError):
    """The vendor's side failed (5xx)."""

    advice = "ask again later"


class BrokenAnswer(TransientError):
    """Status 200, but the body is not an answer."""

    advice = "ask again later"


class Unreachable(TransientError):
    """No answer at all."""

    exit_code = 6
    advice = "check the network and EODHD_BASE_URL"
