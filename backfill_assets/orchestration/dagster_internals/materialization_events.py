"""Materialization events of the complete partitions of a run, written in batches.

A ``MaterializeResult`` would mark the whole partition range of the run as materialized, and ``context.log_event``
writes the events one by one (6 s for 1,000 partitions, against 0.4 s).

Relies on ``DagsterEvent.asset_materialization`` with ``DagsterEventBatchMetadata``, which exists since
https://github.com/dagster-io/dagster/pull/19862 (2024), and on ``get_tags_from_multi_partition_key``. Upstream:
https://github.com/dagster-io/dagster/issues/19829 (open): write the materialization events of a ranged run in batches.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.partitions.utils import get_tags_from_multi_partition_key
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.orchestration.exchange_names import DAY_DIMENSION, build_symbol_dimension

ExecutionContext = dg.AssetExecutionContext | dg.OpExecutionContext


def record_partitions(
    context: ExecutionContext,
    key: dg.AssetKey,
    partitions: Sequence[tuple[str, str, Mapping[str, Any]]],
    exchange: str = DEFAULT_EXCHANGE,
) -> None:
    """Record one materialization of an exchange's ``key`` for each partition: (ticker, day as ISO date, metadata)."""
    dimension = build_symbol_dimension(exchange)
    materializations = []
    for ticker, day, metadata in partitions:
        partition = dg.MultiPartitionKey({dimension: ticker, DAY_DIMENSION: day})
        tags = get_tags_from_multi_partition_key(partition)
        materializations.append(dg.AssetMaterialization(key, partition=partition, metadata=metadata, tags=tags))
    record_materializations(context, materializations)


def record_materializations(context: ExecutionContext, materializations: Sequence[dg.AssetMaterialization]) -> None:
    """Record materializations of the step's assets in one batch."""
    batch = str(uuid4())
    step = context.get_step_execution_context()
    for number, materialization in enumerate(materializations, 1):
        # creating the event also stores it; the return value is not needed
        DagsterEvent.asset_materialization(
            step, materialization, DagsterEventBatchMetadata(batch, number == len(materializations))
        )
