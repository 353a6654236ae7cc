"""Adds up what an audit finds, part by part, into a summary of each rule."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from backfill_assets.backfill.plausibility.audit_result import AuditExample, RuleSummary, ScaledStretch
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.plausibility.day_ranges import CommonFactor
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.judgement import JUDGEMENTS, Form, JudgedPanel, Judgement
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel

MAX_EXAMPLES = 3
_RULES_OF_STORED_BARS = frozenset(rule for entry in JUDGEMENTS if Form.STORED in entry.forms for rule in entry.rules)


class AuditTally:
    """Counts of each rule; ``tickers`` are by symbol_id, sessions of doubts are positions in the grid's."""

    def __init__(self, grid: SlotGrid, tickers: Mapping[int, str]) -> None:
        self._grid, self._tickers = grid, tickers
        self._judged: Counter[Rule] = Counter()
        self._unjudged: Counter[Rule] = Counter()
        self._confirmed: Counter[Rule] = Counter()
        self._doubts: Counter[Rule] = Counter()
        self._bars: Counter[Rule] = Counter()
        self._symbols: defaultdict[Rule, set[int]] = defaultdict(set)
        self._sessions: defaultdict[Rule, set[int]] = defaultdict(set)
        self._examples: defaultdict[Rule, list[AuditExample]] = defaultdict(list)
        self.scaled: list[ScaledStretch] = []

    def add_judged(self, entry: Judgement, given: JudgedPanel) -> None:
        """Count the sessions that an entry of the table of rules judged, and those it could not."""
        judged = int((given.judged & given.panel.is_present.any(axis=1)).sum())
        able = int(entry.is_able(given).sum())
        self._judged.update(dict.fromkeys(entry.rules, able))
        self._unjudged.update(dict.fromkeys(entry.rules, judged - able))

    def add_doubts(self, doubts: Sequence[Doubt], bars: Int64) -> None:
        """Count doubts; ``bars`` says how many bars each is about."""
        for doubt, count in zip(doubts, bars.tolist(), strict=True):
            self._doubts[doubt.rule] += 1
            self._bars[doubt.rule] += count
            self._symbols[doubt.rule].add(doubt.symbol_id)
            self._sessions[doubt.rule].add(doubt.session)
            if len(self._examples[doubt.rule]) < MAX_EXAMPLES:
                self._examples[doubt.rule].append(self._build_example(doubt))

    def add_confirmed(self, doubts: Sequence[Doubt]) -> None:
        """Count what would be doubts, had the market not the same."""
        self._confirmed.update(doubt.rule for doubt in doubts)

    def add_common_factors(self, factors: Iterable[CommonFactor]) -> None:
        """Keep stretches of sessions that are one multiple of their days."""
        for found in factors:
            first, last = (self._grid.sessions[at].day for at in (found.first_session, found.last_session))
            self.scaled.append(ScaledStretch(self._tickers[found.symbol_id], first, last, found.factor))

    def summarize(self) -> list[RuleSummary]:
        """A summary of each rule."""
        return [self._summarize_rule(rule) for rule in Rule]

    def _summarize_rule(self, rule: Rule) -> RuleSummary:
        days = [self._grid.sessions[session].day for session in self._sessions[rule]]
        return RuleSummary(
            rule=rule,
            has_stored_form=rule in _RULES_OF_STORED_BARS,
            judged_sessions=self._judged[rule],
            unjudged_sessions=self._unjudged[rule],
            doubts=self._doubts[rule],
            bars=self._bars[rule],
            symbols=len(self._symbols[rule]),
            confirmed=self._confirmed[rule],
            first=min(days, default=None),
            last=max(days, default=None),
            examples=tuple(self._examples[rule]),
        )

    def _build_example(self, doubt: Doubt) -> AuditExample:
        return AuditExample(
            ticker=self._tickers[doubt.symbol_id],
            session=self._grid.sessions[doubt.session].day,
            first_slot=to_datetime(doubt.first_stamp),
            last_slot=to_datetime(doubt.last_stamp),
            figures=doubt.figures,
        )


def count_bars(panel: SessionPanel, doubts: Sequence[Doubt], sessions: int) -> Int64:
    """How many bars of a panel each doubt is about; ``sessions`` is the number of sessions of its grid."""
    if not doubts:
        return np.zeros(0, np.int64)
    keys = panel.symbol_id * sessions + panel.session
    line = np.searchsorted(keys, [doubt.symbol_id * sessions + doubt.session for doubt in doubts])
    first, last = (
        panel.find_columns(line, np.array(stamps, np.int64))
        for stamps in ([doubt.first_stamp for doubt in doubts], [doubt.last_stamp for doubt in doubts])
    )
    before = np.cumsum(np.pad(panel.is_present[line], ((0, 0), (1, 0))), axis=1)
    positions = np.arange(len(line))
    counts: Int64 = before[positions, last + 1] - before[positions, first]
    return counts
