"""Runs through Dagster: from a sensor's tick to materialized partitions, and the cost of many partitions in a run.

Compared with plain Dagster, one run per partition, extrapolated from twenty. The quick form only measures the creation
of a run over many partitions and the recording of their materializations.
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

from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.exchange_names import DAY_DIMENSION, SYMBOL_DIMENSION
from backfill_assets.orchestration.partition_ranges import PartitionRange
from backfill_assets.store.postgres.embedded import start_embedded_database
from bench.baselines import plain_dagster
from bench.dagster_deployment import Deployment, run_deployment, wait_until
from bench.dagster_ticks import CONFIG, build_environment, compare_with_empty_run, create_store, time_backfill
from bench.environment import NOW, build_symbols, run_sandbox
from bench.figures import Figure, Section
from bench.rate_limit import RateLimitedLoad

PLAIN = 20  # partitions that plain Dagster runs
GAP = 20  # tickers of the smaller gap that is compared with an empty run
GAP_ROUNDS = 5
ROUNDS = 3
MANY = 5000
KEY = dg.AssetKey("many")
METADATA = {"bars": 13, "expected": 13, "no_trade": 0, "source": "127.0.0.1 5m"}


def measure(*, quick: bool) -> Section:
    """Measure deployments one after the other, then the parts."""
    return Section(
        "3. Through Dagster", [*([] if quick else _measure_deployments()), *_measure_parts(500 if quick else MANY)]
    )


def _measure_deployments() -> Iterator[Figure]:
    few = RateLimitedLoad(500, 1000, 60)
    gap = [time_backfill(RateLimitedLoad(GAP, 1000, 60), sessions=1) for _ in range(GAP_ROUNDS)]
    own = [time_backfill(few) for _ in range(ROUNDS)]
    yield from compare_with_empty_run(f"{GAP} × 1", gap, at_most=2)
    yield from compare_with_empty_run("500 × 2", own)
    plain = _time_plain_dagster() * 2 * few.tickers
    ends = [timing.end for timing in own]
    yield Figure("tick to the run's end, 500 × 2", "s", ends, at_most=30)
    yield Figure("(d) plain Dagster, one run per partition, 500 × 2", "s", [plain])
    yield Figure("faster than (d)", "×", [plain / seconds for seconds in ends], at_least=15)
    many = RateLimitedLoad(5000, 2000, 60)
    seconds = time_backfill(many).green
    yield Figure("tick to green, 5,000 × 2 at 2,000 a minute", "s", [seconds])
    yield Figure("… relative to the minimum of the limit", "×", [seconds / many.minimum_seconds], at_most=1.3)


def _time_plain_dagster() -> float:
    """Return the seconds per partition of plain Dagster, from the creation of the first run to the end of the last."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = create_store(home, PLAIN)
        with run_sandbox("--symbols", str(PLAIN), "--now", NOW) as vendor:
            variables = {**build_environment(home, url, vendor), "DAGSTER_HOME": folder, "PLAIN_SYMBOLS": str(PLAIN)}
            module = plain_dagster.__name__
            words = ("dagster", "dev", "--host", "127.0.0.1", "--module-name", module)
            with run_deployment(words, module, home, variables) as dagster:
                day = next(iter(plain_dagster.SESSIONS))
                partitions = [f"{day}|{symbol}" for symbol in build_symbols(PLAIN)]
                dagster.launch_backfill(plain_dagster.ASSET, partitions)
                end = wait_until(lambda: _find_end(dagster, PLAIN), "the runs to end")
                begin = min(run["creationTime"] for run in dagster.list_runs())
    return float(end - begin) / PLAIN


def _find_end(dagster: Deployment, count: int) -> float:
    """Find when the last of so many runs succeeded, epoch seconds; 0 before that."""
    runs = dagster.list_runs()
    assert not [run for run in runs if run["status"] == "FAILURE"], runs
    done = [run["endTime"] for run in runs if run["status"] == "SUCCESS"]
    return max(done) if len(done) >= count else 0.0


