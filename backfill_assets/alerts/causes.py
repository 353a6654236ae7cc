"""Why something fails, as likely as can be told, in one phrase: a pure function of what is known.

The phrases are for people; nothing is decided by them. Reading the clues is at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from backfill_assets.config.settings import Settings
from backfill_assets.eodhd.errors import PlanRefused, QuotaExhausted, ServerFault, TokenRefused, Unreachable
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.evidence.daily_data import Finding, findings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, BudgetStatus, limits_of
from backfill_assets.store.quota.request_log import attempts_by_outcome

LOOKED_BACK = timedelta(hours=24)
REQUEST_CALLS = 5  # of an intraday request
FAULTS = ("ServerFault", "BrokenAnswer", "Unreachable")
HALF, NEARLY_ALL = 0.5, 0.9
FEW, FEW_SHARE = 3, 0.05
FEWEST_FOR_A_PATTERN = 10  # symbols, below which a common tail may be chance
ABOUT_GAPS = frozenset({"every_symbol_has_recent_bars", "no_missing_bars", "newest_bar_is_fresh"})
# What an error says, whole phrases of it: a setting's name alone occurs in all sorts of errors.
_ERRORS = (
    ("they do not mix", "settings: this database belongs to another vendor"),
    (TokenRefused.advice, "the vendor refuses the token, or none is set"),
    (PlanRefused.advice, "the token's plan does not include this"),
    (QuotaExhausted.advice, "quota: the day's calls are used up"),
    (Unreachable.advice, "vendor outage: it cannot be reached"),
    (ServerFault.advice, "vendor outage: its answers are faulty"),
    (DatabaseUnavailable.__name__, "the database cannot be used"),
    ("check DATABASE_URL", "the database cannot be used"),  # where the class is not told
    ("embedded PostgreSQL", "the database cannot be used"),
)


@dataclass(frozen=True, slots=True)
class Clues:
    """What is known when something fails.

    Attributes:
        coverage: the state of every slot looked at.
        attempts: how many requests of the past 24 h ended how: class name of the error, empty if well.
        budget: what is left, None without a token.
        findings: what a person should look at anyway.
    """

    coverage: Coverage
    attempts: Mapping[str, int]
    budget: BudgetStatus | None
    findings: tuple[Finding, ...]


def likely_cause(name: str, clues: Clues) -> str:
    """Why the check called ``name`` fails, in one phrase; empty if nothing is likely."""
    if name == "no_rate_limit_errors":
        return _of_refusals(clues)
    if name not in ABOUT_GAPS or not clues.coverage.missing.any():
        return ""
    return _of_asking(clues) or _of_sessions(clues) or _of_symbols(clues)


def cause_of_error(error: str) -> str:
    """Why a run failed, from what its error says; empty if nothing is likely."""
    return next((phrase for part, phrase in _ERRORS if part in error), "")


def _of_refusals(clues: Clues) -> str:
    foreign = clues.budget.foreign_requests if clues.budget else 0
    if foreign:
        return f"quota: somebody else uses the token, {foreign} requests a minute"
    return "quota: the vendor allows fewer requests a minute than EODHD_REQUESTS_PER_MINUTE says"


def _of_asking(clues: Clues) -> str:
    """What kept us from asking, or the vendor from answering."""
    attempts, budget = clues.attempts, clues.budget
    total, well = sum(attempts.values()), attempts.get("", 0)
    if (attempts.get("TokenRefused") or attempts.get("PlanRefused")) and not well:
        return "the vendor refuses the token; check EODHD_API_TOKEN and its plan"
    if budget is not None and budget.calls_left_today < REQUEST_CALLS:
        return f"quota: the day's calls are used up until {budget.resets_at:%Y-%m-%d %H:%M} UTC"
    if attempts.get("QuotaExhausted") and not well:
        return "quota: the vendor says that the day's calls are used up"
    if not total:
        return "nothing was asked in the past 24 h: is the sensor on?"
    faults = sum(attempts.get(error, 0) for error in FAULTS)
    return f"vendor outage: {faults:,} of {total:,} requests of the past 24 h failed" if faults > HALF * total else ""


def _of_sessions(clues: Clues) -> str:
    """What is wrong with a session for nearly everybody: the calendar, or the vendor."""
    coverage = clues.coverage
    drifted = {f.subject: f.detail for f in clues.findings if f.kind == "calendar drift"}
    missing, first = _missing_by_session(coverage)
    sizes = np.diff(coverage.grid.first_of)
    listed = _listed(coverage)
    for at in reversed(range(len(sizes))):  # the newest first
        lacking = missing[:, at] > 0
        day = coverage.grid.sessions[at].day
        if lacking.any() and str(day) in drifted:
            return f"calendar: {day}: {drifted[str(day)]}"
        whole = int((missing[:, at] == sizes[at]).sum())
        if whole >= 2 and whole >= HALF * listed[at]:
            return f"vendor outage: {day} has not come for {whole:,} of {listed[at]:,} symbols"
        tail = _common_tail(missing[:, at], first[:, at], int(coverage.grid.first_of[at + 1]), int(listed[at]))
        if tail >= 0:
            moment = datetime.fromtimestamp(int(coverage.grid.starts[tail]), UTC)
            return f"calendar: hardly anybody has a bar from {moment:%Y-%m-%d %H:%M} UTC on; was it an early close?"
    return ""


def _of_symbols(clues: Clues) -> str:
    coverage = clues.coverage
    worst = np.argsort(-coverage.missing, kind="stable")
    lacking = [str(coverage.symbols[row].ticker) for row in worst if coverage.missing[row]]
    if len(lacking) > max(FEW, FEW_SHARE * len(coverage.symbols)):
        return f"no single one: {len(lacking):,} of {len(coverage.symbols):,} symbols lack some bars"
    known = {f.subject: f.detail for f in clues.findings if f.kind == "ended or renamed"}
    told = [f"{ticker} ({known[ticker]})" if ticker in known else ticker for ticker in lacking]
    shown = ", ".join(told[:FEW]) + (", …" if len(told) > FEW else "")
    return f"one symbol: {shown}" if len(told) == 1 else f"{len(told)} symbols: {shown}"


def _missing_by_session(coverage: Coverage) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many slots each symbol misses of each session, and the first of them (a large number where none)."""
    shape = (len(coverage.symbols), len(coverage.grid.sessions))
    lost = coverage.classified.state == State.MISSING
    row, ordinal = coverage.slots.row[lost], coverage.slots.ordinal[lost]
    session = coverage.grid.session_of[ordinal]
    missing, first = np.zeros(shape, np.int64), np.full(shape, coverage.grid.size, np.int64)
    np.add.at(missing, (row, session), 1)
    np.minimum.at(first, (row, session), ordinal)
    return missing, first


