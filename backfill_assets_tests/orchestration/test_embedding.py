"""The pipeline in somebody's own project: merged, configured by arguments, and without names that get in the way."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from backfill_assets.backfill.engine import Engine
from backfill_assets.components import BackfillComponent
from backfill_assets.config.settings import Settings
from backfill_assets.definitions import build_backfill_definitions
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.orchestration.resources import RESOURCE_KEY
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW

pytestmark = pytest.mark.filterwarnings("ignore")


SECRET = {"token": "hush-4711"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, home: Path) -> None:
    """What a project has in its environment: the database, and a sensor's pace that arguments may change."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BACKFILL_HOME", str(home))
    monkeypatch.setenv("BACKFILL_AS_OF", NOW.isoformat())
    monkeypatch.setenv("BACKFILL_SENSOR_SECONDS", "40")


def list_keys(definitions: dg.Definitions) -> set[str]:
    graph = definitions.get_repository_def().asset_graph
    return {key.to_user_string() for key in graph.get_all_asset_keys()}


def test_it_merges_into_a_project_that_has_an_engine_and_an_executor_of_its_own(environment: None) -> None:
    @dg.asset(deps=["bars_30m"])
    def features(engine: dg.ResourceParam[str]) -> str:
        return engine

    own = dg.Definitions(assets=[features], resources={"engine": "my engine"}, executor=dg.multiprocess_executor)
    merged = dg.Definitions.merge(build_backfill_definitions(), own)
    dg.Definitions.validate_loadable(merged)
    assert list_keys(merged) >= {"features", "bars_30m", "market_symbols", "complete_sessions/US/all"}
    job = merged.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(asset_selection=[dg.AssetKey("features")], instance=instance)
    assert result.output_for_node("features") == "my engine"
    assert set(merged.resources or {}) == {"engine", RESOURCE_KEY}
    assert merged.executor is dg.multiprocess_executor


def test_arguments_win_over_the_environment_by_either_name_and_in_runs_too(
    environment: None, database: Database
) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(("AAPL",)))
    definitions = build_backfill_definitions(
        exchanges=["US", "LSE"], intervals=["30m", "1h"], partition_days=2, BACKFILL_OWNERS=["team:data"], **SECRET
    )
    assert list_keys(definitions) >= {"bars_30m", "bars_1h", "bars_30m_LSE", "bars_1h_LSE"}
    repository = definitions.get_repository_def()
    assert repository.get_sensor_def("gap_backfill_sensor").minimum_interval_seconds == 40
    seen: list[Settings] = []

    @dg.op
    def look(backfill_engine: dg.ResourceParam[Engine]) -> None:
        seen.append(backfill_engine.settings)

    @dg.job
    def job() -> None:
        look()

    with dg.DagsterInstance.ephemeral() as instance:
        resources = dict(definitions.resources or {})
        assert job.execute_in_process(instance=instance, resources=resources).success
    assert (seen[0].partition_days, seen[0].intervals, seen[0].sensor_seconds) == (2, ("30m", "1h"), 40)
    assert seen[0].exchanges == ("US", "LSE")
    assert seen[0].token is not None
    assert seen[0].token.get_secret_value() == "hush-4711"
    assert "hush" not in repr(resources[RESOURCE_KEY]) + str(vars(resources[RESOURCE_KEY]))


def test_without_bars_of_the_default_interval_no_session_can_be_complete(environment: None) -> None:
    keys = list_keys(build_backfill_definitions(intervals="1h"))
    assert "bars_1h" in keys
    assert not [key for key in keys if key.startswith("complete_sessions")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exchanges": ["XLON"]}, "exchange 'XLON' is not supported; "),
        ({"exchanges": []}, "exchanges is []: must be one or more of the vendor's codes, each once"),
        ({"exchanges": "US", "BACKFILL_EXCHANGES": ["US"]}, "BACKFILL_EXCHANGES is given twice"),
        ({"exchanges": "AU", "universes": "LSE/model"}, "BACKFILL_EXCHANGES does not have LSE; add it"),
        ({"exchanges": ["AU", "LSE"], "universes": "model"}, "write for example AU/model"),
        ({"exchanges": ["US", "US"]}, "each once"),
        ({"intervals": ["2h"]}, "BACKFILL_INTERVALS is ['2h']: must be one or more of 1m, 5m"),
        ({"universes": "a/b"}, "BACKFILL_UNIVERSES"),
        ({"partition_day": 5}, "there is no setting 'partition_day'; did you mean partition_days?"),
        ({"BACKFILL_PARTITION_DAY": 5}, "did you mean BACKFILL_PARTITION_DAYS?"),
        ({"xyz": 5}, "docs/configuration.md lists all settings"),
        ({"partition_days": 1}, "BACKFILL_PARTITION_DAYS is 1"),
        ({"partition_days": 9, "BACKFILL_PARTITION_DAYS": 9}, "BACKFILL_PARTITION_DAYS is given twice"),
        ({"owners": ["data"]}, "BACKFILL_OWNERS"),
        ({"batch_planned_events": False}, "set BACKFILL_BATCH_PLANNED_EVENTS in the environment"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_opened(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        build_backfill_definitions(**arguments)
    assert message in str(refused.value)


def test_the_component_makes_the_same_definitions(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OWNER", "team:data")
    attributes = {
        "exchanges": ["US"],
        "intervals": ["30m", "1h"],
        "universe": ["all", "model"],
        "settings": {"BACKFILL_OWNERS": ["{{ env.MY_OWNER }}"]},
    }
    component = BackfillComponent.from_attributes_dict(attributes=attributes)
    definitions = component.build_defs(dg.ComponentTree.for_test().load_context)
    assert list_keys(definitions) == list_keys(
        build_backfill_definitions(intervals=["30m", "1h"], universes=["all", "model"])
    )
    owners = [list(spec.owners) for spec in definitions.resolve_all_asset_specs()]
    assert owners == [["team:data"]] * len(owners)


def test_an_attribute_of_the_component_is_no_setting() -> None:
    component = BackfillComponent.from_attributes_dict(
        attributes={"settings": {"intervals": ["1h"], "universes": "all"}}
    )
    with pytest.raises(UsageError, match="settings has intervals, universes, for which the component has attributes"):
        component.build_defs(dg.ComponentTree.for_test().load_context)


def test_the_schema_of_the_component_describes_every_attribute() -> None:
    schema = BackfillComponent.get_model_cls()
    assert schema is not None
    described = [name for name, field in schema.model_fields.items() if field.description]
    assert described == list(schema.model_fields) == ["exchanges", "intervals", "universe", "settings"]
    assert BackfillComponent.get_description() == BackfillComponent.__doc__


def read_snippets(language: str) -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_documented_definitions_load(environment: None) -> None:
    (snippet,) = read_snippets("python")
    names: dict[str, Any] = {"__name__": "mine"}
    exec(snippet, names)  # noqa: S102 - the page's own text
    definitions = names["defs"]()
    dg.Definitions.validate_loadable(definitions)
    assert list_keys(definitions) >= {"features", "bars_30m"}


def test_the_documented_file_loads_and_names_every_attribute(environment: None) -> None:
    (snippet,) = read_snippets("yaml")
    file = yaml.safe_load(snippet)
    assert file["type"] == f"{BackfillComponent.__module__}.{BackfillComponent.__name__}"
    assert set(file["attributes"]) == set(BackfillComponent.model_fields)
    component = BackfillComponent.from_attributes_dict(attributes=file["attributes"])
    assert "bars_30m" in list_keys(component.build_defs(dg.ComponentTree.for_test().load_context))
