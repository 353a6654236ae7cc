"""A deployment without child processes: real instances, the real definitions, a database and a sandbox."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
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
    """What Dagster would run, driven by the test: ticks of sensors and the runs that they request."""

    engine: Engine
    sandbox: Sandbox
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    said: list[str] = field(default_factory=list)

    def with_settings(self, **changed: Any) -> "Deployment":
        """The same deployment under other settings, or at another moment (``as_of``)."""
        settings = self.engine.settings.model_copy(update=changed)
        return replace(self, engine=replace(self.engine, settings=settings))

    def tick(self, name: str = "gap_backfill_sensor", cursor: str | None = None) -> Any:
        """One evaluation of a sensor; its requests and its reason to skip."""
        repository = self.definitions.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=repository,
            cursor=cursor,
            resources={"engine": self.engine},
            sensor_name=name,
        )
        return repository.get_sensor_def(name).evaluate_tick(context)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Execute a run request of the gap sensor."""
        return self.materialise({**request.tags, "dagster/sensor_name": "gap_backfill_sensor"})

    def materialise(self, tags: dict[str, str], **config: Any) -> dg.ExecuteInProcessResult:
        """One run over the partitions in the tags."""
        (bars,) = (a for a in self.definitions.assets or [] if isinstance(a, dg.AssetsDefinition) and BARS in a.keys)
        return dg.materialize(
            [bars],
            instance=self.instance,
            tags=tags,
            resources={"engine": self.engine},
            run_config={"ops": {"bars_30m": {"config": config}}},
            raise_on_error=False,
        )

    def verify(self, **config: Any) -> dg.ExecuteInProcessResult:
        """The checks alone, as launched by the schedule or by a person."""
        return self.definitions.resolve_job_def("verify_window").execute_in_process(
            instance=self.instance,
            resources={"engine": self.engine},
            run_config={"ops": {"judge_window": {"config": config}}},
            raise_on_error=False,
        )

    def launch(self, **config: Any) -> dg.ExecuteInProcessResult:
        """The job of the launchpad."""
        return self.definitions.resolve_job_def("backfill_gaps").execute_in_process(
            instance=self.instance,
            resources={"engine": self.engine},
            run_config={"ops": {"fill_window": {"config": config}}},
        )

    def heal(self) -> list[dg.ExecuteInProcessResult]:
        """Tick the gap sensor and execute its run requests."""
        return [self.run(request) for request in self.tick().run_requests or []]

    @property
    def green(self) -> set[str]:
        """The partitions that Dagster shows as materialized."""
        return set(self.instance.get_materialized_partitions(BARS))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def deployed(
    database: Database,
    database_url: str,
    home: Any,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    engine_on: Callable[..., Engine],
) -> Callable[..., Deployment]:
    """A deployment on a sandbox, with its environment set and its symbol partitions added."""

    def make(sandbox: Sandbox, symbols: tuple[str, ...], **overrides: Any) -> Deployment:
        engine = engine_on(sandbox, symbols, **{"partition_days": 3, **overrides})
        for name, value in build_child_environment(engine.settings).items():
            monkeypatch.setenv(name, value)
        deployment = Deployment(engine, sandbox, instance, build_definitions(load_settings()))
        deployment.tick("symbol_partitions_sensor")
        return deployment

    return make


def partitions(symbols: tuple[str, ...], days: tuple[str, ...]) -> set[str]:
    """The partition keys of symbols × days."""
    return {f"{day}|{symbol}.US" for symbol in symbols for day in days}


__all__ = ["BARS", "NOW", "SYMBOL_DIMENSION", "Deployment", "add_symbols", "parse_tickers", "partitions"]