def _listed(coverage: Coverage) -> NDArray[np.int64]:
    """How many symbols are listed in each session."""
    at = np.arange(len(coverage.grid.sessions))
    within: NDArray[np.bool_] = (coverage.facts.first_day[:, None] <= at) & (at <= coverage.facts.last_day[:, None])
    counts: NDArray[np.int64] = within.sum(axis=0, dtype=np.int64)
    return counts


def _common_tail(missing: NDArray[np.int64], first: NDArray[np.int64], end: int, listed: int) -> int:
    """The slot from which on nearly everybody misses the rest of a session, −1 if there is none."""
    tails = first[(missing > 0) & (missing == end - first)]
    if not len(tails):
        return -1
    starts, counts = np.unique(tails, return_counts=True)
    common = int(counts.argmax())
    return int(starts[common]) if counts[common] >= max(FEWEST_FOR_A_PATTERN, NEARLY_ALL * listed) else -1


def read_clues(database: Database, settings: Settings, coverage: Coverage) -> Clues:
    """What is known now; the request log is read on the real clock."""
    until = datetime.now(UTC)
    with database.transaction() as connection:
        attempts = attempts_by_outcome(connection, until - LOOKED_BACK, until)
        found = findings(connection)
    token = settings.token
    budget = Budget(database, token.get_secret_value(), limits_of(settings)).status(coverage.now) if token else None
    return Clues(coverage, attempts, budget, tuple(found))
