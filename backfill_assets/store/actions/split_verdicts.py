"""Reads the prices on both sides of stored splits, and judges the splits by them (``market.actions.proof``)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np

from backfill_assets.market.actions.overnight_steps import OvernightSteps, compute_log_ratio
from backfill_assets.market.actions.proof import Verdict, judge_splits
from backfill_assets.market.arrays import Floats
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

# Bars further apart, as around a hole of weeks, may differ by as much without a split.
MAX_GAP = timedelta(days=14)

# The factor counts only if no action but the split can tell the two daily rows apart: the one before was read since the
# ex-date (of a row read on it, it is not known whether it was adjusted), and nothing took effect between the readings.
_SELECT_EVIDENCE = """
SELECT s.symbol_id, s.ex_date, s.ratio, b.day, a.day, b.price, a.price, db.close_price, da.open_price,
       db.adjusted_close, da.close_price, da.adjusted_close,
       db.read_day > s.ex_date AND NOT EXISTS (
           SELECT FROM (SELECT symbol_id, ex_date FROM backfill.splits WHERE withdrawn_at IS NULL
                        UNION ALL SELECT symbol_id, ex_date FROM backfill.dividends WHERE withdrawn_at IS NULL) o
           WHERE o.symbol_id = s.symbol_id AND o.ex_date <> s.ex_date
             AND o.ex_date BETWEEN least(db.read_day, da.read_day) AND greatest(db.read_day, da.read_day))
FROM (
    SELECT symbol_id, ex_date, ratio, backfill.symbol_zone(symbol_id) AS zone FROM backfill.splits
    WHERE symbol_id = ANY (%(ids)s::int[]) AND withdrawn_at IS NULL
      AND ex_date BETWEEN %(first_at)s::date - 2 AND %(now)s::date + 2 OFFSET 0
) s
CROSS JOIN LATERAL (SELECT s.ex_date::timestamp AT TIME ZONE s.zone AS begins) t
LEFT JOIN LATERAL (
    SELECT (d.timestamp AT TIME ZONE s.zone)::date AS day, d.close_price::float8 AS price FROM market_data d
    WHERE d.symbol_id = s.symbol_id AND d.interval_type = ANY (%(spellings)s) AND d.is_final IS NOT FALSE
      AND d.timestamp < t.begins AND d.timestamp >= t.begins - %(max_gap)s
    ORDER BY d.timestamp DESC LIMIT 1) b ON true
LEFT JOIN LATERAL (
    SELECT (d.timestamp AT TIME ZONE s.zone)::date AS day, d.open_price::float8 AS price FROM market_data d
    WHERE d.symbol_id = s.symbol_id AND d.interval_type = ANY (%(spellings)s) AND d.is_final IS NOT FALSE
      AND d.timestamp >= t.begins AND d.timestamp < t.begins + %(max_gap)s
    ORDER BY d.timestamp LIMIT 1) a ON true
LEFT JOIN LATERAL (
    SELECT p.*, (p.read_at AT TIME ZONE s.zone)::date AS read_day
    FROM generate_series(1, %(max_gap_days)s) AS g (days)
    JOIN backfill.daily_prices p ON p.day = s.ex_date - g.days AND p.symbol_id = s.symbol_id
    WHERE p.no_row_reason IS NULL AND p.close_price > 0 ORDER BY g.days LIMIT 1) db ON true
LEFT JOIN LATERAL (
    SELECT p.*, (p.read_at AT TIME ZONE s.zone)::date AS read_day
    FROM generate_series(0, %(max_gap_days)s) AS g (days)
    JOIN backfill.daily_prices p ON p.day = s.ex_date + g.days AND p.symbol_id = s.symbol_id
    WHERE p.no_row_reason IS NULL AND p.close_price > 0 ORDER BY g.days LIMIT 1) da ON true
