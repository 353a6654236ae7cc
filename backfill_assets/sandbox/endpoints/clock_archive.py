"""Rows of a market that never closes at night as ``/intraday`` has them at a given time: all but the newest.

The rows are made in ``world.clock_rows``.
"""

from collections.abc import Iterator
from datetime import date

import numpy as np

from backfill_assets.sandbox.around_the_clock import AroundTheClock, RowPublication
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.intraday_rows import IntradayRow, build_intraday_rows
from backfill_assets.sandbox.endpoints.withheld_rows import WithheldRows
from backfill_assets.sandbox.wire.encoding import encode_json_fragment
from backfill_assets.sandbox.world.clock_rows import DAY_SECONDS, STEP_SECONDS, ClockRows
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns
from backfill_assets.sandbox.world.random_draws import draw_between
from backfill_assets.sandbox.world.simulation import World

_HOUR = 3600.0
_DAYS_PER_FRAGMENT = 4  # the server answers others between two fragments


class ClockArchive:
    """Source of the generated intraday rows of one world."""

    def __init__(self, config: SandboxConfig, world: World, traits: AroundTheClock) -> None:
        self._world, self._traits, self._seed = world, traits, config.seed
        self._quirks = config.quirks
        self._without_rows = config.absences.without_intraday
        self._withheld = WithheldRows(config.withheld)
        self._rows = ClockRows(traits, config.seed, world.session_index)

    def is_known(self, symbol: str, today: date) -> bool:
        """Whether the vendor knows ``symbol`` on ``today``."""
        return self._world.listings.is_known(symbol, today)

    def iter_json_fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """Iterate over the rows in ``[start, end]`` as JSON, a few days at a time."""
        for rows in self.iter_rows(symbol, interval, start, end, now):
            yield encode_json_fragment(rows)

    def iter_rows(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[IntradayRow]]:
        """Iterate over the same rows as objects."""
        if symbol in self._without_rows:
            return
        latest = min(end, self.find_newest(symbol, interval, now))
        first = max(start, self._find_first(symbol, interval))
        step = _DAYS_PER_FRAGMENT * DAY_SECONDS
        for begin in range(first // step * step, latest + 1, step):
            rows = self.select(symbol, interval, max(begin, first), min(begin + step - 1, latest), now)
            yield build_intraday_rows(rows, self._quirks.whole_prices_as_int)

    def select(self, symbol: str, interval: str, start: int, end: int, now: float) -> IntradayColumns:
        """Select the rows in ``[start, end]`` that the vendor does not lack at ``now``."""
        rows = self._rows.build(symbol, interval, start, end)
        return rows.select(~self._withheld.find(symbol, rows.timestamps, now))

    def find_newest(self, symbol: str, interval: str, now: float) -> int:
        """Find the last stamp that rows can have at ``now``."""
        step = STEP_SECONDS[interval]
        if self._traits.publication is RowPublication.TRAILING:
            bounds = self._traits.trailing_hours.get(interval, (0.0, 0.0))
            return int(now - _HOUR * draw_between(bounds, self._seed, "trailing", symbol)) - step
        closes = self._world.session_index.closes
        hours = draw_between(self._traits.hours_after_close, self._seed, "after close", symbol)
        published = int(np.searchsorted(closes, now - _HOUR * hours, side="right"))
        return int(closes[published - 1]) - 1 if published else 0

    def _find_first(self, symbol: str, interval: str) -> int:
        first = max(self._world.listings.get_first_day(symbol), self._world.starts[interval])
        return (first.toordinal() - date(1970, 1, 1).toordinal()) * DAY_SECONDS
