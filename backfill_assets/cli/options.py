"""What commands share: types of options, the common options, the settings and the console."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, INTERVALS
from backfill_assets.market.universe_names import RULE, is_universe_name

if TYPE_CHECKING:
    from rich.console import Console

    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.backfill.job_request import JobRequest
    from backfill_assets.config.settings import Settings
    from backfill_assets.market.calendar.tickers import Ticker

F = TypeVar("F", bound=Callable[..., Any])
_DURATION_PATTERN = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?", re.ASCII)
MAX_DURATION = timedelta(days=366)
MAX_SHOWN_NAME = 40  # characters of what is no name
WIDTH_WITHOUT_TERMINAL = 400  # characters; lines in a pipe or file are not wrapped


class InstantType(click.ParamType[datetime]):
    """A time with a time zone, converted to UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse ISO 8601; a time without a time zone is an error."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; example: 2026-06-03T12:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; for UTC: {moment.isoformat()}Z", param, ctx)
        from backfill_assets.market.calendar.sessions import FIRST_YEAR, LAST_YEAR  # not loaded for --help

        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            self.fail(f"{value!r} must lie between {FIRST_YEAR} and {LAST_YEAR}", param, ctx)
        return moment.astimezone(UTC)


class DateType(click.ParamType[date]):
    """A session date."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Parse an ISO date."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date; example: 2026-06-03", param, ctx)


class UniverseType(click.ParamType[str]):
    """The name of a universe."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is no name; whether there is such a universe, the store knows."""
        if not is_universe_name(value):
            shown = value if len(value) <= MAX_SHOWN_NAME else f"{value[:MAX_SHOWN_NAME]}…"
            self.fail(f"{shown!r} is no name of a universe: {RULE}", param, ctx)
        return str(value)


class ExchangeType(click.ParamType[str]):
    """The vendor's code of an exchange that is collected."""

    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse an exchange that is not supported, or that BACKFILL_EXCHANGES does not enable."""
        from backfill_assets.config.formatting import explain_not_collected
        from backfill_assets.config.settings import load_settings
        from backfill_assets.market.exchanges.registry import get_profile  # not loaded for --help

        code = str(value).strip().upper()
        try:
            get_profile(code)
        except UsageError as error:
            shown = code if len(code) <= MAX_SHOWN_NAME else f"{code[:MAX_SHOWN_NAME]}…"
            self.fail(str(error).replace(code, shown), param, ctx)
        if code not in (enabled := load_settings().exchanges):
            self.fail(explain_not_collected(code, enabled), param, ctx)
        return code


class DurationType(click.ParamType[timedelta]):
    """A length of time in days, hours and minutes."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse ``1d12h30m``, any part of it; more than nothing and at most 366 days."""
        if isinstance(value, timedelta):
            return value
        match = _DURATION_PATTERN.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not a duration; examples: 2h, 30m, 1d12h", param, ctx)
        days, hours, minutes = (int(part or 0) for part in match.groups())
        duration = timedelta(days=days, hours=hours, minutes=minutes)
        if not timedelta() < duration <= MAX_DURATION:
            self.fail(f"{value!r} must be more than 0 and at most {MAX_DURATION.days} days", param, ctx)
        return duration


class MillisecondRangeType(click.ParamType[tuple[float, float]]):
    """A range ``A-B`` of milliseconds, or one number."""

    name = "ms-ms"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Parse the range; 0 ≤ A ≤ B ≤ 600,000."""
        if isinstance(value, tuple):
            return value
        first, _, last = value.partition("-")
        try:
            low, high = float(first), float(last or first)
        except ValueError:
            low, high = 1.0, 0.0
        if not 0 <= low <= high <= 600_000:
            self.fail(f"{value!r} is not a range of milliseconds; example: 120-350", param, ctx)
        return low, high


def add_common_options(command: F) -> F:
    """``--as-of`` and ``--debug``, which every command but ``pause`` has."""
    command = click.option(
        "--as-of", type=InstantType(), help="Use this current time instead of the clock (ISO 8601 with time zone)."
    )(command)
    return add_debug_option(command)


def add_debug_option(command: F) -> F:
    """``--debug``, alone for ``pause``, which works by the database server's clock."""
    return click.option("--debug", is_flag=True, help="Show tracebacks and debug log lines.")(command)


