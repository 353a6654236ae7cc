"""The vendor's list of renamed symbols, where it has one of the exchange; else nothing is requested.

What the list says about a listing's end is in ``backfill.listing_ends``.
"""

from collections.abc import Sequence
from datetime import date, datetime

from backfill_assets.backfill.listing_ends import SymbolChangeList
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.vendor import SymbolChange, VendorClient
from backfill_assets.store.postgres.connection import Database


class NoSymbolChanges(SymbolChangeList):
    """The list of an exchange of which the vendor lists no renamed symbols: no request, and no change is known."""

    async def list_since(self, since: date) -> Sequence[SymbolChange]:  # noqa: ARG002 - the signature of a list
        """No changes."""
        return ()


def create_change_list(
    market: MarketProfile, client: VendorClient, database: Database, now: datetime
) -> SymbolChangeList:
    """The list of renamed symbols for an exchange, as of ``now``."""
    return (SymbolChangeList if market.has_renames else NoSymbolChanges)(client, database, now)
