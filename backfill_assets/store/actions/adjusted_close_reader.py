"""Reads daily rows beside our factor of the moment when each was read, where actions have changed either.

Our factors are those of ``backfill.adjustment_arrays``, as ``backfill.adjusted_bars`` has them. How the two series
compare is in ``market.actions.adjusted_closes``.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from backfill_assets.market.actions.adjusted_closes import MAX_DIFFERENCE, AdjustedCloses, KnownAction
from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.vendor import DateArray
from backfill_assets.store.actions.spinoffs import list_spinoffs
from backfill_assets.store.exchanges import get_zone_name
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

# A row that was read on the ex-date of an action may be adjusted for it, or not (docs/vendor.md §6.17).
_WITH_ROWS = """
WITH action AS MATERIALIZED (
    SELECT DISTINCT symbol_id, ex_date FROM (
        SELECT symbol_id, ex_date, withdrawn_at FROM backfill.splits
        UNION ALL SELECT symbol_id, ex_date, withdrawn_at FROM backfill.dividends
        UNION ALL SELECT symbol_id, ex_date, withdrawn_at FROM backfill.spinoffs) a
    WHERE symbol_id = ANY (%(ids)s::int[]) AND withdrawn_at IS NULL
), stored AS MATERIALIZED (
    SELECT p.symbol_id, p.day, s.position - 1 AS session, p.close_price, p.adjusted_close, p.read_at,
           (p.read_at AT TIME ZONE %(zone)s)::date AS read_day
    FROM unnest(%(days)s::date[], %(closes)s::bigint[]) WITH ORDINALITY AS s (day, session_close, position)
    JOIN backfill.daily_prices p ON p.day = s.day AND p.symbol_id = ANY (%(ids)s::int[])
    WHERE p.no_row_reason IS NULL AND p.close_price > 0 AND p.adjusted_close > 0
      AND p.read_at >= to_timestamp(s.session_close) + %(settled_after)s
), touched AS MATERIALIZED (
    SELECT r.symbol_id, r.session, bool_or(a.ex_date = r.read_day) AS is_unclear
    FROM stored r JOIN action a ON a.symbol_id = r.symbol_id AND a.ex_date > r.day AND a.ex_date <= r.read_day
    GROUP BY 1, 2
), chosen AS MATERIALIZED (
    SELECT r.*, bool_or(t.symbol_id IS NOT NULL
                        OR abs(ln(r.adjusted_close) - ln(r.close_price)) > %(difference)s)
                    OVER (PARTITION BY r.symbol_id, r.read_day) AS is_adjusted  -- some row of the reading
    FROM stored r LEFT JOIN touched t USING (symbol_id, session) WHERE t.is_unclear IS NOT TRUE
)
"""
_SELECT_ADJUSTED = f"""
{_WITH_ROWS}
SELECT c.symbol_id, c.session, c.close_price AS close, c.adjusted_close,
       c.read_day - date '1970-01-01' AS read_day, extract(epoch FROM c.read_at)::float8 AS read_at,
       coalesce((SELECT max(e.official_close) FROM backfill.session_evidence e
                 WHERE e.symbol_id = c.symbol_id AND e.interval_type = %(interval)s AND e.session_day = c.day), 'NaN')
           AS official_close
FROM chosen c WHERE c.is_adjusted ORDER BY c.symbol_id, c.read_day, c.day
"""  # noqa: S608 - only a constant is inserted
_COUNT_UNADJUSTED = f"""
{_WITH_ROWS}
SELECT symbol_id, count(*) FROM chosen WHERE NOT is_adjusted GROUP BY 1
"""  # noqa: S608 - only a constant is inserted
_COLUMN_TYPES = {
    "symbol_id": ">i4",
    "session": ">i8",
    "close": ">f8",
    "adjusted_close": ">f8",
    "read_day": ">i4",
    "read_at": ">f8",
    "official_close": ">f8",
}
_SELECT_FACTORS = """
SELECT r.position - 1,
       ARRAY(SELECT (b.begins AT TIME ZONE a.zone)::date
             FROM unnest(a.begins[2:]) WITH ORDINALITY AS b (begins, at) ORDER BY b.at),
       a.old_shares, a.new_shares, a.cash_factor
