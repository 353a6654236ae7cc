"""What an audit of stored bars found: a summary of each rule, with examples. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from backfill_assets.market.calendar.timestamps import format_timestamp
from backfill_assets.market.plausibility.rules import RULE_TEXTS, Rule


@dataclass(frozen=True, slots=True)
class AuditExample:
    """One of the doubts of a rule.

    Attributes:
        ticker: the vendor's ticker.
        session: date of the session.
        first_slot: start of the first bar in doubt, UTC.
        last_slot: start of the last one.
        figures: what was compared, by name.
    """

    ticker: str
    session: date
    first_slot: datetime
    last_slot: datetime
    figures: Mapping[str, float | str | None]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ticker": self.ticker,
            "session": self.session.isoformat(),
            "first_slot": format_timestamp(self.first_slot),
            "last_slot": format_timestamp(self.last_slot),
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """What one rule found; a *session* is one of one symbol.

    Attributes:
        rule: the rule.
        has_stored_form: whether it can judge stored bars; else it reads the vendor's rows only, and found nothing.
        judged_sessions: how many it judged.
        unjudged_sessions: how many it could not judge, because too little is known of their days or listing.
        doubts: how many doubts there are.
        bars: how many bars are in doubt.
        symbols: of how many symbols.
        confirmed: spikes that at least 1 % of the market has in the same slot; they are none of the doubts.
        first: the oldest session in doubt.
        last: the newest one.
        examples: the first few doubts.
    """

    rule: Rule
    has_stored_form: bool
    judged_sessions: int = 0
    unjudged_sessions: int = 0
    doubts: int = 0
    bars: int = 0
    symbols: int = 0
    confirmed: int = 0
    first: date | None = None
    last: date | None = None
    examples: Sequence[AuditExample] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rule": str(self.rule),
            "meaning": RULE_TEXTS[self.rule],
            "form": "stored" if self.has_stored_form else "rows only",
            "judged_sessions": self.judged_sessions,
            "unjudged_sessions": self.unjudged_sessions,
            "doubts": self.doubts,
            "bars": self.bars,
            "symbols": self.symbols,
            "confirmed": self.confirmed,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "examples": [example.as_dict() for example in self.examples],
        }


@dataclass(frozen=True, slots=True)
class ScaledStretch:
    """Sessions in a row whose prices all are one multiple of the daily ones, as before a spin-off: no doubts.

    Attributes:
        ticker: the vendor's ticker.
        first: the first such session.
        last: the last one.
        factor: price of a bar / price of the day.
    """

    ticker: str
    first: date
    last: date
    factor: float

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ticker": self.ticker,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "factor": self.factor,
        }


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What was judged, and what each rule found.

    Attributes:
        bars: how many bars were judged.
        external_bars: how many of them are other programs'.
        sessions: of how many sessions of a symbol.
        rules: one for each rule, in the order of ``Rule``.
        scaled: sessions that are a multiple of their days.
        opened: how many doubts were opened; None if none should be.
    """

    bars: int
    external_bars: int
    sessions: int
    rules: Sequence[RuleSummary]
    scaled: Sequence[ScaledStretch]
    opened: int | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "bars": self.bars,
            "external_bars": self.external_bars,
            "sessions": self.sessions,
            "opened": self.opened,
            "rules": [rule.as_dict() for rule in self.rules],
            "scaled": [stretch.as_dict() for stretch in self.scaled],
        }
