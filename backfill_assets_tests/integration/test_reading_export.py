"""Exports: what is written, left alone and removed; readable by DuckDB, polars, pandas and pyarrow; never half."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.certify import certify_due
from backfill_assets.config.settings import load_settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.reading import files, read_bars
from backfill_assets.reading.export import export_bars
from backfill_assets.reading.export_folder import ExportFolder, read_description
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols
from backfill_assets.store.universes import (
    add_members,
    create_universe,
    find_symbols,
    find_universe,
    list_universe_symbols,
    remove_members,
)
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.reading_store import ReadingStore
from backfill_assets_tests.integration.stored_actions import Store

DAYS = FRIDAY, MONDAY, TUESDAY = date(2026, 5, 29), date(2026, 6, 1), date(2026, 6, 2)
WINDOW = {"start": FRIDAY, "end": TUESDAY}
NEWER = "UPDATE market_data SET volume = volume + 1 WHERE \"timestamp\" = '2026-06-01 15:00Z'"


@pytest.fixture(scope="module")
def filled(create_database: Callable[..., str], home: Path) -> str:
    """The name of a database with three sessions of two symbols, which tests clone."""
    url = create_database()
    database = Database(url)
    store = ReadingStore(database, load_settings(home=home, as_of=NOW))
    store.insert("backfill.source_host", host="127.0.0.1")
    for symbol in ("AAPL", "MSFT"):
        store.add_complete_symbol(symbol, FRIDAY, TUESDAY)
    database.close()
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


@pytest.fixture
def engine(filled: str, create_database: Callable[..., str], home: Path) -> Iterator[Engine]:
    database = Database(create_database(filled))
    yield Engine(database, load_settings(home=home, as_of=NOW))
    database.close()


def execute(engine: Engine, statement: str) -> None:
    with engine.database.transaction() as connection:
        connection.execute(statement.encode())


def list_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its number on the disk and its time of change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_all(folder: Path) -> pd.DataFrame:
    return pl.read_parquet(folder / "bars").sort("symbol", "timestamp").to_pandas()


def test_every_common_program_reads_the_folder(engine: Engine, tmp_path: Path) -> None:
    result = export_bars(tmp_path, settings=engine)
    assert (result.written, result.path) == (list(DAYS), tmp_path / "bars")
    bars = read_bars(["AAPL", "MSFT"], "2026-05-29", "2026-06-03", settings=engine, format="arrow").frame
    assert sorted(list_files(tmp_path / "bars")) == [
        f"exchange=US/interval=30m/year=2026/{day}.parquet" for day in DAYS
    ]
    scanned = pl.scan_parquet(tmp_path / "bars").sort("symbol", "timestamp").collect()
    assert scanned.drop("exchange", "interval", "year").to_arrow().to_pylist() == bars.to_pylist()
    assert scanned.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert scanned.schema["session"] == pl.Date
    assert scanned.schema["year"] == pl.Int64
    assert not [kind for kind in scanned.schema.values() if kind.base_type() == pl.Decimal]
    where = f"FROM read_parquet('{tmp_path}/bars/**/*.parquet', hive_partitioning = true) WHERE year = 2026"
    types = dict(duckdb.sql(f"DESCRIBE SELECT * {where}").project("column_name, column_type").fetchall())
    assert types["timestamp"] == types["slot_end"] == types["first_known"] == "TIMESTAMP WITH TIME ZONE"
    assert {types[name] for name in ("open", "high", "low", "close")} == {"DOUBLE"}
    assert (types["volume"], types["session"], types["year"]) == ("BIGINT", "DATE", "BIGINT")
    counted = duckdb.sql(f"SELECT symbol, session, count(*) {where} GROUP BY ALL ORDER BY ALL")
    assert counted.fetchall() == [(symbol, day, 13) for symbol in ("AAPL.US", "MSFT.US") for day in DAYS]
    moment = duckdb.sql(f"SELECT epoch(min(timestamp)) {where}").fetchall()
    assert moment == [(bars["timestamp"][0].as_py().timestamp(),)]
    assert len(pd.read_parquet(tmp_path / "bars")) == 78


def test_what_has_not_changed_is_not_written(engine: Engine, tmp_path: Path) -> None:
    export_bars(tmp_path, settings=engine)
    before = list_files(tmp_path)
    again = export_bars(tmp_path, settings=engine)
    assert again.is_unchanged
    assert str(again).startswith("nothing has changed: 0 sessions written, 3 unchanged")
    assert list_files(tmp_path) == before
    execute(engine, NEWER)
    changed = export_bars(tmp_path, settings=engine, unverified=False, require="complete", start=FRIDAY)
    assert (changed.written, changed.unchanged) == ([], [FRIDAY, TUESDAY])  # another program's bars now: incomplete
    assert changed.removed == [MONDAY]
    assert list(changed.incomplete) == [MONDAY]


def test_only_changed_sessions_are_replaced(engine: Engine, tmp_path: Path) -> None:
    export_bars(tmp_path, settings=engine, unverified=True)
    before = list_files(tmp_path / "bars")
    execute(engine, NEWER)
    changed = export_bars(tmp_path, settings=engine, unverified=True)
    assert (changed.written, changed.unchanged, changed.removed) == ([MONDAY], [FRIDAY, TUESDAY], [])
    after = list_files(tmp_path / "bars")
    assert [name for name in after if after[name] != before[name]] == [
        "exchange=US/interval=30m/year=2026/2026-06-01.parquet"
    ]
    states = read_all(tmp_path).groupby("session")["state"].value_counts().to_dict()
    assert {state: count for (_, state), count in states.items()} == {"present": 26, "unverified": 2}


def test_a_damaged_file_is_written_again(engine: Engine, tmp_path: Path) -> None:
    export_bars(tmp_path, settings=engine)
    damaged, emptied, _ = sorted((tmp_path / "bars").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    emptied.write_bytes(b"")
    assert export_bars(tmp_path, settings=engine).written == [FRIDAY, MONDAY]


def test_incomplete_sessions_have_no_file(engine: Engine, tmp_path: Path) -> None:
    """Never a shorter one without saying so: it is named, dropped symbols are named in the file itself."""
    export_bars(tmp_path / "a", settings=engine)
    execute(engine, "DELETE FROM market_data WHERE symbol_id = 2 AND \"timestamp\" = '2026-06-01 15:00Z'")
    result = export_bars(tmp_path / "a", settings=engine)
    assert (result.removed, list(result.incomplete)) == ([MONDAY], [MONDAY])
    assert f"not exported: MSFT.US {MONDAY}: 1 slot missing (15:00 UTC); backfill-assets why MSFT" in str(result)
    dropped = export_bars(tmp_path / "b", settings=engine, on_incomplete="drop")
    assert dropped.written == list(DAYS)
    assert dropped.dropped == {MONDAY: ("MSFT.US",)}
    monday = ExportFolder(tmp_path / "b", "US", "30m").get_bars_path(MONDAY)
    assert read_description(monday)["dropped"] == ["MSFT.US"]
    assert pl.read_parquet(monday)["symbol"].unique().to_list() == ["AAPL.US"]
    whatever = export_bars(tmp_path / "c", settings=engine, require="any")
    assert (whatever.written, whatever.partial) == (list(DAYS), [MONDAY])
    assert "exported although bars are absent: 2026-06-01" in str(whatever)
    monday = ExportFolder(tmp_path / "c", "US", "30m").get_bars_path(MONDAY)
    assert read_description(monday)["slots"] == {"present": 25, "missing": 1}


def test_files_of_sessions_that_are_gone_are_removed_within_the_window_only(engine: Engine, tmp_path: Path) -> None:
    export_bars(tmp_path, settings=engine)
    execute(engine, "DELETE FROM market_data WHERE \"timestamp\" < '2026-06-02'")
    kept = export_bars(tmp_path, settings=engine, start=TUESDAY)
    assert kept.is_unchanged
    gone = export_bars(tmp_path, settings=engine, start=MONDAY)
    assert gone.removed == [MONDAY]
    assert ExportFolder(tmp_path, "US", "30m").list_days() == [FRIDAY, TUESDAY]


def test_a_crash_leaves_whole_files(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power fails when the second file is being renamed; the next export finishes the work."""
    export_bars(tmp_path, settings=engine, unverified=True)
    old = read_all(tmp_path)
    execute(engine, "UPDATE market_data SET volume = volume + 1")
    replaced: list[Path] = []

    def fail(source: str, target: Path) -> None:
        if len(replaced) == 1:
            raise KeyboardInterrupt
        replaced.append(target)
        os.rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            export_bars(tmp_path, settings=engine, unverified=True)
    now = read_all(tmp_path)
    is_new = now["volume"] != old["volume"]
    assert set(now[is_new]["session"].astype(str)) == {str(FRIDAY)}
    (tmp_path / ".writing" / ".writing-left").write_bytes(b"half")
    assert export_bars(tmp_path, settings=engine, unverified=True).written == [MONDAY, TUESDAY]
    assert [path.name for path in (tmp_path / ".writing").iterdir()] == ["lock"]


