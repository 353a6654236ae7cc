"""A corporate action as people see it: in the command ``actions``, the report, its page and ``why``.

Entries are read by ``corporate_actions_listing``.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.timestamps import format_optional_timestamp, format_timestamp
from backfill_assets.store.actions.action_versions import ActionVersion

ACTION_KINDS = ("split", "dividend", "spinoff")
KIND_NAMES = {"split": "split", "dividend": "dividend", "spinoff": "spin-off"}
ACTION_FIELDS = (  # of the JSON objects, and columns of the CSV
    *("ticker", "kind", "ex_date", "state", "new_shares", "old_shares", "ratio", "amount", "currency", "period"),
    *("cum_day", "factor", "factor_missing", "proof", "contradiction", "is_derived", "source", "first_seen"),
    *("revised_at", "withdrawn_at", "known_from", "known_until"),
)


class ActionState(StrEnum):
    """What became of a version of an action."""

    ANNOUNCED = "announced"  # its ex-date is to come: it adjusts nothing yet
    EFFECTIVE = "effective"
    WITHDRAWN = "withdrawn"  # the vendor does not list it any more
    REPLACED = "replaced"  # an old version: the vendor changed it


@dataclass(frozen=True, slots=True)
class ActionEntry:
    """An action of a ticker, or an old version of it.

    Attributes:
        ticker: under which the vendor lists it, such as ``AAPL.US``.
        state: what became of it.
        version: its values, and when they were listed.
        factor: what prices before its ex-date are multiplied by; None unless it is effective, or if it is missing.
        factor_missing: then why it adjusts nothing.
        proof: what prices say of it: of a split of days with bars, whether they show it; of a spin-off, how many
            sessions do. None where nothing was compared.
    """

    ticker: str
    state: ActionState
    version: ActionVersion
    factor: float | None = None
    factor_missing: str | None = None
    proof: str | None = None

    @property
    def withdrawn_at(self) -> datetime | None:
        """Since when the vendor does not list it any more, UTC; None if it does, and for old versions."""
        return self.version.known_until if self.state is ActionState.WITHDRAWN else None

    @property
    def revised_at(self) -> datetime | None:
        """When these values were read first, if there were others before; UTC."""
        return self.version.known_from if self.version.known_from > self.version.first_seen else None

    @property
    def is_derived(self) -> bool:
        """Whether it was derived from daily data, because the vendor does not list its kind."""
        return self.version.kind == "spinoff"

    @property
    def terms(self) -> str:
        """What shareholders got: ``10:1``, ``0.26 USD, quarterly``, ``a part worth 21.5 % of the price``."""
        version = self.version
        if version.amount is not None:
            amount = f"{_format_decimal(version.amount)} {version.currency or '(no currency given)'}"
            return f"{amount}, {version.period}" if version.period else amount
        if version.kind == "spinoff":
            return f"a part worth {100 * (1 - (version.ratio or 1.0)):.3f} % of the price"
        if version.new_shares is not None and version.old_shares is not None:
            return f"{_format_decimal(version.new_shares)}:{_format_decimal(version.old_shares)}"
        return f"{version.ratio:.10g}:1"

    def describe(self) -> str:
        """The action as a part of a sentence: ``split 10:1``, ``dividend of 0.26 USD, quarterly (announced)``."""
        note = "" if self.state is ActionState.EFFECTIVE else f" ({self.state})"
        joint = {"split": " ", "dividend": " of ", "spinoff": ": "}[self.version.kind]
        return f"{KIND_NAMES[self.version.kind]}{joint}{self.terms}{note}"

    def as_dict(self) -> dict[str, Any]:
        """The action as a JSON object (``ACTION_FIELDS``): ISO 8601, times in UTC, exact numbers as strings."""
        version = self.version
        is_split = version.kind == "split"
        return {
            "ticker": self.ticker,
            "kind": version.kind,
            "ex_date": version.ex_date.isoformat(),
            "state": str(self.state),
            "new_shares": _format_optional(version.new_shares),
            "old_shares": _format_optional(version.old_shares),
            "ratio": version.ratio if is_split else None,
            "amount": _format_optional(version.amount),
            "currency": version.currency,
            "period": version.period or None,
            "cum_day": version.cum_day.isoformat() if version.cum_day else None,
            "factor": self.factor,
            "factor_missing": self.factor_missing,
            "proof": self.proof,
            "contradiction": version.contradiction,
            "is_derived": self.is_derived,
            "source": version.source,
            "first_seen": format_timestamp(version.first_seen),
            "revised_at": format_optional_timestamp(self.revised_at),
            "withdrawn_at": format_optional_timestamp(self.withdrawn_at),
            "known_from": format_timestamp(version.known_from),
            "known_until": format_optional_timestamp(version.known_until),
        }


def mark_sessions(actions: Iterable[ActionEntry], days: Sequence[date]) -> dict[tuple[str, date], str]:
    """(ticker, session) → the actions that take effect on it, in words.

    Args:
        actions: in any order.
        days: session dates, ascending; an ex-date without a session counts for the next one.
    """
    texts: dict[tuple[str, date], list[str]] = {}
    for action in actions:
        position = bisect_left(days, action.version.ex_date)
        if position < len(days):
            texts.setdefault((action.ticker, days[position]), []).append(action.describe())
    return {place: "; ".join(parts) for place, parts in texts.items()}


def explain_actions(actions: Iterable[ActionEntry], style: MomentStyle = UTC_STYLE) -> list[str]:
    """What the actions of a session mean for its bars, a sentence each, with moments in ``style``."""
    return [_explain(action, style) for action in actions]


def _explain(action: ActionEntry, style: MomentStyle) -> str:
    name, source = action.describe(), action.version.source
    if action.state in (ActionState.ANNOUNCED, ActionState.EFFECTIVE):
        return (
            f"ex-date of a {name}, source {source}: stored bars are raw, so prices before this session are not"
            f" comparable with those from it on{_describe_factor(action)}"
        )
    until = style.format_optional_moment(action.version.known_until)
    return f"a {name} was listed for this session until {until}, source {source}: it adjusts no bar"


def _describe_factor(action: ActionEntry) -> str:
    if action.factor is not None:
        return f"; factor {action.factor:.6g}"
    return f"; no factor: {action.factor_missing}" if action.factor_missing else ""


def _format_decimal(value: Decimal) -> str:
    """Without zeros at the end, and never as a power of ten."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _format_optional(value: Decimal | None) -> str | None:
    return None if value is None else _format_decimal(value)