def add_interval_option(command: F) -> F:
    """``--interval``, 30 minutes unless given."""
    names = ", ".join(INTERVALS)
    return click.option("--interval", default=DEFAULT_INTERVAL, show_default=True, help=f"Length of bars: {names}.")(
        command
    )


def add_exchange_option(command: F) -> F:
    """``--exchange``: one of the exchanges of BACKFILL_EXCHANGES; None without the option."""
    return click.option(
        "--exchange",
        type=ExchangeType(),
        help="Only this exchange, by the vendor's code, for example LSE.  [default: those of BACKFILL_EXCHANGES]",
    )(command)


def add_window_options(command: F, default: str = "48") -> F:
    """The options that choose symbols, exchange, interval and sessions, and the common options.

    ``default`` describes the sessions without any of these options.
    """
    for option in (
        add_exchange_option,
        click.option(
            "--symbols", help="Only these symbols, comma-separated, for example AAPL,MSFT.US.  [default: all active]"
        ),
        click.option("--end", type=DateType(), help="Last session date, included; needs --start."),
        click.option("--start", type=DateType(), help="First session date, included; needs --end."),
        click.option(
            "--hours-back", type=float, help=f"All sessions that overlap the last N hours.  [default: {default}]"
        ),
        add_interval_option,
    ):
        command = option(command)
    return add_common_options(command)


def add_format_option(*names: str) -> Callable[[F], F]:
    """``--format``, one of ``names``; the first is the default."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(names),
        default=names[0],
        show_default=True,
        help="Output format.",
    )


def load_command_settings(as_of: datetime | None = None, *, debug: bool) -> "Settings":
    """The settings of the environment, overridden by the common options; also configures logging to standard error."""
    from backfill_assets.config.log_format import configure_logging
    from backfill_assets.config.settings import load_settings

    settings = load_settings(as_of=as_of, log_level="DEBUG" if debug else None)
    configure_logging(settings)
    return settings


def build_job_request(
    interval: str,
    hours_back: float | None,
    start: date | None,
    end: date | None,
    symbols: str | None,
    exchange: str | None = None,
    **more: Any,
) -> "JobRequest":
    """The window options as a job request; ``more`` are further fields of it."""
    from backfill_assets.backfill.job_request import JobRequest

    symbol_names = [part.strip() for part in (symbols or "").split(",") if part.strip()]
    if symbols is not None and not symbol_names:
        raise UsageError("--symbols is empty; name at least one, for example --symbols AAPL,MSFT")
    if exchange is not None:
        more["exchange"] = exchange
    return JobRequest(interval=interval, hours_back=hours_back, start=start, end=end, symbols=symbol_names, **more)


def make_console(file: IO[str] | None = None, *, stderr: bool = False) -> "Console":
    """A console on ``file``, standard error or standard output; its width is fixed unless it is a terminal."""
    from rich.console import Console

    stream = file or (sys.stderr if stderr else sys.stdout)
    return Console(file=stream, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL)


def warn_unknown_symbols(unknown: "tuple[Ticker, ...]") -> None:
    """Print the requested symbols that are not active in the universe, to standard error."""
    for ticker in unknown:
        click.echo(f"{ticker} is not active in the universe; add it: backfill-assets symbols add {ticker}", err=True)


def show_past_universe(job: "BackfillJob", console: "Console | None" = None) -> None:
    """Print what a person should know of the universe of a past moment: on the console, or to standard error."""
    if job.universe_note and console is not None:
        console.print(job.universe_note, highlight=False)
    elif job.universe_note:
        click.echo(job.universe_note, err=True)


def warn_unused_names(engine: "Engine") -> None:
    """Print what stands in the contract tables under names that are not used, to standard error."""
    from backfill_assets.quality.unused_names import read_unused_names

    with engine.database.transaction() as connection:
        for note in read_unused_names(connection, engine.settings.exchanges):
            click.echo(note, err=True)
