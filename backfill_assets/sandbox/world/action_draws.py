"""Draws the corporate actions of a ticker and how the vendor lists them. What they do is in ``action_factors``."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from backfill_assets.sandbox.actions import Action, ActionRates, CashDividend, Record, SpinOff, Split
from backfill_assets.sandbox.world.random_draws import draw_between, draw_unit
from backfill_assets.sandbox.world.session_index import SessionIndex

_QUARTERLY_AMOUNTS, _SPECIAL_AMOUNTS = (0.03, 0.3), (0.5, 2.0)
_RATIOS = ((2, 1), (3, 1), (4, 1), (10, 1), (3, 2), (21, 20), (1, 2), (1, 5), (1, 10), (1, 15), (2, 5), (1, 4))
_DIVISORS = (1.05, 1.6)
_LATE_DAYS, _CORRECTED_DAYS, _MISTAKE_DAYS = (1, 11), (2, 21), (1, 11)


class ActionDraws:
    """Draws for the tickers of one market, each known by its root; dividends are in ``currency``."""

    def __init__(self, rates: ActionRates, seed: int, session_index: SessionIndex, currency: str) -> None:
        self._rates, self._seed, self._session_index, self._currency = rates, seed, session_index, currency

    def draw(self, root: str) -> list[Action]:
        """Draw the actions of a ticker in all years of the sandbox."""
        if self._rates.is_off:
            return []
        first, last = (self._session_index.sessions[position].day.year for position in (0, -1))
        parts = (self._seed, self._rates.seed, "action", root)
        is_payer = draw_unit(*parts, "payer") < self._rates.dividend_payers
        actions: list[Action] = []
        for year in range(first, last + 1):
            actions += self._draw_year(root, year)
            actions += self._draw_dividends(root, year) if is_payer else []
        return [self._draw_record(root, action) for action in actions]

    def _draw_year(self, root: str, year: int) -> Iterator[Action]:
        parts = (self._seed, self._rates.seed, "action", root, year)
        ratio = _RATIOS[int(draw_unit(*parts, "ratio") * len(_RATIOS))]
        if draw_unit(*parts, "split") < self._rates.splits:
            yield Split(self._draw_day(date(year, 1, 1), date(year, 12, 31), *parts, "split day"), *ratio)
        if draw_unit(*parts, "spin-off") < self._rates.spinoffs:
            day = self._draw_day(date(year, 1, 1), date(year, 12, 31), *parts, "spin-off day")
            yield SpinOff(day, round(draw_between(_DIVISORS, *parts, "divisor"), 4))
        if draw_unit(*parts, "mistake") < self._rates.mistakes:
            day = self._draw_day(date(year, 1, 1), date(year, 12, 31), *parts, "mistake day")
            days = int(draw_between(_MISTAKE_DAYS, *parts, "mistake ends"))
            yield Split(day, *ratio, record=Record(withdrawn_after_days=days), is_mistake=True)

    def _draw_dividends(self, root: str, year: int) -> Iterator[CashDividend]:
        parts = (self._seed, self._rates.seed, "dividend", root)
        amount = _to_cents(draw_between(_QUARTERLY_AMOUNTS, *parts))
        first_month = 1 + int(3 * draw_unit(*parts, "month"))
        for month in range(first_month, 13, 3):
            begin = date(year, month, 5)
            regular_day = self._draw_day(begin, begin + timedelta(20), *parts, year, month)
            yield _make_dividend(regular_day, amount, "Quarterly", self._currency)
            is_special = draw_unit(*parts, "special", year, month) < self._rates.special_dividends
            if is_special and month < 12:  # the sessions of the next year may not be known
                special_day = self._draw_day(begin + timedelta(28), begin + timedelta(50), *parts, "special", year)
                special_amount = _to_cents(draw_between(_SPECIAL_AMOUNTS, *parts, month))
                yield _make_dividend(special_day, special_amount, "Special", self._currency)

    def _draw_record(self, root: str, action: Action) -> Action:
        parts = (self._seed, self._rates.seed, "record", root, type(action).__name__, action.ex_date.toordinal())
        record, rates = action.record, self._rates
        if draw_unit(*parts, "late") < rates.late and record.withdrawn_after_days is None:
            record = replace(record, listed_after_days=int(draw_between(_LATE_DAYS, *parts, "days late")))
        if not isinstance(action, SpinOff) and record.withdrawn_after_days is None:
            wrong = action.value * 2
            if draw_unit(*parts, "copies") < rates.copies:
                record = replace(record, copies=2)
            if draw_unit(*parts, "contradictory") < rates.contradictory:
                record = replace(record, wrong_value=wrong)
            elif draw_unit(*parts, "corrected") < rates.corrected:
                days = record.listed_after_days + int(draw_between(_CORRECTED_DAYS, *parts, "days wrong"))
                record = replace(record, wrong_value=wrong, corrected_after_days=days)
        return replace(action, record=record)

    def _draw_day(self, first: date, last: date, *parts: str | int) -> date:
        sessions = self._session_index.sessions[self._session_index.slice_days(first, last)]
        return sessions[int(draw_unit(*parts) * len(sessions))].day


def _make_dividend(ex_date: date, amount: Decimal, period: str, currency: str) -> CashDividend:
    """Declared four weeks before; paid three weeks after. Shares settle in a day: the ex-date is the record day."""
    return CashDividend(
        ex_date,
        amount,
        currency,
        period=period,
        declared_on=ex_date - timedelta(28),
        record_on=ex_date,
        paid_on=ex_date + timedelta(21),
    )


def _to_cents(amount: float) -> Decimal:
    return Decimal(f"{amount:.2f}")