FROM unnest(%(ids)s::int[], %(moments)s::float8[]) WITH ORDINALITY AS r (symbol_id, moment, position)
CROSS JOIN LATERAL backfill.adjustment_arrays(r.symbol_id, 'splits_and_dividends', to_timestamp(r.moment), %(zone)s) a
"""
# Symbols whose actions were others before, or may be other tickers' as well.
_SELECT_CHANGED = """
SELECT symbol_id FROM (
    SELECT symbol_id FROM backfill.split_revisions
    UNION SELECT symbol_id FROM backfill.dividend_revisions
    UNION SELECT symbol_id FROM backfill.spinoff_revisions
    UNION SELECT symbol_id FROM backfill.splits WHERE withdrawn_at IS NOT NULL
    UNION SELECT symbol_id FROM backfill.dividends WHERE withdrawn_at IS NOT NULL
    UNION SELECT symbol_id FROM backfill.spinoffs WHERE withdrawn_at IS NOT NULL
    UNION SELECT symbol_id FROM backfill.listings
) c WHERE symbol_id = ANY (%(ids)s::int[])
"""
_SELECT_KNOWN_UNTIL = """
SELECT s.symbol_id, least(s.known_until, d.known_until)
FROM backfill.split_reads s JOIN backfill.dividend_reads d USING (symbol_id)
WHERE s.symbol_id = ANY (%(ids)s::int[]) AND least(s.known_until, d.known_until) IS NOT NULL
"""
# The function goes through the whole history of a symbol: only of those that may have an action of these days.
_SELECT_ACTIONS = """
SELECT t.id, a.kind, a.ex_date, a.missing, a.missing IS NOT NULL AND (
           a.cum_close IS NULL AND a.kind = 'dividend' AND a.cum_day >= %(first)s
           OR EXISTS (SELECT FROM backfill.splits s WHERE a.kind = 'split' AND s.symbol_id = a.listed_as
                      AND s.ex_date = a.ex_date AND s.contradiction IS NOT NULL)
           OR EXISTS (SELECT FROM backfill.dividends d WHERE a.kind = 'dividend' AND d.symbol_id = a.listed_as
                      AND d.ex_date = a.ex_date AND d.period = a.period AND d.contradiction IS NOT NULL)),
       a.missing IS NOT NULL AND a.currency IS NOT NULL
       AND backfill.convert_currency(a.amount, a.currency, backfill.price_unit(t.id, a.cum_day)) IS NULL
FROM (SELECT id FROM unnest(%(ids)s::int[]) AS i (id)
      WHERE EXISTS (SELECT FROM backfill.splits s WHERE s.symbol_id = i.id AND s.ex_date > %(first)s)
         OR EXISTS (SELECT FROM backfill.dividends d WHERE d.symbol_id = i.id AND d.ex_date > %(first)s)
         OR EXISTS (SELECT FROM backfill.spinoffs o WHERE o.symbol_id = i.id AND o.ex_date > %(first)s)
         OR EXISTS (SELECT FROM backfill.listings l WHERE l.symbol_id = i.id)) t
