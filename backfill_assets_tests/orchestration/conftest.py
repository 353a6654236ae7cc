"""A Dagster deployment without child processes: instance, definitions, database and sandbox are real."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import build_child_environment, load_settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.partitions import SYMBOL_DIMENSION
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW

BARS = dg.AssetKey("bars_30m")
pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass
class Deployment:
    """Executes what Dagster would execute: ticks of sensors and the runs that they request."""

    engine: Engine
    sandbox: Sandbox
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    def with_settings(self, **changed: Any) -> "Deployment":
        """Copy the deployment with other settings, for instance another time (``as_of``)."""
        settings = self.engine.settings.model_copy(update=changed)
        return replace(self, engine=replace(self.engine, settings=settings))

    def tick(self, name: str = "gap_backfill_sensor", cursor: str | None = None) -> Any:
        """Evaluate a sensor once; the result has its run requests and its skip reason."""
        repository = self.definitions.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=repository,
            cursor=cursor,
            resources={"backfill_engine": self.engine},
            sensor_name=name,
        )
        return repository.get_sensor_def(name).evaluate_tick(context)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Execute a run request of a gap sensor."""
        (key,) = request.asset_selection or ()
        return self.materialize({**request.tags, "dagster/sensor_name": "gap_backfill_sensor"}, key)

    def materialize(self, tags: dict[str, str], key: dg.AssetKey = BARS, **config: Any) -> dg.ExecuteInProcessResult:
        """Execute one run over the partitions in the tags."""
        (bars,) = (a for a in self.definitions.assets or [] if isinstance(a, dg.AssetsDefinition) and key in a.keys)
        return dg.materialize(
            [bars],
            instance=self.instance,
            tags=tags,
            resources={"backfill_engine": self.engine},
            run_config={"ops": {key.to_user_string(): {"config": config}}},
            raise_on_error=False,
        )

    def verify(self, **config: Any) -> dg.ExecuteInProcessResult:
        """Execute the checks without a backfill, like the schedule or the launchpad."""
        return self.definitions.resolve_job_def("verify_window").execute_in_process(
            instance=self.instance,
            resources={"backfill_engine": self.engine},
            run_config={"ops": {"judge_window": {"config": config}}},
            raise_on_error=False,
        )

    def launch(self, **config: Any) -> dg.ExecuteInProcessResult:
        """Execute the job ``backfill_gaps``, like the launchpad."""
        return self.definitions.resolve_job_def("backfill_gaps").execute_in_process(
            instance=self.instance,
            resources={"backfill_engine": self.engine},
            run_config={"ops": {"fill_window": {"config": config}}},
        )

    def run_gap_sensor(self, name: str = "gap_backfill_sensor") -> list[dg.ExecuteInProcessResult]:
        """Tick a gap sensor and execute its run requests."""
        return [self.run(request) for request in self.tick(name).run_requests or []]

    @property
    def materialized(self) -> set[str]:
        """The partitions that Dagster shows as materialized."""
        return set(self.instance.get_materialized_partitions(BARS))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral_instance:
        yield ephemeral_instance


@pytest.fixture
def deploy(
    database: Database,
    database_url: str,
    home: Any,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    make_engine: Callable[..., Engine],
) -> Callable[..., Deployment]:
    """Create deployments on a sandbox, with environment variables and symbol partitions."""

    def create(sandbox: Sandbox, symbols: tuple[str, ...], **overrides: Any) -> Deployment:
        engine = make_engine(sandbox, symbols, **{"partition_days": 3, **overrides})
        for name, value in build_child_environment(engine.settings).items():
            monkeypatch.setenv(name, value)
        deployment = Deployment(engine, sandbox, instance, build_definitions(load_settings()))
        deployment.tick("symbol_partitions_sensor")
        return deployment

    return create


def build_partition_keys(symbols: tuple[str, ...], days: tuple[str, ...]) -> set[str]:
    """Build the partition keys of symbols × days."""
    return {f"{day}|{symbol}.US" for symbol in symbols for day in days}


__all__ = ["BARS", "NOW", "SYMBOL_DIMENSION", "Deployment", "add_symbols", "build_partition_keys", "parse_tickers"]
