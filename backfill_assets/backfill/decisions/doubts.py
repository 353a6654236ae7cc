"""Decisions about doubts: the bars of a ticker that a rule finds improbable, in sessions close to each other.

Accepted: the bars are wrong and stay marked; nothing is requested for them any more. Rejected: they are right, and
volumes that were withheld from them are put back. Doubts that a symbol was not listed are decided with its listing life
(``listing_lives``).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backfill_assets.backfill.decisions.kind import Changes, DecisionContext, DecisionKind, DecisionRefused
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval, parse_interval
from backfill_assets.market.plausibility.doubt_texts import describe_figures, describe_other_feed
from backfill_assets.market.plausibility.doubted_rows import SEPARATOR
from backfill_assets.market.plausibility.rules import RULE_TEXTS, Rule
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.bars.withheld_volumes import WithheldVolume, put_back_volume, take_out_volume
from backfill_assets.store.evidence.decided_doubts import (
    UndecidedDoubt,
    decide_doubts,
    find_restorable_doubts,
    list_doubted_intervals,
    list_undecided_doubts,
    read_interval_name,
    restore_doubts,
)
from backfill_assets.store.evidence.proposals import Answer, Decision, Proposal, compute_fingerprint
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_all_symbols

NAME = "doubt"
MAX_DAYS_APART = 7  # between the sessions of one decision
SETTLES_WITHIN = timedelta(days=1)  # other data settle most doubts within a day; until then none calls for an answer
MAX_EVIDENCE = 20  # doubts that are described one by one
RULES = frozenset(Rule) - {Rule.OUTSIDE_LISTING}


@dataclass(frozen=True, slots=True)
class DoubtGroup:
    """Doubts by one rule about bars of one ticker, the oldest session first."""

    ticker: str
    interval: Interval
    doubts: Sequence[UndecidedDoubt]


def list_groups(connection: Connection, rules: Collection[Rule], max_days_apart: int | None) -> list[DoubtGroup]:
    """The undecided doubts by some rules about bars of active symbols, grouped by ticker, interval and rule.

    Sessions that are more than ``max_days_apart`` calendar days apart are in different groups; None: all are in one.
    """
    names = list_doubted_intervals(connection, rules)
    tickers = {s.symbol_id: str(s.ticker) for s in list_all_symbols(connection)} if names else {}
    groups = []
    for name in names:
        (interval,) = adopt_spellings(connection, [parse_interval(name)])
        doubts = [d for d in list_undecided_doubts(connection, interval, rules) if d.symbol_id in tickers]
        groups += [
            DoubtGroup(tickers[group[0].symbol_id], interval, group)
            for group in split_into_groups(doubts, max_days_apart)
        ]
    return groups


def split_into_groups(doubts: Sequence[UndecidedDoubt], max_days_apart: int | None) -> list[list[UndecidedDoubt]]:
    """Split doubts, which come by symbol, rule and session, where one of these differs or the next session is far."""
    groups: list[list[UndecidedDoubt]] = []
    for doubt in doubts:
        last = groups[-1][-1] if groups else None
        is_near = last is not None and (last.symbol_id, last.rule) == (doubt.symbol_id, doubt.rule)
        if is_near and last is not None and max_days_apart is not None:
            is_near = (doubt.session_day - last.session_day).days <= max_days_apart
        if is_near:
            groups[-1].append(doubt)
        else:
            groups.append([doubt])
    return groups


def describe_doubts(group: DoubtGroup) -> Iterator[tuple[str, str]]:
    """What is known of each doubt, one line each, the first few of many."""
    for doubt in group.doubts[:MAX_EVIDENCE]:
        last = f" to {doubt.last_slot:%H:%M}" if doubt.last_slot > doubt.first_slot else ""
        figures = describe_figures(doubt.figures)
        withheld = [f"withheld {format_count(doubt.withheld_volume, 'share')}"] if doubt.withheld_volume else []
        other_feed = list(describe_other_feed(doubt.other_feed)) if doubt.other_feed else []
        state = f"open since {doubt.opened_at:%Y-%m-%d %H:%M} UTC" if doubt.is_open else "stands: the vendor repeats it"
        audit = ["found by an audit"] if doubt.from_audit else []
        yield (
            f"{doubt.first_slot:%Y-%m-%d %H:%M}{last} UTC",
            " · ".join([*figures, *withheld, *other_feed, state, *audit]),
        )
    if len(group.doubts) > MAX_EVIDENCE:
        more = len(group.doubts) - MAX_EVIDENCE
        yield "and more", f"{more:,} of {len(group.doubts):,} doubts; backfill.doubts has all"


def decide_group(
    context: DecisionContext, decision: Decision, ids: Sequence[int], answer: Answer, *, marks_bar: bool
) -> Changes:
    """End doubts as decided; where the bars are right, put back what was withheld from them."""
    connection = context.connection
    name = read_interval_name(connection, ids)
    if name is None:
        raise DecisionRefused(f"decision {decision.decision_id}: its doubts are gone")
    interval = context.intervals[name]
    volumes = [] if marks_bar else _put_back(context, decision, interval, ids)
    states = decide_doubts(connection, ids, interval, context.describe(answer), context.now, marks_bar=marks_bar)
    return {"interval": name, "doubts": states, "volumes": volumes}


def restore_group(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    """Undo ``decide_group``.

    Raises:
        DecisionRefused: a bar or a doubt has changed since.
    """
    interval = context.intervals[changes["interval"]]
    ids = [state["id"] for state in changes["doubts"]]
    if find_restorable_doubts(context.connection, ids, interval) != set(ids):
        raise DecisionRefused(
            f"decision {decision.decision_id} cannot be undone: its bars or doubts have changed since; what is to be"
            " decided about them now is in: backfill-assets decisions list"
        )
    for volume in changes["volumes"]:
        if not take_out_volume(context.connection, volume, interval, decision.decision_id):
            raise DecisionRefused(
                f"decision {decision.decision_id} cannot be undone: market_data keeps the volume of the bar of"
                f" {volume['slot']}"
            )
    restore_doubts(context.connection, changes["doubts"])


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    return [_build_proposal(group) for group in list_groups(connection, RULES, MAX_DAYS_APART)]


def _build_proposal(group: DoubtGroup) -> Proposal:
    first, last = group.doubts[0], group.doubts[-1]
    sessions = len({doubt.session_day for doubt in group.doubts})
    days = f"{first.session_day}" if sessions == 1 else f"{first.session_day} to {last.session_day}"
    counted = f" ({sessions} sessions)" if sessions > 1 else ""
    interval = "" if group.interval.name == DEFAULT_INTERVAL else f" {group.interval.name}"
    option = f" --interval{interval}" if interval else ""
    command = f"backfill-assets why {group.ticker} {first.session_day}{option}"
    return Proposal(
        kind=NAME,
        subject=f"{group.ticker}{interval} {first.rule} {days}{counted}",
        refers_to=tuple(str(doubt.doubt_id) for doubt in group.doubts),
        text=_describe_proposal(group),
        evidence=(("rule", RULE_TEXTS[first.rule]), *describe_doubts(group), ("more", command)),
        fingerprint=compute_fingerprint(NAME, [(doubt.doubt_id, doubt.values_hash) for doubt in group.doubts]),
        ticker=group.ticker,
        rule=str(first.rule),
        waits_since=find_waiting_since(group.doubts),
    )


def find_waiting_since(doubts: Sequence[UndecidedDoubt]) -> datetime | None:
    """From when on doubts call for an answer: a day after the first was opened, at once if an audit found it.

    None if all of them stand: they are marked and counted, and may be decided at any time.
    """
    moments = [d.opened_at + (timedelta() if d.from_audit else SETTLES_WITHIN) for d in doubts if d.is_open]
    return min(moments, default=None)


def _describe_proposal(group: DoubtGroup) -> str:
    slots = sum(
        (doubt.last_slot - doubt.first_slot).total_seconds() // group.interval.seconds + 1 for doubt in group.doubts
    )
    is_one = slots == 1
    withheld = sum(doubt.withheld_volume for doubt in group.doubts)
    put_back = f", and {format_count(withheld, 'withheld share')} are put back into" if withheld else ""
    put_back += f" {'it' if is_one else 'them'}" if withheld else ""
    wrong = "the bar is wrong: keep it marked" if is_one else "the bars are wrong: keep them marked"
    return f"{wrong} (rejecting: {'it is' if is_one else 'they are'} right{put_back})"


def _accept(context: DecisionContext, decision: Decision) -> Changes:
    return decide_group(context, decision, _get_ids(decision), Answer.ACCEPTED, marks_bar=True)


def _reject(context: DecisionContext, decision: Decision) -> Changes:
    return decide_group(context, decision, _get_ids(decision), Answer.REJECTED, marks_bar=False)


def _get_ids(decision: Decision) -> list[int]:
    return [int(key) for key in decision.proposal.refers_to]


def _put_back(
    context: DecisionContext, decision: Decision, interval: Interval, ids: Sequence[int]
) -> list[dict[str, Any]]:
    states = []
    for doubt in list_undecided_doubts(context.connection, interval, Rule, ids):
        if not doubt.withheld_volume:
            continue
        source = doubt.source_interval or ""
        withheld = WithheldVolume(
            doubt.symbol_id, doubt.first_slot, source, doubt.withheld_volume, _count_rows(doubt.figures)
        )
        state = put_back_volume(context.connection, withheld, interval, decision.decision_id)
        if state is None:
            raise DecisionRefused(
                f"decision {decision.decision_id} cannot be rejected: the bar of {doubt.first_slot:%Y-%m-%d %H:%M} UTC"
                " is no longer the one that its volume was withheld from, or market_data does not let it change"
            )
        states.append(state)
    return states


def _count_rows(figures: Mapping[str, float | str | None]) -> int:
    """How many rows' volumes are in doubt; equal volumes are written once."""
    return max(str(figures.get(name, "")).count(SEPARATOR) + 1 for name in ("row", "volume"))


DOUBT = DecisionKind(NAME, "doubt", "doubts", _list_proposals, _accept, _reject, restore_group)
