"""What a sandbox is like: its universe, clock, limits, publication, awkward traits and faults.

Values only; nothing here reads the environment or draws a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from backfill_assets.errors import UsageError

MAX_SYMBOLS = 10_000
KNOWN_SPLITS = {"NVDA": (date(2024, 6, 10), 10.0), "AAPL": (date(2020, 8, 31), 4.0)}


@dataclass(frozen=True)
class Publication:
    """When a session of a ticker appears in ``/intraday`` (EODHD.md §2, Publication).

    Attributes:
        session_hours: hours after the *regular* close, drawn once per session.
        ticker_minutes: plus up to this many minutes, drawn per ticker and session.
        per_ticker: draw ``session_hours`` per ticker and session instead.
        minute_hours: 1m appears this many hours after 5m (it waits for the evening's trading).
        sessions_late: symbol → published that many sessions late.
        withheld: (symbol, day) never published.
    """

    hours_after_close: tuple[float, float] = (2.5, 3.0)
    ticker_delay_minutes: float = 0.0
    draw_per_ticker: bool = False
    one_minute_delay_hours: float = 2.0
    sessions_late: Mapping[str, int] = field(default_factory=dict)
    never_published: frozenset[tuple[str, date]] = frozenset()


@dataclass(frozen=True)
class DataQuirks:
    """The awkward traits of EODHD.md. A number is a probability, named per what; 0 and False are off.

    Attributes:
        close_print: 5m ends in a flat null-volume row at the close.
        print_missing_weeks: per calendar week: no close print in the whole market.
        print_missing: per ticker and session: no close print.
        print_off_early: per early close: the print is about 0.11 % off the official close.
        post_prints: per ticker and session: another flat null-volume 5m row after the close.
        null_rows: per 5m row: all null. Nothing traded there, also in the truth.
        flat_rows: per 5m row: flat, volume null. Nothing traded there, also in the truth.
        halt_prints: per ticker and session: one or two null-volume rows off the grid.
        duplicates: per ticker and session: a stale copy of a row (same stamp and open, other
            values, less volume) stands before the whole one.
        cumulative_months: per ticker and month: its sessions have 6 to 12 5m rows whose volume is
            the session's so far.
        repaired_days: days after publication when those volumes are put right; None: never.
        unordered: per ticker and session: rows in no order.
        whole_as_int: whole prices are written as JSON integers.
        quiet_minutes: per regular minute: nobody traded, the 1m row is omitted, also in the truth.
        extended_gaps: 1m rows before the open and after the close have gaps.
        quote_rows: per minute without trade before the open: a 1m row with prices, volume null.
        trailing_row: per ticker and session: a flat null-volume 1m row at the very end.
        late_auction: per ticker and session: the auction stands in the 16:03 or 16:04 row of 1m.
        partial: per ticker and session: at first only part of the session is published.
        partial_hours: how long that lasts, hours.
        holes: per ticker, interval and half-year: two to six weeks that never appear.
        revisions: per ticker and session: a few rows change slightly ``revision_days`` later.
        revision_days: days between publication and revision.
        daily_late: per ticker: its end-of-day row comes three hours later than the others'.
        daily_revisions: per ticker and session: the first end-of-day volume is up to 6.5 % low
            until noon UTC of the next day.
        eod_nulls: per ``/eod`` row: open, high and low null.
        string_stamps: per ticker: live quotes give the time stamp as a string.
        live_gaps: per ticker: live quotes are all "NA" though it trades.
        live_unknown_404: a single unknown live ticker is a 404, not an all-"NA" object [U].
        upper_case_codes: the bulk file says ``Code`` instead of ``code``.
        details_as_lists: ``/exchange-details`` gives lists, not maps keyed "0", "1".
        to_inclusive: ``to`` is inclusive [U].
        free_intraday: a free token gets a year of ``/intraday`` with a warning row, not a 403.
    """

    close_print: bool = True
    close_print_missing_weeks: float = 0.0
    close_print_missing: float = 0.0
    close_print_off_at_early_close: float = 0.0
    post_close_prints: float = 0.0
    null_rows: float = 0.0
    flat_rows: float = 0.0
    halt_prints: float = 0.0
    duplicate_rows: float = 0.0
    cumulative_volume_months: float = 0.0
    repaired_after_days: float | None = 12.0
    unordered_rows: float = 0.0
    whole_prices_as_int: bool = False
    quiet_minutes: float = 0.0
    extended_hours_gaps: bool = False
    premarket_quote_rows: float = 0.0
    trailing_row: float = 0.0
    late_auction: float = 0.0
    partial_publication: float = 0.0
    partial_publication_hours: tuple[float, float] = (1.0, 6.0)
    vendor_gaps: float = 0.0
    revisions: float = 0.0
    revision_days: tuple[float, float] = (1.0, 9.0)
    late_daily_rows: float = 0.0
    daily_revisions: float = 0.0
    eod_null_prices: float = 0.0
    string_timestamps: float = 0.0
    missing_live_quotes: float = 0.0
    live_unknown_404: bool = False
    upper_case_codes: bool = False
    details_as_lists: bool = False
    to_inclusive: bool = True
    free_intraday: bool = False

    @staticmethod
    def build_clean() -> "DataQuirks":
        """The close print is there, every grid is full, and nothing else is odd."""
        return DataQuirks()

    @staticmethod
    def build_realistic() -> "DataQuirks":
        """Everything EODHD.md describes, about as often as people saw it."""
        return DataQuirks(
            close_print_missing_weeks=0.02,
            close_print_missing=0.01,
            close_print_off_at_early_close=0.43,
            post_close_prints=0.3,
            null_rows=0.0008,
            flat_rows=0.0003,
            halt_prints=0.004,
            duplicate_rows=0.001,
            cumulative_volume_months=0.02,
            whole_prices_as_int=True,
            quiet_minutes=0.0004,
            extended_hours_gaps=True,
            premarket_quote_rows=0.3,
            trailing_row=0.05,
            late_auction=0.1,
            partial_publication=0.01,
            vendor_gaps=0.01,
            revisions=0.02,
            late_daily_rows=0.05,
            daily_revisions=0.067,
            eod_null_prices=0.0003,
            string_timestamps=0.05,
            missing_live_quotes=0.01,
        )


@dataclass(frozen=True)
class Faults:
    """Probabilities per request of going wrong; the first that strikes is the one.

    Attributes:
        down: every request gets a 503.
        status_502: the proxy's error page.
        status_500: how overload shows (EODHD.md §1).
        status_429: refused although the window has room (seen with 40 in flight).
        timeout: answers only after ``timeout_seconds``, or never if the client hangs up first.
        cut_body: the connection ends in the middle of the body.
        html_200: a page of HTML with status 200.
        trickle: the body comes in pieces over ``trickle_seconds``.
        exchange_quotes: live quotes of the whole exchange (``ex=``) are a 500; drawn apart from the others.
        timeout_seconds: real seconds.
        trickle_seconds: real seconds.
    """

    down: bool = False
    status_502: float = 0.0
    status_500: float = 0.0
    status_429: float = 0.0
    timeout: float = 0.0
    cut_body: float = 0.0
    html_200: float = 0.0
    trickle: float = 0.0
    exchange_quotes: float = 0.0
    timeout_seconds: float = 120.0
    trickle_seconds: float = 5.0


@dataclass(frozen=True)
class SandboxConfig:
    """Everything about one sandbox; the defaults are a small, well-behaved vendor.

    Attributes:
        port: where to listen on 127.0.0.1; 0 is a free port.
        symbols: size of the universe, familiar US tickers first, then generated names.
        now: where the clock starts (aware); None: the real time.
        clock_rate: simulated seconds per real second; 0 stands still until moved.
        latency_ms: uniform, per request.
        per_minute: requests per sliding window.
        window_seconds: length of that window, *real* seconds.
        retry_after: whether a 429 says how long to wait [U].
        daily: calls per UTC day of the sandbox clock.
        extra_limit: purchased calls, spent silently once the day's are gone.
        spent_yesterday: what ``/user`` shows, dated yesterday, until the first billed call.
        tokens: accepted tokens; empty: any. ``demo`` always works, for its five symbols only.
        free_tokens: tokens of the free plan: 20 calls a day, end of day only.
        seed: everything drawn depends on it.
        publication: when ``/intraday`` gets a session.
        traits: what is awkward about the data.
        thin: symbols that trade seldom: all-null 5m rows, omitted 1m rows, idle sessions.
        listed: symbol → first trading day; others begin on ``history_from``.
        delisted: symbol → last trading day.
        renamed: old symbol → (new symbol, first day of the new name).
        splits: symbol → (first day after it, new shares per old one).
        spinoffs: symbol → (first day after it, divisor of earlier ``/eod`` prices).
        history_from: the first day of every ticker that ``listed`` does not name.
        replay: folder of recorded answers ``intraday_AAPL.US_5m_2026-06-01.json``: the only
            tickers there are, and all that ``/intraday`` knows.
        faults: what goes wrong at first; can be set at run time.
    """

    port: int = 0
    symbols: int = 30
    now: datetime | None = None
    clock_rate: float = 1.0
    latency_ms: tuple[float, float] = (0.0, 0.0)
    per_minute: int = 1200
    window_seconds: float = 60.0
    retry_after: bool = False
    daily: int = 100_000
    extra_limit: int = 0
    spent_yesterday: int = 0
    tokens: frozenset[str] = frozenset()
    free_tokens: frozenset[str] = frozenset()
    seed: int = 20260601
    publication: Publication = field(default_factory=Publication)
    quirks: DataQuirks = field(default_factory=DataQuirks.build_clean)
    thin: frozenset[str] = frozenset()
    listed: Mapping[str, date] = field(default_factory=dict)
    delisted: Mapping[str, date] = field(default_factory=dict)
    renamed: Mapping[str, tuple[str, date]] = field(default_factory=dict)
    splits: Mapping[str, tuple[date, float]] = field(default_factory=lambda: dict(KNOWN_SPLITS))
    spinoffs: Mapping[str, tuple[date, float]] = field(default_factory=dict)
    history_from: date = date(2018, 1, 2)
    replay: Path | None = None
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: names the field.
        """
        if not 0 < self.symbols <= MAX_SYMBOLS:
            raise UsageError(f"sandbox symbols must lie between 1 and {MAX_SYMBOLS}, not {self.symbols}")
        if self.now is not None and self.now.tzinfo is None:
            raise UsageError("sandbox now needs a time zone, for example 2026-06-03T12:00:00Z")
        if self.per_minute < 1 or self.window_seconds <= 0 or self.clock_rate < 0:
            raise UsageError("sandbox per_minute and window_seconds must be positive, clock_rate not negative")
        if self.replay is not None and not self.replay.is_dir():
            raise UsageError(f"sandbox replay folder {self.replay} does not exist")
