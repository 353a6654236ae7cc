"""Probes: which requests to send first while a fresh session may not be published yet.

A request is *tentative* if its gaps are in such sessions only. Tentative requests are sent in blocks: a few probes,
then twice as many as long as at least half of the last block was published. The next round starts half an hour later
at the earliest. From 16 hours after the close no request is tentative, so by then every gap is requested. Each round
draws new probes, so that a ticker without data does not block the others for long.

Around the clock no request is tentative: each ticker has its own turn (``market.gaps.ask_times``), and one round, every
half hour, takes all whose turn has come, so that there is not a run for each of them.
"""

from collections.abc import Sequence
from random import Random

import numpy as np

from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.market.gaps.coverage import Coverage

TICKERS_PER_PROBE = 150
MAX_PROBES = 3
SECONDS_BETWEEN_ROUNDS = 1800


def split_requests(
    requests: Sequence[PlannedRequest], coverage: Coverage
) -> tuple[list[PlannedRequest], list[PlannedRequest]]:
    """The certain requests, and the tentative ones in the order to send them."""
    fresh = _find_fresh_sessions(coverage)
    certain = [
        request
        for request in requests
        if request.newest_due_session not in fresh or request.oldest_due_session not in fresh
    ]
    tentative = [
        request for request in requests if request.newest_due_session in fresh and request.oldest_due_session in fresh
    ]
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


def compute_first_block_size(coverage: Coverage) -> int:
    """Size of the first block: a few probes, or as many requests as there are symbols already seen published."""
    probes = min(MAX_PROBES, max(1, len(coverage.symbols) // TICKERS_PER_PROBE))
    return max(
        probes, max((_count_published(coverage, session) for session in _find_fresh_sessions(coverage)), default=0)
    )


def _find_fresh_sessions(coverage: Coverage) -> set[int]:
    """Sessions not overdue and seen published for less than half of the universe; none around the clock."""
    if coverage.grid.is_around_the_clock:
        return set()
    return {
        session
        for session, overdue_at in enumerate(coverage.overdue_at)
        if coverage.now < overdue_at and 2 * _count_published(coverage, session) < len(coverage.symbols)
    }


def _count_published(coverage: Coverage, session: int) -> int:
    return int((coverage.request_history.published & (coverage.request_history.session == session)).sum())


def _order_probes(requests: list[PlannedRequest], coverage: Coverage) -> list[PlannedRequest]:
    """Least recently requested first, then liquid before thin symbols; ties in random order."""
    rng = Random(coverage.now.isoformat())  # noqa: S311 - not for security; seeded to be reproducible
    row_by_symbol_id = {s.symbol_id: row for row, s in enumerate(coverage.symbols)}
    requested_at = np.zeros(len(coverage.symbols), np.int64)
    is_newest = coverage.request_history.session == len(coverage.grid.sessions) - 1
    requested_at[coverage.request_history.row[is_newest]] = coverage.request_history.requested_at[is_newest]

    def sort_key(request: PlannedRequest) -> tuple[int, int]:
        row = row_by_symbol_id[request.symbol.symbol_id]
        return int(requested_at[row]), int(coverage.absence_evidence.incomplete_sessions[row])

    return sorted(rng.sample(requests, len(requests)), key=sort_key)
