"""Counts of what the rules find in simulated markets: of each kind of improbable data, and of clean sessions."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.sandbox.oddities import OddityKind
from bench.plausibility.injections import inject
from bench.plausibility.judging import judge_on_arrival, judge_when_settled, mark_bars
from bench.plausibility.markets import SPLIT_SHARE, draw_market
from bench.plausibility.promises import find_promised
from bench.plausibility.volumes import SORTS

SEED = 20260506
PROMISED_SHARE = 0.99
_SUMS = ("sessions", "promised", "found", "others", "others_found", "bars", "marked_bars", "right_bars_marked")
_ROW_BY_ROW = (  # each row is counted by itself; of the other kinds the session is
    OddityKind.EXACT_RUNNING_TOTALS,
    OddityKind.SLIPPING_RUNNING_TOTALS,
    OddityKind.EXCESSIVE_RUNNING_TOTALS,
    OddityKind.UNSTEADY_RUNNING_TOTALS,
    OddityKind.LONE_RUNNING_TOTAL,
)


@dataclass
class KindCount:
    """What was found of one kind in one sort of names; rows of running totals, sessions of other kinds.

    Attributes:
        kind: what was wrong.
        sort: the sort of names.
        sessions: simulated sessions, most of them right.
        promised: how many the rules promise to find.
        found: how many of those they find.
        others: how many they do not promise.
        others_found: how many of those they find.
        bars: bars with something that is promised.
        marked_bars: how many of those are suspect.
        right_bars_marked: suspect bars of sessions in which nothing is wrong.
    """

    kind: OddityKind
    sort: str
    sessions: int = 0
    promised: int = 0
    found: int = 0
    others: int = 0
    others_found: int = 0
    bars: int = 0
    marked_bars: int = 0
    right_bars_marked: int = 0

    @property
    def keeps_promise(self) -> bool:
        """Whether so much is found as the rules promise."""
        return self.found >= PROMISED_SHARE * self.promised


@dataclass
class CleanCount:
    """How many sessions of one sort are doubted although nothing is wrong.

    Attributes:
        sort: the sort of names.
        sessions: simulated sessions.
        doubted_on_arrival: before their days are known.
        doubted: with the settled figures of their days.
        doubted_unknown: those whose days never have figures.
        rules: doubts by rule, of days with figures.
    """

    sort: str
    sessions: int = 0
    doubted_on_arrival: int = 0
    doubted: int = 0
    doubted_unknown: int = 0
    rules: Counter[str] = field(default_factory=Counter)


def count_clean(sort: str, lines: int, block: int = 0) -> CleanCount:
    """Judge a market in which nothing is wrong."""
    market = draw_market(_make_generator("clean", sort, block), sort, lines)
    arrived = judge_on_arrival(market)
    settled = judge_when_settled(market, arrived, ListingLives.create_unknown(len(market.rows)))
    known = market.days.is_known
    of_known = [doubt for doubt, line in zip(settled.doubts, settled.lines, strict=True) if known[line]]
    lines = set(settled.lines)
    return CleanCount(
        sort,
        len(market.rows),
        len(set(arrived.lines)),
        sum(bool(known[line]) for line in lines),
        sum(not known[line] for line in lines),
        Counter(doubt.rule.value for doubt in of_known),
    )


def count_kind(kind: OddityKind, sort: str, lines: int, block: int = 0) -> KindCount:
    """Make a market wrong in one way, and judge it."""
    rng = _make_generator(kind.value, sort, block)
    split_share = 1.0 if kind is OddityKind.SPLIT_WITHOUT_STEP else SPLIT_SHARE
    injected = inject(rng, draw_market(rng, sort, lines, split_share), kind)
    wrong = injected.wrong
    arrived = judge_on_arrival(wrong, together=kind is OddityKind.SHIFTED_SESSION)  # a shift is promised in one answer
    marked = judge_when_settled(wrong, arrived, injected.lives).marked
    promised, changed = find_promised(injected), injected.changed
    others = changed & ~promised
    bars = mark_bars(promised)
    counted = KindCount(kind, sort, len(changed), bars=int(bars.sum()))
    counted.marked_bars = int((bars & mark_bars(marked)).sum())
    counted.right_bars_marked = int(mark_bars(marked)[~changed.any(axis=1)].sum())
    if kind in _ROW_BY_ROW:
        counted.promised, counted.found = int(promised.sum()), int((promised & marked).sum())
        counted.others, counted.others_found = int(others.sum()), int((others & marked).sum())
        return counted
    lines_promised, lines_found = promised.any(axis=1), (marked & promised).any(axis=1)
    lines_others = changed.any(axis=1) & ~lines_promised
    counted.promised, counted.found = int(lines_promised.sum()), int((lines_promised & lines_found).sum())
    counted.others = int(lines_others.sum())
    counted.others_found = int((lines_others & (marked & changed).any(axis=1)).sum())
    return counted


def add_clean(counts: list[CleanCount]) -> CleanCount:
    """Add the counts of several blocks of one sort."""
    total = CleanCount(counts[0].sort)
    for item in counts:
        total.sessions += item.sessions
        total.doubted_on_arrival += item.doubted_on_arrival
        total.doubted += item.doubted
        total.doubted_unknown += item.doubted_unknown
        total.rules += item.rules
    return total


def add_kinds(counts: list[KindCount], sort: str) -> KindCount:
    """Add the counts of one kind."""
    total = KindCount(counts[0].kind, sort)
    for item in counts:
        for name in _SUMS:
            setattr(total, name, getattr(total, name) + getattr(item, name))
    return total


def _make_generator(purpose: str, sort: str, block: int) -> np.random.Generator:
    purposes = ("clean", *(kind.value for kind in OddityKind))
    return np.random.default_rng([SEED, purposes.index(purpose), SORTS.index(sort), block])
