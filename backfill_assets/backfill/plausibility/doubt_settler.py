"""Settles doubts that mark bars with what the judge found: mended, confirmed by the day, withheld, or standing."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.retry_schedule import RetrySchedule
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.judgement import JudgedPanel, Judgement
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.settlement import (
    DoubtedVolumes,
    VolumeVerdict,
    is_price_confirmed,
    weigh_volumes,
)
from backfill_assets.store.evidence.doubt_answers import find_changed
from backfill_assets.store.evidence.doubts import BORNE_OUT, Outcome, StoredDoubt, end_doubts, find_slots
from backfill_assets.store.evidence.narrowing import Stretch, narrow_doubts
from backfill_assets.store.evidence.withholding import withhold_volume
from backfill_assets.store.postgres.connection import Connection

CHANGED = "the values changed, and the rule no longer finds them improbable"
CHANGED_SINCE_AUDIT = "the values changed since the audit"
WITHIN_DAY = "the settled range of the day holds the prices"
USUAL_SHARE = "with it the session's volume is no more of the settled day than on any other session"


@dataclass(frozen=True, eq=False)
class JudgedDoubts:
    """What was found in a judged panel; ``grid`` is that of its sessions."""

    doubts: Sequence[Doubt]
    given: JudgedPanel
    grid: SlotGrid

    @cached_property
    def keys(self) -> set[tuple[Rule, int, datetime]]:
        """Rule, symbol_id and first slot of each."""
        return {(doubt.rule, doubt.symbol_id, find_slots(doubt, self.grid)[0]) for doubt in self.doubts}

    def list_stretches(self, doubt: StoredDoubt) -> list[Stretch]:
        """The slots of the doubt's session that its rule finds improbable now."""
        return self._stretches[doubt.rule, doubt.symbol_id, self._sessions.get(doubt.session_day, -1)]

    def find_line(self, doubt: StoredDoubt) -> int | None:
        """The judged line of the doubt's session; None if it is not judged."""
        line = self._lines.get((doubt.symbol_id, self._sessions.get(doubt.session_day, -1)))
        return line if line is not None and self.given.judged[line] else None

    @cached_property
    def _stretches(self) -> defaultdict[tuple[Rule, int, int], list[Stretch]]:
        stretches: defaultdict[tuple[Rule, int, int], list[Stretch]] = defaultdict(list)
        for doubt in self.doubts:
            stretches[doubt.rule, doubt.symbol_id, doubt.session].append(find_slots(doubt, self.grid))
        return stretches

    @cached_property
    def _lines(self) -> dict[tuple[int, int], int]:
        panel = self.given.panel
        return {key: at for at, key in enumerate(zip(panel.symbol_id.tolist(), panel.session.tolist(), strict=True))}

    @cached_property
    def _sessions(self) -> dict[object, int]:
        return {session.day: at for at, session in enumerate(self.grid.sessions)}


