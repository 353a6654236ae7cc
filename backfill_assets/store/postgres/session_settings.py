"""The settings of a database session that this program relies on, whatever defaults a role or a database has.

A pooler in transaction mode keeps no settings of a session. So a difference is set at the start of each transaction,
and only where there is one: with the usual defaults it costs nothing. What can be given with the connection is in
``CONNECTION_OPTIONS``; poolers accept it. The timeouts of both ends are in ``peer_timeouts``.
"""

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown

from backfill_assets.config.readable_text import READABLE
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.peer_timeouts import IDLE_IN_TRANSACTION_SECONDS, IDLE_LIMIT

CONNECTION_OPTIONS: Mapping[str, Any] = {"client_encoding": "utf8", "prepare_threshold": None}
ISOLATION_LEVEL = psycopg.IsolationLevel.READ_COMMITTED
OLDEST_SERVER = 14  # multiranges
LEAST_IDLE_SESSION_MS = 100  # a pooled connection is unused for moments; it cannot be set for a transaction
_UNLIMITED_ENCODINGS = frozenset({"UTF8", "SQL_ASCII"})  # SQL_ASCII stores bytes as they come
_MILLISECONDS = 1000
_ISOLATION = "default_transaction_isolation"
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# What SQL, its results and the driver mean: setting → (value, whether another value is as good).
_REQUIRED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "DateStyle": ("ISO", lambda value: value.startswith("ISO")),
    "IntervalStyle": ("postgres", lambda _: False),
    "extra_float_digits": ("1", lambda value: int(value) >= 1),
    "standard_conforming_strings": ("on", lambda _: False),
    "array_nulls": ("on", lambda _: False),
    "quote_all_identifiers": ("off", lambda _: False),
    "default_table_access_method": ("heap", lambda _: False),
}
# Limits that are meant for other work. Those in DATABASE_URL itself are meant for this program and stay. Without a
# limit of idle time, as behind a pooler, a session whose host is gone would hold its locks for hours.
_LIMITS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "statement_timeout": ("0", lambda _: False),
    "lock_timeout": ("0", lambda _: False),
    "transaction_timeout": ("0", lambda _: False),
    IDLE_LIMIT: (
        f"{IDLE_IN_TRANSACTION_SECONDS}s",
        lambda value: int(value) >= IDLE_IN_TRANSACTION_SECONDS * _MILLISECONDS,
    ),
}
_SELECT_SETTINGS = "SELECT name, setting, source FROM pg_settings WHERE name = ANY(%(names)s)"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What has to be set for a session of one database and role.

    Attributes:
        differences: settings whose default differs from what this program relies on → the value to set.
        is_read_committed: whether a statement by itself has the isolation level that transactions begin with.
        encoding: Python's name of the database's encoding; None where every character can be stored.
    """

    differences: dict[str, str]
    is_read_committed: bool
    encoding: str | None

    @property
    def statement(self) -> str | None:
        """What sets the differences for a transaction; None if there are none.

        It reads nothing, so that a transaction can still take over the snapshot of another one (``joined_snapshot``).
        """
        return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in self.differences.items()) or None

    @property
    def before_statement_alone(self) -> Sequence[str]:
        """What begins the transaction of a single statement; empty if it needs none of ours."""
        needed = {name: value for name, value in self.differences.items() if name != IDLE_LIMIT}
        if not needed and self.is_read_committed:
            return ()
        return (_BEGIN, *(f"SET LOCAL {name} = '{value}'" for name, value in needed.items()))

    def configure(self, connection: psycopg.Connection[Any]) -> None:
        """Prepare a new connection; sends nothing."""
        connection.isolation_level = ISOLATION_LEVEL
        connection.adapters.register_dumper(str, _make_text_dumper(self.encoding))


def read_session_settings(connection: psycopg.Connection[Any]) -> SessionSettings:
    """Compare a new session's settings with what this program relies on.

    Raises:
        DatabaseUnavailable: the server is older than PostgreSQL 14, or ends unused connections at once.
    """
    require_server_version(connection.info.server_version)
    names = [*_REQUIRED, *_LIMITS, "idle_session_timeout", _ISOLATION]
    found = {row[0]: row[1:] for row in connection.execute(_SELECT_SETTINGS, {"names": names}).fetchall()}
    require_idle_time(int(found.pop("idle_session_timeout")[0]))
    is_read_committed = found.pop(_ISOLATION)[0] == "read committed"
    differences = {
        name: value for name, (setting, source) in found.items() if (value := _find_value(name, setting, source))
    }
    encoding = _get_python_encoding(connection.info.parameter_status("server_encoding"))
    return SessionSettings(differences, is_read_committed, encoding)


def require_server_version(version: int) -> None:
    """Refuse a server that lacks what the SQL uses; ``version`` as libpq has it, for example 140005.

    Raises:
        DatabaseUnavailable: it is older than PostgreSQL 14.
    """
    major = version // 10_000
    if major < OLDEST_SERVER:
        raise DatabaseUnavailable(f"the server is PostgreSQL {major}; {OLDEST_SERVER} or newer is needed")


def require_idle_time(milliseconds: int) -> None:
    """Refuse an ``idle_session_timeout`` that ends connections between two transactions; 0 means none.

    Raises:
        DatabaseUnavailable: it is shorter than 100 ms.
    """
    if 0 < milliseconds < LEAST_IDLE_SESSION_MS:
        raise DatabaseUnavailable(
            f"idle_session_timeout is {milliseconds} ms, which ends connections between two statements; "
            f"set it to 0, or to {LEAST_IDLE_SESSION_MS} ms or more, for this database or user"
        )


def make_storable(text: str, encoding: str | None) -> str:
    """``text`` with readable replacements for what a database of ``encoding`` cannot store (NUL: none can)."""
    text = text.replace("\0", "\\0")
    return text.encode(encoding or "utf-8", READABLE).decode(encoding or "utf-8")


def _find_value(name: str, setting: str, source: str) -> str | None:
    """The value to set; None if the session has one that is as good."""
    if name in _LIMITS and source == "client":
        return None
    value, is_as_good = (_REQUIRED | _LIMITS)[name]
    return None if setting == value or is_as_good(setting) else value


def _get_python_encoding(name: str | None) -> str | None:
    if name is None or name in _UNLIMITED_ENCODINGS:
        return None
    try:
        return codecs.lookup(name.replace("WIN", "cp")).name
    except LookupError:
        return "ascii"  # a part of every encoding of PostgreSQL


def _make_text_dumper(encoding: str | None) -> type[StrDumperUnknown]:
    class TextDumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(make_storable(obj, encoding))

    return TextDumper