CROSS JOIN LATERAL backfill.counted_actions(t.id, known_zone => %(zone)s) a
WHERE a.ex_date > %(first)s ORDER BY 1, 3
"""


@dataclass(frozen=True, slots=True)
class ActionWithoutFactor:
    """An action of the window without a factor.

    Attributes:
        symbol_id: the symbol.
        kind: ``split`` or ``dividend``.
        ex_date: its ex-date.
        reason: why, in words.
        is_inconsistent: whether records contradict each other, or a close is absent; an amount in another currency is
            no inconsistency.
        is_in_other_currency: whether its amount is not in the currency of the prices.
    """

    symbol_id: int
    kind: str
    ex_date: date
    reason: str
    is_inconsistent: bool
    is_in_other_currency: bool


@dataclass(frozen=True, eq=False)
class ClosesRead:
    """What is compared.

    Attributes:
        closes: the rows of readings with one that actions have changed, by either side.
        unadjusted: symbol_id → how many other rows there are, which both sides leave as they are.
        without_factor: symbol_id → how many rows have no factor of ours.
        closes_differ: symbol_id → how many official closes are not the daily ones, which then stand in for them.
        actions: the actions that took effect since the first day.
        missing: those of them that have no factor.
        known_until: symbol_id → the day up to which all its actions were read.
    """

    closes: AdjustedCloses
    unadjusted: Mapping[int, int]
    without_factor: Mapping[int, int]
    closes_differ: Mapping[int, int]
    actions: tuple[KnownAction, ...]
    missing: tuple[ActionWithoutFactor, ...]
    known_until: Mapping[int, date]


def read_adjusted_closes(connection: Connection, symbol_ids: Collection[int], grid: SlotGrid) -> ClosesRead:
    """Read what is compared of a grid's sessions: settled daily rows with an adjusted close.

    Five statements; most of the cost is that of the symbols' actions.
    """
    ids, days = sorted(symbol_ids), [session.day for session in grid.sessions]
    values: dict[str, Any] = {
        "ids": ids,
        "days": days,
        "zone": get_zone_name(grid.sessions),
        "closes": grid.session_closes.tolist(),
        "interval": grid.interval.name,
        "settled_after": SETTLED_AFTER,
        "difference": MAX_DIFFERENCE,
    }
    found = read_columns(connection, _SELECT_ADJUSTED, values, _COLUMN_TYPES)
    unadjusted: dict[int, int] = dict(connection.execute(_COUNT_UNADJUSTED, values).fetchall())
    rows = connection.execute(_SELECT_ACTIONS, {**values, "first": days[0]}).fetchall() if days else []
    day = np.array(days, "datetime64[D]")[found["session"]]
    read_day = found["read_day"].astype("datetime64[D]")
    raw, differs = _find_raw_closes(
        connection, found["symbol_id"], day, read_day, found["close"], found["official_close"]
    )
    factor = _find_factors(
        partial(_read_factors, connection, get_zone_name(grid.sessions)),
        connection,
        found["symbol_id"],
        day,
        found["read_at"],
        read_day,
        np.log(found["adjusted_close"]) - np.log(raw),
    )
    known = np.flatnonzero(~np.isnan(factor))
    closes = AdjustedCloses(
        symbol_id=found["symbol_id"][known].astype(np.int64),
        day=day[known],
        read_day=read_day[known],
        raw=raw[known],
        factor=factor[known],
        vendor=found["adjusted_close"][known],
    )
    return ClosesRead(
        closes,
        unadjusted,
        without_factor=_count(found["symbol_id"][np.isnan(factor)]),
        closes_differ=_count(found["symbol_id"][known][differs[known]]),
        actions=tuple(KnownAction(symbol_id, ex_date, kind) for symbol_id, kind, ex_date, *_ in rows),
        missing=tuple(
            ActionWithoutFactor(symbol_id, kind, ex_date, reason, *flags)
            for symbol_id, kind, ex_date, reason, *flags in rows
            if reason is not None
        ),
        known_until=dict(connection.execute(_SELECT_KNOWN_UNTIL, values).fetchall()),
    )


_FactorsAt: TypeAlias = tuple[int, Callable[[DateArray], Floats]]  # a position, and the factors of days


def _find_factors(
    read_factors: Callable[[Sequence[int], Sequence[float | None]], Iterator[_FactorsAt]],
    connection: Connection,
    symbol_id: Int64,
    day: DateArray,
    read_at: Floats,
    read_day: DateArray,
    vendor_logarithm: Floats,
) -> Floats:
    """Our factor of each row at the moment of its reading; those of one symbol and date are one reading.

    It is today's factor without the actions since the reading, or if an action was another one before that of its
    version then, whichever is nearer to the vendor's: its row may have a correction that its list showed us later.
    """
    factor = np.full(len(symbol_id), np.nan)
    if not len(symbol_id):
        return factor
    own = np.split(np.arange(len(symbol_id)), np.flatnonzero(np.diff(symbol_id)) + 1)
    ids = [int(symbol_id[lines[0]]) for lines in own]
    for position, get_factors in read_factors(ids, [None] * len(ids)):
        lines = own[position]
        with np.errstate(invalid="ignore"):
            factor[lines] = get_factors(day[lines]) / get_factors(read_day[lines])
    changed = [row[0] for row in connection.execute(_SELECT_CHANGED, {"ids": ids})]
    again = np.flatnonzero(np.isnan(factor) | np.isin(symbol_id, changed))
    is_new = (np.diff(symbol_id[again]) != 0) | (read_day[again][1:] != read_day[again][:-1])
    readings = np.split(again, np.flatnonzero(is_new) + 1) if len(again) else []
    moments = [float(read_at[lines].max()) for lines in readings]
    for position, get_factors in read_factors([int(symbol_id[r[0]]) for r in readings], moments):
        lines = readings[position]
        factor[lines] = _choose_nearer(get_factors(day[lines]), factor[lines], vendor_logarithm[lines])
    return factor


def _choose_nearer(then: Floats, now: Floats, vendor_logarithm: Floats) -> Floats:
    """The factors of one reading by the actions of then, or by those of now where all together are nearer."""
    off_then, off_now = (np.abs(np.log(factors) - vendor_logarithm).sum() for factors in (then, now))
    return now if off_now < off_then or (np.isnan(off_then) and not np.isnan(off_now)) else then


def _read_factors(
    connection: Connection, zone: str, symbol_ids: Sequence[int], moments: Sequence[float | None]
) -> Iterator[_FactorsAt]:
    """For each position of a symbol and a moment (None: now), its factors as a function of days."""
    values = {"ids": list(symbol_ids), "moments": list(moments), "zone": zone}
    rows = connection.execute(_SELECT_FACTORS, values).fetchall()
    for position, first_days, *products in rows:
        old, new, cash = (np.array(product, np.float64) for product in products)
        yield position, partial(_take_factors, np.array(first_days, "datetime64[D]"), old / new * cash)


def _take_factors(first_days: DateArray, factors: Floats, days: DateArray) -> Floats:
    """The factors of days; the first one is that of all days before ``first_days``."""
    taken: Floats = factors[np.searchsorted(first_days, days, side="right")]
    return taken


def _find_raw_closes(
    connection: Connection, symbol_id: Int64, day: DateArray, read_day: DateArray, close: Floats, official: Floats
) -> tuple[Floats, Bools]:
    """The closes as traded, and where the official one is not the daily one, which then stands in for it."""
    undone = close.copy()
    for spinoff in list_spinoffs(connection, set(symbol_id.tolist())):
        ex_date = np.datetime64(spinoff.ex_date, "D")
        undone[(symbol_id == spinoff.symbol_id) & (day < ex_date) & (read_day > ex_date)] /= spinoff.factor
    differs = np.abs(np.log(official) - np.log(undone)) > MAX_DIFFERENCE
    return np.where(np.isnan(official) | differs, undone, official), differs


def _count(symbol_ids: Int64) -> dict[int, int]:
    return {int(key): int(count) for key, count in zip(*np.unique(symbol_ids, return_counts=True), strict=True)}
