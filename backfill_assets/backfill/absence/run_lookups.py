"""Looks up at the end of a run why whole sessions are absent, as far as the day's calls allow (see ``lookup``)."""

import asyncio
import logging

from backfill_assets.backfill.absence.lookup import explain_absence
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.optional_endpoints import DAILY_FILE
from backfill_assets.backfill.plan_limits import PlanAnswers
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import BudgetSpent, VendorError

_log = logging.getLogger(__name__)


async def look_up_absence(
    engine: Engine, job: BackfillJob, client: VendorClient, answers: PlanAnswers
) -> VendorError | None:
    """Look up why whole sessions of the job are absent; returns the error that stops the run, if there is one.

    ``answers`` are the daily histories that the run read before; those read now are added.
    """
    coverage = await asyncio.to_thread(engine.measure, job)
    optional = engine.create_optional_endpoints()
    has_file = engine.settings.bulk_daily and job.market.has_market_file
    bulk = has_file and await asyncio.to_thread(optional.is_available, DAILY_FILE)
    try:
        await explain_absence(
            client.for_purpose(Purpose.DAILY),
            engine.database,
            coverage,
            bulk=bulk,
            answers=answers,
        )
    except BudgetSpent as error:  # what is left of the day is for requests that come first; the bars are there
        _log.warning("why sessions are absent is looked up another day: %s", error)
    except VendorError as error:
        return error
    return None
