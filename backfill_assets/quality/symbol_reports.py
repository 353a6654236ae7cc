"""Reads what the rows of a report need beside the coverage; the rows are built in ``quality.report``."""

from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.plausibility import read_suspect_reasons
from backfill_assets.quality.report import SymbolReport, build_symbol_reports
from backfill_assets.store.bars.other_feed_bars import count_other_feed_bars
from backfill_assets.store.job_universe import read_listing_ends
from backfill_assets.store.postgres.connection import Connection


def read_symbol_reports(connection: Connection, coverage: Coverage) -> list[SymbolReport]:
    """One row for each symbol of the coverage, in its order, with what the store says about its bars."""
    return build_symbol_reports(
        coverage,
        count_other_feed_bars(connection, coverage.symbols, coverage.grid),
        read_suspect_reasons(connection, coverage),
        read_listing_ends(connection, [symbol for symbol in coverage.symbols if not symbol.is_active]),
    )
