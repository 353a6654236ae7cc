"""Which endpoints the vendor refused to a token, and from when on they are requested again."""

from datetime import UTC, datetime

from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.quota.budget import fingerprint_token

_SELECT_ASK_AGAIN = """
SELECT ask_again_at FROM backfill.refused_endpoints
WHERE token = %(token)s AND endpoint = %(endpoint)s AND ask_again_at > %(now)s
"""
_UPSERT_REFUSAL = """
INSERT INTO backfill.refused_endpoints (token, endpoint, refused_at, ask_again_at)
VALUES (%(token)s, %(endpoint)s, %(now)s, %(ask_again_at)s)
ON CONFLICT (token, endpoint) DO UPDATE SET refused_at = EXCLUDED.refused_at, ask_again_at = EXCLUDED.ask_again_at
"""
_DELETE_REFUSAL = "DELETE FROM backfill.refused_endpoints WHERE token = %(token)s AND endpoint = %(endpoint)s"


def find_ask_again_time(connection: Connection, token: str, endpoint: str, now: datetime) -> datetime | None:
    """When a refused endpoint is requested again, UTC; None if it may be requested now."""
    values = {"token": fingerprint_token(token), "endpoint": endpoint, "now": now}
    row = connection.execute(_SELECT_ASK_AGAIN, values).fetchone()
    return row[0].astimezone(UTC) if row else None


def record_endpoint_refusal(
    connection: Connection, token: str, endpoint: str, now: datetime, ask_again_at: datetime
) -> None:
    """Store that the endpoint was refused and is not requested before ``ask_again_at``."""
    values = {"token": fingerprint_token(token), "endpoint": endpoint, "now": now, "ask_again_at": ask_again_at}
    connection.execute(_UPSERT_REFUSAL, values)


def delete_endpoint_refusal(connection: Connection, token: str, endpoint: str) -> None:
    """Forget a refusal: the endpoint answered."""
    connection.execute(_DELETE_REFUSAL, {"token": fingerprint_token(token), "endpoint": endpoint})
