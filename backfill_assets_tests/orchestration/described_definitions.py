"""What of the definitions users, histories and alerts hold on to, as values that can be written down and compared.

Only Dagster is imported, so that it describes the definitions of any version of the package.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg


def describe_definitions(definitions: dg.Definitions) -> dict[str, Any]:
    """Assets, checks, sensors, schedules, jobs and resources: names, partitions, and what Dagster compares of them."""
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {key.to_user_string(): _describe_asset(graph.get(key)) for key in sorted(graph.get_all_asset_keys())},
        "checks": {
            f"{key.asset_key.to_user_string()}: {key.name}": graph.get_check_spec(key).description
            for key in sorted(graph.asset_check_keys, key=str)
        },
        "ops": sorted(node.name for asset in definitions.assets or [] for node in _list_nodes(asset)),
        "sensors": {sensor.name: _describe_sensor(sensor) for sensor in repository.sensor_defs},
        "schedules": {
            schedule.name: [schedule.cron_schedule, schedule.execution_timezone, schedule.job.name]
            for schedule in repository.schedule_defs
        },
        "jobs": {
            job.name: {node.name: getattr(node.definition, "pool", None) for node in job.nodes}
            for job in repository.get_all_jobs()
            if not job.name.startswith("__")
        },
        "resources": sorted(definitions.resources or {}),
    }


def _describe_asset(node: Any) -> dict[str, Any]:
    policy = node.freshness_policy
    return {
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "description": node.description,
        "parents": sorted(key.to_user_string() for key in node.parent_keys),
        "executable": node.is_executable,
        "partitions": _describe_partitions(node.partitions_def),
        "metadata": sorted(node.metadata),
        "freshness": [policy.deadline_cron, str(policy.lower_bound_delta), policy.timezone] if policy else None,
    }


def _describe_partitions(partitions: Any) -> Any:
    """By dimension the names of dynamic partitions, whose keys belong to the instance under these, and the days.

    Of days that are excluded, which the calendar lists until the end of next year, those before 2027 are described.
    """
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return {part.name: _describe_partitions(part.partitions_def) for part in partitions.partitions_defs}
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return partitions.name
    if partitions is None:
        return None
    zone = ZoneInfo(partitions.timezone)
    excluded = [
        one if isinstance(one, str) else datetime.fromtimestamp(one.timestamp, zone).date().isoformat()
        for one in partitions.exclusions or ()
    ]
    holidays = [day for day in excluded if "2000" < day < "2027"]
    return {
        "start": partitions.start.date().isoformat(),
        "zone": partitions.timezone,
        "weekly": [one for one in excluded if "*" in one],
        "holidays": [len(holidays), *holidays[-3:]],
    }


def _list_nodes(asset: Any) -> Iterable[Any]:
    return [asset.node_def] if isinstance(asset, dg.AssetsDefinition) and asset.is_executable else []


def _describe_sensor(sensor: dg.SensorDefinition) -> dict[str, Any]:
    selection = sensor.asset_selection
    return {
        "description": sensor.description,
        "seconds": sensor.minimum_interval_seconds,
        "status": sensor.default_status.value,
        "selection": str(selection) if selection else None,
        "targets": sorted(target.job_name for target in sensor.targets),
    }
