"""Translates errors of PostgreSQL, the network and other people's schemas into ``DatabaseUnavailable`` (exit code 5).

An error that only a fault of this program explains stays as it is: wrong SQL, or a broken constraint of schema
``backfill``.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import conninfo, errors
from psycopg_pool import PoolTimeout

from backfill_assets.errors import DatabaseUnavailable

OWN_SCHEMA = "backfill"
UNREADABLE_URL = "an unreadable DATABASE_URL"
# Classes of SQLSTATE about the connection, the transaction, locks, resources and the server, whoever raises them.
SERVER_ERRORS = frozenset({"08", "25", "40", "53", "54", "55", "57", "58", "XX"})
_FUNCTION_OF_OTHERS = re.compile(
    r"function (?!backfill\.)\S+\("
)  # in the context of an error; it may have any SQLSTATE
_CHANGED_SCHEMA = (
    "something has changed its tables since this program set them up; restore them from a backup, or check the"
    " search_path of the user (if nothing has changed them, report this as a bug)"
)
# Class of errors → (what the database did, what to do). The first that matches counts.
_EXPLANATIONS: tuple[tuple[tuple[type[psycopg.Error], ...], str, str], ...] = (
    ((errors.InsufficientPrivilege,), "refuses", "give the user of DATABASE_URL that right"),
    ((errors.ReadOnlySqlTransaction,), "is read-only", ""),
    (
        (
            *(errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction, errors.UndefinedObject),
            *(errors.InvalidSchemaName, errors.WrongObjectType, errors.DatatypeMismatch),
            errors.InvalidColumnReference,  # ON CONFLICT without its unique key
        ),
        "does not have what this version expects",
        _CHANGED_SCHEMA,
    ),
    (
        (errors.DuplicateTable, errors.DuplicateObject, errors.DuplicateFunction, errors.DuplicateSchema),
        "holds an object of another program under a name that this program uses",
        "rename it, or point DATABASE_URL to another database",
    ),
    (
        (errors.DependentObjectsStillExist, errors.ObjectNotInPrerequisiteState, errors.FeatureNotSupported),
        "does not allow a change that this program needs",
        "see what else uses its tables",
    ),
    (
        (
            *(errors.RaiseException, errors.TriggeredActionException, errors.ExternalRoutineException),
            *(errors.ExternalRoutineInvocationException, errors.FdwError),
            errors.DivisionByZero,  # of a constraint or a default; no statement of ours divides by a column
        ),
        "has a trigger or a function of another program that refuses",
        "see what it checks",
    ),
    (
        (errors.CharacterNotInRepertoire,),
        "holds text of another program that is not UTF-8",
        "correct it, or use a database with the encoding UTF8",
    ),
    (
        (errors.UntranslatableCharacter,),
        "has an encoding that lacks a character",
        "use a database with the encoding UTF8",
    ),
    (
        (errors.IntegrityError, errors.NumericValueOutOfRange, errors.StringDataRightTruncation),
        "refuses a row",
        "a table that another program has made does not accept it; change that rule, or point DATABASE_URL to another"
        " database",
    ),
    (
        (errors.DataCorrupted, errors.IndexCorrupted, errors.InternalError_),
        "reports damage",
        "see the server's log, and restore a backup",
    ),
    (
        (errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout),
        "ended the session",
        "raise that timeout for the user of DATABASE_URL",
    ),
    ((errors.QueryCanceled,), "cannot be used", "raise statement_timeout for the user of DATABASE_URL, or run again"),
    ((errors.DiskFull,), "cannot be used", "free space on the server"),
    (
        (errors.TooManyConnections, errors.ConfigurationLimitExceeded, errors.OutOfMemory),
        "cannot be used",
        "give the server more connections or memory, or run again later",
    ),
    (
        (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure),
        "cannot be used",
        "run again when nothing else works on its tables",
    ),
)


def describe_database(url: str) -> str:
    """The database and host of a connection string, without its password."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return UNREADABLE_URL
    port, name = str(parts.get("port") or ""), str(parts.get("dbname") or "postgres")
    if not _is_parsed_correctly(port, name):
        return UNREADABLE_URL
    host = str(parts.get("host") or "localhost").rpartition("@")[2]  # a password with @ spills into the host
    return f"database {name!r} at {host}{f':{port}' if port and not _is_embedded(url) else ''}"


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Turn errors of the server, the network and the schema into ``DatabaseUnavailable`` (exit code 5)."""
    try:
        yield
    except (psycopg.Error, PoolTimeout) as error:
        explained = _explain(error, url)
        if explained is None:
            raise
        raise DatabaseUnavailable(explained) from None


def is_raised_by_function(error: psycopg.Error | PoolTimeout) -> bool:
    """Whether a function of another program raised the error; the class of its SQLSTATE may be any.

    For a class that PostgreSQL does not know, the driver may raise ``OperationalError``, as for a lost connection.
    """
    if isinstance(error, PoolTimeout) or error.sqlstate is None or error.sqlstate[:2] in SERVER_ERRORS:
        return False
    return bool(_FUNCTION_OF_OTHERS.search(error.diag.context or ""))


def is_connection_lost(error: psycopg.Error) -> bool:
    """Whether another connection may succeed where this one ended, or the server could not be reached.

    The driver counts a session that the server ended because it was idle among its internal errors.
    """
    lost = (psycopg.OperationalError, errors.IdleInTransactionSessionTimeout)
    return isinstance(error, lost) and not is_raised_by_function(error)


def _explain(error: psycopg.Error | PoolTimeout, url: str) -> str | None:
    """What happened and what to do; None if only a fault of this program explains it."""
    if isinstance(error, psycopg.IntegrityError) and error.diag.schema_name == OWN_SCHEMA:
        return None
    message = _get_safe_message(error, url)
    for types, description, advice in _EXPLANATIONS:
        if isinstance(error, types):
            return f"{describe_database(url)} {description}: {message}" + (f"; {advice}" if advice else "")
    if is_raised_by_function(error):
        return f"{describe_database(url)} has a function of another program that fails: {message}; see what it checks"
    if isinstance(error, psycopg.OperationalError):
        return f"{describe_database(url)} cannot be used: {message}; {_build_hint(url)}"
    return None


def _get_safe_message(error: BaseException, url: str) -> str:
    """The first line of an error, without parts of a password that a malformed address may have put into it."""
    if describe_database(url) == UNREADABLE_URL:
        return "write postgresql://user:password@host:port/name, with % codes for signs like / and @ in the password"
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    with suppress(psycopg.ProgrammingError):
        host = str(conninfo.conninfo_to_dict(url).get("host") or "")
        if "@" in host:
            first = first.replace(host, host.rpartition("@")[2])
    return first


def _build_hint(url: str) -> str:
    return "check DATABASE_URL" + (", or run again if this is the embedded server" if _is_embedded(url) else "")


def _is_embedded(url: str) -> bool:
    return "host=/" in url or "host=%2F" in url


def _is_parsed_correctly(port: str, name: str) -> bool:
    """Whether the address was split correctly; otherwise one of its parts may contain the password."""
    return all(part.isdigit() for part in port.split(",") if part) and "@" not in name
