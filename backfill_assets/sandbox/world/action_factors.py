"""What corporate actions do to an instrument's prices and volumes, truly and in the vendor's daily data.

True prices step at each ex-date: by the ratio of a split, by the amount of a dividend, by the divisor of a spin-off.
The vendor's daily data follow what it lists on the day they are read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

import numpy as np

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.actions import Action, CashDividend, SpinOff, Split
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.daily_bars import DailyBars
from backfill_assets.sandbox.world.listings import ListingHistory
from backfill_assets.sandbox.world.session_index import SessionIndex


@dataclass(frozen=True, eq=False)
class Steps:
    """Factors that take effect on days; for each day the product of those that are still to come.

    Attributes:
        ordinals: the days, ascending, shape (steps,).
        products: of the factors from each step on, and 1, shape (steps + 1,).
    """

    ordinals: Int64
    products: Floats

    @classmethod
    def create(cls, factors: Iterable[tuple[date, float]]) -> "Steps":
        """Create them from days and factors in any order."""
        ordered = sorted(factors)
        backwards: Floats = np.cumprod([1.0, *(factor for _, factor in reversed(ordered))], dtype=np.float64)
        return cls(np.array([day.toordinal() for day, _ in ordered], np.int64), backwards[::-1])

    def get_products(self, ordinals: Int64) -> Floats:
        """Get the product of the factors after each day, shape (days,)."""
        products: Floats = self.products[np.searchsorted(self.ordinals, ordinals, side="right")]
        return products


NO_STEPS = Steps.create(())


@dataclass(frozen=True, eq=False)
class TrueFactors:
    """What turns the continuous series into raw prices and shares of the day.

    Attributes:
        prices: by all actions, multiplied with the continuous price.
        shares: by splits, the continuous volume is divided by it.
    """

    prices: Steps
    shares: Steps


@dataclass(frozen=True, eq=False)
class VendorFactors:
    """What the vendor's daily data are adjusted for on one day.

    Attributes:
        adjustment: ``adjusted_close`` ÷ raw close.
        shares: daily volume ÷ raw volume.
        spinoffs: raw close ÷ ``close``.
    """

    adjustment: Steps
    shares: Steps
    spinoffs: Steps


class PricedMarket(Protocol):
    """What the factors of dividends are computed from."""

    listings: ListingHistory
    session_index: SessionIndex

    def draw_daily_history(self, symbol: str, ordinals: Int64) -> DailyBars:
        """Draw continuous bars."""
        ...


@dataclass(frozen=True, eq=False)
class _Instrument:
    """An instrument's actions, true factors, and raw official closes before each dividend's ex-date."""

    actions: Sequence[Action]
    true: TrueFactors
    cum_closes: dict[date, float]


class ActionFactors:
    """The factors of all instruments of one market, computed when they are needed first."""

    def __init__(self, config: SandboxConfig, market: PricedMarket) -> None:
        self._currencies, self._currency, self._market = config.currencies, config.feed.currency, market
        self._get_instrument = lru_cache(maxsize=None)(self._compute_instrument)
        self._get_vendor = lru_cache(maxsize=16384)(self._compute_vendor)

    def get_true(self, symbol: str) -> TrueFactors:
        """Get the factors between the continuous series of an instrument and its raw prices and volumes."""
        return self._get_instrument(self._market.listings.get_root(symbol)).true

    def get_vendor(self, symbol: str, today: date) -> VendorFactors:
        """Get what the daily data of a symbol are adjusted for on ``today``, a date of the exchange."""
        return self._get_vendor(self._market.listings.get_root(symbol), today)

    def get_currency(self, symbol: str) -> str:
        """Get the currency of a symbol's prices."""
        return (
            self._currencies.get(symbol)
            or self._currencies.get(self._market.listings.get_root(symbol))
            or self._currency
        )

    def _compute_instrument(self, root: str) -> _Instrument:
        actions = self._market.listings.list_actions(root)
        if not actions:
            return _Instrument((), NO_TRUE_FACTORS, {})
        ex_dates = sorted({action.ex_date for action in actions if isinstance(action, CashDividend)})
        cum_days = [find_session_before(self._market.session_index, ex_date).day for ex_date in ex_dates]
        ordinals = np.array([day.toordinal() for day in cum_days], np.int64)
        continuous = self._market.draw_daily_history(root, ordinals).close
        closes = dict(zip(ex_dates, continuous.tolist(), strict=True))
        true = compute_true_factors(actions, self.get_currency(root), closes)
        raw = np.round(continuous * true.prices.get_products(ordinals), 2)
        return _Instrument(actions, true, dict(zip(ex_dates, raw.tolist(), strict=True)))

    def _compute_vendor(self, root: str, today: date) -> VendorFactors:
        instrument = self._get_instrument(root)
        if not instrument.actions:
            return NO_VENDOR_FACTORS
        return compute_vendor_factors(instrument.actions, self.get_currency(root), today, instrument.cum_closes)


