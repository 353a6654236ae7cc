"""Tables of numbers on their way from the vendor's bytes to the database: named numpy arrays of one length.

A pandas.DataFrame takes a third of a second and 80 MB to import, and a price for each look at a column, however few the
rows are. Frames are made for people (``reading.frames``) and of live quotes; ``pandas.DataFrame(dict(columns))`` makes
one of a table, ``Columns(frame)`` a table of one.
"""

from collections.abc import Iterable
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backfill_assets.market.arrays import Bools, Int64


class NamedValues(Protocol):
    """A mapping, or a frame."""

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Each name with its values."""


@final
class Columns:
    """A table: arrays of the shape (rows,) by name, none of which is changed.

    Where it is made or taken, a docstring names its columns.
    """

    __slots__ = ("_arrays",)

    def __init__(self, columns: NamedValues) -> None:
        """Take over ``columns``, at least one, all of the same length."""
        self._arrays: dict[str, NDArray[Any]] = {name: np.asarray(values) for name, values in columns.items()}
        lengths = {name: len(array) for name, array in self._arrays.items()}
        if len({*lengths.values()}) != 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    def __len__(self) -> int:
        """How many rows."""
        return len(next(iter(self._arrays.values())))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The column of this name."""
        return self._arrays[name]

    def keys(self) -> Iterable[str]:
        """The names of the columns, so that ``dict`` takes a table."""
        return self._arrays.keys()

    def take(self, rows: Bools | Int64) -> "Columns":
        """Some rows of the table: those for which ``rows`` is true, or those at its positions, in its order."""
        return Columns({name: array[rows] for name, array in self._arrays.items()})

    def assign(self, **columns: ArrayLike) -> "Columns":
        """The table with these columns added, or in the place of those with their names."""
        return Columns({**self._arrays, **columns})
