"""What Dagster's catalog shows of the assets is what the database has, in any form of the tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import backfill_assets
from backfill_assets.config.settings import Settings
from backfill_assets.orchestration import assets, complete_sessions_sensor, jobs, reading_jobs, verify_jobs
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.external_tables import create_external_tables

pytestmark = pytest.mark.filterwarnings("ignore")
PACKAGE = Path(backfill_assets.__file__).parent
TABLES = {
    "market_symbols": "public.market_symbols",
    "bars_30m": "public.market_data",
    "corporate_actions": "backfill.counted_actions",
    "adjusted_bars": "backfill.adjusted_bars",
    "live_quotes": "backfill.live_samples",
    "complete_sessions/US/all": "backfill.certificates",
}


def list_specs(settings: Settings, **changed: Any) -> dict[str, dg.AssetSpec]:
    definitions = build_definitions(settings.model_copy(update={"live": True, **changed}))
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def read_columns(spec: dg.AssetSpec) -> dict[str, dg.TableColumn]:
    return {column.name: column for column in spec.metadata["dagster/column_schema"].columns}


def read_addresses(spec: dg.AssetSpec) -> list[str]:
    return [reference.source for reference in spec.metadata["dagster/code_references"].code_references]


def test_every_asset_has_its_table_columns_owners_and_code(settings: Settings, database: Database) -> None:
    specs = list_specs(settings, owners=("team:market-data", "data@example.com"))
    assert set(specs) == {*TABLES, "data_quality_report"}
    with database.transaction() as connection:
        (name,) = connection.execute("SELECT current_database()").fetchone() or ()
    for key, table in TABLES.items():
        metadata = specs[key].metadata
        assert metadata["dagster/table_name"] == f"{name}.{table}"
        assert metadata["dagster/storage_kind"] == "postgres"
        assert len(read_columns(specs[key])) > 5
    for spec in specs.values():
        assert list(spec.owners) == ["team:market-data", "data@example.com"]
        assert spec.description
        assert "postgres" in spec.kinds
        (address,) = read_addresses(spec)
        file, _, line = address.partition(":")
        text = Path(file).read_text().splitlines()
        assert Path(file).is_relative_to(PACKAGE)
        assert not line or "@" in text[int(line) - 1]  # the line of the asset's decorator
    assert [c.name for c in specs["data_quality_report"].metadata["dagster/column_schema"].columns][:2] == [
        "symbol",
        "bars",
    ]


def test_columns_are_those_of_the_database_with_their_meaning(settings: Settings) -> None:
    bars = read_columns(list_specs(settings)["bars_30m"])
    assert (bars["open_price"].type, bars["open_price"].constraints.nullable) == ("double precision", False)
    assert bars["open_price"].description == "The first price of the slot."
    assert bars["fetched_at"].constraints.nullable
    assert [name for name, column in bars.items() if not column.description] == []


def test_tables_of_another_program_are_shown_with_its_columns(
    create_database: Callable[..., str], settings: Settings
) -> None:
    url = create_database(None)
    create_external_tables(url)
    columns = read_columns(list_specs(settings, database_url=type(settings.database_url)(url))["bars_30m"])
    assert columns["open_price"].type == "numeric(12,6)"


def test_links_lead_to_source_control_if_its_address_is_set(settings: Settings) -> None:
    address = "https://git.example.com/data/backfill_assets/-/tree/main"
    specs = list_specs(settings, code_url=address)
    (symbols,) = read_addresses(specs["market_symbols"])
    file, _, line = symbols.partition("#L")
    assert file == f"{address}/backfill_assets/orchestration/universe_asset.py"
    assert int(line) > 1
    assert read_addresses(specs["adjusted_bars"]) == [
        f"{address}/backfill_assets/store/migrations/0028_adjusted_bars.sql"
    ]


@pytest.mark.parametrize("module", [assets, jobs, reading_jobs, verify_jobs, complete_sessions_sensor])
def test_every_field_of_a_configuration_has_a_description(module: Any) -> None:
    configs = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, dg.Config) and value.__module__ == module.__name__
    ]
    assert configs
    for config in configs:
        missing = [name for name, field in config.model_fields.items() if not field.description]
        assert missing == [], config.__name__
