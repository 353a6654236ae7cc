"""A request to the vendor, and the state and price of one attempt at it.

Which attempts are made, and when, is in ``eodhd.retries``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Generic, TypeVar

import httpx

from backfill_assets.eodhd.error_mapping import parse_retry_after
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import VendorError

T = TypeVar("T")


@dataclass(frozen=True)
class ApiRequest(Generic[T]):
    """A request and the parser of its response.

    Attributes:
        endpoint: name in errors and in the request log.
        path: below the base URL, percent-encoded.
        calls: price of a response with status 200.
        parse: from the body to the result; raises VendorError.
        purpose: what the request is made for.
        params: the query, without ``fmt`` and token.
        ticker: the requested ticker, if there is one.
        timeout_seconds: for the whole attempt; None means the client's.
    """

    endpoint: str
    path: str
    calls: int
    parse: Callable[[bytes], T]
    purpose: Purpose
    params: Mapping[str, str | int] = field(default_factory=dict)
    ticker: str | None = None
    timeout_seconds: float | None = None


@dataclass
class AttemptState:
    """The state of an attempt in progress."""

    request: ApiRequest[Any]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_clock: float = field(default_factory=perf_counter)
    response: httpx.Response | None = None
    is_sent: bool = True
    timed_out: bool = False
    body_bytes: int = 0
    rows: int | None = None

    @property
    def status(self) -> int | None:
        """The response's status; None before a response."""
        return self.response.status_code if self.response is not None else None

    def get_header(self, name: str) -> str | None:
        """A header of the response; None without one."""
        return self.response.headers.get(name) if self.response is not None else None

    def get_retry_after(self) -> float | None:
        """Seconds that the vendor wants to wait; None if it does not say."""
        return parse_retry_after(self.get_header("retry-after"))

    def _get_int_header(self, name: str) -> int | None:
        value = (self.get_header(name) or "").strip()
        return int(value) if value.isdecimal() and len(value) < 10 else None

    def count_calls(self, error: BaseException | None) -> int:
        """Price of the attempt: failures are free, an unknown symbol costs 1 (docs/vendor.md §1.4).

        A request that was sent and then timed out or cancelled may have been billed, so it counts.
        """
        if self.status == 404:
            return min(1, self.request.calls)
        if self.status is not None:
            return self.request.calls if 200 <= self.status < 300 else 0
        may_be_billed = self.is_sent and (self.timed_out or not isinstance(error, Exception))
        return self.request.calls if may_be_billed else 0

    def build_record(self, error: BaseException | None) -> RequestRecord:
        """What the rate limiter is told of the attempt when it has ended, with ``error`` or without."""
        return RequestRecord(
            endpoint=self.request.endpoint,
            purpose=self.request.purpose,
            ticker=self.request.ticker,
            started_at=self.started_at,
            seconds=perf_counter() - self.started_clock,
            status=self.status,
            calls=self.count_calls(error),
            rows=self.rows,
            body_bytes=self.body_bytes,
            error=type(error).__name__ if error else None,
            rate_limit=self._get_int_header("x-ratelimit-limit"),
            rate_remaining=self._get_int_header("x-ratelimit-remaining"),
            retry_after=self.get_retry_after(),
            vendor_message=error.message if isinstance(error, VendorError) else "",
        )
