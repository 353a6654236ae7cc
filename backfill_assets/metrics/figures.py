"""Reads, in one pass over the store, the figures that are shown as metrics.

They come from the same functions as those of ``quality.status``, so both say the same at the same moment. How they are
named for Prometheus is decided in ``families``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backfill_assets.alerts.delivery import list_endpoints
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval, parse_interval
from backfill_assets.market.calendar.market_time import count_market_seconds
from backfill_assets.market.calendar.sessions import SessionsUnknown
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.exchange_status import (
    ExchangeSlots,
    describe_gaps,
    describe_symbols,
    read_exchange_slots,
)
from backfill_assets.quality.status import read_budget
from backfill_assets.store.alert_outbox import EndpointState, list_failing, read_endpoint_states
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.evidence.decisions import count_open_decisions
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.quota.calls_by_purpose import CallsByPurpose, read_calls_by_purpose
from backfill_assets.store.quota.request_log import count_rate_limited
from backfill_assets.store.quota.spending_pause import read_pause
from backfill_assets.store.runs import list_active_runs
from backfill_assets.store.sensor_looks import SensorLook, list_looks
from backfill_assets.store.service_counts import (
    EndedRuns,
    count_doubts,
    count_ended_runs,
    count_revisions,
    read_beats,
    read_longest_silence,
)

PAST_DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ExchangeFigures:
    """One exchange, in the default window of the status. Times are UTC.

    Attributes:
        exchange: the vendor's code.
        interval: of the bars.
        symbols: how many are active and inactive.
        slots: how many expected slots are in each state.
        missing: ``estimated_missing_bars`` of all symbols.
        symbols_with_missing: how many symbols have any.
        oldest_missing_at: the open of the oldest missing slot; None: none is missing.
        newest_bar_at: the open of the newest slot with a bar; None without bars.
        newest_bar_age: market time since that slot's end, seconds; None without bars or sessions.
        overdue_lag: market time from that slot's end to that of the newest slot that is overdue, seconds.
        are_sessions_known: whether its sessions can be told; if not, it has no slots.
        history_share: the part of the expected bars of months that are over that is there or explained, 0 to 1; None
            without such a month.
        history_missing: how many of these bars lack.
    """

    exchange: str
    interval: str
    symbols: Mapping[str, int]
    slots: Mapping[SlotState, int]
    missing: int
    symbols_with_missing: int
    oldest_missing_at: datetime | None
    newest_bar_at: datetime | None
    newest_bar_age: int | None
    overdue_lag: int | None
    are_sessions_known: bool
    history_share: float | None
    history_missing: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that is shown; times are UTC.

    Attributes:
        exchanges: in the order of BACKFILL_EXCHANGES.
        doubts: by exchange and state.
        revisions: bars that the vendor changed in the past 24 hours, by exchange.
        budget: as the status has it; None without a token.
        calls: by purpose; None without a token.
        is_paused: whether all spending is paused.
        requests: attempts in the past 24 hours, and how many of them the vendor refused for its rate limit.
        active_runs: how many runs are under way.
        ended_runs: by outcome.
        longest_silence: seconds since the last heartbeat of the unfinished run that is silent longest.
        beats: how many processes carry out runs of Dagster, and seconds since the oldest of their beats.
        failing: how many checks and runs fail, by severity.
        addresses: the delivery state of each address in BACKFILL_ALERT_URLS; None if that is not set here.
        decisions: how many wait for a person, and how many are optional.
        looks: the last look of each gap sensor.
    """

    exchanges: Sequence[ExchangeFigures]
    doubts: Mapping[tuple[str, str], int]
    revisions: Mapping[str, int]
    budget: Mapping[str, Any] | None
    calls: CallsByPurpose | None
    is_paused: bool
    requests: tuple[int, int]
    active_runs: int
    ended_runs: Sequence[EndedRuns]
    longest_silence: float | None
    beats: tuple[int, float | None]
    failing: Mapping[str, int]
    addresses: Sequence[EndpointState] | None
    decisions: tuple[int, int]
    looks: Sequence[SensorLook]


