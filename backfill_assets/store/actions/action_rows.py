"""Writes what the vendor lists of a kind of corporate action: what holds now, and the values that it had before.

Columns of a kind are in ``splits`` and ``dividends``; which requests were sent is in ``action_reads``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, TypeAlias

from backfill_assets.market.actions.corporate_actions import Listed
from backfill_assets.store.postgres.connection import Connection

MAX_MOVED_DAYS = 14  # between an action's ex-dates; further apart they are two, as monthly dividends of one amount are
ContradictionTable: TypeAlias = Literal["dividends", "splits"]
# The columns of an action that say since when it holds, and until when.
LISTED_COLUMNS = "source, first_seen, revised_at, withdrawn_at"
VERSION_COLUMNS = "source, known_from, NULL::timestamptz, known_until"


@dataclass(frozen=True)
class ActionTable:
    """A kind of action in the schema; columns as name → SQL type.

    Attributes:
        name: the table of what holds.
        revisions: the table of values that it had before.
        keys: what tells two actions of one symbol and ex-date apart.
        values: a change of one of them is a revision.
        details: columns that are no part of a revision; a later answer that lacks one does not erase it.
        is_changed: SQL, whether the values of row ``{new}`` are others than those of row ``p``.
        is_same_action: SQL, whether row ``i`` may be the action of row ``p`` under another ex-date.
        without_effect: the values, as SQL, of a version that changes no price.
    """

    name: str
    revisions: str
    keys: Mapping[str, str]
    values: Mapping[str, str]
    details: Mapping[str, str]
    is_changed: str
    is_same_action: str
    without_effect: Mapping[str, str]

    @property
    def columns(self) -> Mapping[str, str]:
        """Every column that the vendor's row has."""
        return {"symbol_id": "int", "ex_date": "date", **self.keys, **self.values, **self.details}

    @property
    def key_names(self) -> str:
        """The columns of the primary key."""
        return ", ".join(("symbol_id", "ex_date", *self.keys))


def record_actions(
    connection: Connection, table: ActionTable, rows: Sequence[Mapping[str, Any]], source: str, now: datetime
) -> None:
    """Store listed actions; the values that they change, or that were withdrawn before, become revisions.

    Args:
        connection: with a transaction open.
        table: the kind.
        rows: the columns of each action, one row for a key.
        source: the vendor's endpoint.
        now: when they were read, UTC.
    """
    if not rows:
        return
    values: dict[str, Any] = {name: [row[name] for row in rows] for name in table.columns}
    values |= {"source": source, "now": now}
    connection.execute(_build_revisions_insert(table).encode(), values)
    connection.execute(_build_upsert(table).encode(), values)


def record_moves(
    connection: Connection,
    table: ActionTable,
    symbol_id: int,
    rows: Sequence[Mapping[str, Any]],
    now: datetime,
    known_after: date,
) -> None:
    """Note which listed actions are stored ones under another ex-date; before the new ones are stored.

    The new row gets a version without effect for the time in which the old one was known. So at a moment of that time
    the action counts under its old date, and not a second time as one that was loaded late.

    Args:
        connection: with a transaction open.
        table: the kind.
        symbol_id: the symbol whose list was read.
        rows: the columns of each action of the list.
        now: when it was read, UTC.
        known_after: the list has every action after this day.
    """
    if not rows:
        return
    values: dict[str, Any] = {name: [row[name] for row in rows] for name in table.columns}
    values |= {"id": symbol_id, "now": now, "known_after": known_after, "max_days": MAX_MOVED_DAYS}
    connection.execute(_build_moves_insert(table).encode(), values)


