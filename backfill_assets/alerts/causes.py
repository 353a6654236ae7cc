"""The likely cause of a failure, in one phrase: a pure function of the diagnostics.

The phrases are for people; no code depends on them. ``read_diagnostics`` reads what they are derived from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.eodhd.pricing import CALL_PRICES
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle, choose_moment_style
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.labels import format_exchange_day
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.plausibility.rules import RULE_TEXTS, Rule
from backfill_assets.market.vendor_errors import (
    PlanRefused,
    ProxyRefused,
    QuotaExhausted,
    ServerFault,
    SpendingPaused,
    TokenRefused,
    Unreachable,
    WrongAddress,
)
from backfill_assets.quality.checks import find_check
from backfill_assets.quality.plausibility import count_open_doubts
from backfill_assets.store.evidence.findings import (
    BARS_REFUSED,
    CALENDAR_DRIFT,
    ENDED_OR_RENAMED,
    NO_INTRADAY_DATA,
    SPLIT_WITHOUT_STEP,
    TICKER_KINDS,
    TOO_MANY_UNSERVED,
    Finding,
    list_findings,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, BudgetStatus, build_limits
from backfill_assets.store.quota.request_log import count_requests_by_error
from backfill_assets.store.quota.spending_pause import SpendingPause, read_pause

LOOKBACK = timedelta(hours=24)
OUTAGE_ERRORS = ("ServerFault", "BrokenAnswer", "UnreadableRows", "Unreachable")
MAJORITY_SHARE, NEARLY_ALL_SHARE = 0.5, 0.9
MAX_NAMED_SYMBOLS, MAX_NAMED_SHARE = 3, 0.05
MIN_PATTERN_SYMBOLS = 10  # with fewer symbols, that they all stop at one slot may be chance
# Whole phrases of error messages: the name of a setting alone occurs in errors of every kind.
_CAUSE_BY_ERROR_TEXT = (
    ("one database holds the bars of one host", "settings: this database belongs to another vendor"),
    (TokenRefused.advice, "the vendor rejects the token, or no token is set"),
    (PlanRefused.advice, "the token's plan does not include this"),
    (SpendingPaused.advice, "a person paused spending; to go on: backfill-assets resume"),
    (QuotaExhausted.advice, "quota: the day's calls are used up"),
    (WrongAddress.advice, "settings: what answers at EODHD_BASE_URL is not the vendor"),
    (ProxyRefused.advice, "network: a proxy refuses the requests"),
    (Unreachable.advice, "vendor outage: the vendor cannot be reached"),
    (ServerFault.advice, "vendor outage: the vendor returns errors"),
    (DatabaseUnavailable.__name__, "the database cannot be used"),
    ("check DATABASE_URL", "the database cannot be used"),  # for errors that do not name the class
    ("embedded PostgreSQL", "the database cannot be used"),
    # Phrases of version 0.1.0, for runs that failed just before the upgrade.
    ("they do not mix", "settings: this database belongs to another vendor"),
    ("the vendor counts anew from midnight UTC", "quota: the day's calls are used up"),
)


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What the likely cause of a failure is derived from.

    Attributes:
        coverage: the state of every slot in the window.
        attempts: requests of the past 24 h by outcome: class name of the error, or empty for success.
        budget: calls and requests left; None without a token.
        findings: open findings, such as calendar drift and renamed tickers.
        pause: the pause of all spending, if there is one.
        doubts: how many open doubts of the window each rule has.
        style: how moments of the coverage's exchange are shown.
    """

    coverage: Coverage
    attempts: Mapping[str, int]
    budget: BudgetStatus | None
    findings: tuple[Finding, ...]
    pause: SpendingPause | None = None
    doubts: Mapping[str, int] = field(default_factory=dict)
    style: MomentStyle = UTC_STYLE

    @property
    def exchange(self) -> str:
        """The exchange by the vendor's code; empty while the US is the only one."""
        return self.style.market.exchange if self.style.market else ""

    def select_own_findings(self) -> list[Finding]:
        """The findings without those about tickers of other exchanges."""
        exchanges = {f".{symbol.ticker.exchange}" for symbol in self.coverage.symbols}
        return [
            f for f in self.findings if f.kind not in TICKER_KINDS or f.subject[f.subject.rfind(".") :] in exchanges
        ]


