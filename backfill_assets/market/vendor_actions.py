"""Corporate actions as a vendor lists them, exact and with duplicates. Values only.

Each action once is in ``market.actions.listed_actions``, which endpoints list them in ``market.vendor``.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Generic, TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A split as the vendor lists it.

    Attributes:
        code: the symbol without its exchange suffix; empty in the answer to one ticker.
        ex_date: the first day with the new number of shares.
        new_shares: as many shares, above 0 ...
        old_shares: ... for so many old ones, above 0.
    """

    code: str
    ex_date: date
    new_shares: Decimal
    old_shares: Decimal


@dataclass(frozen=True, slots=True)
class DividendRow:
    """A cash dividend as the vendor lists it.

    Attributes:
        code: the symbol without its exchange suffix; empty in the answer to one ticker.
        ex_date: the first day without a claim to it.
        period: the vendor's word in lower case, such as ``quarterly``; empty without one.
        amount: of a share as paid, not adjusted for splits, above 0.
        currency: of the amount, as the vendor writes it: ``GBX`` and ``GBp`` are pence; None without one.
        declared_on: None where the vendor gives no day, like ``record_on`` and ``paid_on``.
    """

    code: str
    ex_date: date
    period: str
    amount: Decimal
    currency: str | None
    declared_on: date | None = None
    record_on: date | None = None
    paid_on: date | None = None


ActionRowT = TypeVar("ActionRowT", SplitRow, DividendRow)


@dataclass(frozen=True)
class ActionRows(Generic[ActionRowT]):
    """Corporate actions of one kind, of one ticker or a whole exchange, in the vendor's order; one may occur twice.

    Attributes:
        rows: those that can be read.
        unparsable_rows: number of rows that cannot be read.
        unreadable_codes: the symbols of those rows, as far as they can be read.
        unreadable_until: the newest ex-date of those rows; None without such a row, or if the date of one of them
            cannot be read either.
        warning: the vendor's remark, for example that the plan limits the data.
    """

    rows: tuple[ActionRowT, ...]
    unparsable_rows: int = 0
    unreadable_codes: frozenset[str] = frozenset()
    unreadable_until: date | None = None
    warning: str | None = None

    def __len__(self) -> int:
        return len(self.rows)


SplitRows: TypeAlias = ActionRows[SplitRow]
DividendRows: TypeAlias = ActionRows[DividendRow]
