"""The address that a sandbox listens on: this machine alone by default, other machines only where a person asks for it.

A sandbox accepts any token, and whoever reaches it may change its faults and its clock, so it says so when it can be
reached from elsewhere.
"""

import errno
import socket
from ipaddress import ip_address

from backfill_assets.errors import UsageError

_BACKLOG = 2048
_LOOPBACK_BY_FAMILY = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens on an address or name of this machine; port 0 picks a free one.

    Raises:
        UsageError: the host is no address of this machine, or the port is taken.
    """
    try:
        # "" would be every address, without anybody having asked for it
        family, kind, _, _, address = socket.getaddrinfo(host or " ", port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no host name"
        raise UsageError(f"the sandbox cannot listen on --host {host!r}: {reason}; example: 0.0.0.0") from None
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"the sandbox cannot listen on --host {host}: no address of this machine") from None
        where = f"port {port}" if ip_address(address[0]).is_loopback else f"port {port} of {host}"
        raise UsageError(f"the sandbox cannot listen on {where}: {error.strerror}") from error
    return listener


def build_base_url(listener: socket.socket) -> str:
    """URL of the API for clients on this machine, like ``http://127.0.0.1:43121/api``."""
    address, port = listener.getsockname()[:2]
    host = _LOOPBACK_BY_FAMILY[listener.family] if ip_address(address).is_unspecified else address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/api"


def describe_exposure(host: str, base_url: str) -> list[str]:
    """What a person should know of a sandbox at ``base_url`` that listens on ``host``; nothing on the loopback device.

    Lines of text: how others reach it if it listens on every address, and what they can do.
    """
    address, port = (
        ip_address(socket.getaddrinfo(host, None)[0][4][0]),
        base_url.removesuffix("/api").rpartition(":")[2],
    )
    if address.is_loopback:
        return []
    others = f"  from other machines and containers: EODHD_BASE_URL=http://NAME-OF-THIS-MACHINE:{port}/api"
    return [
        *([others] if address.is_unspecified else []),
        f"warning: whoever can reach port {port} can use this sandbox and change its faults and its clock; it checks no"
        " token and does not encrypt, so never send it a real token",
    ]
