"""The morning's reading in Dagster: whatever run reads also records that it materialized the corporate actions.

So nothing is read twice, and the asset is as fresh as the store. The asset itself is in ``action_assets``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from backfill_assets.backfill.daily_reading import DailyReading, read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
from backfill_assets.market.purposes import Purpose
from backfill_assets.orchestration.catalog import ROW_COUNT
from backfill_assets.quality.action_entries import ACTION_KINDS, KIND_NAMES, ActionEntry
from backfill_assets.quality.corporate_actions_listing import list_actions
from backfill_assets.store.actions.action_versions import ActionCounts, count_actions
from backfill_assets.store.quota.calls_by_purpose import read_calls_by_purpose
from backfill_assets.store.symbols import list_symbols

CORPORATE_ACTIONS = dg.AssetKey("corporate_actions")
MAX_NEWEST = 20  # actions in the table of a materialization
_COLUMNS = ("ticker", "kind", "ex-date", "terms", "state", "source")

ExecutionContext = dg.AssetExecutionContext | dg.OpExecutionContext


@dataclass(frozen=True, slots=True)
class RecordedReading:
    """What a run read.

    Attributes:
        reading: the daily data and corporate actions that were due.
        since: when it began, UTC.
        calls: spent for splits and dividends by all processes while it lasted.
    """

    reading: DailyReading
    since: datetime
    calls: int


def read_due_data(context: ExecutionContext, engine: Engine) -> RecordedReading:
    """Read the daily data and corporate actions that are due, and log one line about them.

    Raises:
        TokenRefused: no token is set.
    """
    since, calls_before = engine.settings.now(), _count_calls(engine)
    reading = read_daily_data(engine)
    context.log.info(f"daily data: {reading}")
    calls = max(0, _count_calls(engine) - calls_before) if reading else 0  # the count begins anew at midnight (UTC)
    return RecordedReading(reading, since, calls)


def read_and_record(context: ExecutionContext, engine: Engine) -> DailyReading:
    """The same; records a materialization of the corporate actions if something was read.

    Raises:
        TokenRefused: no token is set.
    """
    recorded = read_due_data(context, engine)
    if recorded.reading and recorded.reading.stopped is None:
        metadata = build_actions_metadata(engine, recorded)
        context.log_event(dg.AssetMaterialization(CORPORATE_ACTIONS, metadata=metadata))
    return recorded.reading


def build_actions_metadata(engine: Engine, recorded: RecordedReading) -> dict[str, Any]:
    """How many corporate actions there are, what changed with a reading, its calls, and the newest actions."""
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        counts = count_actions(connection, recorded.since)
        symbols = list_symbols(connection, DEFAULT_EXCHANGE, only_active=False)
        newest = list_actions(connection, symbols, now, limit=MAX_NEWEST)
    return {
        **_describe_counts(counts),
        ROW_COUNT: sum(of_kind.listed for of_kind in counts.values()),
        "calls": recorded.calls,
        "newest": dg.TableMetadataValue([_build_record(action) for action in newest], _build_schema()),
    }


def _describe_counts(counts: Mapping[str, ActionCounts]) -> dict[str, int]:
    of_kinds = {kind: counts.get(kind, ActionCounts()) for kind in ACTION_KINDS}
    figures = {f"{KIND_NAMES[kind]}s": of_kind.listed for kind, of_kind in of_kinds.items()}
    for name in ("new", "revised", "withdrawn"):
        figures[name] = sum(getattr(of_kind, name) for of_kind in of_kinds.values())
    return figures


def _count_calls(engine: Engine) -> int:
    """The calls of the day (UTC) for splits and dividends."""
    token, now = engine.settings.token, engine.settings.now()
    if token is None:
        return 0
    with engine.database.transaction() as connection:
        spent = read_calls_by_purpose(connection, token.get_secret_value(), now).today
    return sum(spent.get(purpose, 0) for purpose in (Purpose.SPLITS, Purpose.DIVIDENDS))


def _build_schema() -> dg.TableSchema:
    return dg.TableSchema(columns=[dg.TableColumn(name) for name in _COLUMNS])


def _build_record(action: ActionEntry) -> dg.TableRecord:
    version = action.version
    values = (action.ticker, KIND_NAMES[version.kind], str(version.ex_date), action.terms, str(action.state))
    return dg.TableRecord(dict(zip(_COLUMNS, (*values, version.source), strict=True)))
