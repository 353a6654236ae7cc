"""Reads corporate actions as people see them (``action_entries``), with their factors and what prices say of them.

Reads the database only. How actions are read and derived is in ``backfill.actions``, what they do to prices in
functions of the schema.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, INTERVALS, Interval
from backfill_assets.market.calendar.sessions import list_previous_sessions
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.action_entries import ACTION_KINDS, ActionEntry, ActionState
from backfill_assets.store.actions.action_factors import ActionFactor, ActionKey, read_action_factors
from backfill_assets.store.actions.action_versions import ActionVersion, list_action_versions
from backfill_assets.store.actions.split_verdicts import judge_stored_splits
from backfill_assets.store.postgres.connection import Connection

_NOT_COUNTED = ActionFactor(
    None, "not counted: the record of another ticker of the instrument counts, or none was listed"
)


def list_actions(
    connection: Connection,
    symbols: Collection[Symbol],
    now: datetime,
    *,
    kinds: Collection[str] = ACTION_KINDS,
    first: date | None = None,
    last: date | None = None,
    with_former: bool = False,
    limit: int | None = None,
) -> list[ActionEntry]:
    """The actions of symbols as they were known at a moment, without details, the newest ex-dates first.

    Args:
        connection: with a transaction open.
        symbols: whose actions.
        now: UTC.
        kinds: some of ``ACTION_KINDS``.
        first: the first ex-date; None: from the beginning.
        last: the last one; None: announced ones, too.
        with_former: also what is withdrawn, and old versions.
        limit: at most so many; None: all.
    """
    tickers = {symbol.symbol_id: str(symbol.ticker) for symbol in symbols}
    zones = {symbol.symbol_id: get_profile(symbol.ticker.exchange).zone for symbol in symbols}
    versions = list_action_versions(
        connection, tickers.keys(), now, kinds=kinds, first=first, last=last, with_former=with_former, limit=limit
    )
    listed = [ActionEntry(tickers[v.symbol_id], _find_state(v, now, zones[v.symbol_id]), v) for v in versions]
    return sorted(listed, key=lambda action: (-action.version.ex_date.toordinal(), action.ticker))


def add_details(
    connection: Connection,
    actions: Sequence[ActionEntry],
    now: datetime,
    interval: Interval = INTERVALS[DEFAULT_INTERVAL],
) -> list[ActionEntry]:
    """The actions with their factors, and with what prices say of them; 3 ms a symbol.

    Args:
        connection: with a transaction open.
        actions: as listed.
        now: UTC.
        interval: of the bars that splits are judged by.
    """
    effective = [action.version for action in actions if action.state is ActionState.EFFECTIVE]
    factors = read_action_factors(connection, {version.symbol_id for version in effective}, now)
    proofs = _read_proofs(connection, effective, interval, now)
    return [_add_details(action, factors, proofs) for action in actions]


def list_window_actions(connection: Connection, coverage: Coverage) -> list[ActionEntry]:
    """The actions of a window's symbols with an ex-date within its sessions, without details, the newest first."""
    sessions = coverage.grid.sessions
    if not sessions:
        return []
    first, last = sessions[0].day, sessions[-1].day
    return list_actions(connection, coverage.symbols, coverage.now, first=first, last=last)


def list_session_actions(connection: Connection, coverage: Coverage) -> list[ActionEntry]:
    """The actions that take effect on a coverage's first session, with details; also withdrawn ones and old versions.

    An ex-date without a session counts for the next one.
    """
    session = coverage.grid.sessions[0]
    previous = list_previous_sessions(session, 1)
    first = previous[-1].day + timedelta(days=1) if previous else session.day
    listed = list_actions(connection, coverage.symbols, coverage.now, first=first, last=session.day, with_former=True)
    return add_details(connection, listed, coverage.now, coverage.grid.interval)


def _add_details(
    action: ActionEntry, factors: Mapping[ActionKey, ActionFactor], proofs: Mapping[ActionKey, str]
) -> ActionEntry:
    if action.state is not ActionState.EFFECTIVE:
        return action
    key = _get_key(action.version)
    factor = factors.get(key, _NOT_COUNTED)
    return replace(action, factor=factor.price_factor, factor_missing=factor.missing, proof=proofs.get(key))


def _read_proofs(
    connection: Connection, versions: Collection[ActionVersion], interval: Interval, now: datetime
) -> dict[ActionKey, str]:
    """What prices say of actions that took effect, in words."""
    proofs = {_get_key(v): f"shown by {format_count(v.sessions, 'session')}" for v in versions if v.sessions}
    with_splits = {version.symbol_id for version in versions if version.kind == "split"}
    if with_splits:
        for split in judge_stored_splits(connection, with_splits, interval, now):
            proofs[split.symbol_id, "split", split.ex_date, ""] = str(split.verdict)
    return proofs


def _get_key(version: ActionVersion) -> ActionKey:
    return version.symbol_id, version.kind, version.ex_date, version.period


def _find_state(version: ActionVersion, now: datetime, zone: ZoneInfo) -> ActionState:
    if version.known_until is not None and version.known_until <= now:
        return ActionState.WITHDRAWN if version.is_last else ActionState.REPLACED
    is_announced = version.ex_date > now.astimezone(zone).date()
    return ActionState.ANNOUNCED if is_announced else ActionState.EFFECTIVE
