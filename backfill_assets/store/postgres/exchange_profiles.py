"""Writes what the database knows of exchanges, the table ``backfill.exchanges``: time zones, currencies, units, names.

SQL asks it for a symbol's time zone. The migration that made it wrote every profile into it; what a user corrects of a
profile is written when a database is opened.
"""

from collections.abc import Collection, Sequence

from backfill_assets.market.exchanges.names import list_exchange_names
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, US
from backfill_assets.store.postgres.connection import Database

_WITH_PROFILES = """
WITH profile AS (
    SELECT p.exchange, p.zone, p.currency, p.price_unit, string_to_array(p.names, ',') AS names
    FROM unnest(%(exchanges)s::text[], %(zones)s::text[], %(currencies)s::text[], %(price_units)s::text[],
                %(names)s::text[]) AS p (exchange, zone, currency, price_unit, names)
)
"""
_HAS_CHANGES = f"""
{_WITH_PROFILES}
SELECT current_setting('transaction_read_only') = 'off' AND has_table_privilege('backfill.exchanges', 'INSERT')
   AND EXISTS (
    SELECT FROM profile p LEFT JOIN backfill.exchanges e USING (exchange)
    WHERE (e.zone, e.currency, e.price_unit, e.names) IS DISTINCT FROM (p.zone, p.currency, p.price_unit, p.names))
"""  # noqa: S608 - only a constant is inserted
_UPSERT_PROFILES = f"""
{_WITH_PROFILES}
INSERT INTO backfill.exchanges AS e (exchange, zone, currency, price_unit, names)
SELECT exchange, zone, currency, price_unit, names FROM profile ORDER BY exchange
ON CONFLICT (exchange) DO UPDATE SET
    zone = EXCLUDED.zone, currency = EXCLUDED.currency, price_unit = EXCLUDED.price_unit, names = EXCLUDED.names
"""  # noqa: S608 - only a constant is inserted


def record_exchanges(database: Database, markets: Collection[MarketProfile]) -> None:
    """Make SQL know these exchanges as their profiles say.

    No statement for the US alone, as every database knows it; one if nothing is new. A read-only server, or a role
    without the right, records nothing: then the profile counts that the migration wrote.
    """
    if all(market.exchange == DEFAULT_EXCHANGE and market.zone == US.zone for market in markets):
        return
    values = _list_values(sorted(markets, key=lambda market: market.exchange))
    with database.transaction() as connection:
        if connection.execute(_HAS_CHANGES.encode(), values).fetchall() == [(True,)]:
            connection.execute(_UPSERT_PROFILES.encode(), values)


def _list_values(markets: Sequence[MarketProfile]) -> dict[str, list[str | None]]:
    return {
        "exchanges": [market.exchange for market in markets],
        "zones": [market.zone.key for market in markets],
        "currencies": [market.currency for market in markets],
        "price_units": [market.price_unit for market in markets],
        "names": [",".join(sorted(list_exchange_names(market.exchange) - {market.exchange, ""})) for market in markets],
    }
