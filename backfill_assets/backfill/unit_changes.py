"""Sessions from which on prices may count another unit: found after the morning's reading, and no reason for doubts.

What a jump is, is in ``market.learning.level_jumps``; a person decides (``backfill.decisions.price_units``). Exchanges
that quote whole units, such as the US, are never here.
"""

from collections.abc import Sequence
from datetime import date

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.exchanges.price_units import has_subunit
from backfill_assets.market.learning.level_jumps import find_level_jumps
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.actions.splits import list_splits
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.level_jumps import find_undisputed_jumps, read_levels, record_level_jumps
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.price_units import read_price_units

# What a change of unit looks like to the rules: in its session, and in all sessions after it.
_RULES_OF_CHANGE = frozenset(
    {Rule.SCALE_BREAK, Rule.PRICE_SPIKE, Rule.STEP_WITHOUT_SPLIT, Rule.SPLIT_WITHOUT_STEP, Rule.PRICE_OUTSIDE_DAY}
)
_RULES_SINCE = frozenset({Rule.PRICE_OUTSIDE_DAY})  # the daily data may count the old unit, or both


def find_changed_units(engine: Engine, job: BackfillJob) -> None:
    """Find the sessions from which on prices may count another unit, where an exchange quotes hundredths.

    Not of lines in another currency: the exchange's hundredth is none of theirs.
    """
    if not has_subunit(job.market) or not job.window.sessions:
        return
    searched, sessions = [symbol.symbol_id for symbol in job.symbols], job.window.sessions
    with engine.database.transaction() as connection:
        units = read_price_units(connection, searched)
        ids = [symbol_id for symbol_id, unit in units.items() if unit.currency == job.market.currency]
        (interval,) = adopt_spellings(connection, [job.interval])
        levels = read_levels(connection, ids, sessions, interval)
        split_days = _list_split_days(connection, ids)
        found = [
            (symbol_id, jump)
            for symbol_id, of_symbol in levels.items()
            for jump in find_level_jumps(of_symbol, split_days.get(symbol_id, frozenset()))
        ]
        record_level_jumps(connection, found, searched, sessions[0].day, engine.settings.now())


def _list_split_days(connection: Connection, symbol_ids: list[int]) -> dict[int, frozenset[date]]:
    days: dict[int, set[date]] = {}
    for split in list_splits(connection, symbol_ids):
        days.setdefault(split.symbol_id, set()).add(split.ex_date)
    return {symbol_id: frozenset(found) for symbol_id, found in days.items()}


def drop_doubts_of_units(connection: Connection, doubts: Sequence[Doubt], grid: SlotGrid) -> list[Doubt]:
    """The doubts that no possible change of a symbol's unit explains; ``session`` of a doubt is one of the grid."""
    if not doubts or not has_subunit(grid.sessions[0].market):
        return list(doubts)
    jumps = find_undisputed_jumps(connection, {doubt.symbol_id for doubt in doubts})
    return [
        doubt
        for doubt in doubts
        if not any(_explains(day, doubt, grid.sessions[doubt.session].day) for day in jumps.get(doubt.symbol_id, ()))
    ]


def _explains(jump_day: date, doubt: Doubt, doubt_day: date) -> bool:
    if doubt_day == jump_day:
        return doubt.rule in _RULES_OF_CHANGE
    return doubt_day > jump_day and doubt.rule in _RULES_SINCE
