"""Actions that the vendor lists in several versions at once: which one the daily data bear out, else a finding."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from backfill_assets.market.actions.listed_actions import ListedSplit, choose_version
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.actions.action_rows import ContradictionTable, list_contradictions
from backfill_assets.store.actions.ratio_evidence import read_split_evidence
from backfill_assets.store.evidence.findings import (
    DIVIDENDS_CONTRADICT,
    SPLITS_CONTRADICT,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.postgres.connection import Connection

_TABLES: dict[str, ContradictionTable] = {DIVIDENDS_CONTRADICT: "dividends", SPLITS_CONTRADICT: "splits"}


def resolve_splits(connection: Connection, symbol: Symbol, splits: Iterable[ListedSplit]) -> list[ListedSplit]:
    """The splits, of several ratios of one ex-date the one that the daily data bear out; else as they are."""
    return [_resolve(connection, symbol, split) if split.contradiction else split for split in splits]


def _resolve(connection: Connection, symbol: Symbol, split: ListedSplit) -> ListedSplit:
    for evidence in read_split_evidence(connection, symbol.symbol_id, split.ex_date):
        if evidence is not None and (chosen := choose_version(split, evidence)):
            return replace(split, new_shares=chosen[0], old_shares=chosen[1], contradiction=None)
    return split


def update_contradictions(connection: Connection, kind: str, symbols: Collection[Symbol], now: datetime) -> None:
    """Record the findings of a kind about symbols whose actions contradict each other, and resolve the others'."""
    tickers = {symbol.symbol_id: str(symbol.ticker) for symbol in symbols}
    table = _TABLES[kind]
    details: dict[int, list[str]] = {}
    for symbol_id, ex_date, contradiction in list_contradictions(connection, table, tickers):
        details.setdefault(symbol_id, []).append(f"{ex_date}: {contradiction}")
    for symbol_id, lines in details.items():
        detail = (
            f"the vendor lists more than one for the same ex-date ({'; '.join(lines)}); prices of before cannot be"
            " adjusted until it lists one"
        )
        record_finding(connection, Finding(kind, tickers[symbol_id], detail, now))
    resolve_findings(connection, kind, [ticker for key, ticker in tickers.items() if key not in details], now)
