"""The status of everything: universe, bars, runs, live collection and budget, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, choose_source_interval, parse_interval
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.timestamps import format_optional_timestamp
from backfill_assets.market.calendar.windows import (
    DEFAULT_HOURS,
    MAX_PARTITIONS,
    build_hours_window,
    limit_partition_sessions,
)
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.short_histories import describe_short_histories, find_short_histories
from backfill_assets.store.bars.bar_stats import read_newest_bar, read_publications
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.bars.mixed_feeds import MixedFeeds, find_mixed_feeds
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.evidence.decisions import count_open_decisions
from backfill_assets.store.evidence.findings import (
    Finding,
    list_findings,
    list_resolved_findings,
    select_of_active,
)
from backfill_assets.store.job_universe import build_job_universe
from backfill_assets.store.live.rounds import SessionRoundTotals, read_round_totals
from backfill_assets.store.name_notes import describe_names
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.database_errors import describe_database
from backfill_assets.store.postgres.takeover_warnings import find_table_warnings
from backfill_assets.store.quota.budget import Budget, QuotaRefusal, build_limits
from backfill_assets.store.quota.calls_by_purpose import CallsByPurpose, read_calls_by_purpose
from backfill_assets.store.quota.live_budget import LiveBudget
from backfill_assets.store.quota.spending_pause import SpendingPause, read_pause
from backfill_assets.store.runs import ActiveRun, list_active_runs
from backfill_assets.store.symbols import read_universe

RESOLVED_SHOWN_FOR = timedelta(days=7)


@dataclass(frozen=True, eq=False)
class _StoredFacts:
    """What the status shows of the tables, read in one transaction."""

    symbols: Sequence[Symbol]
    name_notes: Sequence[str]
    active: Sequence[Symbol]
    newest_bar: datetime | None
    coverage: Coverage
    runs: Sequence[ActiveRun]
    publications: Mapping[date, tuple[int, datetime, datetime]]
    findings: Sequence[Finding]
    resolved: Sequence[tuple[Finding, datetime]]
    rounds: SessionRoundTotals | None
    mixed_feeds: MixedFeeds | None
    table_warnings: Sequence[str]
    pause: SpendingPause | None
    calls: CallsByPurpose | None
    decisions: tuple[int, int]


def read_status(database: Database, settings: Settings) -> dict[str, Any]:
    """Read the status; times are ISO 8601 UTC. Works without symbols and without a token."""
    now = settings.now()
    facts = _read_facts(database, settings, now)
    coverage, active = facts.coverage, len(facts.active)
    histories = find_short_histories(database, settings)
    return {
        "as_of": format_optional_timestamp(now),
        "database": describe_database(database.url),
        "vendor": settings.vendor_host,
        "token": "***" if settings.token else None,
        "symbols": {"active": active, "inactive": len(facts.symbols) - active},
        "names_not_used": list(facts.name_notes),
        "newest_bar": format_optional_timestamp(facts.newest_bar),
        "partitions": _describe_partitions(settings, active),
        "window": [s.day.isoformat() for s in coverage.grid.sessions],
        "missing": int(coverage.missing.sum()),
        "symbols_with_missing": int((coverage.missing > 0).sum()),
        "live": _describe_live(database, settings, coverage, facts.rounds, now),
        "unverified": {
            "bars": coverage.count_slots(SlotState.UNVERIFIED),
            "symbols": int((coverage.counts[:, SlotState.UNVERIFIED] > 0).sum()),
        },
        "running": [_describe_run(run) for run in facts.runs],
        "budget": read_budget(database, settings, now),
        "calls_by_purpose": asdict(facts.calls) if facts.calls else None,
        "spending_pause": facts.pause.as_dict() if facts.pause else None,
        "decisions": {"waiting": facts.decisions[0], "optional": facts.decisions[1]},
        "published": {
            day.isoformat(): {
                "tickers": count,
                "first": format_optional_timestamp(first),
                "last": format_optional_timestamp(last),
            }
            for day, (count, first, last) in facts.publications.items()
        },
        "mixed_feeds": facts.mixed_feeds.as_dict() if facts.mixed_feeds else None,
        "table_warnings": list(facts.table_warnings),
        "findings": [_describe_finding(finding) for finding in facts.findings],
        "resolved": [
            {**_describe_finding(finding), "resolved_at": format_optional_timestamp(resolved_at)}
            for finding, resolved_at in facts.resolved
        ],
        "short_histories": [history.as_dict() for history in histories],
        "short_histories_summary": describe_short_histories(histories) or None,
    }


def _read_facts(database: Database, settings: Settings, now: datetime) -> _StoredFacts:
    interval = parse_interval(DEFAULT_INTERVAL)  # its spellings are read below
    source = choose_source_interval(interval, settings.source_interval)
    rules, overrides = settings.build_gap_rules(source), settings.load_calendar_overrides()
    sessions = build_hours_window(DEFAULT_EXCHANGE, now, DEFAULT_HOURS, rules.compute_askable_at, overrides).sessions
    with database.transaction() as connection:
        universe = read_universe(connection, DEFAULT_EXCHANGE)
        job_universe = build_job_universe(connection, universe.symbols)
        active = job_universe.active
        measured = job_universe.list_since(sessions[0].day if sessions else None)
        (interval,) = adopt_spellings(connection, [interval])
        return _StoredFacts(
            symbols=universe.symbols,
            name_notes=describe_names(connection, universe),
            active=active,
            newest_bar=read_newest_bar(connection, active, interval),
            coverage=measure_coverage(connection, measured, build_slot_grid(sessions, interval), source, rules, now),
            runs=list_active_runs(connection),
            publications=read_publications(connection, interval, source, [s.day for s in sessions]),
            findings=select_of_active(list_findings(connection), {str(s.ticker) for s in active}),
            resolved=list_resolved_findings(connection, now - RESOLVED_SHOWN_FOR),
            mixed_feeds=find_mixed_feeds(connection, measured, build_slot_grid(sessions, interval)),
            table_warnings=find_table_warnings(connection),
            rounds=read_round_totals(connection, DEFAULT_EXCHANGE, sessions[-1].day) if sessions else None,
            pause=read_pause(connection),
            decisions=count_open_decisions(connection, now),
            calls=read_calls_by_purpose(connection, settings.token.get_secret_value(), now) if settings.token else None,
        )


def _describe_run(run: ActiveRun) -> dict[str, Any]:
    return {
        "run_id": str(run.run_id),
        "started_at": format_optional_timestamp(run.started_at),
        "window": run.description,
        "tickers": run.tickers,
    }


def _describe_finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "detail": finding.detail,
        "found_at": format_optional_timestamp(finding.found_at),
    }


def _describe_partitions(settings: Settings, symbols: int) -> dict[str, int]:
    retained = limit_partition_sessions(settings.partition_days, symbols)
    return {
        "sessions": retained,
        "sessions_wanted": settings.partition_days,
        "of_an_asset": retained * symbols,
        "at_most": MAX_PARTITIONS,
    }


def _describe_live(
    database: Database, settings: Settings, coverage: Coverage, rounds: SessionRoundTotals | None, now: datetime
) -> dict[str, Any]:
    """Live collection: rounds of the newest session, provisional bars in the window, and calls spent today."""
    spent = 0
    if settings.token is not None:
        token = settings.token.get_secret_value()
        spent = LiveBudget(database, token, build_limits(settings), settings.live_budget).read_spent_calls(now)
    return {
        "on": settings.live,
        "session": coverage.grid.sessions[-1].day.isoformat() if coverage.grid.sessions else None,
        "rounds": rounds.rounds if rounds else 0,
        "samples": rounds.samples if rounds else 0,
        "last_round": format_optional_timestamp(rounds.last_at) if rounds else None,
        "delay_seconds": rounds.delay_seconds if rounds else None,
        "error": rounds.error if rounds else None,
        "calls_spent_today": spent,
        "budget": settings.live_budget,
        "provisional_bars": coverage.count_slots(SlotState.PROVISIONAL),
        "provisional_symbols": int((coverage.counts[:, SlotState.PROVISIONAL] > 0).sum()),
    }


def read_budget(database: Database, settings: Settings, now: datetime) -> dict[str, Any] | None:
    """Calls and requests left for the token; None without a token."""
    if settings.token is None:
        return None
    status = Budget(database, settings.token.get_secret_value(), build_limits(settings)).read_status(now)
    return {
        "calls_left_today": status.calls_left_today,
        "calls_spent_by_us_today": status.calls_spent_today,
        "resets_at": format_optional_timestamp(status.resets_at),
        "requests_left_this_minute": max(0, status.requests_ceiling - status.requests_in_window),
        "requests_ceiling": status.requests_ceiling,
        "foreign_requests": status.external_requests,
        "paused_until": format_optional_timestamp(status.paused_until),
        "used_up": _describe_refusal(status.refusal) if status.refusal else None,
    }


def _describe_refusal(refusal: QuotaRefusal) -> dict[str, Any]:
    return {"said_at": format_optional_timestamp(refusal.at), "message": refusal.message}
