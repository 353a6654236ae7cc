"""Whether symbols without a row in the morning's daily data were renamed: looked up at once, not after days of absence.

The vendor's list of renamed symbols is read only on a morning on which an active symbol has rows of the session before
the newest one, and of the newest neither a daily row nor an intraday one: 5 calls for all of them. Each of them that
the list has costs two more, the daily histories under both names. A rename that is known before the new name's first
close is looked at again on the next mornings, for at most two calls. What a rename changes is in ``backfill.identity``.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from backfill_assets.backfill.absence.daily_history import fetch_listing_history
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.identity.rename_evidence import RenameEvidence
from backfill_assets.backfill.identity.symbol_changes import create_change_list
from backfill_assets.backfill.listing_ends import (
    MAX_LOOKBACK,
    UNKNOWN_TICKER_LOOKBACK,
    SymbolChangeList,
    find_rename,
)
from backfill_assets.backfill.plan_limits import PlanAnswers
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.identity.renames import COMPARED_BEFORE, RenameFacts
from backfill_assets.market.vendor import VendorClient
from backfill_assets.store.evidence.daily_reads import find_silent_symbols
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, list_findings
from backfill_assets.store.evidence.ticker_changes import TickerChange, read_ticker_changes


@dataclass(frozen=True, eq=False)
class OvernightLookup:
    """What a morning's look-up works with.

    Attributes:
        engine: the parts to work with.
        client: the vendor's client.
        changes: the vendor's list of renamed symbols.
        job: over the symbols.
        before: the last settled session but one.
        newest: the last settled session.
    """

    engine: Engine
    client: VendorClient
    changes: SymbolChangeList
    job: BackfillJob
    before: Session
    newest: Session

    async def find_renamed(self) -> list[Symbol]:
        """Look up the active symbols whose daily data end before the newest session; returns the renamed ones."""
        active = [symbol for symbol in self.job.symbols if symbol.is_active]
        with self.engine.database.transaction() as connection:
            ids = [symbol.symbol_id for symbol in active]
            silent_ids = find_silent_symbols(connection, ids, self.newest, self.before)
        silent = [symbol for symbol in active if symbol.symbol_id in silent_ids]
        since = self.newest.day - UNKNOWN_TICKER_LOOKBACK - MAX_LOOKBACK  # as far back as the histories may need it
        listed = await self.changes.list_since(since) if silent else ()
        renamed = [symbol for symbol in silent if find_rename(listed, symbol, self.before.day - MAX_LOOKBACK)]
        for symbol in renamed:
            await self._read_history(symbol)
        return renamed

    async def complete_evidence(self) -> None:
        """Read the closes of renames that were found before there were some under the new name."""
        with self.engine.database.transaction() as connection:
            ended = {finding.subject for finding in list_findings(connection) if finding.kind == ENDED_OR_RENAMED}
            by_ticker = {s.ticker: s for s in self.job.symbols if s.is_active and str(s.ticker) in ended}
            known = read_ticker_changes(connection, ended) if by_ticker else []
        evidence = RenameEvidence(self.client, self.engine.database, self.changes, self.engine.settings.now())
        for facts in [change.facts for change in known if self._is_incomplete(change)]:
            if facts.old in by_ticker:
                await evidence.read_closes(by_ticker[facts.old], facts.new, facts.first_day)

    async def _read_history(self, symbol: Symbol) -> None:
        alone = replace(self.job, symbols=(symbol,), window=Window(self.newest.market, (self.newest,), ""))
        coverage = await asyncio.to_thread(self.engine.measure, alone)
        await fetch_listing_history(
            self.client, self.changes, self.engine.database, coverage, symbol, {0}, PlanAnswers()
        )

    def _is_incomplete(self, change: TickerChange) -> bool:
        facts: RenameFacts = change.facts
        is_recent = facts.first_day <= self.newest.day <= facts.first_day + COMPARED_BEFORE
        is_older = change.read_at is None or change.read_at < self.newest.close + SETTLED_AFTER
        return change.is_listed and is_recent and is_older and bool(facts.list_gaps())


async def look_up_renames(
    engine: Engine, client: VendorClient, job: BackfillJob, settled: Sequence[Session]
) -> list[Symbol]:
    """Look up the symbols of a job whose daily data end before the newest settled session; returns the renamed ones.

    Raises:
        TokenRefused, QuotaExhausted: as for any request. Other errors are logged.
    """
    if len(settled) < 2 or not job.market.has_renames:
        return []
    changes = create_change_list(job.market, client, engine.database, engine.settings.now())
    lookup = OvernightLookup(engine, client, changes, job, *settled[-2:])
    renamed = await lookup.find_renamed()
    await lookup.complete_evidence()
    return renamed
