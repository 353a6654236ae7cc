"""What a bench gives: figures with their samples and marks, grouped in sections, and when one has fallen too low."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

TOLERANCE = 0.2  # a ratio may miss its mark by as much before the bench fails


@dataclass(frozen=True)
class Figure:
    """One thing measured, once or several times.

    Attributes:
        name: what it is.
        unit: ``×`` for ratios, which are taken within one run and hold on any machine.
        samples: the measurements.
        at_least: the mark, where more is better.
        at_most: the mark, where less is better.
    """

    name: str
    unit: str
    samples: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        """The middle one of the samples."""
        return statistics.median(self.samples)

    @property
    def mark(self) -> str:
        """What was to be reached, for people."""
        if self.at_least is not None:
            return f"≥ {_number(self.at_least)} {self.unit}"
        return f"≤ {_number(self.at_most)} {self.unit}" if self.at_most is not None else ""

    @property
    def verdict(self) -> str:
        """Whether it was."""
        if self.at_least is None and self.at_most is None:
            return ""
        return "reached" if self._within(0.0) else "missed"

    @property
    def has_fallen(self) -> bool:
        """Whether it is a ratio that misses its mark by more than the tolerance."""
        return self.unit == "×" and not self._within(TOLERANCE)

    def cells(self) -> tuple[str, str, str, str, str]:
        """Name, median, spread, mark and verdict as text."""
        many = len(set(self.samples)) > 1
        spread = f"{_number(min(self.samples))} – {_number(max(self.samples))}" if many else ""
        return self.name, f"{_number(self.median)} {self.unit}", spread, self.mark, self.verdict

    def _within(self, tolerance: float) -> bool:
        low = self.at_least is None or self.median >= self.at_least * (1 - tolerance)
        return low and (self.at_most is None or self.median <= self.at_most / (1 - tolerance))


@dataclass(frozen=True)
class Section:
    """What one bench found: figures, and sentences that belong to them."""

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = field(default=())


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1000:
        return f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
