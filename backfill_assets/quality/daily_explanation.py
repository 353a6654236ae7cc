"""What the vendor's daily data say about one symbol and day, and how that changed; as sentences and as JSON values."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from typing import Any

from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.timestamps import format_optional_timestamp
from backfill_assets.market.daily_prices import SETTLED_AFTER, is_settled
from backfill_assets.store.evidence.daily_prices import DailyPrice

_FIGURES = ("open", "high", "low", "close", "adjusted_close", "volume")


def describe_daily_price(
    price: DailyPrice | None,
    revisions: Sequence[DailyPrice],
    session_close: datetime,
    style: MomentStyle = UTC_STYLE,
) -> list[str]:
    """The figures, when they were read and what the vendor changed before, as sentences; none without figures.

    Args:
        price: the figures that hold.
        revisions: those that they replaced, oldest first.
        session_close: of the day's session, UTC.
        style: how moments are shown.
    """
    if price is None:
        return []
    figures = ", ".join(f"{_format_name(name)} {_format_figure(getattr(price, name))}" for name in _FIGURES)
    sentence = f"the day in the daily data: {figures}; {_describe_reading(price, session_close, style)}"
    return [sentence if revisions else f"{sentence}, not revised", *_describe_revisions(price, revisions, style)]


def build_daily_fields(
    price: DailyPrice | None, revisions: Sequence[DailyPrice], session_close: datetime
) -> dict[str, Any] | None:
    """The same as a JSON object; None without figures."""
    if price is None:
        return None
    return {
        **_build_fields(price),
        "is_settled": is_settled(price.read_at, session_close),
        "revisions": [
            {**_build_fields(old), "replaced_at": format_optional_timestamp(old.replaced_at)} for old in revisions
        ],
    }


def _build_fields(price: DailyPrice) -> dict[str, Any]:
    figures = {name: value for name, value in asdict(price).items() if name in _FIGURES}
    return {**figures, "read_at": format_optional_timestamp(price.read_at)}


def _describe_reading(price: DailyPrice, session_close: datetime, style: MomentStyle) -> str:
    if price.read_at is None:
        return "read by an earlier version"
    read = f"read {style.format_moment(price.read_at)}"
    if is_settled(price.read_at, session_close):
        return read
    return f"{read}, less than {SETTLED_AFTER.total_seconds() / 3600:.0f} h after the close: the vendor may change it"


def _describe_revisions(price: DailyPrice, revisions: Sequence[DailyPrice], style: MomentStyle) -> Iterator[str]:
    for old, new in pairwise([*revisions, price]):
        changes = (
            f"{_format_name(name)} {_format_figure(getattr(old, name))} to {_format_figure(getattr(new, name))}"
            for name in _FIGURES
            if getattr(old, name) != getattr(new, name)
        )
        replaced_at = style.format_moment(old.replaced_at) if old.replaced_at else "?"
        yield f"the vendor changed its daily data, seen {replaced_at}: {', '.join(changes)}"


def _format_name(name: str) -> str:
    return name.replace("_", " ")


def _format_figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.10g}"
