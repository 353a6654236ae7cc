"""Slots that none of many tickers has: a finding ``calendar or vendor hole``, and how it ends.

Either nobody trades then, as in a break that the calendar does not know, or the vendor lost them for all. Nothing
tells which, so the slots stay missing (``market.gaps.slot_states``). How they are found is in
``store.evidence.slot_baseline``.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.session_hours import list_kept_sessions
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.labels import name_corrections_file
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.evidence.findings import (
    CALENDAR_OR_VENDOR_HOLE,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.evidence.session_fingerprints import find_contradicting_sessions
from backfill_assets.store.evidence.slot_baseline import Hole, find_holes
from backfill_assets.store.symbol_counts import count_rows

MAX_NAMED = 5  # times of day in the finding
Period = tuple[str, str]  # from and until, local time


def note_shared_holes(engine: Engine, job: BackfillJob, coverage: Coverage, findings: Sequence[Finding]) -> None:
    """Record which slots of the retained sessions, or of the job's, nobody has; or resolve it. Mostly nothing is read.

    Args:
        engine: the parts to work with.
        job: of the exchange.
        coverage: of the job, measured at the end of the run.
        findings: the open ones.
    """
    exchange, now = job.market.exchange, engine.settings.now()
    is_open = any((f.kind, f.subject) == (CALENDAR_OR_VENDOR_HOLE, exchange) for f in findings)
    if not len(coverage.absence_evidence.holes) and not is_open:
        return
    sessions = list_kept_sessions(engine, job)
    with engine.database.transaction() as connection:
        _, others = count_rows(connection, exchange)
        # Evidence that was written by other hours numbers other slots.
        contradicting = {one.day for one in find_contradicting_sessions(connection, sessions, with_corrected=True)}
        grid = build_slot_grid([one for one in sessions if one.day not in contradicting], job.interval)
        found = find_holes(connection, grid, job.source_interval, others)
        holes = _leave_out_held(found, grid, coverage)
        if holes:
            detail = describe_holes(grid, holes)
            record_finding(connection, Finding(CALENDAR_OR_VENDOR_HOLE, exchange, detail, now))
        elif is_open:
            resolve_findings(connection, CALENDAR_OR_VENDOR_HOLE, [exchange], now)


def describe_holes(grid: SlotGrid, holes: Sequence[Hole]) -> str:
    """Which local times of which days nobody has, how many tickers were asked, and what to do."""
    market = grid.sessions[0].market
    days_by_period: dict[Period, list[date]] = defaultdict(list)
    for hole in holes:
        for period in _join_slots(grid, hole.ordinals):
            days_by_period[period].append(grid.sessions[int(grid.session_index[hole.ordinals[0]])].day)
    named = sorted(days_by_period.items(), key=lambda item: (-len(item[1]), item[0]))
    times = "; ".join(f"{first} to {until} {_describe_days(days)}" for (first, until), days in named[:MAX_NAMED])
    more = f"; and {format_count(len(named) - MAX_NAMED, 'other time')}" if len(named) > MAX_NAMED else ""
    fewest, most = min(hole.tickers for hole in holes), max(hole.tickers for hole in holes)
    asked = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return (
        f"none of {asked} tickers of {market.exchange} that were asked has bars of {times}{more} ({market.zone.key})."
        f" {_describe_remedy(grid, *named[0])} (docs/markets.md); else wait: they stay missing, and are requested until"
        " the vendor has them"
    )


def _describe_remedy(grid: SlotGrid, period: Period, days: Sequence[date]) -> str:
    """What to write down if nobody trades then. A break is one of every day, so a single day must not make one."""
    market = grid.sessions[0].market
    since = [session.day for session in grid.sessions if session.day >= days[0]]
    if len(days) == 1 or 2 * len(days) <= len(since):
        file = name_corrections_file(market.exchange)
        return f"If the exchange opened late or closed early then, write the hours of that day into {file}"
    known = [(f"{begin:%H:%M}", f"{end:%H:%M}") for begin, end in market.breaks]
    breaks = json.dumps([list(one) for one in sorted([*known, period])])
    return f"If nobody trades then, write breaks = {breaks} under {market.exchange} in BACKFILL_MARKETS_FILE"


def _leave_out_held(holes: Sequence[Hole], grid: SlotGrid, coverage: Coverage) -> list[Hole]:
    """The holes without slots of the job's window that have a bar, whoever wrote it."""
    window = coverage.grid
    is_hole = dict.fromkeys(window.starts.tolist(), False)
    is_hole |= dict.fromkeys(window.starts[coverage.absence_evidence.holes].tolist(), True)
    starts: Mapping[int, int] = dict(enumerate(grid.starts.tolist()))
    kept = [Hole(tuple(at for at in hole.ordinals if is_hole.get(starts[at], True)), hole.tickers) for hole in holes]
    return [hole for hole in kept if hole.ordinals]


def _join_slots(grid: SlotGrid, ordinals: Sequence[int]) -> list[Period]:
    """The local times of slots of one session, adjacent ones as one period."""
    zone = grid.sessions[0].market.zone
    spans: list[tuple[int, int]] = []
    for ordinal in ordinals:
        start, end = int(grid.starts[ordinal]), int(grid.ends[ordinal])
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return [
        (f"{to_datetime(start).astimezone(zone):%H:%M}", f"{to_datetime(end).astimezone(zone):%H:%M}")
        for start, end in spans
    ]


def _describe_days(days: Sequence[date]) -> str:
    return f"on {days[0]}" if len(days) == 1 else f"on {len(days):,} days, {days[0]} to {days[-1]}"
