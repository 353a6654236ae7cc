"""Making complete partitions green: one materialisation event each, written in batches.

The only place that reaches into Dagster's internals for events; a ``MaterializeResult`` would mark the
whole range of a run, and ``context.log_event`` writes one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.partitions.utils import get_tags_from_multi_partition_key
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from backfill_assets.orchestration.partitions import DAY_DIMENSION, SYMBOL_DIMENSION

ExecutionContext = dg.AssetExecutionContext | dg.OpExecutionContext


def record_partitions(
    context: ExecutionContext, key: dg.AssetKey, partitions: Sequence[tuple[str, str, Mapping[str, Any]]]
) -> None:
    """Record materialisations of ``key``: (ticker, day, metadata) each."""
    batch = str(uuid4())
    step = context.get_step_execution_context()
    for number, (ticker, day, metadata) in enumerate(partitions, 1):
        partition = dg.MultiPartitionKey({SYMBOL_DIMENSION: ticker, DAY_DIMENSION: day})
        materialization = dg.AssetMaterialization(
            key, partition=partition, metadata=metadata, tags=get_tags_from_multi_partition_key(partition)
        )
        # nothing to keep: the event is stored as it is made
        DagsterEvent.asset_materialization(
            step, materialization, DagsterEventBatchMetadata(batch, number == len(partitions))
        )
