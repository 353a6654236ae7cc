"""Which materialization an evaluation of a check is about: without it Dagster takes the evaluation for outdated.

A check with partitions shows a result only if its evaluation names the newest materialization of the partition. Dagster
fills that in for results of steps with a single partition, and for no other evaluation.

Relies on ``AssetCheckEvaluationTargetMaterializationData``, the type of a public argument of
``dg.AssetCheckEvaluation``, which is not exported; it exists since https://github.com/dagster-io/dagster/pull/15880
(2023). Partitioned checks are a preview of Dagster 1.13. Upstream: no issue found; it would be "evaluations that an op
or a sensor reports target the newest materialization of their partition".
"""

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData


def find_check_target(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The newest materialization of a partition; None if there is none."""
    event_filter = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    records = instance.fetch_materializations(event_filter, limit=1).records
    if not records:
        return None
    newest = records[0]
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp
    )
