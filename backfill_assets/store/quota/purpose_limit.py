"""The day's calls of a purpose that has a limit of its own (``market.purposes``).

What all purposes together may spend, and taking permits, is in ``budget``.
"""

from collections.abc import Mapping
from typing import Any

from backfill_assets.store.postgres.connection import Connection

MAX_CALLS, MAX_SHARE = 500, 0.01  # of the day's calls, for a purpose whose limit is not set
_CREATE_BUDGET = "INSERT INTO backfill.budget (token) VALUES (%(token)s) ON CONFLICT DO NOTHING"
# Permits are taken with this lock only. Counting is a statement of its own: one that waits for the lock does not see
# what was committed meanwhile.
_LOCK_BUDGET = "SELECT FROM backfill.budget WHERE token = %(token)s FOR UPDATE"
_SELECT_LIMIT_AND_SPENT = """
SELECT coalesce((SELECT account_limit FROM backfill.budget WHERE token = %(token)s), %(daily_calls)s),
       coalesce((SELECT calls FROM backfill.ledger_by_purpose
                 WHERE token = %(token)s AND day = %(day)s AND purpose = %(purpose)s), 0)
"""


def lock_calls_left(connection: Connection, values: Mapping[str, Any], limit: int | None) -> int:
    """How many calls a purpose may still spend on a UTC day, 0 or more; nobody else spends any in this transaction.

    Args:
        connection: with a transaction open.
        values: ``token`` (its fingerprint), ``purpose``, ``day`` (UTC), and ``daily_calls``, which count if the vendor
            has not reported the token's limit.
        limit: calls a day; None for 1 % of the day's calls, at most 500.
    """
    connection.execute(_CREATE_BUDGET, values)
    connection.execute(_LOCK_BUDGET, values)
    account_limit, spent = connection.execute(_SELECT_LIMIT_AND_SPENT, values).fetchall()[0]
    allowed = min(MAX_CALLS, int(MAX_SHARE * account_limit)) if limit is None else limit
    return max(0, allowed - int(spent))