def withdraw_actions(
    connection: Connection,
    table: ActionTable,
    symbol_ids: Collection[int],
    days: tuple[date, date],
    found: Iterable[Sequence[Any]],
    now: datetime,
) -> None:
    """Mark the actions with an ex-date within ``days`` (both inclusive) that are not listed any more.

    ``found`` has the keys of those that are: symbol_id, ex_date, and the other columns of the primary key.
    """
    types = ["int", "date", *table.keys.values()]
    columns = list(zip(*found, strict=True)) or [()] * len(types)
    keys = {f"key_{position}": list(column) for position, column in enumerate(columns)}
    arrays = ", ".join(f"%(key_{position})s::{sql_type}[]" for position, sql_type in enumerate(types))
    statement = f"""
UPDATE backfill.{table.name} SET withdrawn_at = %(now)s
WHERE symbol_id = ANY (%(ids)s::int[]) AND ex_date BETWEEN %(first)s AND %(last)s AND withdrawn_at IS NULL
  AND ({table.key_names}) NOT IN (SELECT * FROM unnest({arrays}))
"""  # noqa: S608 - names of our own
    values = {"now": now, "ids": sorted(symbol_ids), "first": days[0], "last": days[1], **keys}
    connection.execute(statement.encode(), values)


def select_actions(
    connection: Connection, table: ActionTable, symbol_ids: Collection[int] | None, *, with_versions: bool
) -> list[tuple[Any, ...]]:
    """The actions of some symbols, or (None) of all, as tuples of ``table.columns`` and the columns of ``Listed``.

    Those that count; ``with_versions`` also those that were withdrawn, and what each was before: each with the time
    from which it was known so, as ``first_seen``, and that up to which, as ``withdrawn_at``.
    """
    is_chosen = "(%(ids)s::int[] IS NULL OR symbol_id = ANY (%(ids)s::int[]))"
    names = ", ".join(table.columns)
    listed = f"SELECT {names}, {LISTED_COLUMNS} FROM backfill.{table.name} WHERE {is_chosen}"  # noqa: S608
    if with_versions:
        old = [name if name not in table.details else f"NULL::{table.details[name]}" for name in table.columns]
        columns = f"{', '.join(old)}, {VERSION_COLUMNS}"
        revisions = f"SELECT {columns} FROM backfill.{table.revisions} WHERE {is_chosen}"  # noqa: S608
        statement = (
            f"SELECT * FROM ({listed} UNION ALL {revisions}) AS v "  # noqa: S608
            f"ORDER BY {table.key_names}, coalesce(revised_at, first_seen)"
        )
    else:
        statement = f"{listed} AND withdrawn_at IS NULL ORDER BY {table.key_names}"
    ids = None if symbol_ids is None else sorted(symbol_ids)
    return connection.execute(statement.encode(), {"ids": ids}).fetchall()


def list_contradictions(
    connection: Connection, table: ContradictionTable, symbol_ids: Iterable[int]
) -> list[tuple[int, date, str]]:
    """Symbol, ex-date and text of the actions that the vendor lists in several versions, by ex-date."""
    statement = f"""
SELECT symbol_id, ex_date, contradiction FROM backfill.{table}
WHERE contradiction IS NOT NULL AND withdrawn_at IS NULL AND symbol_id = ANY (%(ids)s::int[])
GROUP BY 1, 2, 3 ORDER BY 2, 1
"""  # noqa: S608 - one of two names
    return connection.execute(statement.encode(), {"ids": sorted(symbol_ids)}).fetchall()


def build_listed(source: str, *times: datetime | None) -> Listed:
    """The value of the last four columns of ``select_actions``, in UTC."""
    first_seen, revised_at, withdrawn_at = (time and time.astimezone(UTC) for time in times)
    assert first_seen is not None  # noqa: S101 - a column without nulls
    return Listed(source, first_seen, revised_at, withdrawn_at)


def _build_incoming(table: ActionTable) -> str:
    arrays = ", ".join(f"%({name})s::{sql_type}[]" for name, sql_type in table.columns.items())
    return f"unnest({arrays}) AS i ({', '.join(table.columns)})"


