"""The calendars' tables on disk, so that a process with many exchanges does not build each calendar anew.

A file has the ten years of one calendar that the library builds together. It is written beside its place and moved
there, so any number of processes may read and write at once. A file that is damaged, or of other versions, is built
again. Where nothing can be written, calendars are built as without a cache. A user's corrections are not in it: they
are applied to the tables later, in ``market.calendar.sessions``.
"""

import logging
import os
import tempfile
import zlib
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import msgspec

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.calendar_tables import CalendarTable, build_calendar_table, use_table_reader

TABLE_VERSION = 1  # of what is stored and of how it is computed; a higher number after a change of either
_YEARS = 10
_CHECKSUM_BYTES = 4
_FOLDER = "calendars"
_log = logging.getLogger(__name__)
_decoder = msgspec.msgpack.Decoder(tuple[str, list[CalendarTable]])


class CalendarCache:
    """A reader of calendar tables with files in ``folder``, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = build_key()
        self._decades: dict[tuple[str, int], list[CalendarTable]] = {}

    def read(self, calendar: str, year: int) -> CalendarTable:
        """The table of a calendar and year, from memory, from its file, or from the library.

        Raises:
            KeyError: the library has no such calendar.
        """
        first_year = year // _YEARS * _YEARS
        tables = self._decades.get((calendar, first_year))
        if tables is None:
            tables = self._read_file(calendar, first_year) or self._build(calendar, first_year)
            self._decades[calendar, first_year] = tables
        return tables[year - first_year]

    def get_path(self, calendar: str, first_year: int) -> Path:
        """The file of ten years."""
        return self.folder / f"{calendar.replace('/', '-')}-{first_year}"

    def _read_file(self, calendar: str, first_year: int) -> list[CalendarTable] | None:
        try:
            content = self.get_path(calendar, first_year).read_bytes()
            checksum, body = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
            key, tables = _decoder.decode(body) if checksum == _compute_checksum(body) else ("", [])
        except (OSError, msgspec.MsgspecError):  # there is none, it may not be read, or it is damaged
            return None
        found = [(table.calendar, table.year) for table in tables]
        expected = [(calendar, first_year + number) for number in range(_YEARS)]
        return tables if key == self._key and found == expected else None

    def _build(self, calendar: str, first_year: int) -> list[CalendarTable]:
        tables = [build_calendar_table(calendar, first_year + number) for number in range(_YEARS)]
        body = msgspec.msgpack.encode((self._key, tables))
        try:
            _replace_file(self.get_path(calendar, first_year), _compute_checksum(body) + body)
        except OSError as error:
            _log.debug("the calendar %s is not kept on disk: %s", calendar, error)
        return tables


def build_key() -> str:
    """What a file must have been written with: the versions of the libraries, and of the tables here."""
    libraries = " ".join(f"{name} {version(name)}" for name in ("exchange_calendars", "pandas"))
    return f"{libraries} tables {TABLE_VERSION}"


def _compute_checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "big")


def _replace_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def use_calendar_cache(settings: Settings) -> None:
    """Read calendars from the files of these settings from now on, in this process."""
    folder = find_cache_folder(settings.home)
    if folder is not None:
        _use(folder)


@lru_cache(maxsize=1)  # the same folder again changes nothing; another one takes its place
def _use(folder: Path) -> None:
    use_table_reader(CalendarCache(folder).read)


def find_cache_folder(home: Path) -> Path | None:
    """A folder in BACKFILL_HOME if that exists, else in the user's cache; None if there is no place for one."""
    try:
        absolute = home.expanduser().absolute()
        if absolute.is_dir():
            return absolute / _FOLDER
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backfill_assets" / _FOLDER
    except (OSError, RuntimeError):  # no home folder
        return None
