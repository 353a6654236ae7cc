"""``/intraday/{T}`` (EODHD.md §2)."""

from asyncio import sleep
from collections.abc import Iterator
from datetime import date
from typing import Protocol

from backfill_assets.sandbox.config import Traits
from backfill_assets.sandbox.wire.encoding import Bar, array, split_bars
from backfill_assets.sandbox.wire.request import Asked
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN,
    FREE_WARNING,
    Answer,
    Refusal,
    invalid,
    not_found,
    rows_answer,
)

CALLS = 5
MAX_DAYS = {"1m": 120, "5m": 600, "1h": 7200}
DAY = 86400
_DEFAULT_DAYS = 120
_SESSIONS_AT_ONCE = 8


class Rows(Protocol):
    """Where rows come from: generated, or recorded."""

    def known(self, symbol: str, today: date) -> bool:
        """Whether there is such a ticker."""
        ...

    def fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """Rows in ``[start, end]`` as pieces of JSON."""
        ...

    def bars(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[Bar]]:
        """The same rows as objects."""
        ...


async def intraday(asked: Asked, rows: Rows, traits: Traits) -> Answer:
    """Answer one request; lets others in between after every few sessions."""
    if asked.free and not traits.free_intraday:
        raise Refusal(403, FREE_PLAN)
    interval = asked.params.get("interval") or "5m"
    if interval not in MAX_DAYS:
        raise invalid(interval="The selected interval is invalid.")
    symbol = asked.symbol()
    start, end = _range(asked, interval)
    if not rows.known(symbol, asked.today):
        raise not_found()
    end -= 0 if traits.to_inclusive else 1
    now = asked.now.timestamp()
    if asked.free:
        return await _limited(asked, rows.bars(symbol, interval, max(start, int(now) - 365 * DAY), end, now))
    if asked.csv or asked.params.get("split-dt") == "1":
        return await _plain(asked, rows.bars(symbol, interval, start, end, now))
    pieces = []
    for number, piece in enumerate(rows.fragments(symbol, interval, start, end, now), 1):
        pieces.append(piece)
        if number % _SESSIONS_AT_ONCE == 0:
            await sleep(0)
    return Answer(array(pieces), CALLS)


def _range(asked: Asked, interval: str) -> tuple[int, int]:
    """The window in epoch seconds, both ends included; overshoot is refused, not cut."""
    start, end = asked.stamp("from"), asked.stamp("to")
    end = int(asked.now.timestamp()) if end is None else end
    start = end - _DEFAULT_DAYS * DAY if start is None else start
    days = MAX_DAYS[interval]
    if end - start > days * DAY:
        message = f"Max period length is {days} days"
        raise invalid(to=message, **{"from": message})
    return start, end


async def _gathered(sessions: Iterator[list[Bar]]) -> list[Bar]:
    found: list[Bar] = []
    for bars in sessions:
        found += bars
        await sleep(0)
    return found


async def _plain(asked: Asked, sessions: Iterator[list[Bar]]) -> Answer:
    found = await _gathered(sessions)
    split = asked.params.get("split-dt") == "1"
    return rows_answer(split_bars(found) if split else found, CALLS, csv=asked.csv)


async def _limited(asked: Asked, sessions: Iterator[list[Bar]]) -> Answer:
    """A free token's year: the last row, or a row of its own, carries a warning (EODHD.md §1)."""
    found = [{name: getattr(bar, name) for name in Bar.__struct_fields__} for bar in await _gathered(sessions)]
    if found:
        found[-1]["warning"] = FREE_WARNING
    else:
        found = [{"warning": FREE_WARNING}]
    return rows_answer(found, CALLS, csv=asked.csv)
