"""The explanation of a doubt: what is doubted, what lies beside it, what other data say, and how it ended.

The rules are in ``market.plausibility``, a doubt's life in ``store.evidence.doubts``, slots in ``slot_explanation``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.timestamps import format_optional_timestamp, format_timestamp
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.plausibility.doubt_texts import (
    describe_bar,
    describe_figures,
    describe_other_feed,
    format_figure,
)
from backfill_assets.market.plausibility.rules import RULE_TEXTS
from backfill_assets.quality.slot_explanation import SlotExplanation, format_request
from backfill_assets.store.bars.stored_bars import StoredBar
from backfill_assets.store.evidence.daily_prices import DailyPrice
from backfill_assets.store.evidence.doubts import StoredDoubt

NEIGHBOURS_WITHIN = timedelta(days=7)  # bars further away are no neighbours
_VALUES = ("open", "high", "low", "close", "volume")
_OUTCOMES = {
    "mended": "the vendor's values changed",
    "confirmed": "the bars are right",
    "stands": "the bars stay suspect, without an alarm",
    "decided": "a person decided",
}


@dataclass(frozen=True, slots=True)
class DoubtExplanation:
    """A doubt with what is known around it.

    Attributes:
        market: the exchange; what it does not have is not said to be absent.
        doubt: the doubt.
        before: the last stored bar before those in doubt, a week before at most.
        bars: the bars in doubt, oldest first.
        after: the first one after them.
        day: the day's figures in the daily data.
        ask_again: when its first slot is requested again, or ``now``; None if it is not requested any more.
    """

    market: MarketProfile
    doubt: StoredDoubt
    before: StoredBar | None
    bars: tuple[StoredBar, ...]
    after: StoredBar | None
    day: DailyPrice | None
    ask_again: str | None

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a JSON object; times are ISO 8601 UTC."""
        doubt = self.doubt
        return {
            "doubt_id": doubt.doubt_id,
            "rule": str(doubt.rule),
            "meaning": RULE_TEXTS[doubt.rule],
            "first_slot": format_timestamp(doubt.first_slot),
            "last_slot": format_timestamp(doubt.last_slot),
            "first_row": format_optional_timestamp(doubt.first_row),
            "source_interval": doubt.source_interval,
            "figures": dict(doubt.figures),
            "withheld_volume": doubt.withheld_volume,
            "bar_before": _build_bar(self.before),
            "bars": [_build_bar(bar) for bar in self.bars],
            "bar_after": _build_bar(self.after),
            "other_feed": doubt.other_feed,
            "from_audit": doubt.from_audit,
            "opened_at": format_timestamp(doubt.opened_at),
            "seen_at": format_timestamp(doubt.seen_at),
            "repeats": doubt.repeats,
            "ask_again": self.ask_again,
            "ended_at": format_optional_timestamp(doubt.ended_at),
            "outcome": None if doubt.outcome is None else str(doubt.outcome),
            "outcome_reason": doubt.outcome_reason,
            "marks_bar": doubt.marks_bar,
        }

    def describe(self, style: MomentStyle = UTC_STYLE) -> list[str]:
        """The same as lines for people, with moments in ``style``; the first is the title."""
        doubt = self.doubt
        lines = [f"doubt {doubt.doubt_id}: {RULE_TEXTS[doubt.rule]} ({doubt.rule})", self._describe_place(style)]
        lines += [f"figures: {', '.join(describe_figures(doubt.figures))}"] if doubt.figures else []
        if doubt.withheld_volume:
            lines.append(f"withheld: {doubt.withheld_volume:,} shares, which the bar's volume lacks")
        lines += self._describe_bars(style)
        lines += self._describe_day() if self.market.daily_covers_session else ()
        lines += describe_other_feed(doubt.other_feed) if self.market.has_other_feed or doubt.other_feed else ()
        return [*lines, *self._describe_life(style)]

    @property
    def _bars_are(self) -> str:
        return "in doubt" if self.doubt.marks_bar else "now"

    def _describe_place(self, style: MomentStyle) -> str:
        doubt = self.doubt
        first, last = style.format_moment(doubt.first_slot), style.format_moment(doubt.last_slot)
        slots = f"the bar of {first}" if first == last else f"the bars from {first} to {last}"
        if doubt.first_row is not None:
            first_row = style.format_moment(doubt.first_row)
            return f"in the vendor's rows of {doubt.source_interval}, first {first_row}: {slots}"
        source = f"built from {doubt.source_interval}" if doubt.source_interval else "of another program"
        return f"{slots}, {source}{', found by an audit' if doubt.from_audit else ''}"

    def _describe_bars(self, style: MomentStyle) -> Iterator[str]:
        """The first and the last bar in doubt, as they are stored now, between their neighbours."""
        ends = self.bars if len(self.bars) <= 2 else (self.bars[0], self.bars[-1])
        named = [("before", self.before), *((self._bars_are, bar) for bar in ends), ("after", self.after)]
        for name, bar in named:
            if bar is not None:
                yield f"bar {name}: {style.format_moment(bar.timestamp)}  {describe_bar(_get_values(bar))}"

    def _describe_day(self) -> Iterator[str]:
        if self.day is None or self.day.high is None or self.day.low is None:
            yield "the day's range is not known"
            return
        highs = [bar.high for bar in self.bars if bar.high is not None]
        lows = [bar.low for bar in self.bars if bar.low is not None]
        bounds = f"the day's range in the daily data is {format_figure(self.day.low)} to {format_figure(self.day.high)}"
        if highs and lows:
            bounds += f", that of the bars {self._bars_are} {format_figure(min(lows))} to {format_figure(max(highs))}"
        yield bounds

    def _describe_life(self, style: MomentStyle) -> Iterator[str]:
        doubt = self.doubt
        since = f"opened {style.format_moment(doubt.opened_at)}, last found {style.format_moment(doubt.seen_at)}"
        yield f"{since}; the vendor gave the same values {format_count(doubt.repeats, 'time')} since"
        if doubt.ended_at is None or doubt.outcome is None:
            yield "open" if self.ask_again is None else f"open; next request: {format_request(self.ask_again, style)}"
            return
        marks = "the bars are suspect because of it" if doubt.marks_bar else "it no longer marks the bars"
        outcome = f"{doubt.outcome} ({_OUTCOMES[doubt.outcome]}) {style.format_moment(doubt.ended_at)}"
        yield f"{outcome}: {doubt.outcome_reason or 'without a reason'}; {marks}"


