"""The folder of an export: which files it has, how they are told from others, and who may write now.

The folder ``bars`` has Parquet files alone, one for each session, so that every program can read it as one data set;
certificates and the manifest are beside it. What is written when is decided in ``export``.
"""

import fcntl
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backfill_assets.errors import UsageError
from backfill_assets.reading.files import TEMPORARY_PREFIX, remove_file, replace_file, translate_file_errors

BARS, CERTIFICATES, MANIFEST, WRITING = "bars", "certificates", "manifest.json", ".writing"
DESCRIPTION_KEY = b"backfill_assets"  # of a file's own description, in the metadata of its Parquet schema
COMPRESSION = "zstd"
_SESSION_NAME = re.compile(r"20\d\d-(0\d|1[0-2])-([012]\d|3[01])")


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """The files of one exchange and interval in a folder of exports.

    Attributes:
        path: the folder.
        exchange: the vendor's code, such as US.
        interval: of the bars, such as 30m.
    """

    path: Path
    exchange: str
    interval: str

    @property
    def key(self) -> str:
        """The partitions that all files have in common, as they stand in paths and in the manifest."""
        return f"exchange={self.exchange}/interval={self.interval}"

    def get_bars_path(self, day: date) -> Path:
        """The Parquet file of a session."""
        return self.path / BARS / self.key / f"year={day.year}" / f"{day}.parquet"

    def get_certificate_path(self, day: date) -> Path:
        """The file of a session's certificate."""
        return self.path / CERTIFICATES / self.key / f"year={day.year}" / f"{day}.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Write alone; what an export that was killed left behind is removed.

        Raises:
            UsageError: another export is writing, or the folder cannot be made or written.
        """
        with translate_file_errors(self.path):
            for folder in (self.path / BARS, self.path / WRITING):
                folder.mkdir(parents=True, exist_ok=True)
            lock = (self.path / WRITING / "lock").open("ab")
        with lock:
            try:  # of the open file, so that it also keeps out other threads; it ends with the file, also after a crash
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another export is writing to {self.path}; start this one again when it has finished"
                ) from None
            for left in (self.path / WRITING).glob(f"{TEMPORARY_PREFIX}*"):
                remove_file(left)
            yield

    def list_days(self) -> list[date]:
        """The sessions that have a file, oldest first."""
        files = (self.path / BARS / self.key).glob("year=*/*.parquet")
        return sorted(date.fromisoformat(file.stem) for file in files if _SESSION_NAME.fullmatch(file.stem))

    def is_same(self, day: date, table: pa.Table) -> bool:
        """Whether a session's file has these rows and this description; a file that cannot be read has not."""
        path = self.get_bars_path(day)
        try:
            stored = pq.ParquetFile(path).read() if path.exists() else None
        except (OSError, pa.ArrowInvalid):
            return False
        return stored is not None and bool(stored.equals(table, check_metadata=True))

    def write_bars(self, day: date, table: pa.Table) -> None:
        """Write or replace a session's file."""
        path = self._prepare(self.get_bars_path(day))
        replace_file(path, lambda file: pq.write_table(table, file, compression=COMPRESSION), self.path / WRITING)

    def write_certificate(self, day: date, certificate: Mapping[str, Any] | None) -> bool:
        """Bring a session's certificate up to date, or remove it; returns whether that changed anything."""
        path = self.get_certificate_path(day)
        return remove_file(path) if certificate is None else self._write_json(path, certificate)

    def remove_session(self, day: date) -> bool:
        """Remove the files of a session, the certificate last; returns whether there were any."""
        return any([remove_file(self.get_bars_path(day)), remove_file(self.get_certificate_path(day))])

    def read_manifest(self) -> dict[str, Any]:
        """What the newest export of this exchange and interval wrote about itself; empty without one.

        Raises:
            UsageError: the manifest cannot be read, or the folder has bars of which no manifest knows.
        """
        mine = self._read_whole_manifest().get(self.key)
        if mine is None and self.list_days():
            raise UsageError(
                f"{self.path / BARS / self.key} has files, and {MANIFEST} does not know how they were exported;"
                " choose another folder, or remove them"
            )
        return dict(mine or {})

    def write_manifest(self, description: Mapping[str, Any]) -> bool:
        """Bring the manifest up to date; returns whether that changed anything."""
        whole = {**self._read_whole_manifest(), self.key: dict(description)}
        return self._write_json(self.path / MANIFEST, dict(sorted(whole.items())))

    def _read_whole_manifest(self) -> dict[str, Any]:
        path = self.path / MANIFEST
        try:
            content = json.loads(path.read_text("utf-8")) if path.exists() else {}
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}; remove it together with {BARS}/") from None
        if not isinstance(content, dict):
            raise UsageError(f"{path} is not the manifest of an export; choose another folder")
        return content

    def _write_json(self, path: Path, value: Mapping[str, Any]) -> bool:
        content = (json.dumps(value, indent=1) + "\n").encode()
        with translate_file_errors(path):
            if path.exists() and path.read_bytes() == content:
                return False
        replace_file(self._prepare(path), lambda file: file.write(content), self.path / WRITING)
        return True

    def _prepare(self, path: Path) -> Path:
        with translate_file_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path


def describe_table(table: pa.Table, description: Mapping[str, Any]) -> pa.Table:
    """The table with a description in its metadata, where ``read_description`` finds it."""
    return table.replace_schema_metadata({DESCRIPTION_KEY: json.dumps(description, sort_keys=True).encode()})


def read_description(path: Path) -> dict[str, Any]:
    """What a file of an export says of itself."""
    metadata = pq.read_schema(path).metadata or {}
    return dict(json.loads(metadata.get(DESCRIPTION_KEY, b"{}")))
