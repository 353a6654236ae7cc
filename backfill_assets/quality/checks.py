"""The table of checks: what each is called, how bad a failure is, what computes it and where to look next.

Everything that handles checks reads this table: the asset checks in Dagster, ``verify`` on the command line, the HTML
report and the alerts. To add a check, write a function that returns a ``Criterion`` (in ``criteria`` or
``bar_validity``, ``plausibility`` or ``corporate_actions``) and add one entry to ``CHECKS``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle, choose_moment_style
from backfill_assets.market.exchanges.learned import NOTHING_COMPARED, DailyComparison, DailyFigure
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.bar_validity import evaluate_bars, evaluate_closes
from backfill_assets.quality.calendar_check import CALENDAR_IS_KNOWN, evaluate_calendar
from backfill_assets.quality.corporate_actions import SPLITS_ARE_CONSISTENT, evaluate_corporate_actions
from backfill_assets.quality.criteria import (
    Criterion,
    Severity,
    check_every_symbol_has_recent_bars,
    check_newest_bar_is_fresh,
    check_no_missing_bars,
    evaluate_live,
    evaluate_rate_limits,
)
from backfill_assets.quality.experimental import explain_learning, read_comparison
from backfill_assets.quality.plausibility import BARS_ARE_PLAUSIBLE, evaluate_plausibility
from backfill_assets.store.postgres.connection import Database

DEFAULT_EOD_TOLERANCE_BPS = 15.0
REPORT_COMMAND, STATUS_COMMAND = "backfill-assets report", "backfill-assets status"
HTML_REPORT_COMMAND = f"{REPORT_COMMAND} --format html --output report.html"

CauseKind: TypeAlias = Literal["gaps", "rate limit", "doubts", "actions"]


@dataclass(frozen=True, slots=True, eq=False)
class CheckInput:
    """What the checks read.

    Attributes:
        database: the store.
        coverage: the state of every slot in the window.
        source_interval: the vendor's interval that the window's bars are built from.
        missing_tolerance: missing bars that each symbol may have.
        eod_tolerance_bps: by how many basis points an official close may differ from the daily close.
        style: how moments are shown.
        seen: how the daily data of an experimental exchange compare with its bars.
        with_unknown: whether bars without a symbol are checked, which one of several exchanges does.
    """

    database: Database
    coverage: Coverage
    source_interval: Interval
    missing_tolerance: int = 0
    eod_tolerance_bps: float = DEFAULT_EOD_TOLERANCE_BPS
    style: MomentStyle = UTC_STYLE
    seen: DailyComparison = NOTHING_COMPARED
    with_unknown: bool = True

    @property
    def market(self) -> MarketProfile | None:
        """The exchange of the window; None for one without sessions."""
        sessions = self.coverage.grid.sessions
        return sessions[0].market if sessions else None


@dataclass(frozen=True, slots=True, eq=False)
class CheckDefinition:
    """One check.

    Attributes:
        name: the check's name in Dagster, in ``verify``, in reports and in alerts.
        description: what must hold, for Dagster's UI.
        evaluate: computes the result.
        severity: of a failure.
        command: shows more about a failure.
        cause_kind: which likely causes an alert looks for: those of gaps, of rate limits, of doubts or of corporate
            actions, or (None) none.
        is_criterion: whether it is one of the success criteria: the window is complete and on time.
        needs_live: whether it applies only where live samples make bars of the window's interval.
        covers_retained_sessions: whether a failure lasts until no bar is missing in any retained session, not only
            in the window.
        judges_symbols: whether it judges symbols, so that it says how many it did not judge.
        is_of_exchange: whether it is about one exchange; if not, its result is the same for all.
        needs_foreign_exchange: whether it applies only outside the US.
        can_fail: whether an exchange has what is compared; where it has not, the check would pass for ever.
        rests_on_daily_data: what of the vendor's daily data it judges by; it judges nothing while that is learned.
    """

    name: str
    description: str
    evaluate: Callable[[CheckInput], Criterion]
    severity: Severity = "error"
    command: str = HTML_REPORT_COMMAND
    cause_kind: CauseKind | None = None
    is_criterion: bool = False
    needs_live: bool = False
    covers_retained_sessions: bool = False
    judges_symbols: bool = True
    is_of_exchange: bool = True
    needs_foreign_exchange: bool = False
    can_fail: Callable[[MarketProfile], bool] = lambda _: True
    rests_on_daily_data: DailyFigure | None = None


CHECKS = (
    CheckDefinition(
        name="every_symbol_has_recent_bars",
        description="Every active symbol has a bar within the past 48 hours (whole sessions).",
        evaluate=lambda given: check_every_symbol_has_recent_bars(given.coverage),
        command=REPORT_COMMAND,
        cause_kind="gaps",
        is_criterion=True,
    ),
    CheckDefinition(
        name="no_missing_bars",
        description="estimated_missing_bars of every symbol is at most BACKFILL_MISSING_TOLERANCE (default 0).",
        evaluate=lambda given: check_no_missing_bars(given.coverage, tolerance=given.missing_tolerance),
        command=REPORT_COMMAND,
        cause_kind="gaps",
        is_criterion=True,
        covers_retained_sessions=True,
    ),
    CheckDefinition(
        name="newest_bar_is_fresh",
        description="Every symbol has bars up to its newest overdue slot (market time, not clock time).",
        evaluate=lambda given: check_newest_bar_is_fresh(given.coverage, given.style),
        command=REPORT_COMMAND,
        cause_kind="gaps",
        is_criterion=True,
    ),
    CheckDefinition(
        name="no_rate_limit_errors",
        description="The vendor rejected no request of the past 24 hours for its rate limit.",
        evaluate=lambda given: evaluate_rate_limits(given.database),
        command=STATUS_COMMAND,
        cause_kind="rate limit",
        is_criterion=True,
        judges_symbols=False,
        is_of_exchange=False,
    ),
    CheckDefinition(
        name="live_keeps_up",
        description="Every slot that ended more than 30 minutes ago has a provisional or final bar.",
        evaluate=lambda given: evaluate_live(given.database, given.coverage),
        is_criterion=True,
        needs_live=True,
    ),
    CheckDefinition(
        name="bars_are_valid",
        description="Every stored bar is valid: OHLC order, prices above 0, on the grid, known symbol, no duplicate.",
        evaluate=lambda given: evaluate_bars(
            given.database, given.coverage, given.style, with_unknown=given.with_unknown
        ),
    ),
    CheckDefinition(
        name=BARS_ARE_PLAUSIBLE,
        description="No doubt about a bar has been open for more than a day.",
        evaluate=lambda given: evaluate_plausibility(given.database, given.coverage, given.style),
        cause_kind="doubts",
    ),
    CheckDefinition(
        name="sessions_agree_with_eod",
        description="Each session's official close agrees with the vendor's daily data.",
        evaluate=lambda given: evaluate_closes(
            given.database, given.coverage, given.source_interval, tolerance_bps=given.eod_tolerance_bps
        ),
        severity="warning",  # the vendor's two series differ for reasons of its own (docs/vendor.md §2.6, §5.4)
        can_fail=lambda market: market.has_closing_rows and market.daily_covers_session,
        rests_on_daily_data=DailyFigure.PRICES,
    ),
    CheckDefinition(
        name=SPLITS_ARE_CONSISTENT,
        description="Each split shows in the prices, and adjusted closes are the vendor's, or it is known why not.",
        evaluate=lambda given: evaluate_corporate_actions(given.database, given.coverage),
        severity="warning",  # raw bars are not wrong by it, and only the vendor can correct what it lists
        cause_kind="actions",
        can_fail=lambda market: market.has_actions,
        rests_on_daily_data=DailyFigure.PRICES,
    ),
    CheckDefinition(
        name=CALENDAR_IS_KNOWN,
        description="The exchange's calendar is known for the next 60 days, and agrees with the stored sessions.",
        evaluate=lambda given: evaluate_calendar(given.database, given.coverage),
        severity="warning",  # nothing is wrong before the day on which it ends
        command=STATUS_COMMAND,
        judges_symbols=False,
        needs_foreign_exchange=True,  # the calendar of the US has no end
    ),
)
_CHECK_BY_NAME = {check.name: check for check in CHECKS}


def find_check(name: str) -> CheckDefinition | None:
    """The check of this name; None for any other name, such as that of a job."""
    return _CHECK_BY_NAME.get(name)


def select_checks(*, live: bool, criteria_only: bool = False, market: MarketProfile = US) -> list[CheckDefinition]:
    """The checks that apply.

    Args:
        live: whether live samples make bars of the interval.
        criteria_only: only the success criteria.
        market: the exchange whose bars are checked.
    """
    return [
        check
        for check in CHECKS
        if (live or not check.needs_live)
        and (check.is_criterion or not criteria_only)
        and (market.exchange != US.exchange or not check.needs_foreign_exchange)
        and check.can_fail(market)
    ]


def get_command(name: str, interval: str = DEFAULT_INTERVAL, exchange: str = "") -> str:
    """The command that shows more about the check ``name`` of an interval's bars; of an exchange that is named."""
    check = find_check(name)
    command = check.command if check else HTML_REPORT_COMMAND
    if command == STATUS_COMMAND:
        return command
    of_exchange = f"{command} --exchange {exchange}" if exchange else command
    return of_exchange if interval == DEFAULT_INTERVAL else f"{of_exchange} --interval {interval}"


