"""Recorded answers instead of generated ones: ``intraday_AAPL.US_5m_2026-06-01.json`` in a folder."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.wire.encoding import Bar, fragment

_NAME = re.compile(r"intraday_(?P<symbol>[^_]+)\.US_(?P<interval>1m|5m|1h)_.+\.json")


class Recordings:
    """Rows of the tickers recorded in a folder; nothing stamped after now is shown.

    Files of the same ticker and interval follow each other in the order of their names.

    Raises:
        UsageError: a file that is not a recorded answer.
    """

    def __init__(self, folder: Path) -> None:
        self._bars: dict[tuple[str, str], list[Bar]] = {}
        for path in sorted(folder.iterdir()):
            if match := _NAME.fullmatch(path.name):
                label = (match["symbol"].upper(), match["interval"])
                self._bars.setdefault(label, []).extend(_recorded(path))
        self.symbols = tuple(dict.fromkeys(symbol for symbol, _ in self._bars))

    def known(self, symbol: str, today: date) -> bool:  # noqa: ARG002 - a recording has no past
        """Whether there is a recording of ``symbol``."""
        return symbol in self.symbols

    def fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """The rows in ``[start, end]`` as JSON, in the order in which they were recorded."""
        for found in self.bars(symbol, interval, start, end, now):
            yield fragment(found)

    def bars(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[Bar]]:
        """The same rows as objects."""
        last = min(end, int(now))
        yield [bar for bar in self._bars.get((symbol, interval), []) if start <= bar.timestamp <= last]


def _recorded(path: Path) -> list[Bar]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Bar])
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is not a recorded /intraday answer: {error}") from error
