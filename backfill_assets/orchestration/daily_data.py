"""The morning's reading in Dagster: whatever run reads also records that it materialized the corporate actions.

So nothing is read twice, and the asset is as fresh as the store. The asset itself is in ``action_assets``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from backfill_assets.backfill.daily_reading import DailyReading, read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.orchestration.catalog import ROW_COUNT
from backfill_assets.orchestration.exchange_loop import Attempts
from backfill_assets.orchestration.exchange_names import name_exchange
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
        readings: by exchange, the daily data and corporate actions that were due.
        attempts: which exchanges could not be read.
        since: when it began, UTC.
        calls: spent for splits and dividends by all processes while it lasted.
    """

    readings: Mapping[str, DailyReading]
    attempts: Attempts
    since: datetime
    calls: int

    @property
    def has_read_actions(self) -> bool:
        """Whether anything was read to its end of an exchange that has corporate actions."""
        of_markets = [self.readings.get(market.exchange) for market in self.attempts.markets if market.has_actions]
        return any(reading and reading.stopped is None for reading in of_markets)

    @property
    def stopped(self) -> VendorError | None:
        """The error that ended a reading; the first one, None if there is none."""
        return next((reading.stopped for reading in self.readings.values() if reading.stopped is not None), None)


def read_due_data(context: ExecutionContext, engine: Engine, markets: Sequence[MarketProfile]) -> RecordedReading:
    """Read the daily data and corporate actions of exchanges that are due, and log one line about each.

    Raises:
        TokenRefused: no token is set.
    """
    since, calls_before = engine.settings.now(), _count_calls(engine)
    attempts, readings = Attempts(markets, context.log), {}
    for market in markets:
        reading = attempts.attempt(market, lambda market: read_daily_data(engine, market))
        if reading is not None:
            of_whom = f" of {name_exchange(market)}" if len(markets) > 1 else ""
            context.log.info(f"daily data{of_whom}: {reading}")
            readings[market.exchange] = reading
    is_idle = not any(readings.values())
    calls = 0 if is_idle else max(0, _count_calls(engine) - calls_before)  # the count begins anew at midnight (UTC)
    return RecordedReading(readings, attempts, since, calls)


def read_and_record(context: ExecutionContext, engine: Engine, markets: Sequence[MarketProfile]) -> RecordedReading:
    """The same; records a materialization of the corporate actions if something was read of an exchange that has any.

    Raises:
        TokenRefused: no token is set.
    """
    recorded = read_due_data(context, engine, markets)
    if recorded.has_read_actions:
        metadata = build_actions_metadata(engine, recorded)
        context.log_event(dg.AssetMaterialization(CORPORATE_ACTIONS, metadata=metadata))
    return recorded


def raise_failures(recorded: RecordedReading) -> None:
    """End a step whose whole work was the reading as a failure, if it was not read to its end.

    Raises:
        Failure: the vendor, a pause or a spent budget stopped it.
        ExchangesFailed: some exchanges could not be read.
    """
    recorded.attempts.raise_failures()
    if recorded.stopped is not None:
        raise dg.Failure(f"{recorded.stopped}; what was read is stored", allow_retries=False)


def build_actions_metadata(engine: Engine, recorded: RecordedReading) -> dict[str, Any]:
    """How many corporate actions there are, what changed with a reading, its calls, and the newest actions."""
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        counts = count_actions(connection, recorded.since)
        symbols = [
            symbol
            for market in engine.settings.markets
            if market.has_actions
            for symbol in list_symbols(connection, market.exchange, only_active=False)
        ]
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