NO_TRUE_FACTORS, NO_VENDOR_FACTORS = TrueFactors(NO_STEPS, NO_STEPS), VendorFactors(NO_STEPS, NO_STEPS, NO_STEPS)


def compute_true_factors(
    actions: Sequence[Action], price_currency: str, continuous_cum_closes: Mapping[date, float]
) -> TrueFactors:
    """Compute the true factors of an instrument, from the newest action back.

    ``continuous_cum_closes`` has the continuous close of the session before each dividend's ex-date. Prices before it
    are multiplied by 1 ÷ (1 − amount ÷ raw close of that session); several of one day are added up. Of a split on the
    same day the amount is per share before it.
    """
    happened = [action for action in actions if isinstance(action, SpinOff) or not action.is_mistake]
    steps: list[tuple[date, float]] = []
    later = 1.0
    for ex_date in sorted({action.ex_date for action in happened}, reverse=True):
        of_day = [action for action in happened if action.ex_date == ex_date]
        factor = float(np.prod([_get_share_step(action) for action in of_day]))
        paid = float(sum(a.amount * a.get_rate(price_currency) for a in of_day if isinstance(a, CashDividend)))
        if paid:
            factor *= _compute_dividend_step(continuous_cum_closes[ex_date] * later * factor, paid)
        steps.append((ex_date, factor))
        later *= factor
    splits = [(action.ex_date, float(action.value)) for action in happened if isinstance(action, Split)]
    return TrueFactors(Steps.create(steps), Steps.create(splits))


def compute_vendor_factors(
    actions: Sequence[Action], price_currency: str, today: date, cum_closes: Mapping[date, float]
) -> VendorFactors:
    """Compute what the daily data are adjusted for on ``today``: what is listed then and has taken effect.

    ``cum_closes`` has the raw official close of the session before each dividend's ex-date. A record that stands twice
    is applied once, with the right value if there are two.
    """
    effective = [action for action in actions if action.ex_date <= today and is_listed(action, today)]
    spinoffs = [(action.ex_date, action.divisor) for action in effective if isinstance(action, SpinOff)]
    splits = [
        (action.ex_date, float(get_listed_value(action, today))) for action in effective if isinstance(action, Split)
    ]
    paid: dict[date, Decimal] = {}  # several of one day are added up
    for action in effective:
        if isinstance(action, CashDividend):
            worth = get_listed_value(action, today) * action.get_rate(price_currency)
            paid[action.ex_date] = paid.get(action.ex_date, Decimal(0)) + worth
    dividends = [(ex_date, 1.0 - float(worth) / cum_closes[ex_date]) for ex_date, worth in paid.items()]
    inverse = [(day, 1.0 / factor) for day, factor in (*splits, *spinoffs)]
    return VendorFactors(Steps.create([*inverse, *dividends]), Steps.create(splits), Steps.create(spinoffs))


def is_listed(action: Action, today: date) -> bool:
    """Whether the vendor lists it on ``today``."""
    age, record = today - action.ex_date, action.record
    withdrawn = record.withdrawn_after_days
    return age >= timedelta(record.listed_after_days) and (withdrawn is None or age < timedelta(withdrawn))


def get_listed_value(action: Split | CashDividend, today: date) -> Decimal:
    """Get the value that the vendor goes by on ``today``: the wrong one only until it is corrected."""
    corrected = action.record.corrected_after_days
    is_wrong = corrected is not None and today - action.ex_date < timedelta(corrected)
    return action.record.wrong_value if is_wrong and action.record.wrong_value is not None else action.value


def list_values(action: Split | CashDividend, today: date) -> list[Decimal]:
    """List the values of an action's records on ``today``; empty if it is not listed."""
    if not is_listed(action, today):
        return []
    record = action.record
    values = [get_listed_value(action, today)] * record.copies
    if record.wrong_value is not None and record.corrected_after_days is None:
        values.append(record.wrong_value)
    return values


def find_session_before(session_index: SessionIndex, ex_date: date) -> Session:
    """Find the session before an ex-date; the first one of all has none, and stands for it itself."""
    position = session_index.slice_days(ex_date, ex_date).start - 1
    session: Session = session_index.sessions[max(position, 0)]
    return session


def _get_share_step(action: Action) -> float:
    if isinstance(action, Split):
        return float(action.value)
    return action.divisor if isinstance(action, SpinOff) else 1.0


def _compute_dividend_step(ex_price: float, paid: float) -> float:
    """Compute close before ÷ ``ex_price``; if there is a close in whole cents, as they are published, with that one."""

    def compute_step(close: float) -> float:
        return 1.0 / (1.0 - paid / close)

    close = ex_price + paid
    for cents in (0, 1, -1, 2, -2):
        published = round(close + cents / 100, 2)
        if published > paid and round(ex_price * compute_step(published), 2) == published:
            return compute_step(published)
    return compute_step(close)
