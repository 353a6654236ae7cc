"""Configuration of a sandbox: universe, clock, limits, publication times, faults, and other exchanges beside the US.

Values only. Reading the environment and drawing random numbers happen elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.profile import NO_OVERRIDES, CalendarOverrides
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, get_profile
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.actions import Action, ActionRates
from backfill_assets.sandbox.around_the_clock import Withheld
from backfill_assets.sandbox.exchange_feed import US_FEED, ExchangeFeed
from backfill_assets.sandbox.quirks import DataQuirks
from backfill_assets.sandbox.recycled import Recycled

__all__ = ["DataQuirks", "ExchangeConfig", "Faults", "Publication", "SandboxConfig"]

LOCAL_HOST = "127.0.0.1"
MAX_SYMBOLS = 10_000
KNOWN_SPLITS = {"NVDA": (date(2024, 6, 10), 10.0), "AAPL": (date(2020, 8, 31), 4.0)}


@dataclass(frozen=True)
class Publication:
    """When a session of a ticker appears in ``/intraday`` (docs/vendor.md §2.16).

    Attributes:
        hours_after_close: bounds of the hours after the *regular* close, drawn once per session.
        ticker_delay_minutes: at most this many minutes more, drawn per ticker and session.
        draw_per_ticker: draw ``hours_after_close`` per ticker and session instead.
        scattered: (share of the draws, bounds of the hours) in place of ``hours_after_close``; the shares add up to 1.
        own_hours_within: draw the hours once per ticker, and per session this many hours less or more; None: do not.
        one_minute_delay_hours: 1m appears this many hours after 5m, because it contains after-hours trading.
        sessions_late: symbol → number of sessions by which it is published late.
        never_published: (symbol, day) pairs that never appear.
    """

    hours_after_close: tuple[float, float] = (2.5, 3.0)
    ticker_delay_minutes: float = 0.0
    draw_per_ticker: bool = False
    scattered: tuple[tuple[float, tuple[float, float]], ...] = ()
    own_hours_within: float | None = None
    one_minute_delay_hours: float = 2.0
    sessions_late: Mapping[str, int] = field(default_factory=dict)
    never_published: frozenset[tuple[str, date]] = frozenset()


@dataclass(frozen=True)
class Faults:
    """Probability of each fault per request; at most one fault applies to a request.

    Attributes:
        down: every request gets a 503.
        status_502: the proxy's error page.
        status_500: the vendor's reaction to overload (docs/vendor.md §1.2).
        status_429: refused although the window has room (observed with 40 requests in flight).
        timeout: the answer comes after ``timeout_seconds``, or never if the client disconnects first.
        cut_body: the connection ends in the middle of the body.
        html_200: an HTML page with status 200.
        trickle: the body comes in pieces over ``trickle_seconds``.
        exchange_quotes: live quotes of the whole exchange (``ex=``) are a 500; drawn before the other faults.
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
class ExchangeConfig:
    """One exchange beside the US in the same sandbox. Fields without a description are those of ``SandboxConfig``.

    Attributes:
        feed: what its data mean where nobody has seen them; None: as ``exchange_traits`` has it.
        overrides: how its real sessions differ from the calendar's.
        foreign_copies: lines of foreign shares with codes like ``0A4Y``, after the other symbols.
        history_from: None: as the US.
    """

    symbols: int = 8
    more_symbols: tuple[str, ...] = ()
    feed: ExchangeFeed | None = None
    overrides: CalendarOverrides = NO_OVERRIDES
    foreign_copies: int = 0
    publication: Publication = field(default_factory=Publication)
    quirks: DataQuirks = field(default_factory=lambda: DataQuirks(close_print=False))
    thin: frozenset[str] = frozenset()
    absences: Absences = field(default_factory=Absences)
    listed: Mapping[str, date] = field(default_factory=dict)
    delisted: Mapping[str, date] = field(default_factory=dict)
    actions: Mapping[str, tuple[Action, ...]] = field(default_factory=dict)
    action_rates: ActionRates = field(default_factory=ActionRates)
    currencies: Mapping[str, str] = field(default_factory=dict)
    history_from: date | None = None
    withheld: tuple[Withheld, ...] = ()


