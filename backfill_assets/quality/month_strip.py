"""How complete each month of a history is, as a strip of years by months: for the page, and as Markdown for Dagster.

Pure. What lacks in a month is found elsewhere; shares are rounded down, so that only a complete month is 100 %.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LEGEND = (  # class in the page, text of a cell, meaning
    ("whole", "✓", "every bar is there, or it is known why not"),
    ("most", "97.3", "per cent of the bars, half of them or more"),
    ("some", "31.0", "per cent of the bars, fewer than half of them"),
    ("none", "0.0", "nothing yet"),
    ("wait", "?", "not examined yet: there may be a reason for what is absent"),
)


@dataclass(frozen=True, slots=True)
class MonthShare:
    """What a month of all symbols has.

    Attributes:
        month: its first day.
        expected: bars that the calendar expects of sessions that are settled.
        missing: those that lack.
        is_measured: whether it is known of every symbol why bars are absent.
    """

    month: date
    expected: int
    missing: int
    is_measured: bool = True

    @property
    def percent(self) -> float:
        """The share that is there or explained, in per cent, rounded down to one digit."""
        return math.floor(1000 * (1 - self.missing / self.expected)) / 10 if self.expected else 100.0

    @property
    def kind(self) -> str:
        """The first column of ``LEGEND``."""
        if not self.missing:
            return "whole" if self.is_measured else "wait"
        if not self.is_measured and self.missing < self.expected:
            return "wait"
        return "none" if self.missing >= self.expected else "most" if self.percent >= 50 else "some"

    @property
    def text(self) -> str:
        """The cell's text: a mark, or per cent."""
        return {"whole": "✓", "wait": "?"}.get(self.kind) or f"{self.percent:.1f}"

    def describe(self) -> str:
        """In words: ``2021-03: 97.3 %, 1,234 of 45,678 bars missing``."""
        bars = f"{self.missing:,} of {self.expected:,} bars missing" if self.missing else f"{self.expected:,} bars"
        share = f"{self.percent:.1f} %, " if self.is_measured else ""
        waits = "" if self.is_measured else ", some of them not looked at yet"
        return f"{self.month:%Y-%m}: {share}{bars}{waits}"


@dataclass(frozen=True, slots=True)
class MonthStrip:
    """Years, the newest first, each with twelve months; None where nothing is expected."""

    years: tuple[tuple[int, tuple[MonthShare | None, ...]], ...]

    @property
    def legend(self) -> list[tuple[str, str, str]]:
        """The lines of ``LEGEND`` that occur."""
        kinds = {share.kind for _, months in self.years for share in months if share}
        return [line for line in LEGEND if line[0] in kinds]

    def to_markdown(self) -> str:
        """A Markdown table; empty without months."""
        if not self.years:
            return ""
        lines = [["", *MONTHS], ["---"] * 13]
        lines += [[str(year), *(share.text if share else "" for share in months)] for year, months in self.years]
        legend = "; ".join(f"{text}: {meaning}" for _, text, meaning in self.legend)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{legend}"


NO_MONTHS = MonthStrip(())


def build_month_strip(rows: Sequence[Mapping[str, Any]]) -> MonthStrip:
    """The strip out of one JSON object a month; months of several exchanges are added up.

    Each has ``month`` (``2021-03``), ``expected_bars``, ``missing_bars`` and ``unmeasured_symbols``.
    """
    shares: dict[date, MonthShare] = {}
    for row in rows:
        month = date.fromisoformat(f"{row['month']}-01")
        before = shares.get(month, MonthShare(month, 0, 0))
        shares[month] = MonthShare(
            month,
            before.expected + row["expected_bars"],
            before.missing + row["missing_bars"],
            before.is_measured and not row["unmeasured_symbols"],
        )
    years = sorted({month.year for month in shares}, reverse=True)
    return MonthStrip(tuple((year, tuple(shares.get(date(year, n, 1)) for n in range(1, 13))) for year in years))
