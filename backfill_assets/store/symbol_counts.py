"""How many rows ``market_symbols`` has of an exchange, and of others. What a row means is in ``store.symbols``."""

from collections.abc import Collection, Sequence

from backfill_assets.market.exchanges.names import list_exchange_names
from backfill_assets.store.exchanges import IS_OF_EXCHANGE, list_names
from backfill_assets.store.postgres.connection import Connection

# Names of exchanges are few, so that they are compared once each.
_COUNT_ROWS = f"""
SELECT coalesce(sum(active) FILTER (WHERE is_known), 0)::bigint,
       CASE WHEN NOT bool_and(is_known) THEN ARRAY(SELECT symbol_id FROM market_symbols WHERE NOT {IS_OF_EXCHANGE}) END
FROM (SELECT count(*) FILTER (WHERE is_active IS NOT FALSE) AS active, {IS_OF_EXCHANGE} AS is_known
      FROM market_symbols GROUP BY exchange) r
"""  # noqa: S608 - a constant is inserted
_COUNT_OTHER_EXCHANGES = f"""
SELECT exchange, count(*) FROM market_symbols
WHERE NOT {IS_OF_EXCHANGE} AND coalesce(is_active, true) AND (%(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s))
GROUP BY exchange ORDER BY 2 DESC, 1
"""  # noqa: S608 - a constant is inserted


def count_active_rows(connection: Connection, exchange: str) -> int:
    """How many rows of ``exchange`` are active, duplicates and unknown symbols included; faster than reading them."""
    return count_rows(connection, exchange)[0]


def count_rows(connection: Connection, exchange: str) -> tuple[int, list[int]]:
    """How many rows of ``exchange`` are active, and the symbol_ids of every row that is not of it; one statement."""
    active, others = connection.execute(_COUNT_ROWS.encode(), list_names(exchange)).fetchall()[0]
    return active, others or []


def count_other_exchanges(
    connection: Connection, enabled: Collection[str], symbols: Sequence[str] | None = None
) -> dict[str, int]:
    """How many active rows there are by name of an exchange that is not one of ``enabled``; of ``symbols``, if given.

    Args:
        connection: with a transaction open.
        enabled: codes of exchanges.
        symbols: as they are spelled in the table.
    """
    names = sorted({name for exchange in enabled for name in list_exchange_names(exchange)})
    values = {"names": names, "symbols": None if symbols is None else list(symbols)}
    return dict(connection.execute(_COUNT_OTHER_EXCHANGES.encode(), values).fetchall())