def find_likely_cause(name: str, diagnostics: Diagnostics) -> str:
    """Why the check ``name`` fails, in one phrase; empty if no cause is likely."""
    check = find_check(name)
    if check is not None and check.needs_live and diagnostics.pause is not None:
        return str(diagnostics.pause)
    if check is None or check.cause_kind is None:
        return ""
    if check.cause_kind == "rate limit":
        return _explain_rate_limits(diagnostics)
    if check.cause_kind == "doubts":
        return _explain_doubts(diagnostics.doubts)
    if check.cause_kind == "actions":
        return _explain_actions(diagnostics.select_own_findings())
    if not diagnostics.coverage.missing.any():
        return ""
    return (
        _explain_refusals(diagnostics)
        or _explain_requests(diagnostics)
        or _explain_sessions(diagnostics)
        or _explain_symbols(diagnostics)
    )


def find_error_cause(error: str) -> str:
    """Why a run failed, from the text of its error; empty if no cause is likely."""
    return next((phrase for part, phrase in _CAUSE_BY_ERROR_TEXT if part in error), "")


def _explain_rate_limits(diagnostics: Diagnostics) -> str:
    foreign_requests = diagnostics.budget.external_requests if diagnostics.budget else 0
    if foreign_requests:
        return f"quota: another client uses the token, {foreign_requests} requests a minute"
    return "quota: the vendor allows fewer requests a minute than EODHD_REQUESTS_PER_MINUTE sets"


def _explain_doubts(doubts: Mapping[str, int]) -> str:
    """The rule that most open doubts are of, in words; empty without any."""
    if not doubts:
        return ""
    rule, count = max(doubts.items(), key=lambda item: (item[1], item[0]))
    return f"{RULE_TEXTS[Rule(rule)]} ({rule}, {count:,} of {format_count(sum(doubts.values()), 'open doubt')})"


def _explain_actions(findings: Sequence[Finding]) -> str:
    """Which symbols have a split that the prices do not show; else that the vendor's closes are of other actions."""
    tickers = sorted(finding.subject for finding in findings if finding.kind == SPLIT_WITHOUT_STEP)
    if not tickers:
        return "the vendor adjusts its closes for other actions than those that are known"
    shown = ", ".join(tickers[:MAX_NAMED_SYMBOLS]) + (", …" if len(tickers) > MAX_NAMED_SYMBOLS else "")
    return f"the vendor lists a split that the prices do not show: {shown}"


def _explain_refusals(diagnostics: Diagnostics) -> str:
    """That the table refuses at least half of the missing bars."""
    refused, missing = len(diagnostics.coverage.absence_evidence.refused), int(diagnostics.coverage.missing.sum())
    if 2 * refused < missing:
        return ""
    return next((f"the table: {f.subject}: {f.detail}" for f in diagnostics.findings if f.kind == BARS_REFUSED), "")


def _explain_requests(diagnostics: Diagnostics) -> str:
    """What prevents requests, or successful answers; empty if nothing does."""
    if diagnostics.pause is not None:
        return str(diagnostics.pause)
    attempts, budget = diagnostics.attempts, diagnostics.budget
    total, succeeded = sum(attempts.values()), attempts.get("", 0)
    if (attempts.get("TokenRefused") or attempts.get("PlanRefused")) and not succeeded:
        return "the vendor rejects the token; check EODHD_API_TOKEN and its plan"
    if budget is not None and budget.calls_left_today < CALL_PRICES.intraday:
        return f"quota: the day's calls are used up until {budget.resets_at:%Y-%m-%d %H:%M} UTC"
    if attempts.get("QuotaExhausted") and not succeeded:
        return "quota: the vendor reports that the day's calls are used up"
    if not total:
        return "no requests in the past 24 h: is the sensor running?"
    faults = sum(attempts.get(error, 0) for error in OUTAGE_ERRORS)
    return (
        f"vendor outage: {faults:,} of {total:,} requests of the past 24 h failed"
        if faults > MAJORITY_SHARE * total
        else ""
    )


