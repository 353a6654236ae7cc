"""What came of fetching and storing requests, as one value that adds up.

The result of a whole run, as users see it, is in ``backfill.results``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from backfill_assets.backfill.plan_limits import PlanReach, merge_reaches
from backfill_assets.backfill.results import TickerOutcome
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.vendor_errors import TransientError, VendorError
from backfill_assets.store.bars.bar_writer import WriteCounts


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What came of a set of requests.

    Attributes:
        outcomes: by symbol_id, how the requests for that symbol ended.
        written: what became of the bars received.
        rejected: rows that broke a rule and were not known yet.
        refusals: by words of the database, how many bars ``market_data`` refused.
        vendor_warnings: the vendor's remarks that the plan limits the data, with the tickers concerned.
        reaches: by exchange, how far back requests reached that were answered with rows.
        published_sessions: (symbol_id, session of the plan's grid) seen published completely.
        off_calendar_days: days with trading outside the calendar's sessions, and how many tickers show it.
        stopped: the error that ended the requests early.
    """

    outcomes: Mapping[int, TickerOutcome] = field(default_factory=dict)
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    vendor_warnings: Mapping[str, frozenset[Ticker]] = field(default_factory=dict)
    reaches: Mapping[str, PlanReach] = field(default_factory=dict)
    published_sessions: frozenset[tuple[int, int]] = frozenset()
    off_calendar_days: Mapping[date, int] = field(default_factory=dict)
    stopped: VendorError | None = None

    @property
    def answered_ids(self) -> frozenset[int]:
        """The symbol_ids whose requests were answered with rows."""
        kinds = ("stored", "nothing new")
        return frozenset(symbol_id for symbol_id, outcome in self.outcomes.items() if outcome.kind in kinds)

    @property
    def repeatable_ids(self) -> frozenset[int]:
        """The symbol_ids whose requests failed for a reason that may pass."""
        return frozenset(
            symbol_id
            for symbol_id, outcome in self.outcomes.items()
            if isinstance(outcome.error, TransientError) and outcome.error.is_repeated
        )

    def add_later_pass(self, later: "FetchResult") -> "FetchResult":
        """This result with that of a second pass, whose outcomes replace those of the first."""
        return replace(merge_results([self, later]), outcomes={**self.outcomes, **later.outcomes})


def merge_results(results: Iterable[FetchResult]) -> FetchResult:
    """Add up results of one pass, in their order; the outcomes of one symbol's requests merge into one."""
    results = list(results)
    off_calendar_days: Counter[date] = Counter()
    refusals: Counter[str] = Counter()
    for result in results:
        refusals.update(result.refusals)
        off_calendar_days.update(result.off_calendar_days)
    return FetchResult(
        outcomes=merge_outcomes(pair for result in results for pair in result.outcomes.items()),
        written=sum((result.written for result in results), WriteCounts()),
        rejected=sum(result.rejected for result in results),
        refusals=refusals,
        vendor_warnings=merge_warnings(pair for result in results for pair in result.vendor_warnings.items()),
        reaches=merge_reaches(pair for result in results for pair in result.reaches.items()),
        published_sessions=frozenset().union(*(result.published_sessions for result in results)),
        off_calendar_days=off_calendar_days,
        stopped=next((result.stopped for result in results if result.stopped is not None), None),
    )


def merge_outcomes(pairs: Iterable[tuple[int, TickerOutcome]]) -> dict[int, TickerOutcome]:
    """By symbol_id, the outcome of all its requests; ``pairs`` in the order in which they ended."""
    outcomes: dict[int, TickerOutcome] = {}
    for symbol_id, outcome in pairs:
        outcomes[symbol_id] = outcome.merge_with(outcomes.get(symbol_id))
    return outcomes


def merge_warnings(pairs: Iterable[tuple[str, frozenset[Ticker]]]) -> dict[str, frozenset[Ticker]]:
    """By message, all tickers concerned."""
    warnings: dict[str, frozenset[Ticker]] = {}
    for message, tickers in pairs:
        warnings[message] = warnings.get(message, frozenset()) | tickers
    return warnings