def test_one_export_at_a_time(engine: Engine, tmp_path: Path) -> None:
    with ExportFolder(tmp_path, "US", "30m").lock(), pytest.raises(UsageError, match="another export is writing"):
        export_bars(tmp_path, settings=engine)


def test_a_folder_has_one_kind_of_bars(engine: Engine, tmp_path: Path) -> None:
    export_bars(tmp_path, settings=engine)
    with pytest.raises(UsageError, match="holds an export with --require complete, not any"):
        export_bars(tmp_path, settings=engine, require="any")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["exchange=US/interval=30m"]["sessions"] == 3
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(UsageError, match="does not know how they were exported"):
        export_bars(tmp_path, settings=engine)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UsageError, match="not the manifest of an export"):
        export_bars(tmp_path, settings=engine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"universe": "nobody"}, "no universe 'nobody'"),
        ({"interval": "2h"}, "unknown interval"),
        ({"start": TUESDAY, "end": FRIDAY}, "is after"),
        ({"exchange": "NOWHERE"}, "exchange 'NOWHERE' is not supported"),
        ({"adjustment": "all"}, "adjustment 'all' is unknown"),
        ({"require": "most"}, "require 'most' is unknown"),
    ],
)
def test_wrong_options_write_nothing(engine: Engine, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export_bars(tmp_path / "new", settings=engine, **options)
    assert not (tmp_path / "new" / "bars").exists() or not list_files(tmp_path / "new" / "bars")


def test_certificates_lie_beside_the_bars_that_they_are_about(engine: Engine, tmp_path: Path) -> None:
    """The hash of a file's rows is that of the certificate, until a bar changes."""
    export_bars(tmp_path, settings=engine, unverified=True)
    certify_due(engine)
    certified = export_bars(tmp_path, settings=engine, unverified=True)
    assert (certified.written, certified.certificates, certified.differing) == (list(DAYS), 3, [])
    target = ExportFolder(tmp_path, "US", "30m")
    certificate = json.loads(target.get_certificate_path(MONDAY).read_text())
    assert certificate["is_about_these_bars"] is True
    assert (certificate["universe"], certificate["session_day"], certificate["bars"]) == ("all", str(MONDAY), 26)
    described = read_description(target.get_bars_path(MONDAY))["certificate"]
    assert described == {name: certificate[name] for name in described}
    assert export_bars(tmp_path, settings=engine, unverified=True).is_unchanged
    execute(engine, NEWER)
    changed = export_bars(tmp_path, settings=engine, unverified=True)
    assert (changed.written, changed.differing, changed.certificates) == ([MONDAY], [MONDAY], 1)
    assert "certificates about other bars than exported: 2026-06-01" in str(changed)
    assert json.loads(target.get_certificate_path(MONDAY).read_text())["is_about_these_bars"] is False


def test_a_session_has_the_symbols_that_belonged_to_it(engine: Engine, tmp_path: Path) -> None:
    """A symbol that is added later un-exports nothing; one that is deactivated later stays."""
    with engine.database.transaction() as connection:
        universe = find_universe(connection, "US", "all")
        create_universe(connection, "US", "model", list_universe_symbols(connection, universe))
    export_bars(tmp_path, settings=engine, universe="model")
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["NVDA"]))
        model = find_universe(connection, "US", "model")
        add_members(connection, model, find_symbols(connection, "US", parse_tickers(["NVDA"])), NOW)
        msft = find_symbols(connection, "US", parse_tickers(["MSFT"]))
        remove_members(connection, model, msft, NOW)
    assert export_bars(tmp_path, settings=engine, universe="model").is_unchanged


