"""What a caller asks a read for: the arguments of ``read_bars``, checked and brought into one form.

Knows no database: whether the universe has the symbols is found out in ``bars``. Dates and moments are read by
``moments``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from backfill_assets.errors import UsageError
from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.calendar.intervals import Interval, parse_interval
from backfill_assets.market.calendar.sessions import find_day_start
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, get_profile
from backfill_assets.reading.moments import parse_moment, require_range

Format: TypeAlias = Literal["pandas", "polars", "arrow"]
FORMATS: tuple[str, ...] = get_args(Format)
COLUMNS = (
    *("symbol", "timestamp", "slot_end", "session", "open", "high", "low", "close", "volume"),
    *("state", "source", "source_interval", "first_known", "revised"),
)
_LONGEST_DELAY = timedelta(days=30)
_Choice = TypeVar("_Choice", bound=StrEnum)


class Require(StrEnum):
    """What every expected slot must be."""

    COMPLETE = "complete"  # a trusted bar, or no trade
    EXPLAINED = "explained"  # also a vendor gap, or a bar whose doubt stands
    ANY = "any"


class OnIncomplete(StrEnum):
    """What happens to symbols that are not as required."""

    RAISE = "raise"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """The checked arguments of a read; ``read_bars`` explains each. Moments are UTC.

    Attributes:
        tickers: the symbols in the order asked for, without repeats; None: those of ``universe``.
        market: the exchange that all symbols are of.
        columns: of the frame, in order.
    """

    tickers: tuple[Ticker, ...] | None
    universe: str | None
    start: datetime
    end: datetime
    interval: Interval
    market: MarketProfile
    adjustment: Adjustment
    point_in_time: datetime | None
    known_at: datetime | None
    require: Require
    on_incomplete: OnIncomplete
    provisional: bool
    unverified: bool
    external: bool
    grid: bool
    follow_renames: bool
    columns: tuple[str, ...]
    format: str
    publication_delay: timedelta | None

    @property
    def exchange(self) -> str:
        """The vendor's code of the exchange."""
        return self.market.exchange


def build_request(
    symbols: object,
    start: object,
    end: object,
    *,
    universe: str | None,
    interval: str,
    exchange: str,
    find_market: Callable[[str], MarketProfile] = get_profile,
    **options: Any,
) -> ReadRequest:
    """Check the arguments of ``read_bars``, all but the settings, of which ``find_market`` gives the profiles.

    Raises:
        UsageError: says which argument is wrong, and what to write.
    """
    market = find_market(require_exchange(exchange))
    tickers = parse_symbols(symbols, universe, exchange)
    if tickers and tickers[0].exchange != exchange:
        market = find_market(tickers[0].exchange)
    zone = market.zone
    start_of_day = partial(find_day_start, market)
    first, after = parse_moment(start, "start", zone, start_of_day), parse_moment(end, "end", zone, start_of_day)
    require_range(first, after, start, end)
    point_in_time, known_at = (
        None if options[name] is None else parse_moment(options[name], name, zone)
        for name in ("point_in_time", "known_at")
    )
    return ReadRequest(
        tickers=tickers,
        universe=universe,
        start=first,
        end=after,
        interval=parse_interval(require_text(interval, "interval")),
        market=market,
        adjustment=parse_choice(Adjustment, options["adjustment"], "adjustment"),
        point_in_time=point_in_time,
        known_at=known_at,
        require=parse_choice(Require, options["require"], "require"),
        on_incomplete=parse_choice(OnIncomplete, options["on_incomplete"], "on_incomplete"),
        **{name: bool(options[name]) for name in ("provisional", "unverified", "external", "grid", "follow_renames")},
        columns=parse_columns(options["columns"], COLUMNS),
        format=parse_format(options["format"]),
        publication_delay=_check_delay(options["publication_delay"]),
    )


def require_exchange(exchange: object) -> str:
    """The code of a supported exchange, whether it is enabled or not: what is stored can be read.

    Raises:
        UsageError: it is not supported; says why.
    """
    return get_profile(exchange if isinstance(exchange, str) else str(exchange)).exchange


