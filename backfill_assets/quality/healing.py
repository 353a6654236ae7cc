"""How far the healing of sessions has come that are no partitions (BACKFILL_HEAL_SESSIONS), as the status shows it.

Only what earlier looks recorded is read. What is healed is found in ``backfill.older_sessions``.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.job_universe import build_job_universe
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import Universe
from backfill_assets.store.watched_sessions import read_watched


@dataclass(frozen=True, slots=True)
class HealingFigures:
    """Of one exchange or of several.

    Attributes:
        sessions: healed ones that are no partitions.
        symbols: with such sessions.
        symbols_watched: those of which all these sessions were filled or given up, and are watched since.
        missing: bars that watched sessions lacked when they were looked at last.
    """

    sessions: int
    symbols: int
    symbols_watched: int
    missing: int

    def as_dict(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        return asdict(self)


def read_healing(
    connection: Connection,
    settings: Settings,
    market: MarketProfile,
    universe: Universe,
    interval: Interval,
    now: datetime,
) -> HealingFigures | None:
    """The figures of one exchange; None if every session that is healed is a partition."""
    if settings.heal_sessions is None:
        return None
    job_universe = build_job_universe(connection, universe.symbols)
    retained = limit_partition_sessions(settings.partition_days, len(job_universe.active))
    sessions = build_session_window(market, now, settings.heal_sessions).sessions
    if len(sessions) <= retained:
        return None
    symbols = job_universe.list_since(sessions[0].day)
    watched = read_watched(connection, [symbol.symbol_id for symbol in symbols], interval)
    return HealingFigures(
        sessions=len(sessions) - retained,
        symbols=len(symbols),
        symbols_watched=sum(one.day <= sessions[0].day for one in watched.values()),
        missing=sum(one.missing for one in watched.values()),
    )


def add_up_healing(figures: Sequence[HealingFigures | None]) -> HealingFigures | None:
    """The sums of several exchanges, with the most sessions of any; None without any."""
    found = [one for one in figures if one is not None]
    if not found:
        return None
    return HealingFigures(
        sessions=max(one.sessions for one in found),
        symbols=sum(one.symbols for one in found),
        symbols_watched=sum(one.symbols_watched for one in found),
        missing=sum(one.missing for one in found),
    )