def _explain_sessions(diagnostics: Diagnostics) -> str:
    """A session that nearly all symbols lack: a wrong calendar, or a vendor outage; empty if there is none."""
    coverage = diagnostics.coverage
    drift_by_day = {f.subject: f.detail for f in diagnostics.findings if f.kind == CALENDAR_DRIFT}
    missing, first = _count_missing_by_session(coverage)
    sizes = coverage.grid.session_sizes
    listed = coverage.absence_evidence.is_listed.sum(axis=0)
    for session in reversed(range(len(sizes))):  # newest first
        has_gaps = missing[:, session] > 0
        day = coverage.grid.sessions[session].day
        subject = format_exchange_day(coverage.grid.sessions[session].exchange, day)
        if has_gaps.any() and subject in drift_by_day:
            return f"calendar: {day}: {drift_by_day[subject]}"
        fully_missing = int((missing[:, session] == sizes[session]).sum())
        if fully_missing >= 2 and fully_missing >= MAJORITY_SHARE * listed[session]:
            symbols = format_count(int(listed[session]), "symbol")
            return f"vendor outage: no data of {day} for {fully_missing:,} of {symbols}"
        tail = _find_common_tail(
            missing[:, session],
            first[:, session],
            int(coverage.grid.session_offsets[session + 1]),
            int(listed[session]),
        )
        if tail >= 0:
            moment = diagnostics.style.format_minute(to_datetime(int(coverage.grid.starts[tail])))
            return f"calendar: nearly all symbols have no bar from {moment} on; was it an early close?"
    return ""


def _explain_symbols(diagnostics: Diagnostics) -> str:
    coverage = diagnostics.coverage
    exchanges = {symbol.ticker.exchange for symbol in coverage.symbols}
    if too_many := [f.detail for f in diagnostics.findings if f.kind == TOO_MANY_UNSERVED and f.subject in exchanges]:
        return f"symbols: {too_many[0]}"
    worst = np.argsort(-coverage.missing, kind="stable")
    with_gaps = [str(coverage.symbols[row].ticker) for row in worst if coverage.missing[row]]
    if len(with_gaps) > max(MAX_NAMED_SYMBOLS, MAX_NAMED_SHARE * len(coverage.symbols)):
        return f"no single cause: {len(with_gaps):,} of {len(coverage.symbols):,} symbols have missing bars"
    explained_kinds = (ENDED_OR_RENAMED, NO_INTRADAY_DATA)
    ended = {f.subject: f.detail for f in diagnostics.findings if f.kind in explained_kinds}
    labels = [f"{ticker} ({ended[ticker]})" if ticker in ended else ticker for ticker in with_gaps]
    shown = ", ".join(labels[:MAX_NAMED_SYMBOLS]) + (", …" if len(labels) > MAX_NAMED_SYMBOLS else "")
    return f"one symbol: {shown}" if len(labels) == 1 else f"{len(labels)} symbols: {shown}"


def _count_missing_by_session(coverage: Coverage) -> tuple[Int64, Int64]:
    """Missing slots by symbol and session, and the ordinal of the first (``grid.size`` where none is missing)."""
    is_missing = coverage.has_state(SlotState.MISSING)
    missing = coverage.count_by_session(is_missing)
    first = np.full(missing.shape, coverage.grid.size, np.int64)
    row, ordinal = coverage.open_slots.row[is_missing], coverage.open_slots.ordinal[is_missing]
    np.minimum.at(first, (row, coverage.grid.session_index[ordinal]), ordinal)
    return missing, first


def _find_common_tail(missing: Int64, first: Int64, end: int, listed: int) -> int:
    """The ordinal from which on nearly all listed symbols miss the rest of the session; −1 if there is none."""
    tails = first[(missing > 0) & (missing == end - first)]
    if not len(tails):
        return -1
    starts, counts = np.unique(tails, return_counts=True)
    common = int(counts.argmax())
    return int(starts[common]) if counts[common] >= max(MIN_PATTERN_SYMBOLS, NEARLY_ALL_SHARE * listed) else -1


def read_diagnostics(database: Database, settings: Settings, coverage: Coverage) -> Diagnostics:
    """Read the diagnostics as of now; the request log by the real clock."""
    until = datetime.now(UTC)
    with database.transaction() as connection:
        attempts = count_requests_by_error(connection, until - LOOKBACK, until)
        open_findings = list_findings(connection)
        pause = read_pause(connection)
        doubts = count_open_doubts(connection, coverage)
    token = settings.token
    budget = (
        Budget(database, token.get_secret_value(), build_limits(settings)).read_status(coverage.now) if token else None
    )
    sessions = coverage.grid.sessions
    style = choose_moment_style(sessions[0].market, settings.exchanges) if sessions else UTC_STYLE
    return Diagnostics(coverage, attempts, budget, tuple(open_findings), pause, doubts, style)
