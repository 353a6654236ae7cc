"""Judges stored bars with what whole days and other sessions say: opens doubts, and ends those that are settled.

Only sessions are judged that changed since they were judged last: their bars were requested, their day's settled
figures were read or revised, or a split became known. Sessions of the same symbol soon after are judged with them,
because a rule compares them with sessions before. Each batch of symbols is one transaction, and one process judges at a
time. What an answer's rows show is in ``backfill.fetch.answer_doubts``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import prod

import numpy as np

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.plausibility.doubt_settler import DoubtSettler, JudgedDoubts
from backfill_assets.backfill.plausibility.shared_spikes import confirm_shared_spikes
from backfill_assets.backfill.unit_changes import drop_doubts_of_units
from backfill_assets.market.actions.corporate_actions import SpinOff
from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.sessions import (
    list_next_sessions,
    list_previous_sessions,
)
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.retry_schedule import RetrySchedule
from backfill_assets.market.plausibility.day_ranges import CommonFactor, find_prices_outside_day
from backfill_assets.market.plausibility.judgement import (
    CONTEXT_SESSIONS,
    Form,
    JudgedPanel,
    find_doubts,
    select_judgements,
)
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.store.actions.spinoffs import list_spinoffs
from backfill_assets.store.bars.panel_reader import read_panel, split_symbols
from backfill_assets.store.evidence.day_figures import read_day_figures
from backfill_assets.store.evidence.doubt_answers import end_orphaned_doubts
from backfill_assets.store.evidence.doubts import StoredDoubt, list_doubts, record_doubts
from backfill_assets.store.evidence.findings import COMMON_PRICE_FACTOR, Finding, record_finding, resolve_findings
from backfill_assets.store.evidence.judged_sessions import find_symbols_to_judge, lock_judgement, mark_judged
from backfill_assets.store.evidence.listing_lives import read_listing_lives
from backfill_assets.store.postgres.connection import Connection, Database

MAX_KNOWN_DIFFERENCE = 0.02  # ranges of thin names show a factor only so exactly


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How a window is judged.

    Attributes:
        now: the moment, UTC.
        schedule: how often suspect bars are requested again; a doubt stands when it has run through it.
    """

    now: datetime
    schedule: RetrySchedule


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """How many sessions were judged, and how many doubts were opened and ended."""

    sessions: int = 0
    opened: int = 0
    ended: int = 0

    @property
    def has_changed(self) -> bool:
        """Whether any doubt was opened or ended."""
        return self.opened + self.ended > 0

    def __add__(self, other: "JudgeResult") -> "JudgeResult":
        return JudgeResult(self.sessions + other.sessions, self.opened + other.opened, self.ended + other.ended)


def judge_job(engine: Engine, job: BackfillJob) -> JudgeResult:
    """Judge the sessions that a job reads for its symbols; see ``judge_window``.

    Its requests read some sessions before its window again, too: an answer may mend a bar there, and no later job whose
    window moves with the days would look at that bar.
    """
    settings, sessions = engine.settings, job.window.sessions
    schedule = settings.build_gap_rules(job.market, job.source_interval).retry_schedule
    options = JudgeOptions(settings.now(), schedule)
    if sessions:
        sessions = (*list_previous_sessions(sessions[0], settings.overlap_sessions), *sessions)
    return judge_window(engine.database, job.symbols, build_slot_grid(sessions, job.interval), options)


