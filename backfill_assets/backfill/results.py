"""What a run reports: progress per ticker while it runs, and its result at the end."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from backfill_assets.backfill.cross_feed_result import CrossFeedResult
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import ABSENT_STATES, SlotState
from backfill_assets.market.vendor_errors import VendorError, WrongAddress
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.bars.mixed_feeds import MixedFeeds

MAX_REFUSAL_LINES = 5
OutcomeKind: TypeAlias = Literal["stored", "nothing new", "not published", "error"]


@dataclass(frozen=True, slots=True)
class TickerOutcome:
    """How the requests for one ticker ended; ``bars`` were inserted, updated, revised or replaced."""

    ticker: Ticker
    kind: OutcomeKind
    bars: int = 0
    error: VendorError | None = None

    def merge_with(self, earlier: "TickerOutcome | None") -> "TickerOutcome":
        """Combine with the outcome of earlier requests for the ticker: an error stays an error, bars add up."""
        if earlier is None or self.error is not None:
            return self
        if earlier.error is not None:
            return earlier
        if "stored" in (earlier.kind, self.kind):
            return replace(self, kind="stored", bars=earlier.bars + self.bars)
        return self

    def __str__(self) -> str:
        if self.kind == "stored":
            return f"stored {self.bars:,}"
        return f"error: {self.error}" if self.error else self.kind


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: ``done`` of ``tickers``, in batch number ``batch`` of ``batches``."""

    done: int
    tickers: int
    bars: int
    calls: int
    outcome: TickerOutcome
    batch: int = 1
    batches: int = 1


ProgressListener: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class SlotCounts:
    """Slots of a window over all tickers; ``missing`` is the sum of ``estimated_missing_bars``."""

    expected: int
    present: int
    missing: int
    pending: int
    gaps: int

    @classmethod
    def from_coverage(cls, coverage: Coverage) -> "SlotCounts":
        """Add up a coverage."""
        absent = sum(coverage.count_slots(state) for state in ABSENT_STATES)
        expected = int(coverage.expected.sum())
        return cls(
            expected=expected,
            present=expected - absent,
            missing=int(coverage.missing.sum()),
            pending=coverage.count_slots(SlotState.PENDING),
            gaps=int(coverage.slot_states.gap.sum()),
        )


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run: what the store contains now, and what became of every requested slot.

    Attributes:
        described: description of the window, for display.
        sessions: number of sessions; 0 means that nothing was due.
        before: the window before the run.
        after: the window re-read from the store after it.
        planned: slots that the requests were for.
        stored: planned slots that have a final bar now.
        absent: planned slots that have none, by reason.
        explained: planned slots that have none and need none, by reason; they are not in ``absent``.
        closed_without_bar: slots of the window that were missing before and have no bar, but are not missing any more;
            by reason.
        outcomes: one per requested ticker.
        requests: HTTP attempts.
        calls: their price in vendor calls.
        rate_limited: attempts that the vendor refused because of its request limit.
        seconds: duration of the run.
        written: what became of the bars received.
        rejected: rows that broke a rule.
        refusals: by words of the database, how many bars ``market_data`` refused.
        vendor_warnings: the vendor's remarks that the plan limits the data, each with the number of tickers.
        mixed_feeds: sessions of the window whose bars come from two feeds of the vendor.
        claimed_elsewhere: tickers left to another run that had claimed them.
        deferred: tickers with gaps that were requested too recently.
        skipped: tickers with gaps for which no request was sent, each with the reason.
        cross_feed: what the vendor's other feed settled.
        stopped: the error that ended the run early.
        not_requested: planned tickers that were not requested because of it.
        awaiting_publication: tickers not requested, because probes found that the vendor has not published yet.
        not_judged: tickers that the vendor does not serve; neither their absent bars nor its refusals count.
    """

    described: str
    sessions: int
    before: SlotCounts
    after: SlotCounts
    planned: int = 0
    stored: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    explained: dict[str, int] = field(default_factory=dict)
    closed_without_bar: dict[str, int] = field(default_factory=dict)
    outcomes: tuple[TickerOutcome, ...] = ()
    requests: int = 0
    calls: int = 0
    rate_limited: int = 0
    seconds: float = 0.0
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    mixed_feeds: MixedFeeds | None = None
    vendor_warnings: Mapping[str, int] = field(default_factory=dict)
    claimed_elsewhere: int = 0
    deferred: int = 0
    stopped: VendorError | None = None
    not_requested: int = 0
    awaiting_publication: int = 0
    not_judged: frozenset[Ticker] = frozenset()
    skipped: Mapping[Ticker, str] = field(default_factory=dict)
    cross_feed: CrossFeedResult = field(default_factory=CrossFeedResult)

    @property
    def closed_share(self) -> float:
        """Share of the missing bars that are not missing any more, with or without a bar; 1.0 if none were missing."""
        if not self.before.missing:
            return 1.0
        return (self.before.missing - self.after.missing) / self.before.missing

    @property
    def errors(self) -> tuple[TickerOutcome, ...]:
        """The tickers whose request failed."""
        return tuple(o for o in self.outcomes if o.error is not None)

    @property
    def exit_code(self) -> int:
        """Exit code of the process (docs/design.md, "Exit codes")."""
        if self.stopped is not None:
            return self.stopped.exit_code
        all_failed = self.outcomes and len(self.errors) == len(self.outcomes)
        if all_failed and not any(o.error and o.error.scope == "ticker" for o in self.errors):
            return max(o.error.exit_code for o in self.errors if o.error)
        is_refused = self.written.refused > 0
        is_incomplete = (
            is_refused
            or self.after.missing
            or any(o.error and o.error.scope == "ticker" and o.ticker not in self.not_judged for o in self.errors)
        )
        return 3 if is_incomplete else 0

    def describe_warnings(self) -> list[str]:
        """What users should know about the data received, one line each; usually empty."""
        lines = describe_data_warnings(self.vendor_warnings, self.refusals)
        if self.mixed_feeds:
            lines.append(str(self.mixed_feeds))
        if self.not_judged:
            count = format_count(len(self.not_judged), "symbol has", "symbols have")
            lines.append(f"{count} no intraday data: requested weekly, not judged")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON; what a user should know about the data only if there is something."""
        plain = {name: getattr(self, attribute) for name, attribute in _JSON_FIELDS.items()}
        return {
            **plain,
            "seconds": round(self.seconds, 3),
            "closed_share": round(self.closed_share, 6),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "written": asdict(self.written),
            "outcomes": {str(o.ticker): str(o) for o in self.outcomes},
            "skipped": {str(ticker): reason for ticker, reason in self.skipped.items()},
            "stopped": str(self.stopped) if self.stopped else None,
            **({"vendor_warnings": dict(self.vendor_warnings)} if self.vendor_warnings else {}),
            **({"refusals": dict(self.refusals)} if self.refusals else {}),
            **({"mixed_feeds": self.mixed_feeds.as_dict()} if self.mixed_feeds else {}),
            **({"cross_feed": self.cross_feed.as_dict()} if self.cross_feed else {}),
            **({"not_judged": sorted(map(str, self.not_judged))} if self.not_judged else {}),
        }


