"""The check that corporate actions are consistent: splits with the prices, adjusted closes with the vendor's.

Verdicts are in ``market.actions.proof``, differences in ``market.actions.adjusted_closes``. What morning readings find
is recorded as findings (``backfill.actions.action_proof``); here nothing is written.
"""

from collections.abc import Mapping, Sequence

from backfill_assets.config.counts import format_count
from backfill_assets.market.actions.proof import Verdict
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.criteria import MAX_OFFENDERS, Criterion
from backfill_assets.store.actions.adjusted_close_reader import read_adjusted_closes
from backfill_assets.store.actions.closes_compared import ClosesCompared, compare_closes
from backfill_assets.store.actions.split_verdicts import JudgedSplit, judge_stored_splits
from backfill_assets.store.evidence.findings import (
    ADJUSTED_CLOSES_DIFFER,
    DIVIDENDS_CONTRADICT,
    SPLITS_CONTRADICT,
    Finding,
    list_findings,
)
from backfill_assets.store.postgres.connection import Database

SPLITS_ARE_CONSISTENT = "splits_are_consistent"
OLDER_KINDS = (ADJUSTED_CLOSES_DIFFER, SPLITS_CONTRADICT, DIVIDENDS_CONTRADICT)


def evaluate_corporate_actions(database: Database, coverage: Coverage) -> Criterion:
    """Evaluate ``splits_are_consistent`` for a coverage's symbols.

    All splits with bars are judged, and the closes of the window compared. What the morning's reading found in those
    of older sessions is an open finding.
    """
    tickers = {symbol.symbol_id: str(symbol.ticker) for symbol in coverage.symbols}
    with database.transaction() as connection:
        splits = judge_stored_splits(connection, tickers, coverage.grid.interval, coverage.now)
        compared = (
            compare_closes(read_adjusted_closes(connection, tickers, coverage.grid)) if coverage.grid.size else []
        )
        findings = [f for f in list_findings(connection) if f.kind in OLDER_KINDS and f.subject in tickers.values()]
    return check_splits_are_consistent(splits, compared, tickers, findings)


def check_splits_are_consistent(
    splits: Sequence[JudgedSplit],
    compared: Sequence[ClosesCompared],
    tickers: Mapping[int, str],
    findings: Sequence[Finding] = (),
) -> Criterion:
    """Each split is applied once, and adjusted closes are the vendor's within a basis point, or it is known why not.

    Args:
        splits: those of the symbols that took effect on days with bars.
        compared: one for each symbol with closes of both sides.
        tickers: symbol_id → ticker.
        findings: open ones of the symbols about their actions, of whichever session.
    """
    judged = [split for split in splits if split.verdict.is_judged]
    days = sum(item.days for item in compared)
    if not judged and not days and not findings:
        reason = f"no daily data to compare with, and no split with bars on both sides (splits: {len(splits):,})"
        return Criterion.create_not_judged(SPLITS_ARE_CONSISTENT, reason)
    without_step = [split for split in judged if split.verdict is Verdict.WITHOUT_STEP]
    applied, not_judged = len(judged) - len(without_step), len(splits) - len(judged)
    others = [f"{tickers[item.symbol_id]}: {text}" for item in compared for text in item.inconsistencies]
    named = {tickers[item.symbol_id] for item in compared if item.inconsistencies}
    others += [f"{f.subject}: {f.kind}: {f.detail}" for f in findings if f.subject not in named]
    offenders = [*(f"{tickers[split.symbol_id]}: {split}" for split in without_step), *others]
    return Criterion(
        name=SPLITS_ARE_CONSISTENT,
        passed=not offenders,
        figure=len(offenders),
        threshold=0,
        meaning=f"{format_count(len(without_step), 'split is', 'splits are')} without a step in the prices"
        f" ({applied:,} applied, {not_judged:,} not judged), "
        f"{format_count(len(others), 'other inconsistency', 'other inconsistencies')}; "
        + _describe_closes(compared, days),
        offenders=tuple(offenders[:MAX_OFFENDERS]),
    )


def _describe_closes(compared: Sequence[ClosesCompared], days: int) -> str:
    """How many adjusted closes agree with the vendor's, and what is left out of that."""
    if not days:
        return "no adjusted closes to compare"
    explained = sum(d.cause.is_explained for item in compared for d in item.differences)
    without_factor = sum(item.without_factor for item in compared)
    notes = [f"{format_count(explained, 'difference')} explained"] if explained else []
    notes += [f"{format_count(without_factor, 'more day has', 'more days have')} no factor"] if without_factor else []
    worst = max(item.worst_bps for item in compared)
    return (
        f"{format_count(days, 'adjusted close', 'adjusted closes')} compared,"
        f" the largest difference {worst:.2g} basis points" + (f" ({', '.join(notes)})" if notes else "")
    )
