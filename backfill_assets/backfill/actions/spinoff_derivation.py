"""Derives spin-offs of all retained sessions from the daily data, and withdraws those that they no longer show.

After the morning's reading; no vendor calls. What shows a spin-off is in ``market.actions.spinoffs``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.market.actions.spinoffs import (
    MIN_SESSIONS_BEFORE,
    CloseSeries,
    DerivedSpinOff,
    count_contradicting,
)
from backfill_assets.market.actions.spinoffs import derive_spinoffs as derive_from_closes
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.store.actions.close_series import find_differing_symbols, read_close_series
from backfill_assets.store.actions.spinoffs import list_spinoffs, record_spinoffs, withdraw_spinoffs
from backfill_assets.store.actions.splits import read_splits
from backfill_assets.store.evidence.findings import COMMON_PRICE_FACTOR, list_findings, resolve_findings
from backfill_assets.store.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class SpinOffChanges:
    """How many spin-offs are new or have another factor, and how many count no more."""

    recorded: int = 0
    withdrawn: int = 0


def derive_spinoffs(engine: Engine, job: BackfillJob) -> SpinOffChanges:
    """Derive the spin-offs of a job's symbols from the closes of its window, and store what changed.

    The finding ``common price factor`` of a symbol with a new one ends. A spin-off is withdrawn if at least five
    sessions before it, whose daily rows were read since, do not show it; one from before the window stays.
    """
    grid = build_slot_grid(job.window.sessions, job.interval)
    tickers = {symbol.symbol_id: str(symbol.ticker) for symbol in job.symbols}
    if not tickers or not grid.sessions:
        return SpinOffChanges()
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        known = list_spinoffs(connection, tickers)
        chosen = find_differing_symbols(connection, tickers, grid) | {spinoff.symbol_id for spinoff in known}
        chosen |= _find_with_common_factor(connection, tickers)
        if not chosen:
            return SpinOffChanges()
        splits = read_splits(connection, chosen)
        found: list[tuple[int, date, float, int]] = []
        gone: list[tuple[int, date]] = []
        for symbol_id, series in read_close_series(connection, chosen, grid).items():
            derived = derive_from_closes(series, splits.ratio[splits.symbol_id == symbol_id].tolist())
            found += [(symbol_id, s.ex_date, s.factor, s.sessions) for s in derived]
            own = [DerivedSpinOff(s.ex_date, s.factor, s.sessions) for s in known if s.symbol_id == symbol_id]
            gone += [(symbol_id, day) for day in _find_contradicted(series, derived, own)]
        recorded = record_spinoffs(connection, found, now)
        withdrawn = withdraw_spinoffs(connection, gone, now)
        resolve_findings(connection, COMMON_PRICE_FACTOR, {tickers[symbol_id] for symbol_id, *_ in found}, now)
    return SpinOffChanges(recorded, withdrawn)


def _find_with_common_factor(connection: Connection, tickers: dict[int, str]) -> set[int]:
    subjects = {finding.subject for finding in list_findings(connection) if finding.kind == COMMON_PRICE_FACTOR}
    return {symbol_id for symbol_id, ticker in tickers.items() if ticker in subjects}


def _find_contradicted(
    series: CloseSeries, derived: Sequence[DerivedSpinOff], known: Sequence[DerivedSpinOff]
) -> list[date]:
    """The ex-dates of known spin-offs that the closes no longer show."""
    shown = {spinoff.ex_date for spinoff in derived}
    older = [spinoff for spinoff in known if spinoff.ex_date not in shown]
    contradicted = []
    for spinoff in older:
        others = [*derived, *(other for other in older if other is not spinoff)]
        if count_contradicting(series, others, spinoff.ex_date) >= MIN_SESSIONS_BEFORE:
            contradicted.append(spinoff.ex_date)
    return contradicted
