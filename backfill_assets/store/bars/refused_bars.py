"""Writes bars into a contract table that may refuse some of them: the others are stored, and the refused are returned.

A table of another program can lack a partition, or have constraints, types and triggers that a bar does not satisfy
(docs/decisions/0035). Bars are written in one statement. Only when that fails because of a bar does the database look
for the bars that it refuses (function ``find_refused_bars`` of schema backfill), and the others are written again.

What is recorded about refused bars is in ``store.evidence.refusals``.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import psycopg

from backfill_assets.market.arrays import Bools
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import is_any_of
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.database_errors import SERVER_ERRORS

T = TypeVar("T")
MAX_ATTEMPTS = 3  # another program may change the table between two attempts
LONGEST_PIECE = 256  # bars that are tried in one statement while looking for refused ones
_ABOUT_THE_ROW = frozenset({"22", "23", "44"})  # classes of SQLSTATE: data, integrity constraint, check option
_MISSING_RIGHT = "42501"  # also a row that a policy of row security refuses
_HAS_DESCRIPTIVE_CONSTRAINT = frozenset({"23502", "23514"})  # their details repeat the row
_OWN_STATEMENT = "INSERT INTO market_data ("  # of find_refused_bars; not of a table like market_data_log
_FUNCTION_IN_CONTEXT = re.compile(r"function (?!(?:backfill\.)?find_refused_bars)(\S+\(.*?\))")

_CREATE_CANDIDATES = """
CREATE TEMPORARY TABLE candidate_bars (
    position integer PRIMARY KEY, symbol_id integer, spelling text, stamp timestamptz, open_price float8,
    high_price float8, low_price float8, close_price float8, volume bigint, source text, source_interval text,
    source_rows smallint, is_final boolean
) ON COMMIT DROP
"""
_CHECK_DEFERRED_CONSTRAINTS = "SET CONSTRAINTS ALL IMMEDIATE"
_FIND_REFUSED_BARS = "SELECT * FROM backfill.find_refused_bars(%(longest_piece)s)"
# What can drop a row or a change of one without an error: a rule, or a trigger before it, for each row.
_MAY_DROP_ROWS = """
SELECT EXISTS (
    SELECT FROM pg_trigger WHERE tgtype & 3 = 3 AND tgtype & 20 <> 0 AND NOT tgisinternal  -- BEFORE INSERT or UPDATE
       AND tgname <> 'backfill_clear_provenance' AND tgrelid IN (
        SELECT to_regclass('market_data') UNION ALL SELECT relid FROM pg_partition_tree(to_regclass('market_data')))
) OR (SELECT relhasrules FROM pg_class WHERE oid = to_regclass('market_data'))
"""
_DROPPED = "a trigger or a rule dropped the row without an error"
_KEPT = "a trigger or a rule kept the stored row without an error"
_HAS_ROW_SECURITY = "SELECT row_security_active('market_data')"


@dataclass(frozen=True, slots=True)
class RefusedBar:
    """A bar that ``market_data`` refused.

    Attributes:
        symbol_id: of the bar.
        timestamp: start of its slot in epoch seconds UTC.
        refused_by: the constraint, the function of a trigger, or what the database calls the fault.
        message: the words of the database, without values of this bar.
        detail: what the database adds about this bar; may be empty.
    """

    symbol_id: int
    timestamp: int
    refused_by: str
    message: str
    detail: str = ""

    def describe(self) -> str:
        """All words of the database about this bar."""
        return f"{self.message}; {self.detail}" if self.detail else self.message


def write_accepted_bars(
    connection: Connection,
    bars: Columns,
    write: Callable[[Columns], T],
    fill_candidates: Callable[[Columns], None],
    attempts: int = MAX_ATTEMPTS,
) -> tuple[T, list[RefusedBar]]:
    """Write ``bars`` within the caller's transaction, without those that ``market_data`` refuses.

    Args:
        connection: with a transaction open.
        bars: with ``symbol_id`` and ``timestamp``.
        write: writes bars in one statement.
        fill_candidates: inserts the bars that ``write`` would store into the temporary table ``candidate_bars``.
        attempts: how often to try, at most.

    Returns:
        The result of ``write``, and the refused bars.
    """
    try:
        with connection.transaction():
            result = write(bars)
            connection.execute(_CHECK_DEFERRED_CONSTRAINTS)
    except psycopg.Error as error:
        if attempts <= 1 or not _is_refusal(connection, error.sqlstate, error.diag.context):
            raise
    else:
        return result, []
    refused = _find_refused_bars(connection, bars, fill_candidates)
    accepted = drop_refused(bars, refused)
    result, refused_later = write_accepted_bars(connection, accepted, write, fill_candidates, attempts - 1)
    return result, [*refused, *refused_later]


def may_drop_rows(connection: Connection) -> bool:
    """Whether a rule or a trigger of ``market_data`` can drop what is written without an error."""
    return bool(connection.execute(_MAY_DROP_ROWS).fetchall()[0][0])


def describe_dropped_bar(symbol_id: int, timestamp: int, *, is_new: bool) -> RefusedBar:
    """A bar that a trigger or a rule dropped without an error, or a stored one that it kept as it was."""
    return RefusedBar(symbol_id, timestamp, "trigger or rule", _DROPPED if is_new else _KEPT)


def drop_refused(bars: Columns, refused: Sequence[RefusedBar]) -> Columns:
    """``bars`` (with ``symbol_id`` and ``timestamp``) without the refused ones."""
    return bars.take(~is_refused(bars, refused)) if refused else bars


def is_refused(bars: Columns, refused: Sequence[RefusedBar]) -> Bools:
    """Which of ``bars`` (with ``symbol_id`` and ``timestamp``) are refused, shape (bars,)."""
    symbol_id, stamp = np.array([(bar.symbol_id, bar.timestamp) for bar in refused], np.int64).reshape(-1, 2).T
    return is_any_of((bars["symbol_id"], bars["timestamp"]), (symbol_id, stamp))


def _find_refused_bars(
    connection: Connection, bars: Columns, fill_candidates: Callable[[Columns], None]
) -> list[RefusedBar]:
    """Try the bars in the database, and undo that."""
    with connection.transaction(force_rollback=True):
        connection.execute(_CREATE_CANDIDATES)
        fill_candidates(bars)
        failures = connection.execute(_FIND_REFUSED_BARS, {"longest_piece": LONGEST_PIECE}).fetchall()
    return [
        _describe_refusal(symbol_id, epoch, sqlstate, texts)
        for symbol_id, epoch, sqlstate, *texts in failures
        if _is_refusal(connection, sqlstate, texts[-1])
    ]


def _is_refusal(connection: Connection, sqlstate: str | None, context: str | None) -> bool:
    """Whether an error concerns a bar: a value, a constraint, or what a trigger of another program makes of it."""
    if sqlstate is None or sqlstate[:2] in SERVER_ERRORS:
        return False
    if sqlstate == _MISSING_RIGHT:
        return bool(connection.execute(_HAS_ROW_SECURITY).fetchall()[0][0])
    is_raised_by_trigger = bool(context) and _OWN_STATEMENT not in str(context).splitlines()[0]
    return sqlstate[:2] in _ABOUT_THE_ROW or is_raised_by_trigger


def _describe_refusal(symbol_id: int, epoch: int, sqlstate: str, texts: Sequence[str]) -> RefusedBar:
    constraint, message, detail, context = texts
    function = _FUNCTION_IN_CONTEXT.search(context)
    return RefusedBar(
        symbol_id,
        epoch,
        refused_by=constraint or (function[1] if function else message),
        message=message,
        detail="" if constraint and sqlstate in _HAS_DESCRIPTIVE_CONSTRAINT else detail,
    )
