"""The day's calls of a purpose that has a limit of its own (``market.purposes``).

What all purposes together may spend, and what permits are, is in ``budget``.
"""

from collections.abc import Mapping
from typing import Any

MAX_CALLS, MAX_SHARE = 500, 0.01  # of the day's calls, for a purpose whose limit is not set
TAKE_LIMITED_PERMITS = """
SELECT permit_ids, wait_seconds, calls_affordable, is_paused, extract(epoch FROM clock_timestamp())::float8
FROM backfill.take_limited_permits(
    %(token)s, %(purpose)s, %(kept_share)s, %(wanted)s, %(calls_each)s, %(day)s, %(limit)s, %(share)s, %(window)s,
    %(timeout)s, %(daily_calls)s, %(reserve)s, %(spend_extra)s, %(own_limit)s, %(max_share)s, %(max_calls)s)
"""


def build_limit_parameters(limit: int | None) -> Mapping[str, Any]:
    """Those of ``TAKE_LIMITED_PERMITS`` that say how many calls the purpose may spend on a UTC day.

    Args:
        limit: calls a day; None for 1 % of the token's calls of a day, at most 500.
    """
    return {"own_limit": limit, "max_share": MAX_SHARE, "max_calls": MAX_CALLS}
