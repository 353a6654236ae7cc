"""Results of a benchmark: figures with samples and marks, grouped in sections."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

TOLERANCE = 0.2  # a ratio may miss its mark by this share before the benchmark fails


@dataclass(frozen=True)
class Figure:
    """One quantity, measured once or several times.

    Attributes:
        name: what was measured.
        unit: ``×`` for ratios. Both sides of a ratio are measured in one run, so it does not depend on the machine.
        samples: the measurements.
        at_least: the mark if more is better.
        at_most: the mark if less is better.
    """

    name: str
    unit: str
    samples: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def mark(self) -> str:
        """The mark as text; empty without one."""
        if self.at_least is not None:
            return f"≥ {_format_number(self.at_least)} {self.unit}"
        return f"≤ {_format_number(self.at_most)} {self.unit}" if self.at_most is not None else ""

    @property
    def verdict(self) -> str:
        """Whether the median reaches the mark, as text; empty without a mark."""
        if self.at_least is None and self.at_most is None:
            return ""
        return "reached" if self._is_within(0.0) else "missed"

    @property
    def misses_mark(self) -> bool:
        """Whether this is a ratio that misses its mark by more than the tolerance."""
        return self.unit == "×" and not self._is_within(TOLERANCE)

    def format_cells(self) -> tuple[str, str, str, str, str]:
        """Format name, median, spread, mark and verdict."""
        many = len(set(self.samples)) > 1
        spread = f"{_format_number(min(self.samples))} – {_format_number(max(self.samples))}" if many else ""
        return self.name, f"{_format_number(self.median)} {self.unit}", spread, self.mark, self.verdict

    def _is_within(self, tolerance: float) -> bool:
        low = self.at_least is None or self.median >= self.at_least * (1 - tolerance)
        return low and (self.at_most is None or self.median <= self.at_most / (1 - tolerance))


@dataclass(frozen=True)
class Section:
    """The results of one benchmark: figures and notes."""

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = field(default=())


def _format_number(value: float | None) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1000:
        return f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