def _measure_parts(count: int) -> Iterator[Figure]:
    """Measure creating a run over many partitions and recording them, in batches and with Dagster's own methods."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with _open_instance(home, "batched", batched=True) as instance:
            created, recorded = _time_run(instance, count, one_by_one=0)
        with _open_instance(home, "plain", batched=False) as instance:
            slowly, each = _time_run(instance, count, one_by_one=200)
    plain_recording = each / 200 * count
    yield Figure(f"creation of a run over {count:,} partitions", "s", [created], at_most=3 if count == MANY else None)
    yield Figure("… with Dagster's own storage", "s", [slowly])
    yield Figure("… faster", "×", [slowly / created], at_least=5)
    yield Figure(f"recording {count:,} partitions", "s", [recorded])
    yield Figure("… with log_event, extrapolated from 200", "s", [plain_recording])
    yield Figure("… faster", "×", [plain_recording / recorded], at_least=8)


@contextlib.contextmanager
def _open_instance(home: Path, name: str, *, batched: bool) -> Iterator[dg.DagsterInstance]:
    """Open an instance on Postgres with the package's ``dagster.yaml``."""
    folder = home / name
    folder.mkdir()
    (folder / "dagster.yaml").write_text(CONFIG.read_text("utf-8"), "utf-8")
    variables = {
        "BACKFILL_HOME": str(home),
        "DAGSTER_POSTGRES_URL": start_embedded_database(home, f"dagster_{name}"),
        "BACKFILL_BATCH_PLANNED_EVENTS": str(batched),
    }
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield instance
    finally:
        os.environ.clear()
        os.environ.update(before)


def _time_run(instance: dg.DagsterInstance, count: int, *, one_by_one: int) -> tuple[float, float]:
    """Return the seconds to create a run over so many partitions, and to record them.

    With ``one_by_one`` only so many are recorded, each by itself.
    """
    symbols = [f"S{number:05}.US" for number in range(count)]
    instance.add_dynamic_partitions(SYMBOL_DIMENSION, symbols)
    day = "2026-06-02"
    days = dg.DailyPartitionsDefinition(day, end_date="2026-06-03")
    partitions = dg.MultiPartitionsDefinition(
        {SYMBOL_DIMENSION: dg.DynamicPartitionsDefinition(name=SYMBOL_DIMENSION), DAY_DIMENSION: days}
    )
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
                context.log_event(dg.AssetMaterialization(KEY, partition=key, metadata=_make_metadata()))
        else:
            record_partitions(context, KEY, [(symbol, day, _make_metadata()) for symbol in symbols])
        spent.append(time.perf_counter() - began)
        yield from ()

    definitions = dg.Definitions(assets=[many], executor=dg.in_process_executor)
    job = definitions.resolve_implicit_global_asset_job_def()
    tags = PartitionRange(day, day, symbols[0], symbols[-1]).tags
    began = time.perf_counter()
    instance.create_run_for_job(job, tags=tags, asset_selection=frozenset([KEY]))
    created = time.perf_counter() - began
    result = dg.materialize([many], instance=instance, tags=_limit_tags(tags, symbols, one_by_one))
    assert result.success
    assert len(instance.get_materialized_partitions(KEY)) == (one_by_one or count)
    return created, spent[0]


def _limit_tags(tags: dict[str, str], symbols: Sequence[str], count: int) -> dict[str, str]:
    """Limit the tags of a run to the first ``count`` symbols; 0: no limit."""
    return PartitionRange("2026-06-02", "2026-06-02", symbols[0], symbols[count - 1]).tags if count else tags


def _make_metadata() -> dict[str, Any]:
    """Make the metadata of a recorded partition."""
    return {**METADATA, "fetched_at": dg.TimestampMetadataValue(datetime(2026, 6, 3, tzinfo=UTC).timestamp())}