def explain_doubts(
    market: MarketProfile,
    doubts: Sequence[StoredDoubt],
    bars: Sequence[StoredBar],
    day: DailyPrice | None,
    slots: Sequence[SlotExplanation] = (),
) -> list[DoubtExplanation]:
    """Explain the doubts about one symbol and one session.

    Args:
        market: the symbol's exchange.
        doubts: in any order, ended ones included.
        bars: the symbol's stored bars of the session and some before and after it, oldest first.
        day: what the daily data say about the day.
        slots: the session's slots, which say when they are requested again.
    """
    requests = {slot.slot: slot.ask_again for slot in slots}
    return [_explain(market, doubt, bars, day, requests.get(format_timestamp(doubt.first_slot))) for doubt in doubts]


def _explain(
    market: MarketProfile, doubt: StoredDoubt, bars: Sequence[StoredBar], day: DailyPrice | None, ask_again: str | None
) -> DoubtExplanation:
    before = [bar for bar in bars if bar.timestamp < doubt.first_slot]
    after = [bar for bar in bars if bar.timestamp > doubt.last_slot]
    return DoubtExplanation(
        market=market,
        doubt=doubt,
        before=before[-1] if before else None,
        bars=tuple(bar for bar in bars if doubt.first_slot <= bar.timestamp <= doubt.last_slot),
        after=after[0] if after else None,
        day=day,
        ask_again=ask_again,
    )


def _build_bar(bar: StoredBar | None) -> dict[str, Any] | None:
    if bar is None:
        return None
    return {"slot": format_timestamp(bar.timestamp), **_get_values(bar), "source_interval": bar.source_interval}


def _get_values(bar: StoredBar) -> dict[str, float | None]:
    values = {name: getattr(bar, name) for name in _VALUES}
    return {name: None if value is None else float(value) for name, value in values.items()}
