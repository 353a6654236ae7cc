"""Find sessions that are an earlier session of the same symbol served again, at the same times or shifted.

Only prices are compared: recorded repeats had plausible volumes. A single row is easily equal to one of another day, so
several rows one after the other must be, with many different prices among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.row_hashes import (
    Hashes,
    add_to_hashes,
    choose_sample,
    find_shared,
    hash_prices,
    hash_runs,
    pair_with_previous,
)
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_lines import (
    find_first_columns,
    find_last_columns,
    format_session_day,
    make_session_doubt,
)
from backfill_assets.market.plausibility.session_panel import SessionPanel

LAST_SESSIONS = 20  # how far back a repeat is looked for, unless the caller says otherwise
# So many rows in a row must be equal: an hour of 5m rows. Of bars of 30 minutes there are 13 to a session, or 7, and
# half a session is compared, so that a repeat is found at any shift up to that.
MIN_EQUAL_ROWS, MIN_EQUAL_BARS = 12, 6
MIN_DIFFERENT_PRICES = 10  # among the prices that are equal; names that hardly move repeat themselves
MIN_SAMPLED_ROWS = 64  # of sessions with as many, an eighth is looked at first: one of 66 rows is missed once in 6,700
_ROWS_AT_ONCE = 250_000  # bounds the memory


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows that count, in order of line and column, with their four prices, shape (rows, 4)."""

    line: Int64
    column: Int64
    prices: Floats


@dataclass(frozen=True, eq=False)
class _Stretches:
    """Rows in a row that are equal to earlier ones: positions of the first of both, and how many; (stretches,)."""

    later: Int64
    earlier: Int64
    rows: Int64


def find_repeated_sessions(
    panel: SessionPanel, judged: Bools, *, last_sessions: int | None = LAST_SESSIONS
) -> list[Doubt]:
    """Doubt each session whose prices repeat an earlier one; the doubt is about the rows that do.

    All four prices of rows with volume are compared, at any shift, in runs of 12 rows (30m bars: 6), and of 2, 4 …
    times as many: a short run of a name that moves by a few ticks is equal to many. Runs of the same shift are joined,
    and count if there are at least ten different prices in all. Closes alone are compared over the whole session, at
    the same times, and only in bars of 15 minutes and more, which show it as well as rows do; ten different ones must
    be equal. A volume that is unknown counts as one.

    Stored bars of 30 minutes show a shift by whole bars; any other changes all of them, and only the vendor's rows of
    both sessions show it.

    Args:
        panel: rows or bars, with the earlier sessions.
        judged: which lines are judged, shape (lines,).
        last_sessions: how many sessions back a repeat is looked for; None for all of the panel.
    """
    has_volume = panel.is_present & (panel.volume != 0)
    if not (has_volume.any(axis=1) & judged).any():
        return []
    doubts = _find_repeated_runs(panel, has_volume, judged, last_sessions)
    if panel.close.shape[1] >= MIN_SAMPLED_ROWS:
        return doubts
    found = {(doubt.symbol_id, doubt.session) for doubt in doubts}
    of_closes = _find_repeated_closes(panel, has_volume, judged, last_sessions)
    return doubts + [doubt for doubt in of_closes if (doubt.symbol_id, doubt.session) not in found]


def _find_repeated_runs(
    panel: SessionPanel, has_volume: Bools, judged: Bools, last_sessions: int | None
) -> list[Doubt]:
    suspected = _find_suspected_lines(panel, has_volume)
    if not (suspected & judged).any():
        return []
    rows = _gather_rows(panel, has_volume & suspected[:, None])
    line, hashes = rows.line, _hash_rows(panel, rows)
    found = []
    for length in _list_lengths(panel.close.shape[1]):
        later, earlier = _find_equal_runs(line, hashes, length)
        is_hit = judged[line[later]] & _is_within(panel, line[later], line[earlier], last_sessions)
        stretches = _join_runs(later[is_hit], earlier[is_hit], length)
        is_varied = _count_different_prices(rows.prices, stretches) >= MIN_DIFFERENT_PRICES
        found += list(
            zip(stretches.later[is_varied], stretches.earlier[is_varied], stretches.rows[is_varied], strict=True)
        )
    return _doubt_lines(panel, rows, sorted(found))


def _find_suspected_lines(panel: SessionPanel, has_volume: Bools) -> Bools:
    """Lines that share rows with others of their symbol, or hold one row twice; only these can be repeats, (lines,).

    Of long sessions a part of the rows is looked at, the same ones by their prices in each.
    """
    columns = panel.close.shape[1]
    if columns < MIN_SAMPLED_ROWS:
        chosen, least = has_volume, _list_lengths(columns)[0]
    else:
        is_short = has_volume.sum(axis=1) < MIN_SAMPLED_ROWS
        chosen, least = (
            has_volume & (choose_sample([panel.open, panel.high, panel.low, panel.close]) | is_short[:, None]),
            1,
        )
    rows = _gather_rows(panel, chosen)
    shared = np.bincount(rows.line[find_shared(_hash_rows(panel, rows))], minlength=len(panel))
    is_suspected: Bools = shared >= least
    return is_suspected


def _gather_rows(panel: SessionPanel, chosen: Bools) -> _Rows:
    line, column = np.nonzero(chosen)
    prices = np.stack([values[line, column] for values in (panel.open, panel.high, panel.low, panel.close)], axis=1)
    return _Rows(line, column, prices)


def _hash_rows(panel: SessionPanel, rows: _Rows) -> Hashes:
    return add_to_hashes(hash_prices(list(rows.prices.T)), panel.symbol_id[rows.line])


