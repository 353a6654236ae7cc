"""Daily rows of a market that never closes at night: each of a UTC day, weekends included, which ends at 23:59.

They are made of the rows of 5m, or of 1m where a pair has no 5m (``world.clock_rows``).
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.around_the_clock import AroundTheClock, ClockDailyVolumes
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.eod_rows import EodRow
from backfill_assets.sandbox.world.clock_rows import DAY_SECONDS, ClockRows
from backfill_assets.sandbox.world.simulation import World

_EPOCH = date(1970, 1, 1)
_DAYS_TOGETHER = 32


class ClockDailyRows:
    """Builds the daily rows of one world."""

    def __init__(self, config: SandboxConfig, world: World, traits: AroundTheClock) -> None:
        self._world, self._traits, self._absences = world, traits, config.absences
        self._rows = ClockRows(traits, config.seed, world.session_index)
        self._delay = timedelta(minutes=config.feed.daily_delay_minutes)

    def list_rows(self, code: str, first: date, last: date, now: datetime) -> list[EodRow]:
        """List the rows of ``code`` from ``first`` to ``last`` that are published at ``now``, oldest first."""
        if code in self._absences.silent:
            return []
        first = max(first, self._world.listings.get_first_day(code), self._world.starts["5m"])
        last = min(last, self._find_newest(now), self._world.listings.get_last_day(code) or last)
        begin, end = (first - _EPOCH).days, (last - _EPOCH).days
        rows = [
            row
            for start in range(begin, end + 1, _DAYS_TOGETHER)
            for row in self._build_rows(code, start, min(start + _DAYS_TOGETHER, end + 1))
        ]
        return [row for row in rows if (code, date.fromisoformat(row.date)) not in self._absences.eod_skipped]

    def find_row(self, code: str, session: Session, now: datetime) -> EodRow | None:
        """Find the row of one day; None if it is not published at ``now`` or does not exist."""
        rows = self.list_rows(code, session.day, session.day, now)
        return rows[0] if rows else None

    def list_market_rows(self, codes: Iterable[str], session: Session, now: datetime) -> list[tuple[str, EodRow]]:
        """List the rows of many pairs on one day."""
        return [(code, row) for code in codes if (row := self.find_row(code, session, now)) is not None]

    def is_bulk_file_published(self, session: Session, now: datetime) -> bool:
        """Whether the bulk file of a day exists."""
        return session.day <= self._find_newest(now)

    def _find_newest(self, now: datetime) -> date:
        return (now.astimezone(UTC) - self._delay).date() - timedelta(days=1)

    def _build_rows(self, symbol: str, begin: int, end: int) -> list[EodRow]:
        """Build the rows of the UTC days ``[begin, end)``, counted from 1970."""
        interval = "1m" if (symbol, "5m") in self._traits.missing else "5m"
        rows = self._rows.build(symbol, interval, begin * DAY_SECONDS, end * DAY_SECONDS - 1)
        rows = rows.select(rows.prices[2] > 0.01 * rows.prices[1])  # neither null nor 0, nor near it
        days, starts = np.unique(rows.timestamps // DAY_SECONDS, return_index=True)
        if not len(days):
            return []
        opens, highs, lows, closes = rows.prices
        lasts = np.append(starts[1:], len(rows)) - 1
        columns = opens[starts], np.maximum.reduceat(highs, starts), np.minimum.reduceat(lows, starts), closes[lasts]
        volumes = np.add.reduceat(np.maximum(rows.volumes, 0), starts)
        return [
            self._build_row(day, prices, volume)
            for day, *prices, volume in zip(
                days.tolist(), *(c.tolist() for c in columns), volumes.tolist(), strict=True
            )
        ]

    def _build_row(self, day: int, prices: list[float], volume: int) -> EodRow:
        opened, high, low, close = prices
        reported = {
            ClockDailyVolumes.SUM: int(volume * self._traits.daily_volume_share),
            ClockDailyVolumes.ZERO: 0,
            ClockDailyVolumes.NULL: None,
        }[self._traits.daily_volumes]
        return EodRow((_EPOCH + timedelta(days=day)).isoformat(), opened, high, low, close, close, reported)
