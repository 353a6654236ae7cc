"""Probes: which requests to send first while a fresh session may not be published yet.

A request is *tentative* if its gaps are in such sessions only, or if its ticker is a straggler of them
(``market.gaps.stragglers``). Tentative requests are sent in blocks: a few probes, then twice as many as long as at
least half of those came that were to be expected: all, or as many as is learned of them. In the run that sees a session
first, three quarters of a large block have to come: the vendor may be publishing just then, and half an hour later no
request is in vain. The next round starts half an hour later at the earliest. Stragglers follow the others, in blocks of
their own. From 16 hours after the close only their requests are tentative. Each round draws new probes, so that a
ticker without data does not block the others for long.

Around the clock no request is tentative: each ticker has its own turn (``market.gaps.ask_times``), and one round, every
half hour, takes all whose turn has come, so that there is not a run for each of them.
"""

from collections.abc import Sequence
from random import Random

import numpy as np

from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.gaps.ask_plans import compute_success_chances
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import look_up
from backfill_assets.market.gaps.stragglers import find_last_moments, find_stragglers

TICKERS_PER_PROBE = 150
MAX_PROBES = 3
LEARNED_PROBES = 4  # that are to be expected to come, where chances are learned
ENOUGH, ENOUGH_AT_FIRST = 0.5, 0.75  # of those to be expected; of a large block in the run that sees a session first
LARGE_BLOCK = 32
SECONDS_BETWEEN_ROUNDS = 1800


def split_requests(
    requests: Sequence[PlannedRequest], coverage: Coverage
) -> tuple[list[PlannedRequest], list[PlannedRequest]]:
    """The certain requests, and the tentative ones in the order to send them."""
    may_fail = _find_tentative(coverage)
    certain: list[PlannedRequest] = []
    tentative: list[PlannedRequest] = []
    for request in requests:
        sessions = [request.oldest_due_session, request.newest_due_session]
        (tentative if may_fail[request.row, sessions].all() else certain).append(request)
    return certain, _order_probes(tentative, coverage)


def is_probe_due(coverage: Coverage) -> bool:
    """Whether the last request for a fresh session is long enough ago for another round.

    Around the clock all requests count that take a symbol's turn (``market.gaps.ask_times``).
    """
    requested_at = coverage.request_history.requested_at
    if coverage.grid.is_around_the_clock:
        counts = requested_at <= coverage.now.timestamp()
        counts &= ~coverage.is_session_overdue[coverage.request_history.session]
    else:
        counts = np.isin(coverage.request_history.session, list(_find_fresh_sessions(coverage)))
    newest_request_at = requested_at[counts].max(initial=0)
    return bool(coverage.now.timestamp() - newest_request_at >= SECONDS_BETWEEN_ROUNDS)


def build_blocks(tentative: Sequence[PlannedRequest], coverage: Coverage) -> list[list[PlannedRequest]]:
    """The blocks in which to send the tentative requests, in their order; those for stragglers come last."""
    is_straggler = _find_stragglers(coverage)[0]
    blocks: list[list[PlannedRequest]] = []
    for is_last, size in ((False, compute_first_block_size(coverage)), (True, _count_probes(coverage))):
        left = [asked for asked in tentative if is_straggler[asked.row, asked.newest_due_session] == is_last]
        while left:
            block, left = split_block(left, size, coverage)
            blocks.append(block)
            size *= 2
    return blocks


def compute_first_block_size(coverage: Coverage) -> int:
    """How many of the first block are to be expected to come: a few, or as many symbols as were seen published."""
    published = (_count_published(coverage, session) for session in _find_fresh_sessions(coverage))
    return max(_count_probes(coverage), max(published, default=0))


def split_block(
    requests: list[PlannedRequest], size: int, coverage: Coverage
) -> tuple[list[PlannedRequest], list[PlannedRequest]]:
    """The first tentative requests, so many that ``size`` of them are to be expected to come; and the rest."""
    expected = np.cumsum(_compute_chances(requests, coverage))
    count = int(np.searchsorted(expected, size - 1e-6)) + 1  # rounding
    return requests[:count], requests[count:]


def has_enough_come(came: int, requests: Sequence[PlannedRequest], coverage: Coverage) -> bool:
    """Whether so many of these tentative requests came that the next ones are sent, of those to be expected."""
    newest = max((request.newest_due_session for request in requests), default=0)
    evidence = coverage.absence_evidence
    is_seen = evidence.habits is not None or not np.isnan(evidence.first_published_at[newest])
    share = ENOUGH if is_seen or len(requests) < LARGE_BLOCK else ENOUGH_AT_FIRST
    return bool(came >= share * _compute_chances(requests, coverage).sum())


