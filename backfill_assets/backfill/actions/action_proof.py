"""What the bars and the daily data say of corporate actions, after each morning's reading; no vendor calls.

Spin-offs are derived, and findings recorded and ended: ``split without step``, ``dividend in another currency`` and
``adjusted closes differ``. The check ``splits_are_consistent`` (``quality.corporate_actions``) has the same verdicts.
Contradictory records are told by ``contradictions``.
"""

from collections.abc import Mapping
from datetime import datetime

from backfill_assets.backfill.actions.spinoff_derivation import SpinOffChanges, derive_spinoffs
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.market.actions.proof import Verdict
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.store.actions.adjusted_close_reader import read_adjusted_closes
from backfill_assets.store.actions.closes_compared import ClosesCompared, compare_closes
from backfill_assets.store.actions.split_verdicts import judge_stored_splits
from backfill_assets.store.evidence.findings import (
    ADJUSTED_CLOSES_DIFFER,
    DIVIDEND_IN_OTHER_CURRENCY,
    SPLIT_WITHOUT_STEP,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.learning import may_judge_daily_data
from backfill_assets.store.postgres.connection import Connection

_Texts = dict[int, list[str]]


def prove_actions(engine: Engine, job: BackfillJob) -> SpinOffChanges:
    """Derive spin-offs of a job's symbols and window, judge all their splits of days with bars, and compare closes.

    Nothing on an exchange without actions, or whose daily closes may not judge yet.
    """
    if not job.market.has_actions:
        return SpinOffChanges()
    if job.market.is_experimental:
        with engine.database.transaction() as connection:
            if not may_judge_daily_data(connection, job.market):
                return SpinOffChanges()
    changes = derive_spinoffs(engine, job)
    tickers = {symbol.symbol_id: str(symbol.ticker) for symbol in job.symbols}
    if not tickers or not job.window.sessions:
        return changes
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        without_step: _Texts = {}
        for split in judge_stored_splits(connection, tickers, job.interval, now):
            if split.verdict is Verdict.WITHOUT_STEP:
                without_step.setdefault(split.symbol_id, []).append(str(split))
        grid = build_slot_grid(job.window.sessions, job.interval)
        compared = compare_closes(read_adjusted_closes(connection, tickers, grid))
        _record(connection, SPLIT_WITHOUT_STEP, without_step, tickers, now)
        _record(connection, ADJUSTED_CLOSES_DIFFER, _list_differences(compared), tickers, now)
        _record(connection, DIVIDEND_IN_OTHER_CURRENCY, _list_in_other_currency(compared), tickers, now)
    return changes


def _list_differences(compared: list[ClosesCompared]) -> _Texts:
    return {item.symbol_id: item.unexplained for item in compared if item.unexplained}


def _list_in_other_currency(compared: list[ClosesCompared]) -> _Texts:
    texts: _Texts = {}
    for item in compared:
        for action in item.missing:
            if action.is_in_other_currency:
                text = f"the dividend of {action.ex_date} has no factor: {action.reason}"
                texts.setdefault(item.symbol_id, []).append(text)
    return texts


def _record(connection: Connection, kind: str, texts: _Texts, tickers: Mapping[int, str], now: datetime) -> None:
    """One finding for each symbol with a text; those of the others end."""
    for symbol_id, of_symbol in texts.items():
        record_finding(connection, Finding(kind, tickers[symbol_id], "; ".join(of_symbol), now))
    resolve_findings(connection, kind, {ticker for key, ticker in tickers.items() if key not in texts}, now)
