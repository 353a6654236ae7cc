"""Where things stand: one glance at the universe, the bars, the runs and the budget."""

from datetime import datetime
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import interval_named, source_of
from backfill_assets.market.calendar.slots import slot_grid
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import DEFAULT_HOURS, MOST_PARTITIONS, sessions_kept, window_of_hours
from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.bars.bar_stats import newest_bar, publications
from backfill_assets.store.coverage import Coverage, measure
from backfill_assets.store.evidence.daily_data import findings
from backfill_assets.store.live.rounds import SessionRounds, rounds_of
from backfill_assets.store.postgres.connection import Database, describe
from backfill_assets.store.quota.budget import Budget, limits_of
from backfill_assets.store.quota.live_budget import LiveBudget
from backfill_assets.store.runs import running_runs
from backfill_assets.store.symbols import list_symbols


def status_of(database: Database, settings: Settings) -> dict[str, Any]:
    """The state of everything as plain values; stamps ISO 8601 UTC. Works with no symbols and no token."""
    interval = interval_named("30m")
    source = source_of(interval, settings.source_interval)
    now, rules = settings.now(), settings.rules(source)
    window = window_of_hours(DEFAULT_EXCHANGE, now, DEFAULT_HOURS, rules.askable_after, settings.calendar_exceptions())
    with database.transaction() as connection:
        everyone = list_symbols(connection, DEFAULT_EXCHANGE, only_active=False)
        active = [s for s in everyone if s.is_active]
        newest = newest_bar(connection, active, interval)
        coverage = measure(connection, active, slot_grid(window.sessions, interval), source, rules, now)
        runs = running_runs(connection)
        seen = publications(connection, interval, source, [s.day for s in window.sessions])
        found = findings(connection)
        rounds = rounds_of(connection, DEFAULT_EXCHANGE, window.sessions[-1].day) if window.sessions else None
    return {
        "as_of": _stamp(now),
        "database": describe(database.url),
        "vendor": settings.vendor_host,
        "token": "***" if settings.token else None,
        "symbols": {"active": len(active), "inactive": len(everyone) - len(active)},
        "newest_bar": _stamp(newest),
        "partitions": _partitions(settings, len(active)),
        "window": [s.day.isoformat() for s in window.sessions],
        "missing": int(coverage.missing.sum()),
        "symbols_with_missing": int((coverage.missing > 0).sum()),
        "live": _live(database, settings, coverage, rounds, now),
        "unverified": {
            "bars": coverage.of(State.UNVERIFIED),
            "symbols": int((coverage.counts[:, State.UNVERIFIED] > 0).sum()),
        },
        "running": [
            {
                "run_id": str(r.run_id),
                "started_at": _stamp(r.started_at),
                "window": r.described,
                "tickers": r.tickers,
            }
            for r in runs
        ],
        "budget": budget_of(database, settings, now),
        "published": {
            day.isoformat(): {"tickers": count, "first": _stamp(first), "last": _stamp(last)}
            for day, (count, first, last) in seen.items()
        },
        "findings": [
            {"kind": f.kind, "subject": f.subject, "detail": f.detail, "found_at": _stamp(f.found_at)} for f in found
        ],
    }


def _partitions(settings: Settings, symbols: int) -> dict[str, int]:
    kept = sessions_kept(settings.partition_days, symbols)
    return {
        "sessions": kept,
        "sessions_wanted": settings.partition_days,
        "of_an_asset": kept * symbols,
        "at_most": MOST_PARTITIONS,
    }


def _live(
    database: Database, settings: Settings, coverage: Coverage, rounds: SessionRounds | None, now: datetime
) -> dict[str, Any]:
    """Live collection: the newest session's rounds, what is provisional in the window, and what was spent."""
    spent = 0
    if settings.token is not None:
        token = settings.token.get_secret_value()
        spent = LiveBudget(database, token, limits_of(settings), settings.live_budget).spent(now)
    return {
        "on": settings.live,
        "session": coverage.grid.sessions[-1].day.isoformat() if coverage.grid.sessions else None,
        "rounds": rounds.rounds if rounds else 0,
        "samples": rounds.samples if rounds else 0,
        "last_round": _stamp(rounds.last_at) if rounds else None,
        "delay_seconds": rounds.delay_seconds if rounds else None,
        "error": rounds.error if rounds else None,
        "calls_spent_today": spent,
        "budget": settings.live_budget,
        "provisional_bars": coverage.of(State.PROVISIONAL),
        "provisional_symbols": int((coverage.counts[:, State.PROVISIONAL] > 0).sum()),
    }


def budget_of(database: Database, settings: Settings, now: datetime) -> dict[str, Any] | None:
    """What the token may still spend; None without one."""
    if settings.token is None:
        return None
    left = Budget(database, settings.token.get_secret_value(), limits_of(settings)).status(now)
    return {
        "calls_left_today": left.calls_left_today,
        "calls_spent_by_us_today": left.calls_spent_today,
        "resets_at": _stamp(left.resets_at),
        "requests_left_this_minute": max(0, left.requests_ceiling - left.requests_in_window),
        "requests_ceiling": left.requests_ceiling,
        "foreign_requests": left.foreign_requests,
        "paused_until": _stamp(left.paused_until),
    }


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