def _list_lengths(columns: int) -> list[int]:
    """How many rows are compared at once in sessions of some columns."""
    shortest = min(max(columns // 2, MIN_EQUAL_BARS), MIN_EQUAL_ROWS)
    return [shortest << doublings for doublings in range(8) if doublings == 0 or shortest << doublings <= columns]


def _find_equal_runs(line: Int64, hashes: Hashes, length: int) -> tuple[Int64, Int64]:
    """Positions of the first rows of runs in a line, ascending, and of the nearest equal runs before each."""
    runs = hash_runs(hashes, length)
    first = np.flatnonzero(line[: len(runs)] == line[length - 1 :])
    first = first[find_shared(runs[first])]
    later, earlier = pair_with_previous(runs[first])
    order = np.argsort(later)
    return first[later[order]], first[earlier[order]]


def _join_runs(later: Int64, earlier: Int64, length: int) -> _Stretches:
    """Runs that overlap and repeat overlapping ones, as one stretch each."""
    is_new = np.ones(len(later), bool)
    is_new[1:] = (np.diff(later) != 1) | (np.diff(earlier) != 1)
    begins = np.flatnonzero(is_new)
    return _Stretches(later[begins], earlier[begins], np.diff(np.r_[begins, len(later)]) + length - 1)


def _count_different_prices(prices: Floats, stretches: _Stretches) -> Int64:
    """How many different prices there are in each stretch of rows."""
    counts = np.zeros(len(stretches.rows), np.int64)
    block = np.cumsum(stretches.rows) // _ROWS_AT_ONCE
    for part in np.split(np.arange(len(counts)), np.flatnonzero(np.diff(block)) + 1):
        rows = stretches.rows[part]
        stretch = np.repeat(np.arange(len(part)), rows)
        position = np.arange(len(stretch)) - np.repeat(np.cumsum(rows) - rows, rows) + stretches.later[part][stretch]
        key, values = np.repeat(stretch, 4), prices[position].ravel()
        order = np.lexsort((values, key))
        is_other = np.ones(len(order), bool)
        is_other[1:] = (np.diff(values[order]) != 0) | (np.diff(key[order]) != 0)
        counts[part] = np.bincount(key[order][is_other], minlength=len(part))
    return counts


def _doubt_lines(panel: SessionPanel, rows: _Rows, stretches: Sequence[tuple[int, int, int]]) -> list[Doubt]:
    """One doubt for each line; ``stretches`` are the first row, the first of the earlier rows, and how many."""
    doubts = []
    for _, of_line in groupby(stretches, lambda stretch: rows.line[stretch[0]]):
        group = list(of_line)
        equal = np.unique(np.concatenate([np.arange(later, later + count) for later, _, count in group]))
        doubts.append(_make_doubt_of_rows(panel, rows, equal, int(group[0][1])))
    return doubts


def _find_repeated_closes(
    panel: SessionPanel, has_volume: Bools, judged: Bools, last_sessions: int | None
) -> list[Doubt]:
    """Sessions whose closes are all equal to an earlier session's, whatever the other prices are."""
    closes = np.where(has_volume, panel.close, 0.0)
    hashes = add_to_hashes(hash_runs(hash_prices([closes.T]), closes.shape[1])[0], panel.symbol_id)
    shared = np.flatnonzero(find_shared(hashes))
    different = _count_different(np.where(has_volume, panel.close, np.nan)[shared])
    shared = shared[different >= MIN_DIFFERENT_PRICES]
    later, earlier = (shared[positions] for positions in pair_with_previous(hashes[shared]))
    is_hit = judged[later] & _is_within(panel, later, earlier, last_sessions)
    first, last = find_first_columns(has_volume), find_last_columns(has_volume)
    return [
        make_session_doubt(
            Rule.SESSION_REPEATED,
            panel,
            line,
            int(first[line]),
            int(last[line]),
            _describe_repeat(panel, line, before, int(has_volume[line].sum()), "closes", shift_columns=0),
        )
        for line, before in sorted(zip(later[is_hit].tolist(), earlier[is_hit].tolist(), strict=True))
    ]


def _is_within(panel: SessionPanel, later: Int64, earlier: Int64, last_sessions: int | None) -> Bools:
    """Whether the earlier line is of another session than the later one, and not too far back."""
    age = panel.session[later] - panel.session[earlier]
    is_within: Bools = (age > 0) & (age <= (last_sessions if last_sessions is not None else age))
    return is_within


def _count_different(prices: Floats) -> Int64:
    """How many different prices each line of an array has; NaN counts as none."""
    ordered = np.sort(prices, axis=1)
    counts: Int64 = (np.diff(ordered, axis=1) > 0).sum(axis=1) + ~np.isnan(ordered[:, 0])
    return counts


def _make_doubt_of_rows(panel: SessionPanel, rows: _Rows, equal: Int64, earlier: int) -> Doubt:
    """A doubt about the rows at the positions ``equal``, of which the first repeats the one at ``earlier``."""
    line, first, last = int(rows.line[equal[0]]), int(rows.column[equal[0]]), int(rows.column[equal[-1]])
    shift = first - int(rows.column[earlier])
    figures = _describe_repeat(panel, line, int(rows.line[earlier]), len(equal), "all prices", shift_columns=shift)
    return make_session_doubt(Rule.SESSION_REPEATED, panel, line, first, last, figures)


def _describe_repeat(
    panel: SessionPanel, line: int, earlier: int, rows: int, compared: str, *, shift_columns: int
) -> dict[str, float | str | None]:
    return {
        "repeated_session": format_session_day(panel, earlier),
        "sessions_back": int(panel.session[line] - panel.session[earlier]),
        "compared": compared,
        "equal_rows": rows,
        "rows_of_session": int((~np.isnan(panel.close[line])).sum()),
        "shifted_minutes": shift_columns * panel.seconds / 60,
    }
