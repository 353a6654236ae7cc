"""Corporate actions of a simulated market, and how the vendor lists them. Values only.

What they do to prices and volumes is in ``world.action_factors``; rows that list them are in ``endpoints.splits`` and
``endpoints.dividends``.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

PENCE = {"GBX": "GBP", "GBp": "GBP", "ZAC": "ZAR", "ILA": "ILS"}  # a hundredth of the other one


@dataclass(frozen=True)
class Record:
    """How the vendor lists an action; the action itself is not changed by it. Days count from the ex-date.

    Attributes:
        listed_after_days: the first day on which it is listed, and the daily data are adjusted for it; negative:
            announced before. It does not count before its ex-date even so.
        copies: how often it is listed.
        wrong_value: another ratio (new shares for an old one) or amount.
        corrected_after_days: until then the wrong value stands alone; None: it stands beside the right one for good.
        withdrawn_after_days: from then on it is not listed.
    """

    listed_after_days: int = 0
    copies: int = 1
    wrong_value: Decimal | None = None
    corrected_after_days: int | None = None
    withdrawn_after_days: int | None = None


@dataclass(frozen=True)
class Split:
    """A change of the number of shares; reverse splits, ADR ratio changes and stock dividends are splits, too.

    Attributes:
        ex_date: the first day with the new number of shares.
        new_shares: as many shares ...
        old_shares: ... for so many old ones: 10 for 1, 1 for 15, 105 for 100.
        record: how the vendor lists it.
        is_mistake: the vendor lists it, and nothing happened.
    """

    ex_date: date
    new_shares: Decimal | int
    old_shares: Decimal | int = 1
    record: Record = field(default_factory=Record)
    is_mistake: bool = False

    @property
    def value(self) -> Decimal:
        """New shares for an old one."""
        return Decimal(self.new_shares) / Decimal(self.old_shares)


@dataclass(frozen=True)
class CashDividend:
    """A dividend: the price falls by its amount from the close before to the ex-date.

    Attributes:
        ex_date: the first day without a claim to it.
        amount: of a share, as paid.
        currency: of the amount.
        period: the vendor's word, such as ``Quarterly`` or ``Special``; None: it gives none.
        exchange_rate: units of the currency of the prices for one of ``currency``; None: they are the same, or pence
            and pounds.
        declared_on: None: not given, as are the next two.
        record_on: the day whose holders are paid.
        paid_on: the day of the payment.
        record: how the vendor lists it.
        is_mistake: the vendor lists it, and nothing was paid.
    """

    ex_date: date
    amount: Decimal
    currency: str = "USD"
    period: str | None = "Quarterly"
    exchange_rate: Decimal | None = None
    declared_on: date | None = None
    record_on: date | None = None
    paid_on: date | None = None
    record: Record = field(default_factory=Record)
    is_mistake: bool = False

    @property
    def value(self) -> Decimal:
        """The amount as paid."""
        return self.amount

    def get_rate(self, price_currency: str) -> Decimal:
        """Get what one of ``currency`` is worth in the currency of the prices.

        Raises:
            ValueError: they differ, and there is no ``exchange_rate``.
        """
        if self.exchange_rate is not None:
            return self.exchange_rate
        of_prices, of_amount = PENCE.get(price_currency, price_currency), PENCE.get(self.currency, self.currency)
        if of_prices != of_amount:
            raise ValueError(f"a dividend in {self.currency} for prices in {price_currency} needs an exchange_rate")
        hundredths = (price_currency in PENCE) - (self.currency in PENCE)
        return Decimal(100) ** hundredths


@dataclass(frozen=True)
class SpinOff:
    """A part of a company that its shareholders get. Neither splits nor dividends list it; ``/eod`` is adjusted for it.

    Attributes:
        ex_date: the first day without the part.
        divisor: what prices before it are divided by to compare with later ones, above 1.
        record: only ``listed_after_days`` matters: when ``/eod`` is adjusted.
    """

    ex_date: date
    divisor: float
    record: Record = field(default_factory=Record)


Action = Split | CashDividend | SpinOff


def make_split(ex_date: date, ratio: float) -> Split:
    """Make a split from new shares for an old one; below 1 from one share for so many old ones, as the vendor says."""
    if ratio >= 1:
        return Split(ex_date, Decimal(f"{ratio:.6f}"))
    return Split(ex_date, 1, Decimal(f"{1 / ratio:.6f}"))


@dataclass(frozen=True)
class ActionRates:
    """Probabilities of drawn corporate actions, and of what the vendor does with their records; 0 switches one off.

    Attributes:
        seed: varies the draws.
        dividend_payers: per ticker: it pays a dividend every three months.
        special_dividends: per dividend: the same ticker pays a larger one on another day of the quarter.
        splits: per ticker and year: half of them in fewer shares.
        spinoffs: per ticker and year.
        mistakes: per ticker and year: a split is listed for one to ten days that never happened.
        late: per action: it is listed one to ten days after its ex-date.
        copies: per action: it is listed twice.
        contradictory: per action: another record with another value stands beside it for good.
        corrected: per action: its value is wrong for two to twenty days.
    """

    seed: int = 0
    dividend_payers: float = 0.0
    special_dividends: float = 0.0
    splits: float = 0.0
    spinoffs: float = 0.0
    mistakes: float = 0.0
    late: float = 0.0
    copies: float = 0.0
    contradictory: float = 0.0
    corrected: float = 0.0

    @property
    def is_off(self) -> bool:
        """Whether nothing is drawn."""
        return self.dividend_payers == self.splits == self.spinoffs == self.mistakes == 0.0

    @staticmethod
    def build_realistic() -> "ActionRates":
        """Build rates about as in a market of large companies; how often records are wrong is a guess."""
        return ActionRates(
            dividend_payers=0.4,
            special_dividends=0.005,
            splits=0.02,
            spinoffs=0.004,
            mistakes=0.001,
            late=0.01,
            copies=0.02,
            corrected=0.005,
        )
