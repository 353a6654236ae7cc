# ruff: noqa: N818 - each class names what the vendor did, and "Error" would repeat the base class
"""The errors of a vendor request, as one tree.

    BackfillError
    └── VendorError                exit 4
        ├── PermanentError         a repeated request fails, too
        │   ├── TokenRefused       401, 403 `Unauthenticated`    stops the run
        │   ├── PlanRefused        403 with the plan's text      stops the run
        │   ├── QuotaExhausted     402, until midnight UTC       stops the run
        │   │   ├── BudgetSpent    this program's share is spent stops the run
        │   │   ├── SpendingPaused a person paused spending      stops the run
    │   │   └── StopRequested  a signal told this process    stops the run
        │   ├── WrongAddress       nothing there is the vendor's stops the run; exit 2
        │   ├── ProxyRefused       407, a proxy's refusal        stops the run; exit 6
        │   ├── TickerRefused      403 `Forbidden` (demo token)  this ticker only
        │   ├── UnknownTicker      404                           this ticker only
        │   ├── InvalidTicker      422 about the ticker          this ticker only
        │   ├── EndpointUnavailable  an endpoint that the plan lacks, this request only
        │   └── RequestRefused     422, other 4xx, redirects     this request only
        │       └── AccessRefused  403 of an endpoint without a ticker
        └── TransientError         a repeated request may succeed
            ├── RateLimited        429
            ├── ServerFault        5xx
            ├── BrokenAnswer       200 with a truncated, non-JSON, HTML or unexpected body
            │   └── UnreadableRows 200 with rows that cannot be read; not repeated in the same run
            └── Unreachable        no connection, timeout, lost connection; exit 6

``eodhd.error_mapping`` decides which status and body become which class. No message may contain the token or a URL's
query; the code that raises passes its text through ``eodhd.redaction``.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

from backfill_assets.errors import BackfillError

Scope = Literal["run", "ticker", "request"]


class VendorError(BackfillError):
    """A vendor request failed.

    Attributes:
        message: what happened, without endpoint and advice.
        endpoint: for example ``/intraday``, if known.
        ticker: the requested ticker, if there is one.
        scope: what fails: the whole run, this ticker, or this request.
        stops_run: whether requests for other tickers would fail, too.
        advice: what the user can do; of the class, unless the error has its own.
        stop_reason: why requests were not sent, if this error ended the run.
        is_from_vendor: whether the response shows that the vendor itself answered. A proxy, or another server at a
            wrong address, may answer with the same status.
    """

    exit_code = 4
    scope: ClassVar[Scope] = "request"
    stops_run: ClassVar[bool] = False
    advice: str = ""
    stop_reason: ClassVar[str] = "the vendor failed repeatedly"

    def __init__(self, message: str, *, endpoint: str | None = None, ticker: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.endpoint = endpoint
        self.ticker = ticker
        self.is_from_vendor = True

    def add_context(self, endpoint: str, ticker: str | None) -> None:
        """Fill in endpoint and ticker where they are unknown; changes this error."""
        self.endpoint = self.endpoint or endpoint
        self.ticker = self.ticker or ticker

    def rewrite_message(self, sanitize: Callable[[str], str]) -> None:
        """Pass the message through ``sanitize``, since vendors echo what they were sent; changes this error."""
        self.message = sanitize(self.message)
        self.args = (self.message,)

    def __str__(self) -> str:
        place = " ".join(part for part in (self.ticker, self.endpoint) if part)
        sentence = f"{place}: {self.message}" if place else self.message
        return f"{sentence}; {self.advice}" if self.advice else sentence


class PermanentError(VendorError):
    """The same request fails again."""


class TokenRefused(PermanentError):
    """The vendor does not know the token (401)."""

    scope = "run"
    stops_run = True
    advice = "check EODHD_API_TOKEN"
    stop_reason = "the token was refused"


class PlanRefused(PermanentError):
    """The token's plan does not include the endpoint (403)."""

    scope = "run"
    stops_run = True
    advice = "the token's plan does not include this; intraday needs EOD+Intraday or All-In-One"
    stop_reason = "the token's plan does not include this"


class QuotaExhausted(PermanentError):
    """The day's calls are used up (402)."""

    scope = "run"
    stops_run = True
    advice = "the vendor's counter resets at midnight UTC"
    stop_reason = "the day's calls are used up"


class BudgetSpent(QuotaExhausted):
    """What this program may spend today, or what it may spend for this purpose, is spent; nothing was requested."""


class SpendingPaused(QuotaExhausted):
    """A person paused all spending; nothing was requested."""

    advice = "to go on: backfill-assets resume"
    stop_reason = "spending is paused"


class StopRequested(QuotaExhausted):
    """A signal told this process to stop; nothing was requested. The next run goes on."""

    advice = "the next run goes on from there"
    stop_reason = "the process was told to stop"


class EndpointUnavailable(PermanentError):
    """An endpoint that not every plan has; it was refused, or is not requested because it was refused before."""

    advice = "nothing else is affected"


class WrongAddress(PermanentError):
    """What answers at the configured address is not the vendor's API: every request was refused, the account's too."""

    exit_code = 2
    scope = "run"
    stops_run = True
    advice = "check EODHD_BASE_URL (the vendor's is https://eodhd.com/api) and any proxy; nothing was recorded"
    stop_reason = "what answers at EODHD_BASE_URL is not the vendor"


class ProxyRefused(PermanentError):
    """A proxy between this machine and the vendor refused the request (407, or no tunnel)."""

    exit_code = 6
    scope = "run"
    stops_run = True
    advice = "check the proxy in HTTPS_PROXY or HTTP_PROXY and its user name and password"
    stop_reason = "a proxy refuses the requests"


class TickerRefused(PermanentError):
    """The demo token does not include this ticker (403 ``Forbidden``)."""

    scope = "ticker"
    advice = "the demo token includes a few tickers only; use your own token"


class UnknownTicker(PermanentError):
    """The vendor has no such ticker (404)."""

    scope = "ticker"
    advice = "check the spelling in the vendor's symbol list; it may have been renamed"


class InvalidTicker(PermanentError):
    """The vendor cannot read the ticker (422), for example a code with parentheses."""

    scope = "ticker"
    advice = "the vendor accepts no such spelling; check it in the vendor's symbol list"


class RequestRefused(PermanentError):
    """The vendor rejected this request (422, another 4xx, a redirect)."""


class AccessRefused(RequestRefused):
    """The vendor refused an endpoint that has no ticker, and its text does not name the plan (403)."""


class TransientError(VendorError):
    """A later request may succeed; the client has already retried as often as configured.

    Attributes:
        retry_after: seconds to wait, if the vendor named them.
        is_repeated: whether the request is repeated in the same run.
    """

    is_repeated: ClassVar[bool] = True

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

    advice = "the request is postponed; lower EODHD_REQUESTS_PER_MINUTE if this continues"


class ServerFault(TransientError):
    """The vendor's server failed (5xx)."""

    advice = "the fault is at the vendor; run again later"


class BrokenAnswer(TransientError):
    """Status 200, but the body is not a valid response."""

    advice = "the fault is at the vendor; run again later"


class UnreadableRows(BrokenAnswer):
    """Status 200 with rows that cannot be read. The vendor would send, and bill, the same rows again at once."""

    is_repeated = False


class Unreachable(TransientError):
    """No response."""

    exit_code = 6
    advice = "check the network and EODHD_BASE_URL"
    stop_reason = "the vendor cannot be reached"
