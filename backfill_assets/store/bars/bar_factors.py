"""Adjusts the columns of a read by the factors of the schema, to the same bits as ``backfill.adjusted_bars``.

The schema computes the factors of each symbol, which are few; multiplying them here takes a fraction of the time that
the function takes for each row. Which actions count is decided there (docs/adjusted_prices.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.bars.adjusted_bars import translate_missing_factor
from backfill_assets.store.bars.bar_stream import (
    NO_VOLUME,
    PRICES,
    decode_array,
    from_postgres_moment,
    to_postgres_moments,
)
from backfill_assets.store.postgres.connection import Connection

_SELECT_FACTORS = """
SELECT array_send(f.begins), array_send(f.old_shares), array_send(f.new_shares), array_send(f.cash_factor)
FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row)
CROSS JOIN LATERAL backfill.adjustment_arrays(u.symbol_id, %(adjustment)s, %(point_in_time)s) f ORDER BY u.row
"""
_RAISE_MISSING_FACTOR = """
SELECT backfill.raise_missing_factor(%(symbol_id)s, %(start)s, %(adjustment)s, %(point_in_time)s)
"""


@dataclass(frozen=True, eq=False)
class SymbolFactors:
    """What one symbol's bars are adjusted by; parallel arrays, NaN where a factor is missing.

    Attributes:
        begins: from when each holds, ascending, in microseconds since 2000; the first is minus infinity.
        old_shares: of the splits after, multiplied.
        new_shares: likewise.
        cash_factor: of the dividends and spin-offs after, multiplied.
    """

    begins: Int64
    old_shares: Floats
    new_shares: Floats
    cash_factor: Floats

    @property
    def is_neutral(self) -> bool:
        """Whether nothing is adjusted."""
        return all(bool((some == 1).all()) for some in (self.old_shares, self.new_shares, self.cash_factor))


@dataclass(frozen=True, eq=False)
class BarFactors:
    """The factors of the symbols of a read, in their order, and what they are for."""

    symbols: Sequence[Symbol]
    adjustment: Adjustment
    point_in_time: datetime | None
    factors: Sequence[SymbolFactors]

    def adjust(
        self,
        connection: Connection,
        values: Mapping[str, NDArray[Any]],
        slot_key: Int64,
        grid: SlotGrid,
        is_needed: Bools | None = None,
    ) -> dict[str, NDArray[Any]]:
        """``values`` (see ``BarTable``), adjusted: prices in place, the volume as a new column in double precision.

        Args:
            connection: with a transaction open, to say what is missing.
            values: columns by name.
            slot_key: of each bar, ascending.
            grid: of the keys.
            is_needed: whether each bar is needed; one that is not becomes NaN if its factor is missing. None: all are.

        Raises:
            MissingFactor: one of the bars that are needed has a factor that is not known.
        """
        adjusted = dict(values)
        if "volume" in values and values["volume"].dtype == np.int64:
            adjusted["volume"] = np.where(values["volume"] == NO_VOLUME, np.nan, values["volume"])
        starts = to_postgres_moments(grid.starts)
        bounds = np.searchsorted(slot_key, np.arange(len(self.symbols) + 1) * grid.size).tolist()
        for row, factors in enumerate(self.factors):
            if bounds[row] < bounds[row + 1] and not factors.is_neutral:
                place = slice(bounds[row], bounds[row + 1])
                start = starts[slot_key[place] - row * grid.size]
                needed = start if is_needed is None else start[is_needed[place]]
                self._require_factors(connection, row, needed, adjusted)
                _adjust(adjusted, place, factors, _find_positions(start, factors))
        return adjusted

    def _require_factors(
        self, connection: Connection, row: int, start: Int64, values: Mapping[str, NDArray[Any]]
    ) -> None:
        """Fail with the message of the schema if a factor of the symbol's bars is missing."""
        factors = self.factors[row]
        position = _find_positions(start, factors)
        has_prices = not set(PRICES).isdisjoint(values)
        needed, adjustment = (
            (factors.cash_factor, self.adjustment) if has_prices else (factors.old_shares, Adjustment.SPLITS)
        )
        is_missing = np.isnan(needed[position])
        if not is_missing.any() or not values:
            return
        moment = from_postgres_moment(int(start[is_missing.argmax()]))
        with translate_missing_factor():
            connection.execute(
                _RAISE_MISSING_FACTOR,
                {
                    "symbol_id": self.symbols[row].symbol_id,
                    "start": moment,
                    "adjustment": str(adjustment),
                    "point_in_time": self.point_in_time,
                },
            )


def read_bar_factors(
    connection: Connection, symbols: Sequence[Symbol], adjustment: Adjustment, point_in_time: datetime | None
) -> BarFactors:
    """The factors of some symbols.

    Args:
        connection: with a transaction open.
        symbols: the symbols.
        adjustment: what for.
        point_in_time: the moment whose knowledge counts (UTC); None is what holds now.
    """
    ids = "{" + ",".join(str(symbol.symbol_id) for symbol in symbols) + "}"
    values = {"ids": ids, "adjustment": str(adjustment), "point_in_time": point_in_time}
    rows = connection.cursor(binary=True).execute(_SELECT_FACTORS, values).fetchall()
    factors = [
        SymbolFactors(decode_array(begins, ">i8"), *(decode_array(some, ">f8") for some in others))
        for begins, *others in rows
    ]
    return BarFactors(symbols, adjustment, point_in_time, factors)


def _find_positions(start: Int64, factors: SymbolFactors) -> Int64:
    return np.searchsorted(factors.begins, start, side="right") - 1


def _adjust(values: Mapping[str, NDArray[Any]], place: slice, factors: SymbolFactors, position: Int64) -> None:
    """The operations of ``backfill.adjusted_bars`` in the same order, so that their results have the same bits."""
    old, new, cash = factors.old_shares[position], factors.new_shares[position], factors.cash_factor[position]
    for name in PRICES:
        if name in values:
            values[name][place] = values[name][place] * old / new * cash
    if "volume" in values:
        values["volume"][place] = values["volume"][place] * new / old
