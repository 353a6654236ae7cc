"""What a person asks for with ``symbols rename``: the evidence first, then the rename as a decision, or its undo."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.identity.rename import read_recorded_lives
from backfill_assets.backfill.identity.rename_evidence import (
    RenameEvidence,
    SessionsAround,
    build_rename,
    find_sessions_around,
    read_known_facts,
)
from backfill_assets.backfill.identity.rename_plan import ListingChanges, RecordedLives, Rename, plan_listings
from backfill_assets.backfill.identity.symbol_changes import create_change_list
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.identity.renames import RenameFacts
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import VendorError


@dataclass(frozen=True, slots=True)
class RenameCase:
    """A rename that a person asks for, with what is known about it.

    Attributes:
        rename: the rename.
        facts: what speaks for it and against it.
        lives: what is stored about both tickers.
        changes: which listings it would change.
        calls: how many of the vendor's calls the evidence took.
        failures: what could not be read, in words.
    """

    rename: Rename
    facts: RenameFacts
    lives: RecordedLives
    changes: ListingChanges
    calls: int = 0
    failures: Sequence[str] = ()


def examine_rename(engine: Engine, old: Ticker, new: Ticker, first_day: date, *, is_insisted: bool) -> RenameCase:
    """Find out what speaks for a rename; changes nothing but the stored evidence.

    Args:
        engine: the parts to work with.
        old: the ticker before.
        new: the ticker from ``first_day`` on.
        first_day: the first session under the new ticker.
        is_insisted: whether later bars of the old ticker are another instrument's.

    Raises:
        UsageError: the day is no session or is yet to come, the old ticker is not in the universe, or what is recorded
            or stored contradicts the rename.
    """
    market = engine.settings.get_market(old.exchange)
    today = engine.settings.now().astimezone(market.zone).date()
    if first_day > today:
        raise UsageError(f"{first_day} is yet to come (today is {today}); record the rename from that day on")
    sessions = find_sessions_around(market, first_day)
    stated = Rename(old, new, sessions.last, sessions.first, is_insisted=is_insisted)
    with engine.database.transaction() as connection:
        lives = read_recorded_lives(connection, stated)
    plan_listings(stated, lives)  # before anything is requested
    facts, calls, failures = _read_evidence(engine, Symbol(lives.old_id, old, is_active=True), new, sessions)
    rename = build_rename(facts, sessions, is_insisted=is_insisted)
    return RenameCase(rename, facts, lives, plan_listings(rename, lives), calls, failures)


def _read_evidence(
    engine: Engine, old: Symbol, new: Ticker, sessions: SessionsAround
) -> tuple[RenameFacts, int, Sequence[str]]:
    """The facts, the calls that they took, and what could not be read; then what the store knows has to do."""
    try:
        return asyncio.run(_ask_vendor(engine, old, new, sessions))
    except VendorError as error:
        with engine.database.transaction() as connection:
            facts = read_known_facts(connection, old.ticker, new, sessions.first.day).facts
        return facts, 0, [str(error)]


async def _ask_vendor(
    engine: Engine, old: Symbol, new: Ticker, sessions: SessionsAround
) -> tuple[RenameFacts, int, Sequence[str]]:
    now, first_day = engine.settings.now(), sessions.first.day
    async with engine.open_vendor_client(Purpose.DAILY) as (rate_limiter, client):
        await sync_quota(client, rate_limiter.budget, now)
        market = engine.settings.get_market(old.ticker.exchange)
        changes = create_change_list(market, client, engine.database, now)
        evidence = RenameEvidence(client, engine.database, changes, now)
        list_begins = await evidence.read_list(old.ticker, new, first_day) if market.has_renames else None
        facts = await evidence.read_closes(old, new, first_day)
        return replace(facts, list_begins=list_begins), evidence.calls, evidence.failures
