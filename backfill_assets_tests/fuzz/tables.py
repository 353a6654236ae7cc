"""The family of tables: a user's own tables, rows, database and role, as commands meet them.

Besides the exit codes it judges that a refused database is left as it was: nothing is made before the refusal.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg
from psycopg import conninfo, sql

from backfill_assets_tests.fuzz.command_runs import CommandRun, run_command
from backfill_assets_tests.fuzz.exchanges import SEVERAL
from backfill_assets_tests.fuzz.inputs import FuzzInput, Verdict
from backfill_assets_tests.fuzz.oracle import judge_runs
from backfill_assets_tests.fuzz.table_changes import draw_changes
from backfill_assets_tests.fuzz.table_values import draw_name
from backfill_assets_tests.fuzz.user_tables import PRICES, Tables
from backfill_assets_tests.fuzz.workbench import Workbench, get_name

_PREAMBLE = (
    "CREATE DOMAIN key_number AS integer CHECK (VALUE > 0)",
    "CREATE DOMAIN count_number AS bigint CHECK (VALUE < 100000)",
    "CREATE DOMAIN price AS numeric(12,6) CHECK (VALUE > 0)",
    "CREATE DOMAIN moment AS timestamptz",
    "CREATE DOMAIN symbol_text AS varchar(10)",
    "CREATE TYPE venue AS ENUM ('US', 'NASDAQ')",
    "CREATE TYPE length_of_bars AS ENUM ('30min', '1d')",
    "CREATE SEQUENCE numbers",
    "CREATE TABLE audit (symbol_id smallint CHECK (symbol_id < 2))",
    "CREATE FUNCTION is_sound(numeric) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'unsound'; END $$",
)
_FIRST_COMMANDS = (
    ("report",),
    ("status",),
    ("run",),
    ("run", "--verify-existing"),
    ("symbols", "add", "NVDA"),
    ("symbols", "list"),
    ("verify",),
)
_COMMANDS = (
    *(
        ("run",),
        ("run", "--verify-existing"),
        ("run", "--verify-existing"),
        ("run", "--force"),
        ("symbols", "add", "NVDA", "AAPL"),
    ),
    *(
        ("verify", "--format", "json"),
        ("report", "--format", "html"),
        ("report", "--format", "json"),
        ("symbols", "list", "--all"),
        ("status", "--format", "json"),
    ),
    *(
        ("review",),
        ("symbols", "deactivate", "AAPL"),
        ("symbols", "sync"),
        ("plan",),
        ("why", "AAPL", "2026-06-01"),
        ("report",),
        ("status",),
    ),
    *(
        ("run", "--interval", "1h"),
        ("live",),
        ("audit", "--write"),
        ("audit", "--format", "json"),
        ("decisions", "list"),
        ("decisions", "accept", "--kind", "doubt"),
        ("decisions", "reject", "--kind", "doubt"),
        ("alerts", "list"),
        ("run", "--strategy", "incremental"),
        ("why", "AAPL", "2026-06-01", "--ask"),
    ),
    *(
        ("bars", "AAPL", "--start", "2026-06-01", "--end", "2026-06-02", "--require", "any"),
        ("bars", "AAPL", "--start", "2026-06-01", "--end", "2026-06-02", "--known-at", "2026-06-03T14:00:00Z"),
        ("universes", "add", "model", "AAPL"),
        ("certify", "2026-06-01"),
        ("verify-certificate", "--format", "json"),
    ),
)
_COMMANDS_OF_EXCHANGES = (
    *(("symbols", "add", "VOD.LSE"), ("symbols", "sync", "--exchange", "LSE"), ("symbols", "list", "--exchange", "AU")),
    *(("run", "--exchange", "LSE"), ("markets", "list"), ("markets", "show", "LSE"), ("certify", "2026-06-01")),
)
_SNAPSHOT = """
WITH s AS (SELECT oid, nspname::text AS name FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'),
     c AS (SELECT c.oid, c.oid::regclass::text AS name, relkind::text FROM pg_class c JOIN s ON s.oid = relnamespace)
SELECT 'schema', name, '', '' FROM s
UNION ALL SELECT 'relation', name, relkind, '' FROM c
UNION ALL SELECT 'column', name, attname::text, format_type(atttypid, atttypmod) FROM c
    JOIN pg_attribute a ON a.attrelid = c.oid WHERE attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname::text, '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', f.oid::regprocedure::text, '', '' FROM pg_proc f JOIN s ON s.oid = f.pronamespace
"""
_GRANTS = {
    "owner": ("GRANT ALL ON DATABASE {database} TO {role}", "GRANT ALL ON SCHEMA public TO {role}"),
    "writer": (
        "GRANT ALL ON DATABASE {database} TO {role}",
        "GRANT ALL ON SCHEMA public TO {role}",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ),
    "reader": ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",),
    "nobody": (),
}


@dataclass(frozen=True)
class TableScenario:
    """The commands, and whether several exchanges are collected."""

    commands: tuple[tuple[str, ...], ...]
    has_several: bool

    def __str__(self) -> str:
        """One line."""
        commands = "; ".join(" ".join(command) for command in self.commands)
        return f"{commands} (several exchanges)" if self.has_several else commands


class TableFamily:
    """A user's own tables."""

    name = "tables"
    share = 220

    def draw(self, random: Random) -> FuzzInput:
        commands = [random.choice(_FIRST_COMMANDS), *random.sample(_COMMANDS, 3)]
        has_several = random.random() < 0.25
        if has_several:
            commands[-1] = random.choice(_COMMANDS_OF_EXCHANGES)
            return FuzzInput(
                TableScenario(tuple(commands), has_several), (draw_name(random), *draw_changes(random)[:2])
            )
        return FuzzInput(TableScenario(tuple(commands), has_several), draw_changes(random))

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        tables = Tables()
        for change in fuzz_input.changes:
            tables = change.apply(tables)
        if "table values" not in workbench.cache:
            workbench.cache["table values"] = _build_rows()
        with workbench.lend_database("template0", f"STRATEGY FILE_COPY {tables.database}") as url:
            role = f"role_{get_name(url)}"
            try:
                own_url = _create(workbench, url, tables, role)
                return _run_commands(workbench, fuzz_input.scenario, url, own_url)
            except psycopg.Error:
                return Verdict(())  # PostgreSQL itself refuses such tables
            finally:
                workbench.drop_database(url)
                with suppress(psycopg.Error):
                    workbench.execute(f"DROP ROLE IF EXISTS {role}")


def _create(workbench: Workbench, url: str, tables: Tables, role: str) -> str:
    """Create the tables and their rows; returns the address for the commands."""
    with psycopg.connect(url, autocommit=True, client_encoding="UTF8") as connection:
        _execute(connection, "SET statement_timeout = 0")
        for statement in (*_PREAMBLE, *tables.before):
            _execute(connection, statement)
        _execute(connection, _define("market_symbols", tables.symbols, ()))
        _execute(connection, _define("market_data", tables.bars, tables.constraints, tables.storage))
        after = [statement.removeprefix("PART ") for statement in tables.after if statement.startswith("PART ")]
        _try_all(connection, after)
        _insert_rows(connection, tables, workbench.cache["table values"])
        _execute(connection, f"CREATE ROLE {role} LOGIN")
        own_url = _grant(connection, url, tables.role, role)
        replaced = {"worker_role": role, "this_database": get_name(url)}
        statements = [s for s in tables.after if not s.startswith("PART ")]
        settings = [f"ALTER DATABASE this_database SET {setting}" for setting in tables.settings]
        _try_all(
            connection,
            [re.sub("worker_role|this_database", lambda m: replaced[m[0]], s) for s in (*statements, *settings)],
        )
    return own_url


def _execute(connection: psycopg.Connection, statement: str) -> None:
    connection.execute(statement.encode("utf-8"))


def _try_all(connection: psycopg.Connection, statements: list[str]) -> None:
    for statement in statements:
        with suppress(psycopg.Error), connection.transaction():
            _execute(connection, statement)


def _define(name: str, columns: dict[str, str], constraints: tuple[str, ...], storage: str = "") -> str:
    parts = [*(f"{column} {definition}" for column, definition in columns.items()), *constraints]
    return f"CREATE TABLE {name} ({', '.join(parts)}) {storage}"


def _grant(connection: psycopg.Connection, url: str, kind: str, role: str) -> str:
    """Give the role its rights; returns its address, or ``url`` if the commands run as the superuser."""
    if not kind:
        return url
    statements = [s.format(role=role, database=get_name(url)) for s in _GRANTS[kind]]
    if kind == "owner":
        statements += [f"ALTER TABLE {table} OWNER TO {role}" for table in ("market_symbols", "market_data")]
    _try_all(connection, statements)
    return conninfo.make_conninfo(url, user=role)


def _build_rows() -> list[tuple[datetime, float, int]]:
    opens = [datetime(2026, 6, day, 13, 30, tzinfo=UTC) for day in (1, 2)]
    stamps = [start + timedelta(minutes=30 * n) for start in opens for n in range(13)]
    return [(stamp, 150 + n / 8, 1000 * (n + 1)) for n, stamp in enumerate(stamps)]


def _insert_rows(connection: psycopg.Connection, tables: Tables, rows: list[tuple[datetime, float, int]]) -> None:
    """AAPL has bars that differ from the vendor's, MSFT has none; rows that PostgreSQL refuses are left out."""
    for n, symbol in enumerate(("AAPL", "MSFT", "TSLA"), 1):
        values = {"symbol": f"'{symbol}'", "exchange": "'US'", "is_active": "true"}
        _insert(
            connection,
            "market_symbols",
            _change_values(tables, tables.symbols, values, n),
            tables.symbols,
            f"(SELECT {n} AS n) AS r",
        )
    for n, (stamp, price, volume) in enumerate(rows):
        spread = {"open_price": "price", "high_price": "high", "low_price": "low", "close_price": "price"}
        values = {
            "symbol_id": "1",
            "timestamp": "stamp",
            **{p: spread[p] for p in PRICES},
            "volume": "volume",
            "interval_type": "'30min'",
        }
        numbers = f"{price} AS price, {price + 1} AS high, {price - 1} AS low, {volume} AS volume"
        source = f"(SELECT {n} AS n, timestamptz '{stamp.isoformat()}' AS stamp, {numbers}) AS r"
        _insert(connection, "market_data", _change_values(tables, tables.bars, values, n), tables.bars, source)


def _change_values(tables: Tables, columns: dict[str, str], values: dict[str, str], n: int) -> dict[str, str]:
    changed = dict(values)
    for column, value, condition in tables.values:
        if _quote(column) in columns and eval(condition.replace("=", "==").replace("true", "True"), {"n": n}):  # noqa: S307 - ours
            changed[column] = value
    return {column: value for column, value in changed.items() if _quote(column) in columns}


def _quote(column: str) -> str:
    return '"timestamp"' if column == "timestamp" else column


def _insert(
    connection: psycopg.Connection, table: str, values: dict[str, str], columns: dict[str, str], source: str
) -> None:
    names = ", ".join(_quote(column) for column in values if "GENERATED" not in columns[_quote(column)])
    chosen = ", ".join(value for column, value in values.items() if "GENERATED" not in columns[_quote(column)])
    with suppress(psycopg.Error), connection.transaction():
        _execute(connection, f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {source}")


def _run_commands(workbench: Workbench, scenario: TableScenario, url: str, own_url: str) -> Verdict:
    exchanges = {"BACKFILL_EXCHANGES": SEVERAL} if scenario.has_several else {}
    live = {"BACKFILL_LIVE": "true", "BACKFILL_AS_OF": "2026-06-03T15:10:00+00:00"}
    runs: list[CommandRun] = []
    faults, remarks = [], []
    is_accepted = False
    for command in scenario.commands:
        environment = workbench.build_environment(own_url, **exchanges, **(live if command[0] == "live" else {}))
        before, requests = _take_snapshot(workbench, url), workbench.vendor.request_count
        run = run_command(command, environment)
        runs.append(run)
        # a time limit of the session may strike at any time, also after the tables are there
        if run.code == 5 and "timeout" not in run.err and (made := _take_snapshot(workbench, url) - before):
            faults.append(f"{command[0]}: refused, but something was made: {min(made)}")
        if run.code == 5 and workbench.vendor.request_count > requests:
            remarks.append(f"{command[0]}: refused after requests to the vendor: {run.last_line}")
        if run.code == 5 and is_accepted:
            remarks.append(f"{command[0]}: refused, though an earlier command was not: {run.last_line}")
        is_accepted = is_accepted or run.code in {0, 3}
    verdict = judge_runs(runs, faults)
    return Verdict(verdict.codes, verdict.faults, (*remarks, *verdict.remarks))


def _take_snapshot(workbench: Workbench, url: str) -> set[tuple[str, ...]]:
    options = "-c search_path=pg_catalog -c statement_timeout=0 -c transaction_timeout=0 -c idle_session_timeout=0"
    with (
        suppress(psycopg.OperationalError),
        psycopg.connect(url, options=options, client_encoding="UTF8") as connection,
    ):
        return {tuple(str(v) for v in row) for row in connection.execute(sql.SQL(_SNAPSHOT)).fetchall()}
    return set()
