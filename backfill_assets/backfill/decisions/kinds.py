"""The table of what a person may have to decide; a new kind is one module and one entry here."""

from collections.abc import Mapping

from backfill_assets.backfill.decisions.closures import CLOSURE
from backfill_assets.backfill.decisions.doubts import DOUBT
from backfill_assets.backfill.decisions.halts import HALT
from backfill_assets.backfill.decisions.kind import DecisionKind
from backfill_assets.backfill.decisions.listing_lives import LISTING_LIFE
from backfill_assets.backfill.decisions.price_units import PRICE_UNIT
from backfill_assets.backfill.decisions.recycled_tickers import RECYCLED_TICKER
from backfill_assets.backfill.decisions.renames import RENAME
from backfill_assets.backfill.decisions.universe import MANY_WITHOUT_DATA, NO_DATA

KINDS: Mapping[str, DecisionKind] = {
    kind.name: kind
    for kind in (DOUBT, LISTING_LIFE, RENAME, RECYCLED_TICKER, NO_DATA, MANY_WITHOUT_DATA, CLOSURE, HALT, PRICE_UNIT)
}
