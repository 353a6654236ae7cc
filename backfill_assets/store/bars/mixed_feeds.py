"""Sessions whose bars come from two feeds of the vendor, as after a change of ``BACKFILL_SOURCE_INTERVAL``.

The feeds are different series with different volumes (docs/vendor.md §2.6), so a session should be of one feed. Bars of
live samples and of other programs are not counted, nor slots that were taken whole from the other feed on purpose
(``other_feed_bars``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.postgres.connection import Connection

# Only sessions that were requested at two source intervals can be mixed, and usually there are none.
_SELECT_MIXED_SESSIONS = """
WITH requested_twice AS (
    SELECT symbol_id, session_day FROM backfill.session_evidence
    WHERE session_day = ANY (%(days)s) AND interval_type = %(interval)s
    GROUP BY symbol_id, session_day HAVING count(*) > 1
)
SELECT r.session_day, r.symbol_id, array_agg(DISTINCT d.source_interval ORDER BY d.source_interval DESC)
FROM requested_twice r
JOIN unnest(%(days)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[]) AS s (day, opens, closes)
     ON s.day = r.session_day
JOIN market_data d ON d.symbol_id = r.symbol_id AND d.interval_type = ANY (%(spellings)s)
     AND d.timestamp >= s.opens AND d.timestamp < s.closes AND d.is_final
WHERE r.symbol_id = ANY (%(ids)s) AND NOT EXISTS (
    SELECT FROM backfill.other_feed_bars o WHERE o.symbol_id = d.symbol_id AND o.interval_type = %(interval)s
       AND o.timestamp = d.timestamp AND o.source_interval = d.source_interval)
GROUP BY 1, 2 HAVING count(DISTINCT d.source_interval) > 1 ORDER BY 1 DESC, 2
"""


@dataclass(frozen=True, slots=True)
class MixedFeeds:
    """Sessions with bars of more than one source interval.

    Attributes:
        sessions: how many sessions of a symbol.
        tickers: of how many tickers.
        feeds: the source intervals.
        newest: the newest such session.
        newest_ticker: a ticker of it.
    """

    sessions: int
    tickers: int
    feeds: tuple[str, ...]
    newest: date
    newest_ticker: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "sessions": self.sessions,
            "tickers": self.tickers,
            "feeds": list(self.feeds),
            "newest": {"ticker": self.newest_ticker, "session": self.newest.isoformat()},
        }

    def __str__(self) -> str:
        return (
            f"{format_count(self.sessions, 'session')} of {format_count(self.tickers, 'ticker')}"
            f" {'mixes' if self.sessions == 1 else 'mix'} bars of {' and '.join(self.feeds)} rows, "
            f"for instance {self.newest_ticker} on {self.newest}; "
            "run --force over these sessions replaces all bars with those of the source interval of the settings"
        )


def find_mixed_feeds(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> MixedFeeds | None:
    """The sessions of ``grid`` with bars of more than one source interval; None if there are none."""
    values = {
        "ids": [s.symbol_id for s in symbols],
        "interval": grid.interval.name,
        "spellings": list(grid.interval.spellings),
        "days": [s.day for s in grid.sessions],
        "opens": [s.rows_from for s in grid.sessions],
        "closes": [s.close for s in grid.sessions],
    }
    found = connection.execute(_SELECT_MIXED_SESSIONS, values).fetchall()
    if not found:
        return None
    tickers = {s.symbol_id: str(s.ticker) for s in symbols}
    return MixedFeeds(
        sessions=len(found),
        tickers=len({symbol_id for _, symbol_id, _ in found}),
        feeds=tuple(sorted({feed for *_, feeds in found for feed in feeds}, reverse=True)),
        newest=found[0][0],
        newest_ticker=tickers[found[0][1]],
    )
