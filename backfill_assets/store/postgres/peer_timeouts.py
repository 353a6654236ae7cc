"""The settings by which both ends of a connection notice that the other one is gone, and let go.

A host that is cut off sends no goodbye. By the defaults of Linux and PostgreSQL its session then holds its locks for
two hours, and a process that waits for an answer out of a silent network waits as long. What is set here ends both
within about 15 seconds. Settings that the address itself names are the user's and stay. What SQL and the driver rely on
is in ``session_settings``; what happens to a broken connection is in ``connection``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import conninfo, pq

# A transaction of ours waits for nobody between two statements, only computes: 14 s for 5,000 symbols on a machine with
# eight times the work it can do (docs/decisions/0079). A session that is idle for a minute within one belongs to a
# process that hangs, or to a dead host behind a pooler.
IDLE_IN_TRANSACTION_SECONDS = 60
# Nobody waits for the locks of a snapshot, which can write nothing, and somebody may read years of a market at once.
IDLE_IN_SNAPSHOT_SECONDS = 600
IDLE_LIMIT = "idle_in_transaction_session_timeout"
_PROBE_AFTER_SECONDS, _PROBE_EVERY_SECONDS, _PROBES = 5, 3, 3  # lost after 5 + 3 * 3 = 14 seconds
_UNACKNOWLEDGED_MS = 15_000  # what was sent while the peer was gone; probes are not sent meanwhile
CLIENT_PARAMETERS = {
    "keepalives_idle": str(_PROBE_AFTER_SECONDS),
    "keepalives_interval": str(_PROBE_EVERY_SECONDS),
    "keepalives_count": str(_PROBES),
    "tcp_user_timeout": str(_UNACKNOWLEDGED_MS),
}
SERVER_SETTINGS = {
    IDLE_LIMIT: f"{IDLE_IN_TRANSACTION_SECONDS}s",
    "tcp_keepalives_idle": str(_PROBE_AFTER_SECONDS),
    "tcp_keepalives_interval": str(_PROBE_EVERY_SECONDS),
    "tcp_keepalives_count": str(_PROBES),
    "tcp_user_timeout": str(_UNACKNOWLEDGED_MS),
}
_SETTING_IN_OPTIONS = re.compile(r"(?:-c\s*|--)([\w.-]+)\s*=")
_REFUSED_OPTIONS = re.compile(r"startup parameter|command-line options", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """An address with the timeouts, and whether the server side of it takes settings with the connection.

    Attributes:
        url: for libpq, whatever driver uses it.
        takes_options: False behind a pooler that refuses them; there the role has to have them
            (``deploy/postgres/timeouts.sql``).
        has_idle_limit: whether it has a limit of its own for idle time in a transaction.
    """

    url: str
    takes_options: bool
    has_idle_limit: bool


def connect(url: str, **options: Any) -> tuple[psycopg.Connection[tuple[Any, ...]], Address]:
    """Open the first connection to ``url``; returns it and the address for all others.

    Raises:
        psycopg.Error: no connection, with the settings of the server or without them.
    """
    plain = add_client_parameters(url)
    full, has_idle_limit = add_server_settings(plain), IDLE_LIMIT in _list_settings(_read_options(plain))
    try:
        return psycopg.connect(full, **options), Address(full, True, has_idle_limit)
    except psycopg.OperationalError as error:
        # The driver has no code for an error before the session has begun, and poolers have no common one.
        if full == plain or not _REFUSED_OPTIONS.search(str(error)):
            raise
    return psycopg.connect(plain, **options), Address(plain, False, has_idle_limit)


def add_client_parameters(url: str) -> str:
    """``url`` with the timeouts of this end of the connection; nothing in them concerns the server or a pooler."""
    parts = conninfo.conninfo_to_dict(url)
    missing = {name: value for name, value in CLIENT_PARAMETERS.items() if name not in parts}
    return url if _names_service(parts) else conninfo.make_conninfo(url, **missing)


def add_server_settings(url: str) -> str:
    """``url`` with the timeouts of the server's end, as options of the session; a pooler may refuse them."""
    parts = conninfo.conninfo_to_dict(url)
    if _names_service(parts):
        return url
    given = _read_options(url)
    named = _list_settings(given)
    added = [f"-c {name}={value}" for name, value in SERVER_SETTINGS.items() if name not in named]
    return conninfo.make_conninfo(url, options=" ".join([given, *added]).strip())


def _read_options(url: str) -> str:
    parts = conninfo.conninfo_to_dict(url)
    return str(parts["options"] if "options" in parts else _read_default("options") or "")


def _list_settings(options: str) -> set[str]:
    return {name.replace("-", "_").lower() for name in _SETTING_IN_OPTIONS.findall(options)}


def _names_service(parts: Mapping[str, Any]) -> bool:
    """Whether a service file has more of the address; what is added to an address would hide what the file says."""
    return bool(parts.get("service") or _read_default("service"))


def _read_default(name: str) -> str | None:
    """What libpq takes from the environment for a part that the address does not have."""
    values = [option.val for option in pq.Conninfo.get_defaults() if option.keyword == name.encode()]
    return values[0].decode() if values and values[0] else None
