"""Endpoints that not every plan of a vendor has: the interface that a client asks through.

The implementation that remembers refusals is ``backfill.optional_endpoints``.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from backfill_assets.market.vendor import AccountUsage

T = TypeVar("T")


class OptionalEndpoints(Protocol):
    """Decides whether an optional endpoint is requested, and what its refusal means."""

    async def request(
        self,
        endpoint: str,
        calls: int,
        send: Callable[[], Awaitable[T]],
        fetch_account: Callable[[], Awaitable[AccountUsage]],
    ) -> T:
        """The answer of ``send``, a request of ``calls`` calls.

        Raises:
            EndpointUnavailable: the plan lacks the endpoint, now or when it was last requested.
            VendorError: as ``send`` raises it. A refused token and an exhausted quota only if the account confirms it.
        """
        ...
