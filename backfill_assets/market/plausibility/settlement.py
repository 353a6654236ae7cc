"""What a settled day says of doubts that the vendor's rows opened: the values are borne out, disproved, or neither.

Rules of stored bars are judged again in full instead (``judgement``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise

import numpy as np

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.plausibility.day_balance import settle_by_day
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_ranges import is_borne_out
from backfill_assets.market.plausibility.doubted_rows import (
    SEPARATOR,
    join_figures,
    list_disproved_by_day,
    list_doubted_volumes,
)
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel

# The figures with the lowest and the highest price of the rows in doubt.
_EXTREMES = {Rule.PRICE_SPIKE: ("low", "high"), Rule.SCALE_BREAK: ("lowest", "highest")}
MIN_USUAL_SESSIONS = 5  # with a settled day, to know which share of the day's volume is usual


@dataclass(frozen=True, slots=True)
class DoubtedVolumes:
    """The volumes of one bar's rows that are doubted.

    Attributes:
        first_stamp: of the doubt's first row, epoch seconds UTC.
        figures: of the doubt.
        is_withheld: whether volumes are withheld from the bar. Then only those count that the day disproved: it says
            nothing against what the rows prove.
    """

    first_stamp: int
    figures: Mapping[str, float | str | None]
    is_withheld: bool = False

    def list_weighed(self) -> tuple[list[float], list[bool]]:
        """The volumes of all rows, and which of them the day can settle."""
        volumes = [volume for _, volume in list_doubted_volumes(self.first_stamp, self.figures)]
        return volumes, self.list_withheld(len(volumes)) if self.is_withheld else [True] * len(volumes)

    def list_withheld(self, rows: int) -> list[bool]:
        """Which of the rows' volumes are withheld because of the day."""
        return list_disproved_by_day(self.figures, rows) if self.is_withheld else [False] * rows


@dataclass(frozen=True, slots=True)
class VolumeVerdict:
    """What the day says of the doubted volumes of one bar.

    Attributes:
        is_confirmed: all of them are the rows' own, and the bar has them.
        excess: shares that the bar has and must not have; negative: that were withheld, and need not be any more.
        excess_rows: how many rows have them; negative like ``excess``.
        day_figure: with an excess, the figure of the day's volume that the doubt has then; None: it has none.
    """

    is_confirmed: bool
    excess: float
    excess_rows: int
    day_figure: float | str | None


def is_price_confirmed(rule: Rule, figures: Mapping[str, float | str | None], days: DayFigures, line: int) -> bool:
    """Whether the settled range of a line's day holds the prices in doubt; False for rules that are not of prices."""
    lows, highs = (_read_numbers(figures.get(name)) for name in _EXTREMES.get(rule, ("", "")))
    if not lows or not highs:
        return False
    low, high = np.array([min(lows)]), np.array([max(highs)])
    return bool(is_borne_out(days, np.array([line]), low, high)[0])


def weigh_volumes(
    doubted: Sequence[DoubtedVolumes], panel: SessionPanel, days: DayFigures, line: int
) -> list[VolumeVerdict]:
    """What the settled volume of a line's day says of all doubted volumes of its session, a verdict for each bar.

    An unknown day says nothing: what was withheld because of an earlier one stays so.
    """
    day = float(days.volume[line])
    if np.isnan(day):
        return [VolumeVerdict(False, 0.0, 0, None)] * len(doubted)
    rows = [bar.list_weighed() for bar in doubted]
    withheld = [bar.list_withheld(len(volumes)) for bar, (volumes, _) in zip(doubted, rows, strict=True)]
    weighed = np.array([volume for volumes, counts in rows for volume in compress(volumes, counts)], float)
    taken = sum(volume for (volumes, _), out in zip(rows, withheld, strict=True) for volume in compress(volumes, out))
    total = float(np.nansum(panel.volume[line])) + taken
    settled = settle_by_day(total, weighed, day, _measure_usual_share(panel, days, line))
    bounds = np.cumsum([0, *(sum(counts) for _, counts in rows)]).tolist()
    return [
        _judge_bar(volumes, counts, out, settled.is_proven[start:end], settled.is_confirmed[start:end], day)
        for (volumes, counts), out, (start, end) in zip(rows, withheld, pairwise(bounds), strict=True)
    ]


def _judge_bar(
    volumes: Sequence[float],
    counts: Sequence[bool],
    withheld: Sequence[bool],
    proven: Bools,
    confirmed: Bools,
    day: float,
) -> VolumeVerdict:
    """The verdict on a bar; ``proven`` and ``confirmed`` are about the rows that count."""
    must_lack = np.array(withheld, bool)
    must_lack[np.array(counts, bool)] = proven
    change = must_lack.astype(int) - np.array(withheld, int)
    return VolumeVerdict(
        is_confirmed=bool(len(confirmed) and confirmed.all() and not any(withheld)),
        excess=float((change * np.array(volumes, float)).sum()),
        excess_rows=int(change.sum()),
        day_figure=join_figures([round(day) if lacks else None for lacks in must_lack.tolist()]),
    )


def _measure_usual_share(panel: SessionPanel, days: DayFigures, line: int) -> float:
    """The least share of the bars in the day's volume on the symbol's other sessions, NaN if there are few.

    A session with a running total has more than usual; so a share that others do not fall below says nothing for it.
    """
    is_other = panel.symbol_id == panel.symbol_id[line]
    is_other[line] = False
    with np.errstate(divide="ignore", invalid="ignore"):
        shares: Floats = np.nansum(panel.volume[is_other], axis=1) / days.volume[is_other]
    known = shares[np.isfinite(shares)]
    return float(known.min()) if len(known) >= MIN_USUAL_SESSIONS else float("nan")


def _read_numbers(figure: float | str | None) -> list[float]:
    """The numbers of a figure; those of several rows stand side by side."""
    return [] if figure is None else [float(part) for part in str(figure).split(SEPARATOR) if part != "–"]
