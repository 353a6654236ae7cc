"""Through Dagster: from a sensor's tick to green, and what the many partitions of a run cost.

Beside it plain Dagster, a run for each partition, reckoned from twenty. Quickly, only what a run over many
partitions adds is measured: its creation, and recording what is complete.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

import backfill_assets.orchestration.dagster_internals.storage as our_storage
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.partition_ranges import PartitionRange
from backfill_assets.orchestration.partitions import DAY_DIMENSION, SYMBOL_DIMENSION, SYMBOL_PARTITIONS
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.baselines import plain_dagster
from bench.deployment import Deployment, deployment, until
from bench.figures import Figure, Section
from bench.stage import NOW, TOKEN, sandbox_process, stats, universe
from bench.waiting import Crowding, environment

ASSET = "bars_30m"
PLAIN = 20  # partitions that plain Dagster is asked for
MANY = 5000
KEY = dg.AssetKey("many")
CONFIG = Path(our_storage.__file__).with_name("dagster.yaml")
METADATA = {"bars": 13, "expected": 13, "no_trade": 0, "source": "127.0.0.1 5m"}


def measure(*, quick: bool) -> Section:
    """Deployments one after the other, then the parts."""
    return Section("3. Through Dagster", [*([] if quick else _deployments()), *_parts(500 if quick else MANY)])


def _deployments() -> Iterator[Figure]:
    few = Crowding(500, 1000, 60)
    plain = _plain() * 2 * few.tickers
    ours = [_healed(few) for _ in range(3)]
    yield Figure("tick to green, 500 × 2", "s", ours, at_most=30)
    yield Figure("(d) a run a partition, 500 × 2", "s", [plain])
    yield Figure("faster than (d)", "×", [plain / seconds for seconds in ours], at_least=15)
    many = Crowding(5000, 2000, 60)
    seconds = _healed(many)
    yield Figure("tick to green, 5,000 × 2 at 2,000 a minute", "s", [seconds])
    yield Figure("… of the floor of the limit", "×", [seconds / many.floor], at_most=1.3)


def _healed(crowding: Crowding) -> float:
    """Seconds from the tick that asks for the run until the run's end, everything being green."""
    limits = ("--per-minute", str(crowding.limit), "--window-seconds", str(crowding.window))
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = _universe(home, crowding.tickers)
        with sandbox_process("--symbols", str(crowding.tickers), "--now", NOW, *limits) as vendor:
            chosen = {
                **environment(crowding),
                **_common(home, url, vendor),
                "BACKFILL_PARTITION_DAYS": "3",
                "BACKFILL_SENSOR_SECONDS": "5",
                "BACKFILL_AUTO": "false",
            }
            with deployment(("backfill_assets", "dev"), "backfill_assets.definitions", home, chosen) as dagster:
                dagster.set_running("symbol_partitions_sensor")
                until(lambda: dagster.symbols(ASSET) == crowding.tickers, "the symbols to be partitions")
                dagster.set_running("gap_backfill_sensor")
                tick = until(lambda: dagster.first_tick_with_a_run("gap_backfill_sensor"), "a tick with a run")
                end = until(lambda: _ended(dagster, 1), "the run to end")
                assert dagster.green(ASSET) == 2 * crowding.tickers
            assert stats(vendor)["by_status"].get("429", 0) == 0  # type: ignore[attr-defined]
    return float(end) - float(tick)


