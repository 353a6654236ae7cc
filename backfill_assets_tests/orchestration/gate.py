"""Ticks of ``complete_sessions_sensor`` and of Dagster's automation, on a deployment without child processes."""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.orchestration.complete_sessions_check import CHECK
from backfill_assets.orchestration.resources import RESOURCE_KEY
from backfill_assets.reading.dagster import build_gate_key
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.orchestration.conftest import Deployment

KEY = build_gate_key()
CHECK_KEY = dg.AssetCheckKey(KEY, CHECK)


@dataclass
class Gate:
    """Does what Dagster's daemon does with the result of a tick; the runs that it requests if ``starts_runs``."""

    deployment: Deployment
    starts_runs: bool = False
    cursor: str | None = None
    evaluations: int = 0
    events: list[dg.AssetMaterialization] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        return self.deployment.engine

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.deployment.instance

    def fill(self, first: date, last: date, **options: Any) -> None:
        """What the command line does; it certifies nothing here."""
        run_backfill(self.engine, make_job(self.engine, start=first, end=last, **options), lambda _: None)

    def tick(self) -> list[str]:
        """Evaluate the sensor once; returns the sessions that it recorded."""
        result = self.deployment.tick("complete_sessions_sensor", cursor=self.cursor)
        self.cursor = result.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.events += result.asset_events
        for request in result.run_requests or []:
            self.evaluations += 1
            if not self.starts_runs:
                continue
            job = self.deployment.definitions.resolve_job_def("verify_sessions")
            job.execute_in_process(
                instance=self.instance, resources={RESOURCE_KEY: self.engine}, run_config=request.run_config
            )
        return [str(event.partition) for event in result.asset_events]

    def certify(self, first: str, last: str | None = None) -> dg.ExecuteInProcessResult:
        """Materialize sessions by hand."""
        (gate,) = (
            a for a in self.deployment.definitions.assets or [] if isinstance(a, dg.AssetsDefinition) and KEY in a.keys
        )
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
        chosen: dict[str, Any] = {"tags": tags} if last else {"partition_key": first}
        return dg.materialize(
            [gate], instance=self.instance, resources={RESOURCE_KEY: self.engine}, raise_on_error=False, **chosen
        )

    @property
    def recorded(self) -> set[str]:
        """The sessions that Dagster shows as materialized."""
        return set(self.instance.get_materialized_partitions(KEY))

    def list_check_results(self) -> list[tuple[str | None, bool]]:
        """The evaluations of the check, oldest first: (session, whether it passed)."""
        event_filter = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        records = self.instance.event_log_storage.get_event_records(event_filter, ascending=True)
        events = [record.event_log_entry.dagster_event for record in records]
        results = [event.asset_check_evaluation_data for event in events if event]
        return [(result.partition, result.passed) for result in results if result.asset_check_key == CHECK_KEY]


@dataclass
class Automation:
    """Evaluates automation conditions tick by tick, without starting what they request."""

    instance: dg.DagsterInstance
    definitions: dg.Definitions
    cursor: Any = None

    def tick(self, moment: datetime | None = None) -> dict[str, set[str | None]]:
        """The partitions that each asset would be run for, now or at ``moment``."""
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, cursor=self.cursor, evaluation_time=moment
        )
        self.cursor = result.cursor
        requested: dict[str, set[str | None]] = {}
        for one in result.results:
            if isinstance(one.key, dg.AssetKey) and (found := result.get_requested_partitions(one.key)):
                requested[one.key.to_user_string()] = set(found)
        return requested
