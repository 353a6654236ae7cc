"""What each action of some symbols does to earlier prices, as the schema's functions compute it. Reads only."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from backfill_assets.store.postgres.connection import Connection

ActionKey: TypeAlias = tuple[int, str, date, str]  # symbol_id, kind as in ``action_versions``, ex-date, period
_SELECT_FACTORS = """
SELECT c.listed_as, replace(c.kind, '-', ''), c.ex_date, c.period,
       (c.old_shares / c.new_shares)::float8 * c.price_factor, c.missing
FROM unnest(%(ids)s::int[]) AS t (id) CROSS JOIN LATERAL backfill.counted_actions(t.id, point_in_time => %(now)s) c
WHERE c.listed_as = t.id
"""


@dataclass(frozen=True, slots=True)
class ActionFactor:
    """What an action multiplies earlier prices by.

    Attributes:
        price_factor: None if it is missing.
        missing: then why.
    """

    price_factor: float | None
    missing: str | None


def read_action_factors(
    connection: Connection, symbol_ids: Collection[int], now: datetime
) -> dict[ActionKey, ActionFactor]:
    """The actions that count at ``now`` (UTC). Of several tickers' records of one action only one is among them."""
    rows = connection.execute(_SELECT_FACTORS, {"ids": sorted(symbol_ids), "now": now})
    return {
        (symbol_id, kind, ex_date, period): ActionFactor(factor, missing)
        for symbol_id, kind, ex_date, period, factor, missing in rows
    }
