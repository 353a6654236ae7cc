"""The improbable rows of a market's sessions: what ``oddity_draws`` draws, put into rows by ``implausible_rows``."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.oddities import Mending, Oddity
from backfill_assets.sandbox.world import implausible_rows
from backfill_assets.sandbox.world.intraday_columns import NO_ROWS, IntradayColumns
from backfill_assets.sandbox.world.listings import ListingHistory
from backfill_assets.sandbox.world.minute_paths import OfficialBar
from backfill_assets.sandbox.world.oddity_draws import DrawnOddity, OddityDraws
from backfill_assets.sandbox.world.publication import PublicationStage, PublicationTimes
from backfill_assets.sandbox.world.session_index import SessionIndex


class TrueMarket(Protocol):
    """What the wrong rows are made from."""

    listings: ListingHistory
    session_index: SessionIndex

    def build_traded_rows(self, symbol: str, session: Session, source: str, *, revised: bool) -> IntradayColumns:
        """Build the true rows of an interval."""
        ...

    def get_official_bar(self, symbol: str, session: Session) -> OfficialBar:
        """Get the official bar of a session."""
        ...


@dataclass(frozen=True, eq=False)
class OddityRows:
    """Changes the regular rows of sessions that are drawn to be wrong."""

    market: TrueMarket
    draws: OddityDraws

    @classmethod
    def create(cls, config: SandboxConfig, market: TrueMarket) -> "OddityRows":
        """Create it for one market."""
        return cls(market, OddityDraws(config, market.listings, market.session_index))

    def find(self, symbol: str, session: Session, interval: str, stage: PublicationStage) -> DrawnOddity | None:
        """Find what is wrong at ``stage``; 1h has no improbable rows."""
        drawn = None if interval == "1h" else self.draws.draw(symbol, session)
        is_mended = drawn is not None and drawn.mending is Mending.MENDED and stage.mended
        return None if is_mended else drawn

    def change(
        self, drawn: DrawnOddity | None, symbol: str, session: Session, interval: str, rows: IntradayColumns
    ) -> IntradayColumns:
        """Make the wrong rows from the regular ones of ``interval`` with a trade."""
        if drawn is None or interval == "1h":
            return rows
        if interval == "5m":
            return self._make_wrong(drawn, symbol, session, rows)
        right = self.market.build_traded_rows(symbol, session, "5m", revised=True)
        wrong = self._make_wrong(drawn, symbol, session, right)
        return implausible_rows.carry_to_minutes(rows, right, wrong, drawn.mending)

    def list_oddities(self, symbol: str, session: Session, times: PublicationTimes) -> list[Oddity]:
        """List what is wrong in the 5m rows; nothing if no value differs, or the session is never published."""
        drawn = self.draws.draw(symbol, session)
        if drawn is None or times.first_at == np.inf:
            return []
        right = self.market.build_traded_rows(symbol, session, "5m", revised=True)
        wrong = self._make_wrong(drawn, symbol, session, right)
        changed = implausible_rows.find_changed(right, wrong)
        if not changed.any():
            return []
        stamps, factor = tuple(right.timestamps[changed].tolist()), implausible_rows.compute_factor(right, wrong)
        mended_at = times.mended_at if drawn.mending is Mending.MENDED else np.inf
        return [Oddity(drawn.kind, symbol, session.day, stamps, factor, drawn.mending, mended_at)]

    def _make_wrong(self, drawn: DrawnOddity, symbol: str, session: Session, right: IntradayColumns) -> IntradayColumns:
        listings, session_index = self.market.listings, self.market.session_index
        before, split = session_index.find_earlier(session, 1), listings.find_latest_split(symbol, session.day)

        def get_rows_before(count: int) -> IntradayColumns:
            earlier = session_index.find_earlier(session, count)
            if earlier is None or not listings.is_listed_on(symbol, earlier.day):
                return NO_ROWS
            return self.market.build_traded_rows(symbol, earlier, "5m", revised=True)

        close_before = self.market.get_official_bar(symbol, before or session).close
        surroundings = implausible_rows.Surroundings(
            close_before, float(split.value) if split else 1.0, get_rows_before
        )
        return implausible_rows.make_implausible(drawn, right, surroundings)