def judge_window(database: Database, symbols: Sequence[Symbol], grid: SlotGrid, options: JudgeOptions) -> JudgeResult:
    """Judge the sessions of a grid that changed since they were judged, and settle their doubts; no vendor calls."""
    result = JudgeResult()
    if not grid.size or not symbols:
        return result
    earlier = list_previous_sessions(grid.sessions[0], CONTEXT_SESSIONS)
    later = list_next_sessions(grid.sessions[-1], CONTEXT_SESSIONS, options.now)
    wide = build_slot_grid((*earlier, *grid.sessions, *later), grid.interval)
    tickers = {symbol.symbol_id: str(symbol.ticker) for symbol in symbols}
    with database.transaction() as connection:
        result += JudgeResult(ended=end_orphaned_doubts(connection, list(tickers), grid, options.now))
        changed_ids = find_symbols_to_judge(connection, list(tickers), grid)
    for ids in split_symbols(changed_ids, wide):
        batch = _Batch(ids.tolist(), tickers, grid, wide, len(earlier), options)
        result += database.retry_transaction(batch.judge)
    if result.sessions:
        ended = database.retry_transaction(lambda connection: confirm_shared_spikes(connection, grid, options.now))
        result += JudgeResult(ended=ended)
    return result


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some symbols of a window; ``wide`` is its grid with the ``before`` sessions before, and those after."""

    symbol_ids: list[int]
    tickers: dict[int, str]
    grid: SlotGrid
    wide: SlotGrid
    before: int
    options: JudgeOptions

    def judge(self, connection: Connection) -> JudgeResult:
        """Judge what changed, within the caller's transaction."""
        lock_judgement(connection)
        changed = mark_judged(connection, self.symbol_ids, self.grid)
        if not changed:
            return JudgeResult()
        ids = sorted({symbol_id for symbol_id, _ in changed})
        settler, known = self._find(connection, changed, ids)
        if settler.withhold_volumes(known):  # the sessions have other sums now
            settler, known = self._find(connection, changed, ids)
        ended = settler.settle(known)
        found = settler.found
        opened = record_doubts(connection, found.doubts, grid=self.wide, now=self.options.now, from_rows=False)
        self._record_common_factors(connection, found.given, ids)
        return JudgeResult(int(found.given.judged.sum()), opened, ended)

    def _find(
        self, connection: Connection, changed: Collection[tuple[int, int]], ids: Sequence[int]
    ) -> tuple[DoubtSettler, list[StoredDoubt]]:
        """What the rules find in the stored bars, and the doubts that are known."""
        given = self._read(connection, changed)
        entries = list(select_judgements(Form.STORED, only=True))
        doubts = drop_doubts_of_units(connection, find_doubts(given, entries), self.wide)
        found = JudgedDoubts(doubts, given, self.wide)
        first, last = self.grid.sessions[0].day, self.wide.sessions[-1].day
        known = list_doubts(connection, ids, self.grid.interval, first, last)
        return DoubtSettler(connection, found, entries, self.options.now, self.options.schedule), known

    def _read(self, connection: Connection, changed: Collection[tuple[int, int]]) -> JudgedPanel:
        """The bars of the symbols with something to judge, and what is known of their days."""
        stored = read_panel(connection, {symbol_id for symbol_id, _ in changed}, self.wide)
        panel = stored.panel
        days = read_day_figures(connection, panel.symbol_id, panel.session, self.wide)
        judged = _select_lines(panel, changed, self.before)
        judged &= (panel.is_present & ~stored.is_external).any(axis=1)
        return JudgedPanel(panel, days, read_listing_lives(connection, panel.symbol_id, of_stored=True), judged)

    def _record_common_factors(self, connection: Connection, given: JudgedPanel, ids: Sequence[int]) -> None:
        """One finding for each symbol whose prices all are one multiple of the daily ones, also of sessions before."""
        of_judged = np.isin(given.panel.symbol_id, given.panel.symbol_id[given.judged])
        _, found = find_prices_outside_day(given.panel, given.days, of_judged)
        spinoffs = list_spinoffs(connection, {factor.symbol_id for factor in found}) if found else []
        factors = [factor for factor in found if not _is_known(factor, spinoffs, self.wide)]
        for factor in factors:
            name, detail = self.tickers[factor.symbol_id], _describe_factor(factor, self.wide)
            record_finding(connection, Finding(COMMON_PRICE_FACTOR, name, detail, self.options.now))
        with_factor = {factor.symbol_id for factor in factors}
        is_all_judged = np.isin(ids, given.panel.symbol_id[given.judged])
        gone = [self.tickers[key] for key in np.array(ids)[is_all_judged].tolist() if key not in with_factor]
        resolve_findings(connection, COMMON_PRICE_FACTOR, gone, self.options.now)


def _select_lines(panel: SessionPanel, changed: Collection[tuple[int, int]], offset: int) -> Bools:
    """The lines to judge: changed sessions, and those of the symbol that a rule compares with them; (lines,).

    ``offset`` is the position of the window's first session in the panel's grid.
    """
    sessions: dict[int, list[int]] = {}
    for symbol_id, session in changed:
        sessions.setdefault(symbol_id, []).append(session + offset)
    judged = np.zeros(len(panel), bool)
    begins = np.searchsorted(panel.symbol_id, list(sessions), side="left").tolist()
    ends = np.searchsorted(panel.symbol_id, list(sessions), side="right").tolist()
    for begin, end, positions in zip(begins, ends, sessions.values(), strict=True):
        ordered = np.sort(np.array(positions))
        own = panel.session[begin:end]
        last_change = np.searchsorted(ordered, own, side="right") - 1
        is_after = last_change >= 0
        judged[begin:end] = is_after & (own - ordered[np.maximum(last_change, 0)] <= CONTEXT_SESSIONS)
    return judged


def _is_known(factor: CommonFactor, spinoffs: Sequence[SpinOff], grid: SlotGrid) -> bool:
    """Whether spin-offs that are recorded make the daily prices another multiple of the bars'."""
    last_day = grid.sessions[factor.last_session].day
    shares = [s.factor for s in spinoffs if s.symbol_id == factor.symbol_id and s.ex_date > last_day]
    return abs(factor.factor * prod(shares) - 1) <= MAX_KNOWN_DIFFERENCE


def _describe_factor(factor: CommonFactor, grid: SlotGrid) -> str:
    first, last = grid.sessions[factor.first_session].day, grid.sessions[factor.last_session].day
    return (
        f"all prices from {first} to {last} are {factor.factor:.4g} times those of the daily data, as before "
        "a spin-off for which the vendor adjusts its daily prices"
    )