@dataclass(frozen=True)
class SandboxConfig:
    """Configuration of one sandbox. The defaults are a small vendor with regular data and no faults.

    Everything that is not of the server is of one exchange: the US, unless ``exchange_worlds`` made it for another one.

    Attributes:
        host: address or name to listen on, of this machine.
        port: port of ``host``; 0: any free port.
        symbols: size of the universe: well-known US tickers first, then generated names.
        now: start of the clock (aware); None: the real time.
        clock_rate: simulated seconds per real second; 0: the clock changes only when it is moved.
        latency_ms: bounds of the latency of a request, uniform.
        per_minute: requests per sliding window.
        window_seconds: length of that window, *real* seconds.
        retry_after: whether a 429 has a ``Retry-After`` header (unknown, docs/vendor.md §6.3).
        daily: calls per UTC day of the sandbox's clock.
        extra_limit: purchased calls, spent without a sign after the day's calls.
        spent_yesterday: calls that ``/user`` shows, dated yesterday, until the first billed call.
        tokens: accepted tokens; empty: any. ``demo`` always works, for its five symbols only.
        free_tokens: tokens of the free plan: 20 calls a day, end-of-day data only.
        refused_endpoints: endpoint, such as ``eod-bulk-last-day`` → status and text of its refusal, for every token.
        seed: seed of everything random.
        publication: when a session appears in ``/intraday``.
        quirks: irregularities in the data.
        thin: symbols with few trades: all-null 5m rows, omitted 1m rows, sessions without a trade.
        absences: tickers and days without data.
        listed: symbol → first trading day; other symbols start on ``history_from``.
        delisted: symbol → last trading day.
        renamed: old symbol → (new symbol, first day of the new name).
        recycled: code → the two instruments that had it.
        actions: symbol → its corporate actions, under its old or its new name; ``splits`` and ``spinoffs`` add to them.
        action_rates: how often further actions are drawn.
        splits: symbol → (first day after it, new shares per old share).
        spinoffs: symbol → (first day after it, divisor of earlier ``/eod`` prices).
        currencies: symbol → currency of its prices; US dollars for all others.
        history_from: the first day of every ticker that is not in ``listed``.
        replay: folder of recorded answers like ``intraday_AAPL.US_5m_2026-06-01.json``. They replace the
            generated tickers and rows of ``/intraday``.
        faults: faults at the start; they can be changed at run time.
        exchanges: vendor's code → another exchange that is served, too.
        exchange: the vendor's code of the exchange.
        more_symbols: symbols after those of ``symbols``.
        foreign_copies: see ``ExchangeConfig``.
        feed: what the exchange's data mean.
        overrides: how the exchange's real sessions differ from the calendar's.
        history_to: the last day of every ticker; the calendar is built up to it.
        withheld: rows that ``/intraday`` lacks for some time.
    """

    host: str = LOCAL_HOST
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
    refused_endpoints: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    seed: int = 20260601
    publication: Publication = field(default_factory=Publication)
    quirks: DataQuirks = field(default_factory=DataQuirks.build_clean)
    thin: frozenset[str] = frozenset()
    absences: Absences = field(default_factory=Absences)
    listed: Mapping[str, date] = field(default_factory=dict)
    delisted: Mapping[str, date] = field(default_factory=dict)
    renamed: Mapping[str, tuple[str, date]] = field(default_factory=dict)
    recycled: Mapping[str, Recycled] = field(default_factory=dict)
    actions: Mapping[str, tuple[Action, ...]] = field(default_factory=dict)
    action_rates: ActionRates = field(default_factory=ActionRates)
    splits: Mapping[str, tuple[date, float]] = field(default_factory=lambda: dict(KNOWN_SPLITS))
    spinoffs: Mapping[str, tuple[date, float]] = field(default_factory=dict)
    currencies: Mapping[str, str] = field(default_factory=dict)
    history_from: date = date(2018, 1, 2)
    replay: Path | None = None
    faults: Faults = field(default_factory=Faults)
    exchanges: Mapping[str, ExchangeConfig] = field(default_factory=dict)
    exchange: str = DEFAULT_EXCHANGE
    more_symbols: tuple[str, ...] = ()
    foreign_copies: int = 0
    feed: ExchangeFeed = US_FEED
    overrides: CalendarOverrides = NO_OVERRIDES
    history_to: date = date(2035, 12, 31)
    withheld: tuple[Withheld, ...] = ()

    def __post_init__(self) -> None:
        """Validate the values.

        Raises:
            UsageError: an invalid value; the text names the field.
        """
        if not 0 < self.symbols <= MAX_SYMBOLS:
            raise UsageError(f"sandbox symbols must lie between 1 and {MAX_SYMBOLS}, not {self.symbols}")
        if self.now is not None and self.now.tzinfo is None:
            raise UsageError("sandbox now needs a time zone, for example 2026-06-03T12:00:00Z")
        if self.per_minute < 1 or self.window_seconds <= 0 or self.clock_rate < 0:
            raise UsageError("sandbox per_minute and window_seconds must be positive, clock_rate not negative")
        if self.replay is not None and not self.replay.is_dir():
            raise UsageError(f"sandbox replay folder {self.replay} does not exist")
        if DEFAULT_EXCHANGE in self.exchanges:
            raise UsageError(f"sandbox exchanges are those beside {DEFAULT_EXCHANGE}, which is always served")
        for exchange in self.exchanges:
            get_profile(exchange)
