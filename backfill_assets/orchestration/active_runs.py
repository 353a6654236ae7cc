"""Which partitions runs are at work on now, whoever started them."""

import dagster as dg

from backfill_assets.orchestration.partition_ranges import Rectangle, rectangle_of

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def rectangles_in_flight(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[Rectangle]:
    """The rectangles of ``key`` that unfinished runs take; runs without partitions take none.

    A job that fills gaps without partitions is held off by the tickers' claims in the store.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    mine = [run for run in runs if run.asset_selection is None or key in run.asset_selection]
    found = (rectangle_of(run.tags) for run in mine)
    return [rectangle for rectangle in found if rectangle is not None]