def _find_tentative(coverage: Coverage) -> Bools:
    """For which symbols and sessions a request may well be in vain, shape (symbols, sessions)."""
    fresh = np.isin(np.arange(len(coverage.grid.sessions)), list(_find_fresh_sessions(coverage)))
    is_straggler, last_moments = _find_stragglers(coverage)
    tentative: Bools = fresh | (is_straggler & (coverage.now.timestamp() < last_moments))
    return tentative


def _find_stragglers(coverage: Coverage) -> tuple[Bools, Floats]:
    """The stragglers of each session, shape (symbols, sessions), and when all of them are requested; (sessions,)."""
    shape = (len(coverage.symbols), len(coverage.grid.sessions))
    history, evidence = coverage.request_history, coverage.absence_evidence
    if evidence.habits is not None or coverage.grid.is_around_the_clock:
        return np.zeros(shape, bool), np.full(shape[1], np.inf)
    entry_index = history.build_entry_index(*shape)
    overdue_at = np.array([at.timestamp() for at in coverage.overdue_at])
    is_straggler = find_stragglers(history, entry_index, evidence, overdue_at, coverage.now.timestamp())
    requested_at = look_up(history.requested_at, entry_index, default=0).astype(float)
    return is_straggler, find_last_moments(is_straggler, requested_at)


def _compute_chances(requests: Sequence[PlannedRequest], coverage: Coverage) -> Floats:
    """The chance that each tentative request brings its newest due session, as far as is learned; else one."""
    habits = coverage.absence_evidence.habits
    if habits is None:
        return np.ones(len(requests))
    row = np.array([request.row for request in requests], np.int64)
    session = np.array([request.newest_due_session for request in requests], np.int64)
    sessions = coverage.grid.sessions
    closes = np.array([s.regular_close.timestamp() for s in sessions])[session]
    weekday = np.array([s.day.weekday() for s in sessions])[session]
    entry_index = coverage.request_history.build_entry_index(len(coverage.symbols), len(sessions))
    requested_at = look_up(coverage.request_history.requested_at, entry_index[row, session], default=0)
    now = coverage.now.timestamp() - closes
    return compute_success_chances(habits, row, weekday, requested_at - closes, now)


def _find_fresh_sessions(coverage: Coverage) -> set[int]:
    """Sessions not overdue and seen published for less than half of the universe; none around the clock."""
    if coverage.grid.is_around_the_clock:
        return set()
    return {
        session
        for session, overdue_at in enumerate(coverage.overdue_at)
        if coverage.now < overdue_at and 2 * _count_published(coverage, session) < len(coverage.symbols)
    }


def _count_probes(coverage: Coverage) -> int:
    if coverage.absence_evidence.habits is not None:
        return LEARNED_PROBES
    return min(MAX_PROBES, max(1, len(coverage.symbols) // TICKERS_PER_PROBE))


def _count_published(coverage: Coverage, session: int) -> int:
    return int((coverage.request_history.published & (coverage.request_history.session == session)).sum())


def _order_probes(requests: list[PlannedRequest], coverage: Coverage) -> list[PlannedRequest]:
    """Likely ones first, then those least recently requested, then liquid before thin symbols; ties at random."""
    rng = Random(coverage.now.isoformat())  # noqa: S311 - not for security; seeded to be reproducible
    row_by_symbol_id = {s.symbol_id: row for row, s in enumerate(coverage.symbols)}
    requested_at = np.zeros(len(coverage.symbols), np.int64)
    is_newest = coverage.request_history.session == len(coverage.grid.sessions) - 1
    requested_at[coverage.request_history.row[is_newest]] = coverage.request_history.requested_at[is_newest]

    chances = _compute_chances(requests, coverage).tolist()
    chance_by_symbol_id = {r.symbol.symbol_id: chance for r, chance in zip(requests, chances, strict=True)}

    def sort_key(request: PlannedRequest) -> tuple[float, int, int]:
        key = request.symbol.symbol_id
        row = row_by_symbol_id[key]
        incomplete = int(coverage.absence_evidence.incomplete_sessions[row])
        return -chance_by_symbol_id[key], int(requested_at[row]), incomplete

    return sorted(rng.sample(requests, len(requests)), key=sort_key)
