"""The gate: an asset per universe whose partitions are its complete sessions, with the certificate of each.

Materializing a partition certifies the session on request. Otherwise ``complete_sessions_sensor`` records it when the
session is complete. What makes a session complete is decided in ``certification``; the check of each partition is in
``complete_sessions_check``.
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.request import CertifiedSession, CertifyRequest, certify_session
from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration.catalog import PARTITION_ROW_COUNT
from backfill_assets.orchestration.complete_sessions_check import build_check_evaluations, build_check_spec
from backfill_assets.orchestration.dagster_internals.materialization_events import record_materializations
from backfill_assets.orchestration.exchange_names import (
    GROUP,
    add_exchange,
    build_bars_key,
    build_market_metadata,
    describe_market,
)
from backfill_assets.reading.dagster import GATE, build_gate_key
from backfill_assets.store.certificate_values import Certificate

DATA_VERSION_TAG = "dagster/data_version"  # documented by Dagster for materializations that other programs report
_MAX_TOLD_REASONS = 3  # of a session that cannot be certified


def build_complete_sessions_asset(
    settings: Settings, market: MarketProfile, universe: str, days: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """The asset of a universe with its check, over the exchange's ``days``. Nothing is read from the database."""
    exchange = market.exchange
    key = build_gate_key(universe, exchange)
    spec = dg.AssetSpec(
        key,
        description=f"The complete sessions of universe {universe} of exchange {exchange}. A partition is materialized"
        " with its certificate once each slot of the session has a bar or is explained, and again after a material"
        " revision. Materialize one yourself to have it certified now." + describe_market(market),
        # lineage only: bars have other days and symbols, and every filled gap would mark sessions as out of date
        deps=[dg.AssetDep(build_bars_key(DEFAULT_INTERVAL, exchange), partition_mapping=dg.AllPartitionMapping())],
        skippable=True,
        group_name=add_exchange(GROUP, exchange),
        kinds={"postgres"},
        partitions_def=days,
        metadata=build_market_metadata(market, settings.exchanges),
    )

    @dg.multi_asset(
        name="__".join([GATE, exchange, universe.replace("-", "___")]),
        specs=[spec],
        check_specs=[build_check_spec(key, days)],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def complete_sessions(
        context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckEvaluation]:
        chosen = [date.fromisoformat(day) for day in context.partition_keys]
        refused = _certify(context, backfill_engine, key, chosen) if context.selected_asset_keys else []
        yield from build_check_evaluations(backfill_engine, context.instance, key, chosen)
        if refused:
            more = f"; and {len(refused) - 1} more sessions, see the log" if len(refused) > 1 else ""
            raise dg.Failure(f"not certified: {refused[0]}{more}", allow_retries=False)

    return complete_sessions


def _certify(context: dg.AssetExecutionContext, engine: Engine, key: dg.AssetKey, days: list[date]) -> list[str]:
    """Certify sessions on request and record those that Dagster does not show yet; returns why others are refused."""
    _, exchange, universe = key.path
    certified, refused = [], []
    for day in days:
        answer = certify_session(engine, CertifyRequest(day, universe, DEFAULT_INTERVAL, exchange))
        if answer.certificate is None or not answer.is_certifiable:
            refused.append(f"{day}: {_describe_refusal(answer)}")
        elif is_recorded(context.instance, answer.certificate):
            context.log.info(f"{day}: certificate {answer.certificate.certificate_id}, as it is recorded already")
        else:
            certified.append(answer.certificate)
    record_materializations(context, [build_materialization(certificate) for certificate in certified])
    for reason in refused:
        context.log.error(f"not certified: {reason}")
    context.log.info(f"{format_count(len(certified), 'session')} recorded, {len(refused)} not certified")
    return refused


def _describe_refusal(answer: CertifiedSession) -> str:
    more = len(answer.reasons) - _MAX_TOLD_REASONS
    return "; ".join([*answer.reasons[:_MAX_TOLD_REASONS], *([f"and {more} more reasons"] if more > 0 else [])])


def is_recorded(instance: dg.DagsterInstance, certificate: Certificate) -> bool:
    """Whether the newest materialization of the session says the same: bars, kind, and which symbols are incomplete."""
    said = build_materialization(certificate)
    event_filter = dg.AssetRecordsFilter(asset_key=said.asset_key, asset_partitions=[str(said.partition)])
    for record in instance.fetch_materializations(event_filter, limit=1).records:
        recorded = record.asset_materialization
        return recorded is not None and _list_statements(recorded) == _list_statements(said)
    return False


def _list_statements(materialization: dg.AssetMaterialization) -> list[object]:
    version = (materialization.tags or {}).get(DATA_VERSION_TAG)
    return [version, *(materialization.metadata.get(name) for name in ("kind", "incomplete"))]


def build_materialization(certificate: Certificate) -> dg.AssetMaterialization:
    """The event of a session that became complete or was revised; its data version is the hash of the bars."""
    described = certificate.as_dict()
    figures = ("certificate_id", "kind", "symbols", "bars", "sha256", "revised_bars", "interval", "code_version")
    changes = ("previous_id", "max_price_bps", "max_volume_percent")
    return dg.AssetMaterialization(
        build_gate_key(certificate.universe, certificate.exchange),
        partition=certificate.session_day.isoformat(),
        description=f"certificate {certificate.certificate_id}: {certificate.kind}",
        metadata={
            **{name: described[name] for name in figures},
            **{name: described[name] for name in changes if described[name] is not None},
            **({"incomplete": ", ".join(certificate.incomplete)} if certificate.incomplete else {}),
            "counts": dg.JsonMetadataValue(described["counts"]),
            "evidence": dg.JsonMetadataValue(described["evidence"]),
            "certified_at": dg.TimestampMetadataValue(certificate.created_at.timestamp()),
            PARTITION_ROW_COUNT: certificate.bars,
        },
        tags={DATA_VERSION_TAG: certificate.sha256},
    )
