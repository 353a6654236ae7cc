"""How many calls each purpose spent: today, and in the past 30 days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.quota.budget import fingerprint_token
from backfill_assets.store.quota.request_log import RETENTION_DAYS

NOT_RECORDED = "not recorded"  # calls of a time when purposes were not stored
# A row a day and purpose, whatever the number of requests.
_SELECT_CALLS = """
WITH spent AS (
    SELECT day, purpose, calls FROM backfill.ledger_by_purpose
    WHERE token = %(token)s AND day > %(first)s AND day <= %(today)s
    UNION ALL
    SELECT day, %(not_recorded)s, greatest(0, l.calls - coalesce(
        (SELECT sum(p.calls) FROM backfill.ledger_by_purpose p WHERE p.token = l.token AND p.day = l.day), 0))
    FROM backfill.ledger l WHERE token = %(token)s AND day > %(first)s AND day <= %(today)s
)
SELECT purpose, coalesce(sum(calls) FILTER (WHERE day = %(today)s), 0)::bigint, sum(calls)::bigint
FROM spent GROUP BY purpose HAVING sum(calls) <> 0 ORDER BY 3 DESC, 1
"""


@dataclass(frozen=True, slots=True)
class CallsByPurpose:
    """Calls by purpose, most first; purposes without calls are left out.

    Attributes:
        today: of the UTC day.
        past_30_days: of the past 30 UTC days, today included.
    """

    today: Mapping[str, int]
    past_30_days: Mapping[str, int]


def read_calls_by_purpose(connection: Connection, token: str, now: datetime) -> CallsByPurpose:
    """What the token's calls were spent for, as of ``now``."""
    today = now.astimezone(UTC).date()
    values = {
        "token": fingerprint_token(token),
        "today": today,
        "first": today - timedelta(days=RETENTION_DAYS),
        "not_recorded": NOT_RECORDED,
    }
    rows = connection.execute(_SELECT_CALLS, values).fetchall()
    by_day = {str(purpose): int(calls) for purpose, calls, _ in rows if calls}
    return CallsByPurpose(
        today=dict(sorted(by_day.items(), key=lambda item: -item[1])),
        past_30_days={str(purpose): int(calls) for purpose, _, calls in rows},
    )
