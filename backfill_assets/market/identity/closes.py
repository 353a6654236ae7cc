"""Closes by day of one ticker, and whether two of them are of one level. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from backfill_assets.market.vendor import DailyRows

Closes: TypeAlias = Mapping[date, float]
# How far the last close under one name and the first under another may lie apart: FB ended at 196.64 and META began at
# 184.00, while two instruments that shared a ticker were 12 and 184, or 42 and 0.0003.
MAX_STEP = 1.25


@dataclass(frozen=True, slots=True)
class DayClose:
    """The close of a session, as traded."""

    day: date
    price: float

    def __str__(self) -> str:
        return f"{format_price(self.price)} on {self.day}"


def format_price(price: float) -> str:
    """A price with cents; one below 1 with its significant digits: 196.64, 0.0003."""
    return f"{price:,.2f}" if price >= 1 else f"{price:.4g}"


def is_same_level(one: float, other: float) -> bool:
    """Whether the larger of two prices is at most ``MAX_STEP`` times the smaller."""
    return max(one, other) <= MAX_STEP * min(one, other)


def list_closes(rows: DailyRows) -> dict[date, float]:
    """The closes of daily rows by day, those above 0; of several rows of one day the last."""
    pairs = zip(rows.date.astype(object).tolist(), rows.close.tolist(), strict=True)
    return {day: close for day, close in pairs if close > 0}
