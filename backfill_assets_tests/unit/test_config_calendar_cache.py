"""Calendars on disk are those of the library, whatever happens to their files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import pytest

from backfill_assets.config import calendar_cache
from backfill_assets.config.calendar_cache import CalendarCache, build_key, find_cache_folder, use_calendar_cache
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.calendar_tables import (
    CalendarTable,
    TableReader,
    build_calendar_table,
    read_calendar_table,
    use_table_reader,
)

CALENDAR, YEAR = "XLON", 2026


@pytest.fixture
def expected() -> CalendarTable:
    return build_calendar_table(CALENDAR, YEAR)


@pytest.fixture(autouse=True)
def _keep_reader(shared_calendars: TableReader) -> Iterator[None]:
    """The calendars of all tests again after each one."""
    yield
    use_table_reader(shared_calendars)
    calendar_cache._use.cache_clear()


def get_file(folder: Path) -> Path:
    return CalendarCache(folder).get_path(CALENDAR, 2020)


def write_tables(path: Path, tables: list[CalendarTable], key: str) -> None:
    body = msgspec.msgpack.encode((key, tables))
    path.write_bytes(calendar_cache._compute_checksum(body) + body)


def test_what_is_read_is_what_the_library_has(tmp_path: Path, expected: CalendarTable) -> None:
    for _ in range(2):  # built and written, then read
        assert CalendarCache(tmp_path / "new").read(CALENDAR, YEAR) == expected
    assert len(expected.days) == 253
    (file,) = (tmp_path / "new").iterdir()
    assert file.stat().st_size < 200_000


def test_a_file_is_read_instead_of_the_library(tmp_path: Path, expected: CalendarTable) -> None:
    tables = [build_calendar_table(CALENDAR, year) for year in range(2020, 2030)]
    marked = replace(expected, days=expected.days[:1], opens=expected.opens[:1])
    write_tables(get_file(tmp_path), [marked if t.year == YEAR else t for t in tables], build_key())
    assert CalendarCache(tmp_path).read(CALENDAR, YEAR) == marked


@pytest.mark.parametrize(
    "damage", ["empty", "cut off", "another bit", "other versions", "another calendar", "a folder"]
)
def test_a_damaged_or_old_file_is_built_again(tmp_path: Path, expected: CalendarTable, damage: str) -> None:
    CalendarCache(tmp_path).read(CALENDAR, YEAR)
    file = get_file(tmp_path)
    content = file.read_bytes()
    if damage == "empty":
        file.write_bytes(b"")
    elif damage == "cut off":
        file.write_bytes(content[:-100])
    elif damage == "another bit":
        file.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "other versions":
        write_tables(file, [replace(expected, days=())] * 10, build_key() + " older")
    elif damage == "another calendar":
        file.write_bytes(CalendarCache(tmp_path).get_path("XASX", 2020).name.encode())
    else:
        file.unlink()
        file.mkdir()
    assert CalendarCache(tmp_path).read(CALENDAR, YEAR) == expected
    if damage != "a folder":
        assert file.read_bytes() == content


def test_without_a_place_to_write_calendars_are_built(tmp_path: Path, expected: CalendarTable) -> None:
    (tmp_path / "file").write_text("no folder")
    assert CalendarCache(tmp_path / "file" / "calendars").read(CALENDAR, YEAR) == expected


def test_many_readers_and_writers_at_once_leave_one_whole_file(tmp_path: Path, expected: CalendarTable) -> None:
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda _: CalendarCache(tmp_path).read(CALENDAR, YEAR), range(32)))
    assert found == [expected] * 32
    assert [file.name for file in tmp_path.iterdir()] == [get_file(tmp_path).name]


def test_the_folder_is_in_home_if_that_exists_and_else_in_the_cache_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find_cache_folder(tmp_path) == tmp_path / "calendars"
    assert find_cache_folder(tmp_path / "absent") == tmp_path / "cache" / "backfill_assets" / "calendars"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_cache_folder(Path("absent")) == tmp_path / ".cache" / "backfill_assets" / "calendars"


def test_the_calendars_of_a_process_come_from_the_files_of_its_settings(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    use_calendar_cache(settings)
    first = read_calendar_table(CALENDAR, YEAR)
    use_calendar_cache(settings)
    assert read_calendar_table(CALENDAR, YEAR) is first  # the same folder again changes nothing
    assert get_file(tmp_path / "calendars").is_file()
    assert date(2026, 12, 28) not in first.days  # Boxing Day is a Saturday
