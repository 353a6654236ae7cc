"""Brings the census of all exchanges up to date: counts and adds up bars, then explains what is absent.

The verify job does some of it every time; a person has all of it done with ``backfill-assets census --update``.
"""

from collections.abc import Sequence
from contextlib import suppress

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import SessionsUnknown
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.quality.census.explaining import explain_months
from backfill_assets.quality.census.scope import read_scope
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.census.upkeep import BLOCKS_OF_VERIFYING, keep_census
from backfill_assets.store.census.verification import verify_census_block
from backfill_assets.store.postgres.connection import Database, is_read_only

STEPS_OF_VERIFYING = 5  # some seconds
_TURN_SECONDS = 900  # as often as the verify job runs
_ALL = 1_000_000  # steps, more than any store needs


def update_census(database: Database, settings: Settings, markets: Sequence[MarketProfile], interval: Interval) -> None:
    """Count and add up bars, and explain what is absent: all that can be done within some seconds or a minute.

    A block of symbols is counted again each time, by the clock, so that all have their turn.
    """
    verify_census_block(database, int(settings.now().timestamp() // _TURN_SECONDS))
    keep_census(database, blocks=BLOCKS_OF_VERIFYING)
    _settle_all(database, settings, markets, interval, steps=STEPS_OF_VERIFYING)


def complete_census(
    database: Database, settings: Settings, markets: Sequence[MarketProfile], interval: Interval
) -> None:
    """The same until nothing is left, but for what another process is at: minutes for a store that was never counted.

    Raises:
        SessionsUnknown: the sessions of an exchange cannot be told.
    """
    keep_census(database, blocks=_ALL)
    for market in markets:
        _settle(database, settings, market, interval, steps=_ALL)


def _settle_all(
    database: Database, settings: Settings, markets: Sequence[MarketProfile], interval: Interval, *, steps: int
) -> None:
    """Explain what is absent, so many steps an exchange; without those whose sessions cannot be told."""
    for market in markets:
        with suppress(SessionsUnknown):
            _settle(database, settings, market, interval, steps=steps)


def _settle(database: Database, settings: Settings, market: MarketProfile, interval: Interval, *, steps: int) -> None:
    with database.transaction() as connection:
        if is_read_only(connection):
            return
        (spelled,) = adopt_spellings(connection, [interval])
        scope = read_scope(connection, settings, market, spelled, settings.now())
    for _ in range(steps):
        step = explain_months(database, scope)
        if step is None or step.is_last:
            return