def _build_revisions_insert(table: ActionTable) -> str:
    """The statement that keeps what the rows change. Its lock is taken by everybody in the same order."""
    kept = ", ".join([*table.keys, *table.values])
    return f"""
INSERT INTO backfill.{table.revisions} (symbol_id, ex_date, {kept}, source, known_from, known_until)
SELECT symbol_id, ex_date, {", ".join([*table.keys, *(f"p.{name}" for name in table.values)])}, p.source,
       coalesce(p.revised_at, p.first_seen), coalesce(p.withdrawn_at, %(now)s)
FROM (SELECT * FROM backfill.{table.name}
      WHERE (symbol_id, ex_date) IN (SELECT * FROM unnest(%(symbol_id)s::int[], %(ex_date)s::date[]))
      ORDER BY {table.key_names} FOR UPDATE) p
JOIN {_build_incoming(table)} USING ({table.key_names})
WHERE p.withdrawn_at IS NOT NULL OR {table.is_changed.format(new="i")}
"""  # noqa: S608 - names of our own


def _build_moves_insert(table: ActionTable) -> str:
    """The statement of ``record_moves``: one action that is only listed now, and one that is only stored."""
    keys = ("symbol_id", "ex_date", *table.keys)
    kept = ", ".join([*keys, *table.values])
    chosen = ", ".join([*(f"i.{name}" for name in keys), *(table.without_effect[name] for name in table.values)])
    incoming = ", ".join(
        f"unnest(%({name})s::{sql_type}[])" for name, sql_type in table.columns.items() if name in keys
    )
    return f"""
WITH moved ({kept}, source, known_from, stored, listed) AS (
    SELECT {chosen}, p.source, p.first_seen,
           count(*) OVER (PARTITION BY i.ex_date), count(*) OVER (PARTITION BY p.ex_date)
    FROM {_build_incoming(table)}
    JOIN backfill.{table.name} p ON p.symbol_id = i.symbol_id AND {table.is_same_action}
    WHERE p.symbol_id = %(id)s AND p.withdrawn_at IS NULL AND p.first_seen < %(now)s AND p.ex_date > %(known_after)s
      AND abs(p.ex_date - i.ex_date) <= %(max_days)s
      AND ({_qualify("i", keys)}) NOT IN (SELECT {", ".join(keys)} FROM backfill.{table.name} WHERE symbol_id = %(id)s)
      AND ({_qualify("p", keys)}) NOT IN (SELECT {incoming})
)
INSERT INTO backfill.{table.revisions} ({kept}, source, known_from, known_until)
SELECT {kept}, source, known_from, %(now)s FROM moved WHERE stored = 1 AND listed = 1
"""  # noqa: S608 - names of our own


def _qualify(alias: str, names: Iterable[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in names)


def _build_upsert(table: ActionTable) -> str:
    names = ", ".join(table.columns)
    is_revised = f"(p.withdrawn_at IS NOT NULL OR {table.is_changed.format(new='EXCLUDED')})"
    updates = {name: f"EXCLUDED.{name}" for name in table.values}
    updates |= {name: f"coalesce(EXCLUDED.{name}, p.{name})" for name in table.details}
    is_other = f"({', '.join(f'p.{name}' for name in updates)}) IS DISTINCT FROM ({', '.join(updates.values())})"
    for name, revised in (("source", "EXCLUDED.source"), ("revised_at", "%(now)s")):
        updates[name] = f"CASE WHEN {is_revised} THEN {revised} ELSE p.{name} END"
    assignments = ", ".join(f"{name} = {value}" for name, value in updates.items())
    return f"""
INSERT INTO backfill.{table.name} AS p ({names}, source, first_seen)
SELECT i.*, %(source)s, %(now)s FROM {_build_incoming(table)} ORDER BY {table.key_names}
ON CONFLICT ({table.key_names}) DO UPDATE SET {assignments}, withdrawn_at = NULL
WHERE {is_revised} OR {is_other}
"""  # noqa: S608 - names of our own