def _plain() -> float:
    """Seconds a partition of plain Dagster, from the first run's creation to the last one's end."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = _universe(home, PLAIN)
        with sandbox_process("--symbols", str(PLAIN), "--now", NOW) as vendor:
            chosen = {**_common(home, url, vendor), "DAGSTER_HOME": folder, "PLAIN_SYMBOLS": str(PLAIN)}
            module = plain_dagster.__name__
            words = ("dagster", "dev", "--host", "127.0.0.1", "--module-name", module)
            with deployment(words, module, home, chosen) as dagster:
                day = next(iter(plain_dagster.SESSIONS))
                partitions = [f"{day}|{symbol}" for symbol in universe(PLAIN)]
                dagster.backfill(plain_dagster.ASSET, partitions)
                end = until(lambda: _ended(dagster, PLAIN), "the runs to end")
                begin = min(run["creationTime"] for run in dagster.runs())
    return float(end - begin) / PLAIN


def _ended(dagster: Deployment, count: int) -> float:
    """When the last of so many runs succeeded; 0 before."""
    runs = dagster.runs()
    assert not [run for run in runs if run["status"] == "FAILURE"], runs
    done = [run["endTime"] for run in runs if run["status"] == "SUCCESS"]
    return max(done) if len(done) >= count else 0.0


def _common(home: Path, url: str, vendor: str) -> dict[str, str]:
    return {
        "BACKFILL_HOME": str(home),
        "DATABASE_URL": url,
        "EODHD_BASE_URL": vendor,
        "EODHD_API_TOKEN": TOKEN,
        "BACKFILL_AS_OF": NOW,
    }


def _universe(home: Path, count: int) -> str:
    url = start_embedded_database(home, "bars_of_bench")
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(universe(count)))
    database.close()
    return url


def _parts(count: int) -> Iterator[Figure]:
    """Creating a run over many partitions and recording them, with batches and as Dagster does it by itself."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with _instance(home, "batched", batched=True) as instance:
            created, recorded = _a_run_over(instance, count, one_by_one=0)
        with _instance(home, "plain", batched=False) as instance:
            slowly, each = _a_run_over(instance, count, one_by_one=200)
    plain_recording = each / 200 * count
    yield Figure(f"creation of a run over {count:,} partitions", "s", [created], at_most=3 if count == MANY else None)
    yield Figure("… of Dagster's own storage", "s", [slowly])
    yield Figure("… faster", "×", [slowly / created], at_least=5)
    yield Figure(f"recording {count:,} partitions", "s", [recorded])
    yield Figure("… with log_event, reckoned from 200", "s", [plain_recording])
    yield Figure("… faster", "×", [plain_recording / recorded], at_least=8)


@contextlib.contextmanager
def _instance(home: Path, name: str, *, batched: bool) -> Iterator[dg.DagsterInstance]:
    """An instance on Postgres as ``dagster.yaml`` describes it."""
    folder = home / name
    folder.mkdir()
    (folder / "dagster.yaml").write_text(CONFIG.read_text("utf-8"), "utf-8")
    chosen = {
        "BACKFILL_HOME": str(home),
        "DAGSTER_POSTGRES_URL": start_embedded_database(home, f"dagster_{name}"),
        "BACKFILL_BATCH_PLANNED_EVENTS": str(batched),
    }
    before = dict(os.environ)
    os.environ.update(chosen)
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield instance
    finally:
        os.environ.clear()
        os.environ.update(before)


def _a_run_over(instance: dg.DagsterInstance, count: int, *, one_by_one: int) -> tuple[float, float]:
    """Seconds to create a run over so many partitions, and to record them (or the first ``one_by_one`` singly)."""
    symbols = [f"S{number:05}.US" for number in range(count)]
    instance.add_dynamic_partitions(SYMBOL_DIMENSION, symbols)
    day = "2026-06-02"
    days = dg.DailyPartitionsDefinition(day, end_date="2026-06-03")
    partitions = dg.MultiPartitionsDefinition({SYMBOL_DIMENSION: SYMBOL_PARTITIONS, DAY_DIMENSION: days})
    spent: list[float] = []

    @dg.multi_asset(
        specs=[dg.AssetSpec(KEY, skippable=True, partitions_def=partitions)],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def many(context: dg.AssetExecutionContext) -> Any:
        began = time.perf_counter()
        if one_by_one:
            for symbol in symbols[:one_by_one]:
                key = dg.MultiPartitionKey({SYMBOL_DIMENSION: symbol, DAY_DIMENSION: day})
                context.log_event(dg.AssetMaterialization(KEY, partition=key, metadata=_metadata()))
        else:
            record_partitions(context, KEY, [(symbol, day, _metadata()) for symbol in symbols])
        spent.append(time.perf_counter() - began)
        yield from ()

    definitions = dg.Definitions(assets=[many], executor=dg.in_process_executor)
    job = definitions.resolve_implicit_global_asset_job_def()
    tags = PartitionRange(day, day, symbols[0], symbols[-1]).tags
    began = time.perf_counter()
    instance.create_run_for_job(job, tags=tags, asset_selection=frozenset([KEY]))
    created = time.perf_counter() - began
    result = dg.materialize([many], instance=instance, tags=_first_only(tags, symbols, one_by_one))
    assert result.success
    assert len(instance.get_materialized_partitions(KEY)) == (one_by_one or count)
    return created, spent[0]


def _first_only(tags: dict[str, str], symbols: Sequence[str], count: int) -> dict[str, str]:
    """The tags of a run over the first few symbols only, if only those are to be recorded."""
    return PartitionRange("2026-06-02", "2026-06-02", symbols[0], symbols[count - 1]).tags if count else tags


def _metadata() -> dict[str, Any]:
    """What a recorded partition carries."""
    return {**METADATA, "fetched_at": dg.TimestampMetadataValue(datetime(2026, 6, 3, tzinfo=UTC).timestamp())}
