"""The machine's own settings of its network: its proxy and its certificates, from the usual environment variables.

httpx reads them itself only without an explicit transport. How connections are made is in ``connection_pool``.
"""

import ssl
from urllib.request import getproxies, proxy_bypass

import httpx

from backfill_assets.errors import UsageError


def find_proxy(address: httpx.URL) -> str | None:
    """The proxy for ``address``; None if the machine has none or reaches the host without it.

    Raises:
        UsageError: the proxy is not an address that can be used; it is not quoted, since it may contain a password.
    """
    proxies = {} if proxy_bypass(address.host) else getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy:
        return None
    try:
        httpx.AsyncHTTPTransport(verify=False, proxy=proxy)
    except (ValueError, httpx.InvalidURL):
        raise UsageError(
            f"the proxy in {address.scheme.upper()}_PROXY or ALL_PROXY is not the address of a proxy; "
            "write http://host:port, or name the vendor's host in NO_PROXY"
        ) from None
    except ImportError:
        raise UsageError(
            f"the proxy in {address.scheme.upper()}_PROXY or ALL_PROXY is a SOCKS proxy; "
            "install its support with: pip install 'httpx[socks]'"
        ) from None
    return proxy


def create_tls_context() -> ssl.SSLContext:
    """The TLS settings that verify the vendor.

    Raises:
        UsageError: a file or folder that the environment names cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # also ssl.SSLError
        raise UsageError(
            "the certificates cannot be read; check SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE: "
            f"{error.strerror or error}"
        ) from None
