"""Recorded rows of ``/intraday``, read from files like ``intraday_AAPL.US_5m_2026-06-01.json`` in a folder."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.endpoints.intraday_rows import IntradayRow
from backfill_assets.sandbox.wire.encoding import encode_json_fragment

_FILE_NAME = re.compile(r"intraday_(?P<symbol>[^_]+)\.US_(?P<interval>1m|5m|1h)_.+\.json")


class Recordings:
    """Source of the recorded rows of a folder, without rows later than now.

    Files of one ticker and interval are joined in the order of their names.

    Raises:
        UsageError: a file is not a recorded answer.
    """

    def __init__(self, folder: Path) -> None:
        self._rows: dict[tuple[str, str], list[IntradayRow]] = {}
        for path in sorted(folder.iterdir()):
            if match := _FILE_NAME.fullmatch(path.name):
                series = (match["symbol"].upper(), match["interval"])
                self._rows.setdefault(series, []).extend(_read_recording(path))
        self.symbols = tuple(dict.fromkeys(symbol for symbol, _ in self._rows))

    def is_known(self, symbol: str, today: date) -> bool:  # noqa: ARG002 - recordings do not change with time
        """Whether the folder has a recording of ``symbol``."""
        return symbol in self.symbols

    def iter_json_fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """Iterate over the rows in ``[start, end]`` as JSON, in recorded order."""
        for rows in self.iter_rows(symbol, interval, start, end, now):
            yield encode_json_fragment(rows)

    def iter_rows(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[IntradayRow]]:
        """Iterate over the same rows as objects."""
        last = min(end, int(now))
        yield [bar for bar in self._rows.get((symbol, interval), []) if start <= bar.timestamp <= last]


def _read_recording(path: Path) -> list[IntradayRow]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[IntradayRow])
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is not a recorded /intraday answer: {error}") from error