def get_severity(criterion: Criterion) -> Severity:
    """How bad a failure of this check is."""
    check = find_check(criterion.name)
    return check.severity if check else "error"


def format_result(criterion: Criterion) -> str:
    """The result in words, without the offenders; what passes is part of it if there was anything to compare."""
    return f"{criterion.meaning} (at most {criterion.threshold:g})" if criterion.judged else criterion.meaning


def is_failure(criterion: Criterion) -> bool:
    """Whether the check failed and its severity is error; failed checks of severity warning are only shown."""
    return not criterion.passed and get_severity(criterion) == "error"


def describe_criterion(criterion: Criterion) -> dict[str, Any]:
    """The result as a JSON object, with the check's severity."""
    return {**criterion.as_dict(), "severity": get_severity(criterion)}


def evaluate_checks(checks: Iterable[CheckDefinition], given: CheckInput) -> list[Criterion]:
    """The result of each check, in the order of ``checks``; those of symbols say how many were not judged."""
    not_judged = len(given.coverage.unserved_symbols)
    return [_evaluate(check, given).add_not_judged(not_judged if check.judges_symbols else 0) for check in checks]


def _evaluate(check: CheckDefinition, given: CheckInput) -> Criterion:
    market, figure = given.market, check.rests_on_daily_data
    reason = explain_learning(market, given.seen, figure) if market and figure else ""
    if market and reason:
        return Criterion.create_not_judged(check.name, f"{market.exchange} is experimental: {reason}")
    return check.evaluate(given)


