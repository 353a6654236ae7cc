"""GET requests to the vendor's address, with the token in the query.

They go to httpx's transport without its client, which would build each request twice, keep cookies and log addresses,
and takes a quarter of a request's processor time (docs/decisions/0092). Redirects are not followed. Which answers are
errors is decided in ``retries``.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr


class VendorHttp:
    """Requests to one address; for many tasks of one event loop.

    The token is nowhere but in the request that the transport gets: httpx's errors have no address.

    Args:
        base_url: an http or https URL without query and credentials.
        token: sent with each request.
        transport: sends the requests; closed with this object.
    """

    def __init__(self, base_url: str, token: SecretStr, transport: httpx.AsyncBaseTransport) -> None:
        self.base_url = f"{base_url.rstrip('/')}/"
        self._token = token
        self._transport = transport
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "user-agent": "backfill_assets",
        }

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str | int], timeout: httpx.Timeout
    ) -> AsyncIterator[httpx.Response]:
        """The response to a request below the address, ``path`` being percent-encoded; its body is read in the context.

        Raises:
            httpx.TransportError: no response came.
        """
        query = urlencode({**params, "fmt": "json", "api_token": self._token.get_secret_value()})
        url = f"{self.base_url}{path.removeprefix('/')}?{query}"
        request = httpx.Request("GET", url, headers=self._headers, extensions={"timeout": timeout.as_dict()})
        response = await self._transport.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
