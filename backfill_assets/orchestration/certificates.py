"""Writes the certificates that are due after a run in Dagster, and says so in its log.

What others see of them in Dagster is an asset of its own; here nothing is materialized.
"""

from collections.abc import Sequence

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.certify import certify_due
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.exchanges.profile import MarketProfile

ExecutionContext = dg.AssetExecutionContext | dg.OpExecutionContext


def certify_and_log(
    context: ExecutionContext,
    engine: Engine,
    market: MarketProfile,
    interval_name: str,
    sessions: Sequence[Session] = (),
) -> None:
    """Certify what is complete of an exchange; ``sessions`` are looked at besides the retained ones."""
    result = certify_due(engine, interval_name, exchange=market.exchange, sessions=sessions)
    for line in result.describe():
        (context.log.warning if result.broken else context.log.info)(line)