def parse_symbols(symbols: object, universe: str | None, exchange: str) -> tuple[Ticker, ...] | None:
    """The tickers in the order asked for, without repeats, all of one exchange; None with a universe.

    A suffix decides the exchange of a ticker, ``exchange`` that of one without.

    Raises:
        UsageError: no symbols, both symbols and a universe, or symbols of several exchanges.
    """
    if universe is not None:
        if symbols is not None:
            raise UsageError("give either symbols or a universe, not both")
        require_text(universe, "universe")
        return None
    if isinstance(symbols, str | Ticker):
        symbols = [symbols]
    if not isinstance(symbols, Iterable):
        raise UsageError("symbols: give a ticker, a list of tickers, or the name of a universe as universe='…'")
    tickers = tuple(dict.fromkeys(_parse_symbol(symbol, exchange) for symbol in symbols))
    if not tickers:
        raise UsageError("symbols is empty; give a ticker, a list of tickers, or universe='all'")
    _require_one_exchange(tickers, exchange)
    return tickers


def _parse_symbol(symbol: object, exchange: str) -> Ticker:
    if isinstance(symbol, Ticker):
        require_exchange(symbol.exchange)
        return symbol
    text = require_text(symbol, "symbols")
    has_exchange = exchange == DEFAULT_EXCHANGE or "." in text or ":" in text
    return parse_ticker(text if has_exchange else f"{text.strip()}.{exchange}")


def _require_one_exchange(tickers: Sequence[Ticker], exchange: str) -> None:
    """Several exchanges have other days, hours and units of prices: dates of one window would mean several moments."""
    first: dict[str, Ticker] = {}
    for ticker in tickers:
        first.setdefault(ticker.exchange, ticker)
    if len(first) > 1:
        raise UsageError(
            f"symbols of several exchanges ({', '.join(map(str, list(first.values())[:5]))}): their days, hours and"
            " currencies differ; read each exchange by itself and join the frames, whose times are all UTC"
        )
    if exchange not in (DEFAULT_EXCHANGE, tickers[0].exchange):
        raise UsageError(f"{tickers[0]} is not of exchange {exchange}; leave exchange out, or give its own symbols")


def require_text(value: object, name: str) -> str:
    """The value, if it is a text.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name}: {str(value)[:40]!r} is no text")
    return value


def parse_choice(choices: type[_Choice], value: object, name: str) -> _Choice:
    """One of ``choices``, by its word.

    Raises:
        UsageError: another word; the message lists them.
    """
    if isinstance(value, str) and value in list(choices):
        return choices(value)
    raise UsageError(f"{name} {str(value)[:40]!r} is unknown; use one of {', '.join(choices)}")


def parse_columns(columns: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The columns of a frame, in the order asked for; None: all of them.

    Raises:
        UsageError: no list of names, an unknown column, one named twice, or none.
    """
    if columns is None:
        return tuple(known)
    if not isinstance(columns, Iterable):
        raise UsageError(f"columns: {str(columns)[:40]!r} is no list of names; there are {', '.join(known)}")
    chosen = (columns,) if isinstance(columns, str) else tuple(columns)
    if unknown := [str(name)[:40] for name in chosen if name not in known]:
        raise UsageError(f"unknown columns: {', '.join(unknown[:5])}; there are {', '.join(known)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise UsageError("columns: give at least one of them, and none twice")
    return chosen


def parse_format(text: object) -> str:
    """One of ``FORMATS``.

    Raises:
        UsageError: another word.
    """
    if text not in FORMATS:
        raise UsageError(f"format {str(text)[:40]!r} is unknown; use one of {', '.join(FORMATS)}")
    return str(text)


def _check_delay(delay: object) -> timedelta | None:
    if delay is None or (isinstance(delay, timedelta) and timedelta() <= delay <= _LONGEST_DELAY):
        return delay
    raise UsageError(f"publication_delay {str(delay)[:40]} is no timedelta between 0 and {_LONGEST_DELAY.days} days")
