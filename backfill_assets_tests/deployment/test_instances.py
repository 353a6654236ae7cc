"""Each ``dagster.yaml`` that is shipped loads, and its classes can be imported."""

import re
import shutil
from pathlib import Path

import pytest
from dagster._config import process_config
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData, class_from_code_pointer

from backfill_assets.orchestration.dagster_internals.run_health import WatchesRuns
from backfill_assets_tests.deployment.deploy_files import DEPLOY, INSTANCES, read_yaml

pytestmark = pytest.mark.filterwarnings("ignore")
WORKSPACES = [path.with_name("workspace.yaml") for path in INSTANCES.values()]


@pytest.fixture(params=INSTANCES, ids=str)
def instance(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstanceRef:
    """An instance in a folder of its own, with every environment variable that it reads."""
    path = INSTANCES[request.param]
    for name in re.findall(r"env: (\w+)", path.read_text("utf-8")):
        monkeypatch.setenv(name, "redis://queue:6379/0")
    shutil.copy(path, tmp_path / "dagster.yaml")
    return InstanceRef.from_dir(str(tmp_path))


def load_class(data: ConfigurableClassData) -> type:
    """The class that a part of the instance names, once it accepts its configuration."""
    loaded = class_from_code_pointer(data.module_name, data.class_name)
    checked = process_config(loaded.config_type(), data.config_dict)
    assert checked.success, checked.errors
    return loaded


def test_its_classes_accept_their_configuration(instance: InstanceRef) -> None:
    """Of the launcher, of the storage and of the logs; the launcher fails runs whose worker is gone."""
    assert issubclass(load_class(instance.run_launcher_data), WatchesRuns)
    assert load_class(instance.storage_data).__name__ == "BackfillStorage"
    load_class(instance.compute_logs_data)
    assert instance.settings["run_monitoring"]["enabled"]
    assert instance.settings["concurrency"]["pools"]["granularity"] == "run"


@pytest.mark.parametrize("name", [name for name, path in INSTANCES.items() if DEPLOY in path.parents], ids=str)
def test_a_service_repeats_lost_runs_of_the_gap_sensor_and_no_others(name: str) -> None:
    retries = read_yaml(INSTANCES[name])["run_retries"]
    assert retries == {"enabled": True, "max_retries": 0, "retry_on_asset_or_op_failure": False}


@pytest.mark.parametrize("part", ["run_queue", "run_monitoring", "sensors", "retention", "storage", "telemetry"])
def test_what_does_not_depend_on_the_way_is_the_same(part: str) -> None:
    first, *others = [read_yaml(path)[part] for path in INSTANCES.values()]
    assert all(other == first for other in others)


@pytest.mark.parametrize("path", WORKSPACES, ids=lambda path: path.parent.name)
def test_its_workspace_is_the_code_location(path: Path) -> None:
    (entry,) = read_yaml(path)["load_from"]
    (location,) = entry.values()
    assert location["location_name"] == "backfill_assets"


def test_every_instance_is_tested() -> None:
    assert set(DEPLOY.rglob("dagster.yaml")) <= set(INSTANCES.values())