def read_figures(database: Database, settings: Settings) -> Figures:
    """Read all figures in one snapshot, and what is left of the budget in another transaction; nothing is written.

    Raises:
        DatabaseUnavailable: the server cannot be reached, or refuses.
    """
    now = settings.now()
    budget = read_budget(database, settings, now)
    with database.snapshot() as connection:
        (interval,) = adopt_spellings(connection, [parse_interval(DEFAULT_INTERVAL)])
        exchanges = [
            _build_exchange(read_exchange_slots(connection, settings, market, interval, now), interval, now)
            for market in settings.markets
        ]
        return _read_others(connection, settings, now, exchanges, budget)


def _read_others(
    connection: Connection,
    settings: Settings,
    now: datetime,
    exchanges: Sequence[ExchangeFigures],
    budget: Mapping[str, Any] | None,
) -> Figures:
    """The figures with all that does not depend on slots."""
    clock = datetime.now(UTC)  # of requests and revisions, whatever the settings take for the current time
    rate_limited, attempts = count_rate_limited(connection, clock - PAST_DAY, clock)
    failing = dict.fromkeys(("warning", "error"), 0)
    for state in list_failing(connection):
        failing[state.severity or "error"] += 1
    token = settings.token
    return Figures(
        exchanges=exchanges,
        doubts=count_doubts(connection),
        revisions=count_revisions(connection, clock - PAST_DAY, clock),
        budget=budget,
        calls=read_calls_by_purpose(connection, token.get_secret_value(), now) if token else None,
        is_paused=read_pause(connection) is not None,
        requests=(attempts, rate_limited),
        active_runs=len(list_active_runs(connection)),
        ended_runs=count_ended_runs(connection),
        longest_silence=read_longest_silence(connection),
        beats=read_beats(connection),
        failing=failing,
        addresses=_read_addresses(connection, settings, now),
        decisions=count_open_decisions(connection, now),
        looks=list_looks(connection, settings.exchanges),
    )


def _read_addresses(connection: Connection, settings: Settings, now: datetime) -> Sequence[EndpointState] | None:
    endpoints = list_endpoints(settings)
    return list(read_endpoint_states(connection, endpoints, now).values()) if endpoints else None


def _build_exchange(slots: ExchangeSlots, interval: Interval, now: datetime) -> ExchangeFigures:
    coverage = slots.coverage
    gaps, oldest = describe_gaps(coverage), coverage.find_oldest_missing()
    age, lag = _measure_ages(slots.market, coverage, slots.newest_bar, interval, now)
    return ExchangeFigures(
        exchange=slots.market.exchange,
        interval=interval.name,
        symbols=describe_symbols(slots),
        slots={state: coverage.count_slots(state) for state in SlotState},
        missing=gaps["missing"],
        symbols_with_missing=gaps["symbols_with_missing"],
        oldest_missing_at=to_datetime(oldest) if oldest >= 0 else None,
        newest_bar_at=slots.newest_bar,
        newest_bar_age=age,
        overdue_lag=lag,
        are_sessions_known=slots.sessions_unknown is None,
        history_share=slots.whole.share if slots.whole else None,
        history_missing=slots.whole.missing if slots.whole else None,
    )


def _measure_ages(
    market: MarketProfile, coverage: Coverage, newest_bar: datetime | None, interval: Interval, now: datetime
) -> tuple[int | None, int | None]:
    """The newest bar's age, and by how much it is behind the newest overdue slot; both in seconds of market time.

    Freshness is judged by the newest overdue slot, as in ``quality.criteria``: the vendor publishes hours after the
    close, so a healthy store has an age but no lag.
    """
    if newest_bar is None:
        return None, None
    end = newest_bar + timedelta(seconds=interval.seconds)  # a last slot may be shorter: no market time lies behind it
    try:
        age = count_market_seconds(market, interval, end, now)
        overdue = coverage.find_newest_overdue()
        if overdue < 0:
            return age, 0
        return age, count_market_seconds(market, interval, end, to_datetime(overdue) + (end - newest_bar))
    except SessionsUnknown:
        return None, None
