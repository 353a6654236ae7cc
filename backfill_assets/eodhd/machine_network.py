"""The machine's own settings of its network: its proxy and its certificates, from the usual environment variables.

How connections are made is in ``connection_pool``.
"""

import os
import ssl
from importlib.util import find_spec
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpcore

from backfill_assets.errors import UsageError

_SOCKS_SCHEMES = {"socks5", "socks5h"}
_PROXY_SCHEMES = {"http", "https", *_SOCKS_SCHEMES}


def find_proxy(address: SplitResult) -> httpcore.Proxy | None:
    """The proxy for ``address``; None if the machine has none or reaches the host without it.

    Raises:
        UsageError: the proxy is not an address that can be used; it is not quoted, since it may contain a password.
    """
    proxies = {} if proxy_bypass(address.hostname or "") else getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy:
        return None
    names = f"{address.scheme.upper()}_PROXY or ALL_PROXY"
    try:
        return _parse_proxy(proxy)
    except ValueError:
        raise UsageError(
            f"the proxy in {names} is not the address of a proxy; "
            "write http://host:port, or name the vendor's host in NO_PROXY"
        ) from None
    except ImportError:
        raise UsageError(
            f"the proxy in {names} is a SOCKS proxy; install its support with: pip install 'httpx[socks]'"
        ) from None


def _parse_proxy(address: str) -> httpcore.Proxy:
    parts = urlsplit(address)
    if parts.scheme not in _PROXY_SCHEMES or not parts.hostname or not address.isascii():
        raise ValueError("not the address of a proxy")
    if parts.scheme in _SOCKS_SCHEMES and find_spec("socksio") is None:
        raise ImportError("socksio")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return httpcore.Proxy(
        httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target="/"),
        auth=(user.encode(), password.encode()) if user or password else None,
    )


def create_tls_context() -> ssl.SSLContext:
    """The TLS settings that verify the vendor: by the certificates that the environment names, or by Mozilla's.

    Raises:
        UsageError: a file or folder that the environment names cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        if folder and not file:
            return ssl.create_default_context(capath=folder)
        return ssl.create_default_context(cafile=file or certifi.where())
    except OSError as error:  # also ssl.SSLError
        raise UsageError(
            "the certificates cannot be read; check SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE: "
            f"{error.strerror or error}"
        ) from None
