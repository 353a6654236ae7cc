"""Moments as text and as epoch seconds.

Messages, reports and most JSON show a moment as ``2026-06-01T13:30:00Z``. The JSON of a plan (``backfill.planner``) and
of a live round (``live.result``) keeps ``2026-06-01T13:30:00+00:00``, because users' programs read those fields.
"""

from datetime import UTC, datetime

DAY_SECONDS = 86_400


def format_timestamp(moment: datetime) -> str:
    """An aware datetime as ISO 8601 in UTC, to the second: ``2026-06-01T13:30:00Z``."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def format_optional_timestamp(moment: datetime | None) -> str | None:
    """The same; None for None."""
    return format_timestamp(moment) if moment else None


def to_datetime(epoch_seconds: int) -> datetime:
    """Epoch seconds as an aware datetime in UTC."""
    return datetime.fromtimestamp(epoch_seconds, UTC)


def to_epoch_seconds(moment: datetime) -> int:
    """An aware datetime as whole epoch seconds."""
    return int(moment.timestamp())
