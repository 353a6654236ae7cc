"""Writes the counts of months: adds what changed, or sets what was counted.

The table is ``backfill.census_months`` (``migrations/0045_census.sql``). Nobody but ``fold`` and ``recount`` uses this:
one of them at a time, under the lock of the census.
"""

from collections.abc import Iterable
from typing import Any

from backfill_assets.market.calendar.intervals import recognize_interval
from backfill_assets.store.postgres.connection import Connection

# What another program wrote and is no text at all (in a database of the encoding SQL_ASCII) is no interval of anybody.
IS_NAMED = "interval_type !~ '[^ -~]'"
COUNTS = ("final", "provisional", "unverified", "sparse", "minute_squares")
_LOCK = 0x63656E73  # "cens" in ASCII: one process at a time moves or counts
_TRY_LOCK = """
SELECT CASE WHEN current_setting('transaction_read_only') = 'off'
                 AND has_table_privilege('backfill.census_months', 'INSERT, UPDATE')
            THEN pg_try_advisory_xact_lock(%(lock)s) ELSE false END
"""
# What was known of the slots without a bar holds no longer, once the counts change.
_FORGET_EXPLAINED = "no_trade = NULL, vendor_gap = NULL, missing = NULL, suspect = NULL, measured_at = NULL"
_UPSERT = f"""
INSERT INTO backfill.census_months AS m (symbol_id, interval_type, month, {", ".join(COUNTS)})
SELECT symbol_id, interval_type, month, {", ".join(f"sum({name})" for name in COUNTS)}
FROM unnest(%(symbol_ids)s::bigint[], %(intervals)s::text[], %(months)s::date[], %(final)s::bigint[],
            %(provisional)s::bigint[], %(unverified)s::bigint[], %(sparse)s::bigint[], %(minute_squares)s::bigint[])
    AS t (symbol_id, interval_type, month, {", ".join(COUNTS)})
GROUP BY symbol_id, interval_type, month {{having}} ORDER BY symbol_id, interval_type, month
ON CONFLICT (symbol_id, interval_type, month) DO UPDATE SET {{values}}, {_FORGET_EXPLAINED} {{where}}
"""  # noqa: S608 - only constants are inserted
_ADD = _UPSERT.format(
    having=f"HAVING ({', '.join(f'sum({name})' for name in COUNTS)}) <> (0, 0, 0, 0, 0)",
    values=", ".join(f"{name} = m.{name} + EXCLUDED.{name}" for name in COUNTS),
    where="",
)
_SET = _UPSERT.format(
    having="",
    values=", ".join(f"{name} = EXCLUDED.{name}" for name in COUNTS),
    where="WHERE " + " OR ".join(f"m.{name} <> EXCLUDED.{name}" for name in COUNTS),
)


def try_lock_census(connection: Connection) -> bool:
    """Whether this transaction may change counts until it ends; False while another one does, and where nobody can."""
    is_ours: bool = connection.execute(_TRY_LOCK, {"lock": _LOCK}).fetchall()[0][0]
    return is_ours


def add_counts(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add to months; ``rows`` are symbol_id, ``interval_type`` as stored, month, and ``COUNTS``, some below 0."""
    _write(connection, _ADD, rows)


def set_counts(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Set months to what was counted; ``rows`` as in ``add_counts``. Rows of several spellings are added up."""
    _write(connection, _SET, rows)


def name_interval(spelling: str) -> str:
    """The name under which months of an ``interval_type`` are counted: this program's, else the spelling itself."""
    interval = recognize_interval(spelling)
    return spelling if interval is None else interval.name


def _write(connection: Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    if not columns:
        return
    names = {spelling: name_interval(spelling) for spelling in set(columns[1])}
    columns[1] = [names[spelling] for spelling in columns[1]]
    values = dict(zip(("symbol_ids", "intervals", "months", *COUNTS), columns, strict=True))
    connection.execute(statement.encode(), values)
