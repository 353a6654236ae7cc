"""Splits, dividends and spin-offs as they are stored. Values only.

What they do to prices and volumes is in functions of the schema, written by the migrations.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Listed:
    """When the vendor listed an action; times are UTC.

    Attributes:
        source: the vendor's endpoint, or what the action was derived from.
        first_seen: when it was read first.
        revised_at: when its present values were read first; None if it has had no others.
        withdrawn_at: since when the vendor does not list it any more, and it does not count; None if it does.
    """

    source: str
    first_seen: datetime
    revised_at: datetime | None = None
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """A change of the number of shares; ADR ratio changes and stock dividends are splits, too.

    Attributes:
        symbol_id: the symbol.
        ex_date: the first session with the new number of shares.
        new_shares: as many shares ...
        old_shares: ... for so many old ones; 10 for 1 in a split of 10:1, 1 for 15 in a reverse split. A version of 1
            for 1: it was listed under another ex-date then.
        listed: when the vendor listed it.
        contradiction: the ratios that the vendor lists of this ex-date, if nothing tells which holds; then the split
            has no factor.
    """

    symbol_id: int
    ex_date: date
    new_shares: Decimal
    old_shares: Decimal
    listed: Listed
    contradiction: str | None = None

    @property
    def ratio(self) -> float:
        """New shares for an old one."""
        return float(self.new_shares / self.old_shares)


@dataclass(frozen=True, slots=True)
class Dividend:
    """A cash dividend of a share.

    Attributes:
        symbol_id: the symbol.
        ex_date: the first session without a claim to it.
        period: the vendor's word, in lower case: ``quarterly``, ``special``; empty if it gives none. Two dividends of
            one day differ by it.
        cum_day: the session before, whose official close the dividend is a share of.
        amount: as paid, not adjusted for splits. A version of 0: it was listed under another ex-date then.
        currency: of the amount; None if the vendor gives none: that of the prices.
        listed: when the vendor listed it.
        contradiction: the amounts that the vendor lists of this ex-date, if nothing tells which holds; then the
            dividend has no factor.
        declared_on: None where the vendor gives no day, like ``record_on`` and ``paid_on``.
    """

    symbol_id: int
    ex_date: date
    period: str
    cum_day: date
    amount: Decimal
    currency: str | None
    listed: Listed
    contradiction: str | None = None
    declared_on: date | None = None
    record_on: date | None = None
    paid_on: date | None = None


@dataclass(frozen=True, slots=True)
class SpinOff:
    """A part of a company that its shareholders got, as the daily data show it; the vendor does not list it.

    Attributes:
        symbol_id: the symbol.
        ex_date: the first session without the part.
        factor: what earlier prices are multiplied by, above 0 and below 1.
        sessions: how many sessions show the factor.
        listed: when it was derived.
    """

    symbol_id: int
    ex_date: date
    factor: float
    sessions: int
    listed: Listed