def test_adjusted_exports(engine: Engine, tmp_path: Path) -> None:
    """All files change with a split; volumes are no whole numbers then."""
    days = {"known_after": date(1900, 1, 1), "known_until": date(2099, 1, 1), "read_at": NOW}
    with engine.database.transaction() as connection:
        for symbol_id in (1, 2):
            Store(connection).insert("backfill.split_reads", symbol_id=symbol_id, **days)
    export_bars(tmp_path, settings=engine, adjustment="splits")
    raw = read_all(tmp_path)
    with engine.database.transaction() as connection:
        Store(connection).add_split(1, TUESDAY, 4)
    result = export_bars(tmp_path, settings=engine, adjustment="splits")
    assert (result.written, result.unchanged) == ([FRIDAY, MONDAY], [TUESDAY])
    adjusted = read_all(tmp_path)
    is_before = (adjusted["symbol"] == "AAPL.US") & (adjusted["session"].astype(str) < str(TUESDAY))
    assert (adjusted["close"][is_before] * 4 == raw["close"][is_before]).all()
    assert (adjusted["volume"][is_before] == raw["volume"][is_before] * 4).all()
    assert pl.read_parquet_schema(next(iter((tmp_path / "bars").rglob("*.parquet"))))["volume"] == pl.Float64