@dataclass(frozen=True, eq=False)
class DoubtSettler:
    """Settles doubts in one transaction; the doubts given to its methods mark their bars."""

    connection: Connection
    found: JudgedDoubts
    entries: Collection[Judgement]
    now: datetime
    schedule: RetrySchedule

    def withhold_volumes(self, known: Sequence[StoredDoubt]) -> bool:
        """Take the volumes out of stored bars that the day proves to be running totals; the doubts stay open.

        What was taken out, and is not disproved by the day as it was revised, is put back. Returns whether there was
        anything.
        """
        to_change = [(doubt, verdict) for doubt, verdict in self._weigh_volumes(known) if verdict.excess]
        interval = self.found.grid.interval
        changed = [
            withhold_volume(
                self.connection,
                doubt.doubt_id,
                round(verdict.excess),
                verdict.excess_rows,
                interval,
                withheld=doubt.withheld_volume,
                day_figure=verdict.day_figure,
            )
            for doubt, verdict in to_change
        ]
        return any(changed)

    def settle(self, known: Sequence[StoredDoubt]) -> int:
        """End what is settled; returns how many doubts ended."""
        undecided = [doubt for doubt in known if doubt.outcome is not Outcome.DECIDED]
        changed = find_changed(self.connection, [doubt.doubt_id for doubt in known], self.found.grid.interval)
        gone = [doubt for doubt in known if not doubt.from_rows and self._is_gone(doubt)]
        audited = [doubt for doubt in undecided if doubt.from_audit and doubt.doubt_id in changed]
        within_day = [doubt.doubt_id for doubt in undecided if self._is_price_confirmed(doubt)]
        usual = [doubt.doubt_id for doubt, verdict in self._weigh_volumes(undecided) if verdict.is_confirmed]
        same = self._find_borne_out(doubt for doubt in gone if doubt.doubt_id not in changed)
        mended = [doubt for doubt in gone if doubt.doubt_id in changed]
        refreshed = [doubt for doubt in known if doubt.doubt_id in changed and self._is_found_again(doubt)]
        kept = self._narrow([*(doubt for doubt in mended if not self._clears_rest(doubt)), *audited], refreshed)
        ended = self._end({doubt.doubt_id for doubt in mended} - kept, Outcome.MENDED, CHANGED)
        ended += self._end({doubt.doubt_id for doubt in audited} - kept, Outcome.MENDED, CHANGED_SINCE_AUDIT)
        ended += self._end(same, Outcome.CONFIRMED, BORNE_OUT)
        ended += self._end(within_day, Outcome.CONFIRMED, WITHIN_DAY)
        ended += self._end(usual, Outcome.CONFIRMED, USUAL_SHARE)
        settled = changed | same | {*within_day, *usual}
        left = [
            doubt for doubt in undecided if doubt.is_open and not doubt.from_audit and doubt.doubt_id not in settled
        ]
        return ended + self._let_stand(left)

    def _let_stand(self, doubts: Sequence[StoredDoubt]) -> int:
        """End doubts whose values the vendor repeated daily; several answers of one day are not several days."""
        max_repeats = self.schedule.max_daily_suspect_requests
        opened_before = self.now - max_repeats * self.schedule.daily_delay
        repeated = [d.doubt_id for d in doubts if d.repeats >= max_repeats and d.opened_at <= opened_before]
        reason = f"the vendor gave the same values {max_repeats} times again"
        return self._end(repeated, Outcome.STANDS, reason, marks_bar=True)

    def _narrow(self, changed: Sequence[StoredDoubt], refreshed: Sequence[StoredDoubt]) -> set[int]:
        """Keep the doubts about bars that have not changed; returns those of which there is something left."""
        stretches = {doubt.doubt_id: self.found.list_stretches(doubt) for doubt in (*changed, *refreshed)}
        found_again = {doubt.doubt_id for doubt in refreshed}
        gone = narrow_doubts(self.connection, stretches, self.found.grid.interval, found_again)
        return stretches.keys() - gone - found_again

    def _find_borne_out(self, silent: Iterable[StoredDoubt]) -> set[int]:
        """The doubts whose bars are unchanged, and improbable no longer for another reason than a change beside them.

        So the rule does not find them either where their session has no other bars. A decision holds for its values.
        """
        open_ones = [d for d in silent if d.outcome is not Outcome.DECIDED and not d.is_narrowed]
        alone = {doubt.doubt_id for doubt in open_ones if not self._clears_rest(doubt)}
        hidden = self._find_alone([doubt for doubt in open_ones if doubt.doubt_id in alone])
        return {doubt.doubt_id for doubt in open_ones} - hidden

    def _find_alone(self, doubts: Sequence[StoredDoubt]) -> set[int]:
        """The doubts whose bars are found when the other bars of their sessions are left out."""
        given, panel = self.found.given, self.found.given.panel
        found: set[int] = set()
        for rule in {doubt.rule for doubt in doubts}:
            lines = [(line, d) for d in doubts if d.rule is rule and (line := self.found.find_line(d)) is not None]
            kept, judged = np.ones_like(panel.is_present), np.zeros(len(panel), bool)
            for line, doubt in lines:
                starts = panel.list_stamps(line)
                kept[line] = (starts >= doubt.first_slot.timestamp()) & (starts <= doubt.last_slot.timestamp())
                judged[line] = True
            alone = replace(given, panel=panel.keep_cells(kept), judged=judged)
            again = [d for e in self.entries if rule in e.rules for d in e.find(alone) if d.rule is rule]
            keys = {(doubt.symbol_id, doubt.session) for doubt in again}
            found |= {d.doubt_id for line, d in lines if (panel.symbol_id[line], panel.session[line]) in keys}
        return found

    def _list_entries(self, doubt: StoredDoubt) -> list[Judgement]:
        return [entry for entry in self.entries if doubt.rule in entry.rules]

    def _clears_rest(self, doubt: StoredDoubt) -> bool:
        line = self.found.find_line(doubt)
        return line is not None and any(
            entry.clears_rest(self.found.given)[line] for entry in self._list_entries(doubt)
        )

    def _is_found_again(self, doubt: StoredDoubt) -> bool:
        """Whether the record of the doubt is about to be refreshed."""
        is_found = (doubt.rule, doubt.symbol_id, doubt.first_slot) in self.found.keys
        return is_found and not doubt.from_rows and not doubt.from_audit and not self._clears_rest(doubt)

    def _is_gone(self, doubt: StoredDoubt) -> bool:
        """Whether the rule was able to judge the doubt's session and no longer finds it improbable."""
        line = self.found.find_line(doubt)
        if line is None or doubt.from_audit or (doubt.rule, doubt.symbol_id, doubt.first_slot) in self.found.keys:
            return False
        return any(entry.is_able(self.found.given)[line] for entry in self._list_entries(doubt))

    def _is_price_confirmed(self, doubt: StoredDoubt) -> bool:
        line = self.found.find_line(doubt) if doubt.from_rows else None
        return line is not None and is_price_confirmed(doubt.rule, doubt.figures, self.found.given.days, line)

    def _weigh_volumes(self, known: Sequence[StoredDoubt]) -> list[tuple[StoredDoubt, VolumeVerdict]]:
        """What the days say of the doubted volumes; those of a session are weighed at once."""
        by_line: dict[int, list[StoredDoubt]] = {}
        for doubt in known:
            line = self.found.find_line(doubt)
            is_of_volume = doubt.rule is Rule.VOLUME_RUNNING_TOTAL and doubt.first_row
            if line is not None and is_of_volume and doubt.outcome is not Outcome.DECIDED:
                by_line.setdefault(line, []).append(doubt)
        given = self.found.given
        verdicts: list[tuple[StoredDoubt, VolumeVerdict]] = []
        for line, doubts in by_line.items():
            bars = [
                DoubtedVolumes(int(d.first_row.timestamp()), d.figures, d.withheld_volume > 0)
                for d in doubts
                if d.first_row
            ]
            verdicts += zip(doubts, weigh_volumes(bars, given.panel, given.days, line), strict=True)
        return verdicts

    def _end(self, ids: Collection[int], outcome: Outcome, reason: str, *, marks_bar: bool = False) -> int:
        return end_doubts(self.connection, ids, outcome, reason, self.now, marks_bar=marks_bar)
