"""The report of a window of one exchange, before it is shown. A terminal's form of it is in ``report_rendering``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backfill_assets.backfill.engine import BackfillJob
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.action_entries import ActionEntry
from backfill_assets.quality.exchange_reports import ExchangeReport
from backfill_assets.quality.live_accuracy import LiveAccuracy
from backfill_assets.quality.report import SymbolReport
from backfill_assets.store.price_units import SymbolUnit


@dataclass(frozen=True, eq=False)
class WindowReport:
    """What is shown of one exchange's window.

    Attributes:
        job: its symbols and sessions.
        coverage: the state of every slot.
        rows: one for each symbol.
        actions: corporate actions of the window.
        style: how its moments are shown.
        live: how accurate its live bars were, for the table.
        live_by_symbol: the same by symbol, for JSON.
        units: by symbol, of those whose prices count something else than most of the exchange.
        notice: that the exchange is experimental, in one line; empty for a verified one.
    """

    job: BackfillJob
    coverage: Coverage
    rows: list[SymbolReport]
    actions: list[ActionEntry]
    style: MomentStyle
    live: LiveAccuracy | None = None
    live_by_symbol: Mapping[str, LiveAccuracy] = field(default_factory=dict)
    units: Mapping[str, SymbolUnit] = field(default_factory=dict)
    notice: str = ""

    @property
    def is_us_alone(self) -> bool:
        """Whether there is no other exchange to tell it from."""
        return self.style is UTC_STYLE

    def build_exchange_report(self) -> ExchangeReport:
        """The same for the formats of ``quality.exchange_reports``."""
        return ExchangeReport(self.job.market, self.rows, self.units, self.notice, self.live_by_symbol, self.actions)
