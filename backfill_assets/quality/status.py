"""The status of everything: universe, bars, runs, live collection and budget, as plain values.

What belongs to one exchange is in ``exchange_status``. With several exchanges the counts here are sums, days those of
any of them, and ``exchanges`` has each by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, parse_interval
from backfill_assets.market.calendar.moment_style import UTC_STYLE, choose_moment_style
from backfill_assets.market.calendar.timestamps import format_optional_timestamp
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.census.answer import WholeStore
from backfill_assets.quality.exchange_status import (
    ExchangeFacts,
    Publications,
    describe_exchange,
    describe_gaps,
    describe_partitions,
    describe_publications,
    describe_symbols,
    read_exchange_facts,
)
from backfill_assets.quality.experimental import describe_experimental, read_comparison
from backfill_assets.quality.healing import add_up_healing
from backfill_assets.quality.short_histories import describe_short_histories, find_short_histories
from backfill_assets.quality.unused_names import describe_unused_names
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.bars.mixed_feeds import MixedFeeds
from backfill_assets.store.evidence.decisions import count_open_decisions
from backfill_assets.store.evidence.findings import (
    Finding,
    list_findings,
    list_resolved_findings,
    select_of_active,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.database_errors import describe_database
from backfill_assets.store.postgres.takeover_warnings import find_table_warnings
from backfill_assets.store.quota.budget import Budget, QuotaRefusal, build_limits
from backfill_assets.store.quota.calls_by_purpose import CallsByPurpose, read_calls_by_purpose
from backfill_assets.store.quota.live_budget import LiveBudget
from backfill_assets.store.quota.spending_pause import SpendingPause, read_pause
from backfill_assets.store.runs import ActiveRun, list_active_runs

RESOLVED_SHOWN_FOR = timedelta(days=7)


@dataclass(frozen=True, eq=False)
class _StoredFacts:
    """What the status shows of the tables, read in one transaction; ``exchanges`` in the order of the setting."""

    exchanges: Sequence[ExchangeFacts]
    name_notes: Sequence[str]
    runs: Sequence[ActiveRun]
    findings: Sequence[Finding]
    resolved: Sequence[tuple[Finding, datetime]]
    table_warnings: Sequence[str]
    pause: SpendingPause | None
    calls: CallsByPurpose | None
    decisions: tuple[int, int]


def read_status(database: Database, settings: Settings) -> dict[str, Any]:
    """Read the status; times are ISO 8601 UTC. Works without symbols and without a token.

    An exchange whose sessions are not known, as after its calendar's end, does not keep the others from being shown.
    """
    now = settings.now()
    facts = _read_facts(database, settings, now)
    exchanges = facts.exchanges
    newest_bars = [one.newest_bar for one in exchanges if one.newest_bar]
    histories = find_short_histories(database, settings)
    healing = add_up_healing([one.healing for one in exchanges])
    return {
        "as_of": format_optional_timestamp(now),
        "database": describe_database(database.url),
        "vendor": settings.vendor_host,
        "token": "***" if settings.token else None,
        "symbols": _add_up([describe_symbols(one) for one in exchanges]),
        "names_not_used": list(facts.name_notes),
        "newest_bar": format_optional_timestamp(max(newest_bars, default=None)),
        "partitions": _describe_partitions(settings, exchanges),
        **({"healing": healing.as_dict()} if healing else {}),
        "whole_store": [{"exchange": one.exchange, **one.as_dict()} for one in _list_whole(exchanges)],
        "window": sorted({session.day.isoformat() for one in exchanges for session in one.coverage.grid.sessions}),
        **_describe_live_and_gaps(database, settings, exchanges, now),
        "running": [_describe_run(run) for run in facts.runs],
        "budget": read_budget(database, settings, now),
        "calls_by_purpose": asdict(facts.calls) if facts.calls else None,
        "spending_pause": facts.pause.as_dict() if facts.pause else None,
        "decisions": {"waiting": facts.decisions[0], "optional": facts.decisions[1]},
        "published": describe_publications(_merge_publications([one.publications for one in exchanges])),
        "mixed_feeds": _describe_mixed_feeds([one.mixed_feeds for one in exchanges if one.mixed_feeds]),
        "table_warnings": list(facts.table_warnings),
        "findings": [_describe_finding(finding) for finding in facts.findings],
        "resolved": [
            {**_describe_finding(finding), "resolved_at": format_optional_timestamp(resolved_at)}
            for finding, resolved_at in facts.resolved
        ],
        "short_histories": [history.as_dict() for history in histories],
        "short_histories_summary": describe_short_histories(histories) or None,
        **_describe_exchanges(database, settings, exchanges, now),
    }


def _read_facts(database: Database, settings: Settings, now: datetime) -> _StoredFacts:
    interval = parse_interval(DEFAULT_INTERVAL)
    with database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [interval])
        exchanges = [read_exchange_facts(connection, settings, market, interval, now) for market in settings.markets]
        active = {str(symbol.ticker) for one in exchanges for symbol in one.active}
        universes = [one.universe for one in exchanges]
        return _StoredFacts(
            exchanges=exchanges,
            name_notes=describe_unused_names(connection, universes, settings.exchanges),
            runs=list_active_runs(connection),
            findings=select_of_active(list_findings(connection), active),
            resolved=list_resolved_findings(connection, now - RESOLVED_SHOWN_FOR),
            table_warnings=find_table_warnings(connection),
            pause=read_pause(connection),
            decisions=count_open_decisions(connection, now),
            calls=read_calls_by_purpose(connection, settings.token.get_secret_value(), now) if settings.token else None,
        )


def _describe_exchanges(
    database: Database, settings: Settings, exchanges: Sequence[ExchangeFacts], now: datetime
) -> dict[str, Any]:
    """The field ``exchanges``, by the vendor's code; no field while the US is the only exchange, and has sessions."""
    has_us_alone = all(choose_moment_style(one.market, settings.exchanges) is UTC_STYLE for one in exchanges)
    if has_us_alone and not exchanges[0].sessions_unknown:
        return {}
    notices = [describe_experimental(one.market, read_comparison(database, one.market)) for one in exchanges]
    return {
        "exchanges": {
            one.market.exchange: describe_exchange(one, settings, notice, now)
            for one, notice in zip(exchanges, notices, strict=True)
        }
    }