def evaluate_all(database: Database, settings: Settings, coverage: Coverage, source: Interval) -> list[Criterion]:
    """All checks of a window on what the store holds now; ``source`` is what its bars are built from."""
    market = coverage.grid.sessions[0].market if coverage.grid.sessions else US
    given = CheckInput(
        database,
        coverage,
        source,
        missing_tolerance=settings.missing_tolerance,
        eod_tolerance_bps=settings.eod_tolerance_bps,
        style=choose_moment_style(market, settings.exchanges),
        seen=read_comparison(database, market),
        with_unknown=market.exchange == settings.exchanges[0],
    )
    live = market.has_live_quotes and coverage.grid.interval in settings.list_live_intervals()
    return evaluate_checks(select_checks(live=live, market=market), given)


def evaluate_window(
    database: Database, coverage: Coverage, *, tolerance: int = 0, live: bool = False
) -> list[Criterion]:
    """The success criteria alone, of a window on what the store holds now.

    Args:
        database: the store.
        coverage: the state of every slot in the window.
        tolerance: missing bars that each symbol may have.
        live: whether live samples make bars of the window's interval; adds ``live_keeps_up``.
    """
    given = CheckInput(database, coverage, coverage.grid.interval, missing_tolerance=tolerance)
    return evaluate_checks(select_checks(live=live, criteria_only=True), given)
