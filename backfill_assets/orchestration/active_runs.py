"""Which partitions runs are at work on now, whoever started them."""

import dagster as dg

from backfill_assets.orchestration.partition_ranges import PartitionRange, parse_partition_range

UNFINISHED_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def find_active_ranges(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[PartitionRange]:
    """The rectangles of ``key`` that unfinished runs take; runs without partitions take none.

    A job that fills gaps without partitions is held off by the tickers' claims in the store.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED_STATUSES))
    runs_of_asset = [run for run in runs if run.asset_selection is None or key in run.asset_selection]
    ranges = (parse_partition_range(run.tags) for run in runs_of_asset)
    return [rectangle for rectangle in ranges if rectangle is not None]
