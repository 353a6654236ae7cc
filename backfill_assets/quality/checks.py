"""The table of checks: what each is called, how bad a failure is, what computes it and where to look next.

Everything that handles checks reads this table: the asset checks in Dagster, ``verify`` on the command line, the HTML
report and the alerts. To add a check, write a function that returns a ``Criterion`` (in ``criteria`` or
``bar_validity``, ``plausibility`` or ``corporate_actions``) and add one entry to ``CHECKS``.
"""

from collections.abc import Iterable
from typing import Any

from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval
from backfill_assets.market.calendar.moment_style import choose_moment_style
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.bar_validity import evaluate_bars, evaluate_closes
from backfill_assets.quality.calendar_check import CALENDAR_IS_KNOWN, evaluate_calendar
from backfill_assets.quality.census.history_check import HISTORY_IS_COMPLETE, evaluate_history
from backfill_assets.quality.check_definitions import (
    HTML_REPORT_COMMAND,
    REPORT_COMMAND,
    STATUS_COMMAND,
    CheckDefinition,
    CheckInput,
)
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
    CheckDefinition(
        name=HISTORY_IS_COMPLETE,
        description="Every bar since BACKFILL_HISTORY_FROM is there, or it is explained why not (the census says so).",
        evaluate=lambda given: evaluate_history(given.database, given.settings or load_settings(), given.coverage),
        severity="warning",  # it is filled with calls that are left over, which takes days or months
        command=f"{REPORT_COMMAND} --all",
        judges_symbols=False,
        is_reported=False,  # what newer sessions lack is reported, and nothing is wrong with what is still to come
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
        settings=settings,
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
