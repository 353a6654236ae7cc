"""The one table of the rules of plausibility: in which form each applies, what it needs, and its function.

A rule in the form of *rows* reads the vendor's rows as they come; in the *stored* form it reads stored bars, and for
that it may need whole days, splits, or the sessions before. A new rule is a module beside this one and an entry here.
Rules of rows are applied as bars are built (``row_rules``), those of stored bars by the judge and by audits.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Flag, auto

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.market.exchanges.profile import VolumeKind
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_ranges import find_prices_outside_day
from backfill_assets.market.plausibility.day_volumes import find_volumes_exceeding_day
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.frozen_sessions import find_frozen_sessions, is_always_traded
from backfill_assets.market.plausibility.listing import ListingLives, find_sessions_outside_listing
from backfill_assets.market.plausibility.price_doubts import find_price_doubts
from backfill_assets.market.plausibility.price_steps import find_price_steps
from backfill_assets.market.plausibility.repeated_sessions import LAST_SESSIONS, find_repeated_sessions
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.running_totals import find_running_totals
from backfill_assets.market.plausibility.session_panel import SessionPanel

_SHARES = frozenset({VolumeKind.SHARES})
CONTEXT_SESSIONS = 20  # before those that are judged; the most that a rule reads


class Form(Flag):
    """What a rule reads."""

    ROWS = auto()
    STORED = auto()


class Need(Flag):
    """What must be known of a session's day before a rule can say anything about it."""

    NOTHING = 0
    DAY_RANGE = auto()
    DAY_VOLUME = auto()  # with the splits since undone
    TRADING = auto()  # that the symbol traded: by the range of its day, or because its market always does
    LISTING = auto()


@dataclass(frozen=True, eq=False)
class JudgedPanel:
    """Rows or bars, and what is known of their days.

    Attributes:
        panel: the rows or bars, with the sessions before those judged.
        days: settled figures of the lines' days.
        lives: the lives of the lines' symbols.
        judged: which lines are judged, shape (lines,).
        last_sessions: how far back repeats are looked for; None for all of the panel.
    """

    panel: SessionPanel
    days: DayFigures
    lives: ListingLives
    judged: Bools
    last_sessions: int | None = LAST_SESSIONS


def _is_none(given: JudgedPanel) -> Bools:
    return np.zeros(len(given.panel), bool)


def _is_every(given: JudgedPanel) -> Bools:
    return np.ones(len(given.panel), bool)


def _has_all_volumes(given: JudgedPanel) -> Bools:
    lacks_volume: Bools = given.panel.is_present & np.isnan(given.panel.volume)
    return np.asarray(~lacks_volume.any(axis=1))


@dataclass(frozen=True, slots=True)
class Judgement:
    """An entry of the table.

    Attributes:
        rules: those that ``find`` applies.
        forms: the forms that they have.
        needs: without this a session is not judged, and a doubt about it does not end.
        find: the function that applies them.
        sees_more_in_each: whether each form finds what the other does not: rows show more detail, stored bars more
            sessions than an answer has. Else what can be found in rows is not looked for in our own stored bars.
        reads_one_session: whether a session is judged by itself. Else an answer without the sessions beside it says
            nothing by not showing a doubt.
        volume_kinds: what the volumes count on exchanges where the rules apply; on others they find nothing.
        clears_rest: the lines where finding nothing clears bars that have not changed, although others of the session
            have; shape (lines,). By default none: a session that stands still at one price, but for one bar, is no
            longer found, and its other bars are as wrong as before.
    """

    rules: frozenset[Rule]
    forms: Form
    needs: Need
    find: Callable[[JudgedPanel], list[Doubt]]
    sees_more_in_each: bool = False
    reads_one_session: bool = False
    volume_kinds: frozenset[VolumeKind] = frozenset(VolumeKind)
    clears_rest: Callable[[JudgedPanel], Bools] = _is_none

    def is_able(self, given: JudgedPanel) -> Bools:
        """Which lines are judged and have what the rules need, shape (lines,)."""
        able = given.judged & given.panel.is_present.any(axis=1)
        if Need.DAY_RANGE in self.needs:
            able &= given.days.is_known
        if Need.TRADING in self.needs:
            able &= given.days.is_known | is_always_traded(given.panel)
        if Need.DAY_VOLUME in self.needs:
            able &= ~np.isnan(given.days.volume)
        if Need.LISTING in self.needs:
            able &= ~np.isnat(given.lives.first_day) | ~np.isnat(given.lives.last_day)
        return able


JUDGEMENTS: tuple[Judgement, ...] = (
    Judgement(
        frozenset({Rule.VOLUME_RUNNING_TOTAL}),
        Form.ROWS,
        Need.NOTHING,
        lambda given: find_running_totals(given.panel, given.days, given.judged),
        reads_one_session=True,
        volume_kinds=_SHARES,
    ),
    Judgement(
        frozenset({Rule.VOLUME_EXCEEDS_DAY}),
        Form.STORED,
        Need.DAY_VOLUME,
        lambda given: find_volumes_exceeding_day(given.panel, given.days, given.judged),
        volume_kinds=_SHARES,
        clears_rest=_has_all_volumes,  # the sum is right, whichever of the volumes made it so
    ),
    Judgement(
        frozenset({Rule.PRICE_SPIKE, Rule.SCALE_BREAK}),
        Form.ROWS | Form.STORED,
        Need.NOTHING,
        lambda given: find_price_doubts(given.panel, given.days, given.judged),
    ),
    Judgement(
        frozenset({Rule.PRICE_OUTSIDE_DAY}),
        Form.STORED,
        Need.DAY_RANGE,
        lambda given: find_prices_outside_day(given.panel, given.days, given.judged)[0],
        clears_rest=_is_every,  # each bar is compared by itself
    ),
    Judgement(
        frozenset({Rule.SESSION_REPEATED}),
        Form.ROWS | Form.STORED,
        Need.NOTHING,
        lambda given: find_repeated_sessions(given.panel, given.judged, last_sessions=given.last_sessions),
        sees_more_in_each=True,
    ),
    Judgement(
        frozenset({Rule.FROZEN}),
        Form.STORED,
        Need.TRADING,
        lambda given: find_frozen_sessions(given.panel, given.days, given.judged),
    ),
    Judgement(
        frozenset({Rule.STEP_WITHOUT_SPLIT, Rule.SPLIT_WITHOUT_STEP}),
        Form.STORED,
        Need.DAY_RANGE,
        lambda given: find_price_steps(given.panel, given.days, given.judged),
    ),
    Judgement(
        frozenset({Rule.OUTSIDE_LISTING}),
        Form.STORED,
        Need.LISTING,
        lambda given: find_sessions_outside_listing(given.panel, given.lives, given.judged),
        clears_rest=_is_every,  # the listing's life does not depend on bars
    ),
)


def select_judgements(form: Form, *, only: bool = False) -> Iterable[Judgement]:
    """The entries that have ``form``; with ``only`` those to which no other form is enough."""
    having = (entry for entry in JUDGEMENTS if form in entry.forms)
    return (entry for entry in having if not only or entry.forms == form or entry.sees_more_in_each)


def find_doubts(given: JudgedPanel, judgements: Iterable[Judgement]) -> list[Doubt]:
    """What some entries of the table doubt, those that are for volumes of the exchange's kind."""
    kind = given.panel.market.volume_kind
    return [doubt for entry in judgements if kind in entry.volume_kinds for doubt in entry.find(given)]