def _list_whole(exchanges: Sequence[ExchangeFacts]) -> list[WholeStore]:
    """How complete the months of each exchange are that are over; without those that have no such month."""
    return [one.whole for one in exchanges if one.whole]


def _add_up(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(one[name] for one in counts) for name in counts[0]}


def _describe_partitions(settings: Settings, exchanges: Sequence[ExchangeFacts]) -> dict[str, int]:
    """Of the exchange with the largest asset, which is the one that a limit shortens first."""
    return describe_partitions(settings, max(len(one.active) for one in exchanges))


def _merge_publications(publications: Sequence[Publications]) -> Publications:
    merged: dict[date, tuple[int, datetime, datetime]] = {}
    for day, (count, first, last) in (item for one in publications for item in one.items()):
        seen, earliest, latest = merged.get(day, (0, first, last))
        merged[day] = seen + count, min(earliest, first), max(latest, last)
    return dict(sorted(merged.items()))


def _describe_mixed_feeds(found: Sequence[MixedFeeds]) -> dict[str, Any] | None:
    """The first exchange's, with the counts of all."""
    if not found:
        return None
    counts = {"sessions": sum(one.sessions for one in found), "tickers": sum(one.tickers for one in found)}
    return {**found[0].as_dict(), **counts}


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


def _describe_live_and_gaps(
    database: Database, settings: Settings, exchanges: Sequence[ExchangeFacts], now: datetime
) -> dict[str, Any]:
    gaps = [describe_gaps(one.coverage) for one in exchanges]
    return {
        "missing": sum(gap["missing"] for gap in gaps),
        "symbols_with_missing": sum(gap["symbols_with_missing"] for gap in gaps),
        "live": _describe_live(database, settings, exchanges, now),
        "unverified": _add_up([gap["unverified"] for gap in gaps]),
    }


def _describe_live(
    database: Database, settings: Settings, exchanges: Sequence[ExchangeFacts], now: datetime
) -> dict[str, Any]:
    """Live collection: rounds of the newest session, provisional bars in the windows, and calls spent today.

    The session and its rounds are those of the first exchange with live quotes.
    """
    spent = 0
    if settings.token is not None:
        token = settings.token.get_secret_value()
        spent = LiveBudget(database, token, build_limits(settings), settings.live_budget).read_spent_calls(now)
    live = next((one for one in exchanges if one.market.has_live_quotes), exchanges[0])
    rounds, sessions = live.rounds, live.coverage.grid.sessions
    coverages = [one.coverage for one in exchanges]
    return {
        "on": settings.live,
        "session": sessions[-1].day.isoformat() if sessions else None,
        "rounds": rounds.rounds if rounds else 0,
        "samples": rounds.samples if rounds else 0,
        "last_round": format_optional_timestamp(rounds.last_at) if rounds else None,
        "delay_seconds": rounds.delay_seconds if rounds else None,
        "error": rounds.error if rounds else None,
        "calls_spent_today": spent,
        "budget": settings.live_budget,
        "provisional_bars": sum(coverage.count_slots(SlotState.PROVISIONAL) for coverage in coverages),
        "provisional_symbols": sum(int((c.counts[:, SlotState.PROVISIONAL] > 0).sum()) for c in coverages),
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