def test_a_split_also_changes_adjusted_sessions_outside_the_window(engine: Engine, tmp_path: Path) -> None:
    """Else the folder would have old files of other prices than the new ones. Raw files stay as they are."""
    days = {"known_after": date(1900, 1, 1), "known_until": date(2099, 1, 1), "read_at": NOW}
    with engine.database.transaction() as connection:
        for symbol_id in (1, 2):
            Store(connection).insert("backfill.split_reads", symbol_id=symbol_id, **days)
    export_bars(tmp_path / "adjusted", settings=engine, adjustment="splits", end=MONDAY)
    export_bars(tmp_path / "raw", settings=engine, end=MONDAY)
    with engine.database.transaction() as connection:
        Store(connection).add_split(1, TUESDAY, 4)
    execute(engine, "DELETE FROM market_data WHERE \"timestamp\" = '2026-06-01 15:00Z'")
    result = export_bars(tmp_path / "adjusted", settings=engine, adjustment="splits", start=TUESDAY)
    assert (result.written, result.removed, list(result.incomplete)) == ([FRIDAY, TUESDAY], [MONDAY], [MONDAY])
    raw = export_bars(tmp_path / "raw", settings=engine, start=TUESDAY)
    assert (raw.written, raw.removed) == ([TUESDAY], [])


def test_a_folder_has_bars_of_one_vendor(engine: Engine, tmp_path: Path) -> None:
    """An export from the sandbox's database must not replace or remove real bars, nor that of an empty one."""
    export_bars(tmp_path, settings=engine)
    before = list_files(tmp_path)
    execute(engine, "UPDATE backfill.source_host SET host = 'elsewhere.example'")
    with pytest.raises(UsageError, match=r"holds bars of .*, and this database holds those of elsewhere\.example"):
        export_bars(tmp_path, settings=engine)
    execute(engine, "DELETE FROM backfill.source_host")
    with pytest.raises(UsageError, match="and this database holds none of them; choose another folder"):
        export_bars(tmp_path, settings=engine)
    assert list_files(tmp_path) == before


def test_what_cannot_be_written_or_removed_is_named(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").mkdir()
    with pytest.raises(UsageError, match=r"manifest\.json cannot be read"):
        export_bars(tmp_path / "a", settings=engine)
    export_bars(tmp_path / "b", settings=engine)
    target = ExportFolder(tmp_path / "b", "US", "30m")
    for path in (target.get_bars_path(MONDAY), target.get_certificate_path(TUESDAY)):
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"2026-06-01\.parquet cannot be written"):
        export_bars(tmp_path / "b", settings=engine)
    target.get_bars_path(MONDAY).rmdir()
    with pytest.raises(UsageError, match=r"2026-06-02\.json cannot be written"):
        export_bars(tmp_path / "b", settings=engine)


def test_incomplete_sessions_of_a_month_are_told_from_pending_ones(engine: Engine, tmp_path: Path) -> None:
    """One read of the month says so; the sessions that are as required are exported."""
    execute(
        engine, "DELETE FROM market_data WHERE symbol_id = 1 AND \"timestamp\" BETWEEN '2026-06-01' AND '2026-06-02'"
    )
    execute(engine, "DELETE FROM market_data WHERE symbol_id = 2 AND \"timestamp\" > '2026-06-02'")
    execute(engine, "DELETE FROM backfill.session_evidence WHERE session_day = '2026-06-02'")
    evening = datetime(2026, 6, 2, 20, 30, tzinfo=UTC)
    engine = Engine(engine.database, engine.settings.model_copy(update={"as_of": evening}))
    result = export_bars(tmp_path, settings=engine)
    assert (result.written, list(result.incomplete), result.pending) == ([FRIDAY], [MONDAY], [TUESDAY])
    assert result.incomplete[MONDAY].startswith(f"AAPL.US {MONDAY}: 13 slots missing")


def test_the_window_begins_with_the_universe_s_oldest_bar(engine: Engine, tmp_path: Path) -> None:
    execute(engine, "DELETE FROM market_data WHERE symbol_id = 2 AND \"timestamp\" < '2026-06-01'")
    with engine.database.transaction() as connection:
        create_universe(connection, "US", "model", find_symbols(connection, "US", parse_tickers(["MSFT"])))
    result = export_bars(tmp_path, settings=engine, universe="model")
    assert (result.written, result.incomplete) == ([MONDAY, TUESDAY], {})


def test_nothing_to_export_is_said(engine: Engine, tmp_path: Path) -> None:
    assert str(export_bars(tmp_path, settings=engine, interval="1h")).startswith("no session to export")
    weekend = {"start": date(2026, 5, 30), "end": date(2026, 5, 31)}
    assert str(export_bars(tmp_path, settings=engine, **weekend)).startswith("no session to export")