def list_told_errors(outcomes: Iterable[TickerOutcome], stopped: VendorError | None) -> list[TickerOutcome]:
    """The failed tickers that people are told about; none at a wrong address: its refusals are not about tickers."""
    return [] if isinstance(stopped, WrongAddress) else [outcome for outcome in outcomes if outcome.error is not None]


def describe_data_warnings(vendor_warnings: Mapping[str, int], refusals: Mapping[str, int]) -> list[str]:
    """Lines about limited and refused data; the parameters are those of ``RunResult``."""
    lines = [
        f"limited data for {format_count(count, 'ticker')}; the vendor says: {message}"
        for message, count in sorted(vendor_warnings.items())
    ]
    by_count = sorted(refusals.items(), key=lambda item: (-item[1], item[0]))
    lines += [
        f"{format_count(count, 'bar was', 'bars were')} refused by market_data: {words}"
        for words, count in by_count[:MAX_REFUSAL_LINES]
    ]
    if len(by_count) > MAX_REFUSAL_LINES:
        rest = sum(count for _, count in by_count[MAX_REFUSAL_LINES:])
        lines.append(f"{rest:,} more bars were refused for other reasons; status and backfill.rejects have them")
    return lines


_SAME_NAME = ("described", "sessions", "planned", "stored", "absent", "requests", "calls", "rate_limited", "rejected")
_JSON_FIELDS = {name: name for name in _SAME_NAME} | {
    "explained": "explained",
    "closed_without_bar": "closed_without_bar",
    "elsewhere": "claimed_elsewhere",
    "waiting": "deferred",
    "unasked": "not_requested",
    "unprobed": "awaiting_publication",
}
