"""Writes what the database knows of exchanges: time zones, currencies, units, names, and whether they have actions.

SQL asks the table ``backfill.exchanges``, for instance for a symbol's time zone, and when its session dates begin.
Migrations wrote every profile into it; what a user corrects of a profile is written when a database is opened.
"""

from collections.abc import Collection, Sequence

from backfill_assets.market.calendar.forex_calendar import get_day_begin
from backfill_assets.market.exchanges.names import list_exchange_names
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, US
from backfill_assets.store.postgres.connection import Database

_WITH_PROFILES = """
WITH profile AS (
    SELECT p.exchange, p.zone, p.currency, p.price_unit, string_to_array(p.names, ',') AS names, p.has_actions,
           p.day_begin
    FROM unnest(%(exchanges)s::text[], %(zones)s::text[], %(currencies)s::text[], %(price_units)s::text[],
                %(names)s::text[], %(has_actions)s::boolean[], %(day_begins)s::interval[])
      AS p (exchange, zone, currency, price_unit, names, has_actions, day_begin)
)
"""
_HAS_CHANGES = f"""
{_WITH_PROFILES}
SELECT current_setting('transaction_read_only') = 'off' AND has_table_privilege('backfill.exchanges', 'INSERT')
   AND EXISTS (
    SELECT FROM profile p LEFT JOIN backfill.exchanges e USING (exchange)
    WHERE (e.zone, e.currency, e.price_unit, e.names, e.has_actions, e.day_begin)
        IS DISTINCT FROM (p.zone, p.currency, p.price_unit, p.names, p.has_actions, p.day_begin))
"""  # noqa: S608 - only a constant is inserted
_UPSERT_PROFILES = f"""
{_WITH_PROFILES}
INSERT INTO backfill.exchanges AS e (exchange, zone, currency, price_unit, names, has_actions, day_begin)
SELECT exchange, zone, currency, price_unit, names, has_actions, day_begin FROM profile ORDER BY exchange
ON CONFLICT (exchange) DO UPDATE SET
    zone = EXCLUDED.zone, currency = EXCLUDED.currency, price_unit = EXCLUDED.price_unit, names = EXCLUDED.names,
    has_actions = EXCLUDED.has_actions, day_begin = EXCLUDED.day_begin
"""  # noqa: S608 - only a constant is inserted


def record_exchanges(database: Database, markets: Collection[MarketProfile]) -> None:
    """Make SQL know these exchanges as their profiles say.

    No statement for the US alone, as every database knows it; one if nothing is new. A read-only server, or a role
    without the right, records nothing: then the profile counts that a migration wrote.
    """
    if all(market.exchange == DEFAULT_EXCHANGE and market.zone == US.zone for market in markets):
        return
    values = _list_values(sorted(markets, key=lambda market: market.exchange))
    with database.transaction() as connection:
        if connection.execute(_HAS_CHANGES.encode(), values).fetchall() == [(True,)]:
            connection.execute(_UPSERT_PROFILES.encode(), values)


def _list_values(markets: Sequence[MarketProfile]) -> dict[str, Sequence[object]]:
    return {
        "exchanges": [market.exchange for market in markets],
        "zones": [market.zone.key for market in markets],
        "currencies": [market.currency for market in markets],
        "price_units": [market.price_unit for market in markets],
        "has_actions": [market.has_actions for market in markets],
        "day_begins": [get_day_begin(market.calendar) for market in markets],
        "names": [",".join(sorted(list_exchange_names(market.exchange) - {market.exchange, ""})) for market in markets],
    }
