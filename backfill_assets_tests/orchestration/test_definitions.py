"""The definitions are complete, loaded lazily, equal in both configuration files, and have short functions."""

import ast
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

import backfill_assets
from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.build import build_definitions

PACKAGE = Path(backfill_assets.__file__).parent
ROOT = PACKAGE.parent
MAX_BODY_LINES = 30


@pytest.fixture
def definitions(settings: Settings) -> dg.Definitions:
    return build_definitions(settings)


def test_definitions_are_loadable_and_complete(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    repository = definitions.get_repository_def()
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert keys >= {"market_symbols", "bars_30m", "data_quality_report"}
    sensors = {sensor.name for sensor in repository.sensor_defs}
    assert sensors >= {"gap_backfill_sensor", "symbol_partitions_sensor"}
    assert {schedule.name for schedule in repository.schedule_defs} >= {"window_checks_schedule"}
    assert {job.name for job in repository.get_all_jobs()} >= {"backfill_gaps", "verify_window"}


def test_sensors_and_schedules_run_by_default_and_can_be_left_stopped(settings: Settings) -> None:
    for auto, status in ((True, "RUNNING"), (False, "STOPPED")):
        repository = build_definitions(settings.model_copy(update={"auto": auto})).get_repository_def()
        all_definitions = [*repository.sensor_defs, *repository.schedule_defs]
        assert {definition.default_status.value for definition in all_definitions} == {status}


def test_further_intervals_get_assets_sensors_and_jobs(settings: Settings) -> None:
    changed = settings.model_copy(update={"intervals": ("30m", "1h", "1m")})
    repository = build_definitions(changed).get_repository_def()
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert keys >= {"bars_30m", "bars_1h", "bars_1m"}
    assert repository.has_sensor_def("gap_backfill_sensor_1h")
    assert repository.has_job("verify_window_1m")


def test_adjusted_bars_come_from_bars_and_actions_and_bars_from_neither(settings: Settings) -> None:
    changed = settings.model_copy(update={"intervals": ("30m", "1h")})
    graph = build_definitions(changed).get_repository_def().asset_graph
    parents = {
        name: {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}
        for name in ("adjusted_bars", "bars_30m", "corporate_actions", "data_quality_report")
    }
    assert parents == {
        "adjusted_bars": {"bars_30m", "bars_1h", "corporate_actions"},
        "bars_30m": {"market_symbols"},
        "corporate_actions": {"market_symbols"},
        "data_quality_report": {"bars_30m"},  # else Dagster asks "Are you sure?" until actions were read once
    }
    assert not graph.get(dg.AssetKey("adjusted_bars")).is_executable


def test_pyproject_and_workspace_load_the_same_module() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dagster"]
    (workspace,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert workspace["python_module"] == {
        "module_name": pyproject["module_name"],
        "location_name": pyproject["code_location_name"],
    }
    assert pyproject["module_name"] == "backfill_assets.definitions"


def test_dagster_yaml_of_the_checkout_equals_the_packaged_one() -> None:
    packaged = PACKAGE / "orchestration" / "dagster.yaml"
    assert (ROOT / "dagster.yaml").read_text() == packaged.read_text()


def test_settings_are_read_when_dagster_loads_definitions_and_not_at_import(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    from backfill_assets import definitions

    monkeypatch.setenv("BACKFILL_SENSOR_SECONDS", "17")
    monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("database_url"))
    repository = definitions.defs().get_repository_def()
    assert repository.get_sensor_def("gap_backfill_sensor").minimum_interval_seconds == 17


def count_body_lines(body: ast.FunctionDef) -> int:
    """Count the lines of a function body without inner functions, which are counted separately."""
    lines = (body.end_lineno or 0) - body.body[0].lineno + 1
    return lines - sum(
        (inner.end_lineno or 0) - inner.lineno + 1 for inner in body.body if isinstance(inner, ast.FunctionDef)
    )


def list_bodies() -> list[tuple[str, int]]:
    return [
        (f"{file.name}:{node.name}", count_body_lines(node))
        for file in sorted((PACKAGE / "orchestration").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]


@pytest.mark.parametrize(("name", "lines"), list_bodies())
def test_no_body_is_longer_than_thirty_lines(name: str, lines: int) -> None:
    assert lines <= MAX_BODY_LINES, name