WHERE s.ex_date BETWEEN (%(first_at)s AT TIME ZONE s.zone)::date AND (%(now)s AT TIME ZONE s.zone)::date
ORDER BY 1, 2
"""
# The first stored bar: no split of an earlier session is among bars.
_SELECT_FIRST_BAR = """
SELECT min(d.timestamp)
FROM unnest(%(ids)s::int[]) AS t (id) CROSS JOIN LATERAL (
    SELECT timestamp FROM market_data
    WHERE symbol_id = t.id AND interval_type = ANY (%(spellings)s) ORDER BY timestamp LIMIT 1) d
"""


@dataclass(frozen=True, slots=True)
class JudgedSplit:
    """A split of a day with bars, and what the prices say of it.

    Attributes:
        symbol_id: the symbol.
        ex_date: the first session with the new number of shares.
        ratio: new shares for an old one.
        verdict: what the prices say.
        raw_step: first price from the ex-date on / last one before; NaN without bars on both sides.
        factor_step: how much adjusted close / close of the daily data grows at it; NaN where that is not known.
    """

    symbol_id: int
    ex_date: date
    ratio: float
    verdict: Verdict
    raw_step: float
    factor_step: float

    @property
    def adjusted_step(self) -> float:
        """The step of prices that are adjusted for the split."""
        return self.raw_step * self.ratio

    def __str__(self) -> str:
        shown = {
            "step": self.raw_step,
            "adjusted step": self.adjusted_step,
            "step of the factor in the daily data": self.factor_step,
        }
        figures = ", ".join(f"{name} {value:.4g}" for name, value in shown.items() if not np.isnan(value))
        return f"split {self.ratio:.6g} of {self.ex_date}: {self.verdict}" + (f" ({figures})" if figures else "")


def judge_stored_splits(
    connection: Connection, symbol_ids: Collection[int], interval: Interval, now: datetime
) -> list[JudgedSplit]:
    """Judge the splits of some symbols that took effect by ``now`` since their first bar, by symbol and date."""
    values: dict[str, Any] = {
        "ids": sorted(symbol_ids),
        "spellings": list(interval.spellings),
        "max_gap": MAX_GAP,
        "max_gap_days": MAX_GAP.days,
    }
    ((first_at,),) = connection.execute(_SELECT_FIRST_BAR, values).fetchall()
    if first_at is None:
        return []
    values |= {"first_at": first_at, "now": now}
    rows = connection.execute(_SELECT_EVIDENCE, values).fetchall()
    if not rows:
        return []
    steps = _build_steps(rows)
    verdicts = judge_splits(steps, _find_others(rows, steps.split))
    with np.errstate(over="ignore"):
        raw_step, factor_step = np.exp(steps.bars), np.exp(steps.adjustment)
    return [
        JudgedSplit(row[0], row[1], row[2], verdict, raw, factor)
        for row, verdict, raw, factor in zip(rows, verdicts, raw_step.tolist(), factor_step.tolist(), strict=True)
    ]


def _build_steps(rows: Sequence[tuple[Any, ...]]) -> OvernightSteps:
    numbers = np.array([[np.nan if value is None else value for value in row[5:12]] for row in rows], np.float64)
    before, after, close_before, open_after, adjusted_before, close_after, adjusted_after = numbers.T
    is_comparable = np.array([bool(row[12]) for row in rows])
    factor_after = compute_log_ratio(adjusted_after, close_after)
    factor_step = factor_after - compute_log_ratio(adjusted_before, close_before)
    return OvernightSteps(
        bars=compute_log_ratio(after, before),
        days=compute_log_ratio(open_after, close_before),
        adjustment=np.where(is_comparable, factor_step, np.nan),
        split=np.log([row[2] for row in rows]),
    )


def _find_others(rows: Sequence[tuple[Any, ...]], split: Floats) -> Floats:
    """The logarithms of the other splits between the two sessions of each."""
    others = np.zeros(len(rows))
    for _, group in groupby(range(len(rows)), key=lambda at: rows[at][0]):
        of_symbol = list(group)
        for at in of_symbol:
            before, after = rows[at][3:5]
            if before is not None and after is not None:
                others[at] = sum(split[o] for o in of_symbol if o != at and before < rows[o][1] <= after)
    return others
