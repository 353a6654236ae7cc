"""What a run tells of itself: per ticker while it goes on, and as a whole at its end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from backfill_assets.eodhd.errors import VendorError
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import ABSENT_STATES, SlotState
from backfill_assets.store.bars.bar_writer import WriteCounts

OutcomeKind: TypeAlias = Literal["stored", "nothing new", "not published", "error"]


@dataclass(frozen=True, slots=True)
class TickerOutcome:
    """How asking for one ticker ended; ``bars`` were inserted, updated, revised or replaced."""

    ticker: Ticker
    kind: OutcomeKind
    bars: int = 0
    error: VendorError | None = None

    def merge_with(self, earlier: "TickerOutcome | None") -> "TickerOutcome":
        """The outcome of all requests for the ticker, this one being the newest: an error stays one, bars add up."""
        if earlier is None or self.error is not None:
            return self
        if earlier.error is not None:
            return earlier
        if "stored" in (earlier.kind, self.kind):
            return replace(self, kind="stored", bars=earlier.bars + self.bars)
        return self

    def __str__(self) -> str:
        if self.kind == "stored":
            return f"stored {self.bars}"
        return f"error: {self.error}" if self.error else self.kind


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; ``batch`` of ``batches`` when it goes in batches."""

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
    """The proof of a run: what the store holds now, and what became of everything asked for.

    Attributes:
        described: the window, for people.
        sessions: how many sessions it has; 0 means that nothing was due.
        before: the window before the run.
        after: the window re-read from the store after it.
        planned: slots that the requests were for.
        stored: of those, how many hold a final bar now.
        absent: of those, how many don't, by reason.
        outcomes: per ticker asked, the last of its outcomes.
        requests: attempts at the vendor.
        calls: what they cost.
        rate_limited: how many the vendor refused for the rate.
        seconds: how long the run took.
        written: what became of the bars received.
        rejected: rows that broke a rule.
        elsewhere: tickers left to another run that was asking for them.
        waiting: tickers with gaps that were asked too recently.
        stopped: what ended the run early.
        unasked: tickers that were planned and not asked because of it.
        unprobed: tickers not asked because probes show that the vendor has not published yet.
    """

    described: str
    sessions: int
    before: SlotCounts
    after: SlotCounts
    planned: int = 0
    stored: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    outcomes: tuple[TickerOutcome, ...] = ()
    requests: int = 0
    calls: int = 0
    rate_limited: int = 0
    seconds: float = 0.0
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    claimed_elsewhere: int = 0
    deferred: int = 0
    stopped: VendorError | None = None
    not_requested: int = 0
    awaiting_publication: int = 0

    @property
    def closed_share(self) -> float:
        """Part of the missing bars that is there now; 1.0 when none was missing."""
        if not self.before.missing:
            return 1.0
        return (self.before.missing - self.after.missing) / self.before.missing

    @property
    def errors(self) -> tuple[TickerOutcome, ...]:
        """The tickers whose request failed."""
        return tuple(o for o in self.outcomes if o.error is not None)

    @property
    def exit_code(self) -> int:
        """What the process should end with (DESIGN.md, "Exit codes")."""
        if self.stopped is not None:
            return self.stopped.exit_code
        all_failed = self.outcomes and len(self.errors) == len(self.outcomes)
        if all_failed and not any(o.error and o.error.scope == "ticker" for o in self.errors):
            return max(o.error.exit_code for o in self.errors if o.error)
        is_incomplete = self.after.missing or any(o.error and o.error.scope == "ticker" for o in self.errors)
        return 3 if is_incomplete else 0

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON shows it."""
        plain = {name: getattr(self, attribute) for name, attribute in _JSON_FIELDS.items()}
        return {
            **plain,
            "seconds": round(self.seconds, 3),
            "closed_share": round(self.closed_share, 6),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "written": asdict(self.written),
            "outcomes": {str(o.ticker): str(o) for o in self.outcomes},
            "stopped": str(self.stopped) if self.stopped else None,
        }


_SAME_NAME = ("described", "sessions", "planned", "stored", "absent", "requests", "calls", "rate_limited", "rejected")
_JSON_FIELDS = {name: name for name in _SAME_NAME} | {
    "elsewhere": "claimed_elsewhere",
    "waiting": "deferred",
    "unasked": "not_requested",
    "unprobed": "awaiting_publication",
}
