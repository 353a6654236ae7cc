"""The answer to "is the whole store complete?", for one exchange: as a value, as a line of text, and as JSON.

How it is found is in ``whole_store`` and ``newest_months``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.timestamps import format_optional_timestamp, to_datetime
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.quality.census.newest_months import find_lacking_newest, measure_sessions, split_measured
from backfill_assets.quality.census.scope import HistoryScope, read_scope
from backfill_assets.quality.census.whole_store import (
    LackingMonths,
    examine_stored_months,
    find_lacking_months,
    join_months,
)
from backfill_assets.store.job_universe import JobUniverse
from backfill_assets.store.postgres.connection import Connection, Database

_LOOKED_AT = 20  # symbols in which the oldest missing bar is looked for


@dataclass(frozen=True, slots=True)
class WholeStore:
    """How complete the store of one exchange is, from the first day on that it is to be complete from.

    Attributes:
        exchange: the vendor's code.
        interval: of the bars.
        first_day: the first session that any symbol must have; None without symbols or sessions.
        symbols: how many symbols must have bars.
        expected: bars of sessions that are settled, as many as the calendar expects.
        missing: bars that lack, of months that were measured.
        symbol_months: months of all symbols in which a bar is expected.
        missing_months: how many of them lack a bar.
        unmeasured_months: how many other ones wait for a count or a measurement, which may explain what is absent.
        unmeasured: bars that are absent from those, as far as they were counted.
        symbols_with_missing: how many symbols lack a bar.
        oldest_missing_at: the oldest missing bar, UTC; None without any, and while an older month waits.
    """

    exchange: str
    interval: str
    first_day: date | None
    symbols: int
    expected: int
    missing: int
    symbol_months: int
    missing_months: int
    unmeasured_months: int
    unmeasured: int
    symbols_with_missing: int
    oldest_missing_at: datetime | None

    @property
    def is_complete(self) -> bool:
        """Whether no bar lacks, and no month waits for a count or a measurement."""
        return not self.missing and not self.unmeasured_months

    @property
    def share(self) -> float:
        """The part of the expected bars that is known to be there or explained, 0 to 1; 1 only if it is complete."""
        absent = max(self.missing + self.unmeasured, 0 if self.is_complete else 1)
        return 1.0 if not self.expected else max(0.0, 1 - absent / self.expected)

    def describe(self) -> str:
        """In one line: ``complete since 2020-10-12``, or the share and what is missing."""
        if self.first_day is None:
            return "nothing is expected"
        if self.is_complete:
            return f"complete since {self.first_day}"
        # never rounded up: nothing but a complete store is 100 %
        least = "at least " if self.unmeasured_months else ""
        parts = [f"{least}{min(int(self.share * 1000) / 10, 99.9):.1f} % complete since {self.first_day}"]
        if self.missing:
            symbols = format_count(self.symbols_with_missing, "symbol")
            parts.append(f"{format_count(self.missing, 'bar')} of {symbols} missing")
        if self.oldest_missing_at:
            parts.append(f"the oldest at {format_optional_timestamp(self.oldest_missing_at)}")
        if self.unmeasured_months:
            parts.append(f"{format_count(self.unmeasured_months, 'month')} of symbols not examined yet")
        return ", ".join(parts)

    def as_dict(self) -> Mapping[str, Any]:
        """As a JSON object."""
        return {
            "summary": self.describe(),
            "is_complete": self.is_complete,
            "share": round(self.share, 6),
            "first_day": self.first_day.isoformat() if self.first_day else None,
            "symbols": self.symbols,
            "expected_bars": self.expected,
            "missing_bars": self.missing,
            "symbol_months": self.symbol_months,
            "missing_months": self.missing_months,
            "unmeasured_months": self.unmeasured_months,
            "unmeasured_bars": self.unmeasured,
            "symbols_with_missing": self.symbols_with_missing,
            "oldest_missing": format_optional_timestamp(self.oldest_missing_at),
        }


def read_whole_store(
    database: Database, settings: Settings, market: MarketProfile, interval: Interval, now: datetime
) -> WholeStore:
    """The answer for one exchange, in one snapshot; ``interval`` with the spellings of the table.

    Raises:
        SessionsUnknown: the exchange's sessions cannot be told.
    """
    with database.snapshot() as connection:
        stored = examine_stored_months(connection, read_scope(connection, settings, market, interval, now))
        lacking = join_months([find_lacking_months(connection, stored), find_lacking_newest(connection, stored)])
        return build_answer(connection, stored.scope, lacking)


def read_closed_months(
    connection: Connection,
    settings: Settings,
    market: MarketProfile,
    interval: Interval,
    now: datetime,
    universe: JobUniverse | None = None,
) -> WholeStore:
    """The same of months that are over alone: no bar is looked at but for the oldest one that lacks.

    ``universe``: the exchange's symbols, if the caller has read them.

    Raises:
        SessionsUnknown: the exchange's sessions cannot be told.
    """
    scope = read_scope(connection, settings, market, interval, now, universe).end_with_closed_months()
    return build_answer(connection, scope, find_lacking_months(connection, examine_stored_months(connection, scope)))


def build_answer(connection: Connection, scope: HistoryScope, lacking: LackingMonths) -> WholeStore:
    """The answer out of the months that lack bars."""
    begins, ends = np.minimum(scope.begins, scope.settled_ends), scope.settled_ends
    is_missing = lacking.is_missing
    return WholeStore(
        exchange=scope.market.exchange,
        interval=scope.interval.name,
        first_day=_find_first_day(scope),
        symbols=int((ends > begins).sum()),
        expected=int((ends - begins).sum()),
        missing=int(lacking.missing[is_missing].sum()),
        symbol_months=_count_symbol_months(scope),
        missing_months=int(is_missing.sum()),
        unmeasured_months=int(lacking.is_unmeasured.sum()),
        unmeasured=int(lacking.missing[lacking.is_unmeasured].sum()),
        symbols_with_missing=len(np.unique(lacking.row[is_missing])),
        oldest_missing_at=_find_oldest(connection, scope, lacking),
    )


def _find_first_day(scope: HistoryScope) -> date | None:
    listed = scope.begins[scope.begins < scope.ends]
    if not len(listed):
        return None
    return scope.grid.sessions[int(scope.grid.session_index[listed.min()])].day


def _count_symbol_months(scope: HistoryScope) -> int:
    """Months are ranges of slots: a symbol has those from that of its first slot to that of its last one."""
    is_expected = scope.begins < scope.settled_ends
    offsets = scope.monthly.offsets
    first = np.searchsorted(offsets, scope.begins[is_expected], side="right")
    last = np.searchsorted(offsets, scope.settled_ends[is_expected] - 1, side="right")
    return int((last - first + 1).sum())


def _find_oldest(connection: Connection, scope: HistoryScope, lacking: LackingMonths) -> datetime | None:
    """The oldest missing bar, by a look at some symbols of the oldest month that lacks one."""
    known = np.flatnonzero(lacking.is_missing)
    if not len(known):
        return None
    month = int(lacking.month[known].min())
    if (lacking.is_unmeasured & (lacking.month <= month)).any():
        return None
    rows = np.unique(lacking.row[known][lacking.month[known] == month])[:_LOOKED_AT]
    begin, end = scope.find_sessions(int(np.searchsorted(scope.monthly.months, month)))
    months, measured = split_measured(scope, rows, begin, measure_sessions(connection, scope, rows, begin, end))
    oldest = measured.oldest_missing[:, np.searchsorted(months, month)]
    return to_datetime(int(oldest[oldest >= 0].min())) if (oldest >= 0).any() else None
