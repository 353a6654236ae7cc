"""The audit: applies every rule that can judge stored bars to all of them, whoever wrote them.

It changes no bar and sends no request. ``judge`` does the same for the sessions that changed, and also ends doubts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np

from backfill_assets.backfill.plausibility.audit_result import AuditResult
from backfill_assets.backfill.plausibility.audit_tally import AuditTally, count_bars
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.plausibility.day_ranges import find_prices_outside_day
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.judgement import Form, JudgedPanel, select_judgements
from backfill_assets.market.plausibility.price_spikes import Spike, find_shared_spikes
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.store.bars.panel_reader import StoredPanel, read_panel, split_symbols
from backfill_assets.store.evidence.day_figures import read_day_figures
from backfill_assets.store.evidence.doubts import record_doubts
from backfill_assets.store.evidence.listing_lives import read_listing_lives
from backfill_assets.store.postgres.connection import Connection, Database

_DOUBTS_PER_TRANSACTION = 5_000


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How bars are audited.

    Attributes:
        now: the moment, UTC.
        first_session: the first session of the grid that is judged; those before are only compared with.
        writes: whether doubts are opened.
    """

    now: datetime
    first_session: int
    writes: bool


def audit_bars(database: Database, symbols: Sequence[Symbol], grid: SlotGrid, options: AuditOptions) -> AuditResult:
    """Apply every rule to the stored bars of some symbols and sessions, a part of the symbols at a time.

    A session may repeat any earlier one of the grid. Spikes are counted at the end, when it is known which of them the
    market shares.
    """
    audit = _Audit(database, grid, options, AuditTally(grid, {s.symbol_id: str(s.ticker) for s in symbols}))
    for ids in split_symbols([symbol.symbol_id for symbol in symbols], grid):
        audit.judge(ids)
    audit.settle_spikes()
    return audit.get_result()


class _Audit:
    def __init__(self, database: Database, grid: SlotGrid, options: AuditOptions, tally: AuditTally) -> None:
        self._database, self._grid, self._options, self._tally = database, grid, options, tally
        self._bars = self._external_bars = self._sessions = self._opened = 0
        self._spikes: list[Doubt] = []
        self._names = np.zeros(grid.size, np.int64)  # how many symbols have a bar, by slot

    def judge(self, ids: Int64) -> None:
        """Judge the bars of some symbols."""
        stored, given = self._database.retry_transaction(lambda connection: self._read(connection, ids))
        self._count(stored, given.judged)
        doubts: list[Doubt] = []
        for entry in select_judgements(Form.STORED):
            self._tally.add_judged(entry, given)
            doubts += entry.find(given)
        self._tally.add_common_factors(find_prices_outside_day(given.panel, given.days, given.judged)[1])
        self._spikes += [doubt for doubt in doubts if doubt.rule is Rule.PRICE_SPIKE]
        others = [doubt for doubt in doubts if doubt.rule is not Rule.PRICE_SPIKE]
        self._tally.add_doubts(others, count_bars(given.panel, others, len(self._grid.sessions)))
        self._write(others)

    def settle_spikes(self) -> None:
        """Count the spikes that the market does not share."""
        if not self._spikes:
            return
        spikes = [Spike(spike.symbol_id, spike.first_stamp, str(spike.figures["direction"])) for spike in self._spikes]
        is_shared = find_shared_spikes(spikes, self._grid.starts, self._names).tolist()
        own = [spike for spike, shared in zip(self._spikes, is_shared, strict=True) if not shared]
        self._tally.add_confirmed([spike for spike, shared in zip(self._spikes, is_shared, strict=True) if shared])
        self._tally.add_doubts(own, np.ones(len(own), np.int64))
        self._write(own)

    def get_result(self) -> AuditResult:
        """What was found so far."""
        return AuditResult(
            bars=self._bars,
            external_bars=self._external_bars,
            sessions=self._sessions,
            rules=self._tally.summarize(),
            scaled=tuple(self._tally.scaled),
            opened=self._opened if self._options.writes else None,
        )

    def _read(self, connection: Connection, ids: Int64) -> tuple[StoredPanel, JudgedPanel]:
        stored = read_panel(connection, ids, self._grid)
        panel = stored.panel
        days = read_day_figures(connection, panel.symbol_id, panel.session, self._grid)
        lives = read_listing_lives(connection, panel.symbol_id, of_stored=True)
        judged = panel.session >= self._options.first_session
        return stored, JudgedPanel(panel, days, lives, judged, last_sessions=None)

    def _count(self, stored: StoredPanel, judged: Bools) -> None:
        present = stored.panel.is_present
        self._bars += int(present[judged].sum())
        self._external_bars += int(stored.is_external[judged].sum())
        self._sessions += int(judged.sum())
        self._names += _count_names(stored.panel, self._grid)

    def _write(self, doubts: Sequence[Doubt]) -> None:
        if self._options.writes:
            for begin in range(0, len(doubts), _DOUBTS_PER_TRANSACTION):
                part = doubts[begin : begin + _DOUBTS_PER_TRANSACTION]
                self._opened += self._database.retry_transaction(partial(self._open, part))

    def _open(self, doubts: Sequence[Doubt], connection: Connection) -> int:
        return record_doubts(
            connection, doubts, grid=self._grid, now=self._options.now, from_rows=False, from_audit=True
        )


def _count_names(panel: SessionPanel, grid: SlotGrid) -> Int64:
    """How many symbols of a panel have a bar in each slot of the grid, shape (slots,)."""
    line, column = np.nonzero(panel.is_present)
    counts: Int64 = np.bincount(grid.session_offsets[panel.session[line]] + column, minlength=grid.size)
    return counts
