"""What Dagster's catalog shows of each asset besides its events: table, columns, owners and a link to the code.

Names of tables and columns are read from the database, because tables that were taken over have their own. The counts
of rows are metadata of the materializations and stand beside what is materialized.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import dagster as dg
from dagster import CodeReferencesMetadataValue, LocalFileCodeReference, UrlCodeReference

import backfill_assets
from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.dagster_internals.partition_start import compute_once
from backfill_assets.orchestration.exchange_names import CLOSE, VOLUME
from backfill_assets.quality.report_formats import REPORT_COLUMNS
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.relations import Column, Relation, read_relations

ROW_COUNT, PARTITION_ROW_COUNT = "dagster/row_count", "dagster/partition_row_count"
_TABLE_NAME, _STORAGE_KIND, _COLUMN_SCHEMA = "dagster/table_name", "dagster/storage_kind", "dagster/column_schema"
_METADATA_KEY = "backfill_assets/relations"
_CODE_REFERENCES = "dagster/code_references"
_PACKAGE = Path(backfill_assets.__file__).parent
_BARS = "market_data"
_RELATIONS = {  # by the first part of the asset's key; bars_30m and its like are all in one table
    "market_symbols": "market_symbols",
    "corporate_actions": "backfill.counted_actions",
    "adjusted_bars": "backfill.adjusted_bars",
    "live_quotes": "backfill.live_samples",
    "complete_sessions": "backfill.certificates",
}
_COLUMN_DESCRIPTIONS = {
    "symbol_id": "The symbol, a row of market_symbols.",
    "symbol": "The symbol without its exchange, such as AAPL.",
    "exchange": "The exchange, as the vendor or another program names it.",
    "is_active": "Whether bars of the symbol are collected.",
    "interval_type": "The bar interval, such as 30m.",
    "timestamp": "When the bar's slot begins.",
    "session_day": "The session's date in the exchange's time zone.",
    "open_price": "The first price of the slot.",
    "high_price": "The highest price of the slot.",
    "low_price": "The lowest price of the slot.",
    "close_price": "The last price of the slot; of a session's last slot the official close.",
    "volume": "Shares traded.",
    "volume_known": "False where the volume is not known (a row has none, or volumes mean nothing); else true or null.",
    "source": "The host that the bar came from; null for a bar of another program.",
    "source_interval": "The interval of the rows that the bar was built from.",
    "source_rows": "How many rows the bar was built from.",
    "is_final": "False for a provisional bar, which final data will replace.",
    "fetched_at": "When the bar was stored.",
    "vendor_timestamp": "When the vendor made the quote.",
    "certificate_id": "The certificate; a later one of the same session follows a revision.",
    "universe": "The universe whose session is complete.",
    "incomplete": "Symbols that were not complete when it was written.",
    "sha256": "The hash of the session's bars in their canonical form.",
    "ex_date": "The first session that trades without what the action pays or after the split.",
    "price_factor": "What earlier prices are multiplied by; null if something is missing.",
    "missing": "Why there is no factor.",
    "remedy": "What to do about it.",
}


def read_asset_relations(settings: Settings) -> dict[str, Relation]:
    """The tables and functions of the assets, by name, as they were when the code server loaded the definitions.

    Raises:
        DatabaseUnavailable: no database.
    """
    stored = json.loads(compute_once(_METADATA_KEY, lambda: json.dumps(_read_relations(settings), default=astuple)))
    return {
        name: Relation(address, tuple(Column(*column) for column in columns))
        for name, (address, columns) in stored.items()
    }


def _read_relations(settings: Settings) -> dict[str, Relation]:
    database = open_database(settings)
    try:
        with database.transaction() as connection:
            return read_relations(connection, [_BARS, *_RELATIONS.values()])
    finally:
        database.close()


def describe_assets(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
    relations: Mapping[str, Relation],
    owners: Sequence[str],
    code_url: str | None,
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The same assets with what the catalog shows of them.

    Args:
        assets: with their metadata, which stay.
        relations: the database's, by name.
        owners: e-mail addresses and teams (``team:data``), for assets without owners.
        code_url: the folder in source control that contains the package; None: links to the installed files.

    Raises:
        DagsterInvalidDefinitionError: an owner is neither.
    """

    def describe(spec: dg.AssetSpec) -> dg.AssetSpec:
        return _describe(spec, relations, owners, code_url)

    return [
        asset.map_asset_specs(describe) if isinstance(asset, dg.AssetsDefinition) else describe(asset)
        for asset in dg.with_source_code_references(assets)
        if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec)  # the others are kinds that nobody has any more
    ]


def _describe(
    spec: dg.AssetSpec, relations: Mapping[str, Relation], owners: Sequence[str], code_url: str | None
) -> dg.AssetSpec:
    name = spec.key.path[0]
    relation = relations.get(_BARS if name.startswith("bars_") else _RELATIONS.get(name, ""))
    table = _build_table_metadata(relation, spec) if relation else _build_report_metadata() if "report" in name else {}
    references = spec.metadata.get(_CODE_REFERENCES) or _refer_to_file(name)
    links = CodeReferencesMetadataValue(
        code_references=[_link(reference, code_url) for reference in references.code_references]
    )
    return spec.replace_attributes(
        owners=spec.owners or owners, metadata={**spec.metadata, **table, _CODE_REFERENCES: links}
    )


def _build_table_metadata(relation: Relation, spec: dg.AssetSpec) -> Mapping[str, object]:
    """Table and columns; the asset's own metadata say what its exchange has in place of shares and official closes."""
    facts = {"volume": spec.metadata.get(VOLUME), "close_price": spec.metadata.get(CLOSE)}
    descriptions = _COLUMN_DESCRIPTIONS | {name: text for name, text in facts.items() if text}
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            description=descriptions.get(column.name),
            constraints=dg.TableColumnConstraints(nullable=column.is_nullable),
        )
        for column in relation.columns
    ]
    return {
        _TABLE_NAME: relation.address,
        _STORAGE_KIND: "postgres",
        _COLUMN_SCHEMA: dg.TableSchema(columns=columns),
    }


def _build_report_metadata() -> Mapping[str, object]:
    """The columns of the report, which is a table in its materialization and stored nowhere else."""
    columns = [dg.TableColumn(title, "text") for title, _ in REPORT_COLUMNS]
    return {_COLUMN_SCHEMA: dg.TableSchema(columns=columns)}


def _refer_to_file(name: str) -> CodeReferencesMetadataValue:
    """The code of the assets without a function: Postgres computes the adjusted bars, runs record the history."""
    is_history = name.split("_")[0] == "history"
    path = "orchestration/history_asset.py" if is_history else "store/migrations/0028_adjusted_bars.sql"
    file = _PACKAGE / path
    return CodeReferencesMetadataValue(code_references=[LocalFileCodeReference(file_path=str(file))])


def _link(
    reference: LocalFileCodeReference | UrlCodeReference, code_url: str | None
) -> LocalFileCodeReference | UrlCodeReference:
    """A reference into the package as an address in source control; any other as it is."""
    if code_url is None or isinstance(reference, UrlCodeReference):
        return reference
    path = Path(reference.file_path).relative_to(_PACKAGE.parent)
    line = f"#L{reference.line_number}" if reference.line_number else ""
    return UrlCodeReference(url=f"{code_url}/{path.as_posix()}{line}")
