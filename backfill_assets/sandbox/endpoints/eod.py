"""``/eod/{T}`` and ``/eod-bulk-last-day/US``: parameters, prices and formats (EODHD.md §5)."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import msgspec

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.eod_rows import EndOfDay, EodRow
from backfill_assets.sandbox.wire.encoding import json_bytes
from backfill_assets.sandbox.wire.request import Asked, symbol_of
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN,
    FREE_WARNING,
    Answer,
    Refusal,
    invalid,
    not_found,
    rows_answer,
)
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.sandbox.world.universe import listing

BULK_CALLS = 100
_FIRST_DAY = date(1970, 1, 1)
_PERIODS: dict[str, Callable[[date], Any]] = {
    "d": date.toordinal,
    "w": lambda day: day.isocalendar()[:2],
    "m": lambda day: (day.year, day.month),
}


class Daily:
    """The daily endpoints over one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world
        self._book = EndOfDay(config, world)

    def eod(self, asked: Asked) -> Answer:
        """A ticker's history."""
        symbol = asked.symbol()
        first = asked.day("from") or _FIRST_DAY
        last = asked.day("to") or asked.today
        if not self._world.lives.known(symbol, asked.today):
            return self._unknown(symbol)
        if asked.free:
            return self._limited(asked, symbol, max(first, asked.today - timedelta(days=365)), last)
        rows = _by_period(asked, self._book.history(symbol, first, last, asked.now))
        if asked.params.get("order") == "d":
            rows.reverse()
        wanted = asked.params.get("filter", "")
        if wanted.startswith("last_"):
            return _last_value(rows, wanted.removeprefix("last_"))
        return rows_answer(rows, 1, csv=asked.csv, compressible=True)

    def bulk(self, asked: Asked) -> Answer:
        """The whole market's day; ``[]`` for a day that is not there (yet)."""
        if asked.free:
            raise Refusal(402, FREE_PLAN)
        if asked.argument.upper() != "US":
            raise not_found()
        names = asked.symbols("symbols")
        calls = BULK_CALLS + len(names)
        session = self._day_of(asked)
        kind = asked.params.get("type") or "eod"
        if kind not in {"eod", "splits", "dividends"}:
            raise invalid(type="The selected type is invalid.")
        if session is None or kind == "dividends":
            return rows_answer([], calls, csv=asked.csv)
        rows = self._splits(session) if kind == "splits" else self._market(asked, session, names)
        return rows_answer(rows, calls, csv=asked.csv)

    def _unknown(self, symbol: str) -> Answer:
        """A share class without its dash is a 200 ``[]``, anything else a 404."""
        dashless = {known.replace("-", "") for known in self._world.tickers if "-" in known}
        if symbol in dashless:
            return Answer(b"[]", 1, compressible=True)
        raise not_found()

    def _limited(self, asked: Asked, symbol: str, first: date, last: date) -> Answer:
        """A free token's year; the last row, or a row of its own, carries a warning (EODHD.md §1)."""
        over = (asked.day("from") or _FIRST_DAY) < first
        rows: list[dict[str, Any]] = msgspec.to_builtins(self._book.history(symbol, first, last, asked.now))
        if over and rows:
            rows[-1]["warning"] = FREE_WARNING
        elif over:
            rows = [{"warning": FREE_WARNING}]
        return rows_answer(rows, 1, csv=asked.csv, compressible=True)

    def _day_of(self, asked: Asked) -> Session | None:
        """The day asked for; without one the last whose file exists."""
        timetable = self._world.timetable
        day = asked.day("date")
        if day is not None:
            session = timetable.on(day)
            return session if session and self._book.is_published(session, asked.now) else None
        index = timetable.closed(asked.now.timestamp())
        if index >= 0 and not self._book.is_published(timetable.sessions[index], asked.now):
            index -= 1
        return timetable.sessions[index] if index >= 0 else None

    def _market(self, asked: Asked, session: Session, names: tuple[str, ...]) -> list[dict[str, Any]]:
        known = [symbol for symbol in self._world.tickers if self._world.lives.known(symbol, asked.today)]
        if names:
            wanted = {symbol_of(name) for name in names}
            known = [symbol for symbol in known if symbol in wanted]
        code = "Code" if self._config.traits.upper_case_codes else "code"
        extended = asked.params.get("filter") == "extended"
        return [
            {
                code: symbol,
                **({"name": listing(symbol).name} if extended else {}),
                "exchange_short_name": "US",
                "date": row.date,
                "open": row.open,
                "high": row.high,
                "low": row.low,
                "close": row.close,
                "adjusted_close": row.adjusted_close,
                "volume": row.volume,
            }
            for symbol, row in self._book.market(known, session, asked.now)
        ]

    def _splits(self, session: Session) -> list[dict[str, Any]]:
        return [
            {"code": symbol, "exchange": "US", "date": day.isoformat(), "split": f"{ratio:.6f}/1.000000"}
            for symbol, (day, ratio) in self._config.splits.items()
            if day == session.day and symbol in self._world.tickers
        ]


def _by_period(asked: Asked, rows: list[EodRow]) -> list[EodRow]:
    period = asked.params.get("period") or "d"
    if period not in _PERIODS:
        raise invalid(period="The selected period is invalid.")
    if period == "d":
        return rows
    whole = [row for row in rows if row.open is not None]
    groups = groupby(whole, lambda row: _PERIODS[period](date.fromisoformat(row.date)))
    return [_merged(list(group)) for _, group in groups]


def _merged(rows: list[EodRow]) -> EodRow:
    first, last = rows[0], rows[-1]
    high = max(row.high for row in rows if row.high is not None)
    low = min(row.low for row in rows if row.low is not None)
    volume = sum(row.volume for row in rows)
    return EodRow(last.date, first.open, high, low, last.close, last.adjusted_close, volume)


def _last_value(rows: list[EodRow], name: str) -> Answer:
    if name not in EodRow.__struct_fields__:
        raise invalid(filter="The selected filter is invalid.")
    return Answer(json_bytes(getattr(rows[-1], name) if rows else None), 1)
