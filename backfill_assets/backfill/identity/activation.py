"""Takes a ticker out of the universe with all that follows, and puts it back as it was."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.store.evidence.finding_ends import reopen_findings
from backfill_assets.store.evidence.findings import TICKER_KINDS, list_findings, resolve_findings
from backfill_assets.store.evidence.unserved_symbols import continue_unserved, end_unserved
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import activate_rows, deactivate_symbols, list_active_rows, list_all_symbols


def deactivate_ticker(connection: Connection, ticker: Ticker, now: datetime) -> dict[str, Any]:
    """Deactivate a ticker as ``symbols deactivate`` does: its findings are resolved, and it is not set aside.

    Returns:
        What there was before, as JSON values for ``reactivate_ticker``.
    """
    rows, name = list_active_rows(connection, [ticker]), str(ticker)
    deactivate_symbols(connection, [ticker])
    open_kinds = {f.kind for f in list_findings(connection) if f.subject == name and f.kind in TICKER_KINDS}
    for kind in open_kinds:
        resolve_findings(connection, kind, [name], now)
    active = [symbol.symbol_id for symbol in list_all_symbols(connection)]
    ended = end_unserved(connection, active, now)
    return {"deactivated": name, "rows": rows, "findings": sorted(open_kinds), "unserved": sorted(ended & set(rows))}


def reactivate_ticker(connection: Connection, changes: Mapping[str, Any]) -> None:
    """Activate the rows of a ticker again, and open its findings."""
    activate_rows(connection, changes["rows"])
    for kind in changes["findings"]:
        reopen_findings(connection, kind, [changes["deactivated"]])
    continue_unserved(connection, changes["unserved"])
