"""What a check is: its definition, and what it reads. The table of all checks is in ``checks``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.exchanges.learned import NOTHING_COMPARED, DailyComparison, DailyFigure
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.criteria import Criterion, Severity
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
        settings: of this process; the success criteria need none.
    """

    database: Database
    coverage: Coverage
    source_interval: Interval
    missing_tolerance: int = 0
    eod_tolerance_bps: float = DEFAULT_EOD_TOLERANCE_BPS
    style: MomentStyle = UTC_STYLE
    seen: DailyComparison = NOTHING_COMPARED
    with_unknown: bool = True
    settings: Settings | None = None

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
        is_reported: whether alerts tell of a failure; if not, it is only shown.
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
    is_reported: bool = True
    rests_on_daily_data: DailyFigure | None = None
