"""The result of a review, which adds up the results of its runs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from backfill_assets.backfill.results import RunResult, TickerOutcome, describe_data_warnings
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.bars.bar_writer import WriteCounts


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What a review did.

    Attributes:
        sessions: number of sessions read again for each ticker.
        due: tickers that were due.
        affordable: how many of them the spare calls suffice for.
        outcomes: one per requested ticker.
        requests: HTTP attempts.
        calls: their price in vendor calls.
        seconds: duration.
        written: what became of the bars received; ``revised`` are the vendor's corrections.
        rejected: rows that broke a rule.
        refusals: by words of the database, how many bars ``market_data`` refused.
        vendor_warnings: the vendor's remarks that the plan limits the data, each with the number of tickers.
        stopped: the error that ended it early.
    """

    sessions: int
    due: int
    affordable: int
    outcomes: tuple[TickerOutcome, ...] = ()
    requests: int = 0
    calls: int = 0
    seconds: float = 0.0
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    vendor_warnings: Mapping[str, int] = field(default_factory=dict)
    stopped: VendorError | None = None

    @property
    def reviewed(self) -> int:
        """Number of tickers that were read again."""
        return sum(o.error is None for o in self.outcomes)

    @property
    def exit_code(self) -> int:
        """Exit code of the process: deferred symbols are not a failure; no response for any symbol is."""
        if self.stopped is not None:
            return self.stopped.exit_code
        errors = [o.error.exit_code for o in self.outcomes if o.error]
        return max(errors) if errors and not self.reviewed else 0

    def describe_warnings(self) -> list[str]:
        """What users should know about the data received, one line each; usually empty."""
        return describe_data_warnings(self.vendor_warnings, self.refusals)

    def add_run(self, run_result: RunResult) -> "ReviewResult":
        """This result with that of one more run."""
        return replace(
            self,
            outcomes=(*self.outcomes, *run_result.outcomes),
            requests=self.requests + run_result.requests,
            calls=self.calls + run_result.calls,
            seconds=self.seconds + run_result.seconds,
            written=self.written + run_result.written,
            rejected=self.rejected + run_result.rejected,
            refusals=Counter(self.refusals) + Counter(run_result.refusals),
            vendor_warnings=Counter(self.vendor_warnings) + Counter(run_result.vendor_warnings),
            stopped=run_result.stopped,
        )

    def as_dict(self) -> dict[str, Any]:
        """The review as JSON; what a user should know about the data only if there is something."""
        plain = ("sessions", "due", "affordable", "reviewed", "requests", "calls", "rejected")
        return {
            **{name: getattr(self, name) for name in plain},
            "seconds": round(self.seconds, 3),
            "written": asdict(self.written),
            "errors": {str(o.ticker): str(o.error) for o in self.outcomes if o.error},
            "stopped": str(self.stopped) if self.stopped else None,
            **({"vendor_warnings": dict(self.vendor_warnings)} if self.vendor_warnings else {}),
            **({"refusals": dict(self.refusals)} if self.refusals else {}),
        }
