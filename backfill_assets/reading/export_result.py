"""What an export was asked for and what it did; as text, and as JSON has it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How the bars of an export are read. All exports to one folder have the same, for each exchange and interval."""

    universe: str
    adjustment: str
    require: str
    on_incomplete: str
    unverified: bool

    @property
    def is_adjusted(self) -> bool:
        """Whether an action may change the bars of any session before it."""
        return self.adjustment != "none"


@dataclass(slots=True)
class ExportResult:
    """What an export did.

    Attributes:
        path: the folder that holds the Parquet files, for ``read_parquet`` and ``scan_parquet``.
        written: sessions whose file is new or was replaced.
        unchanged: sessions whose file is as it has to be.
        removed: sessions that had a file and have none now: they are incomplete, or gone.
        incomplete: sessions that have no file because they are not what is required → why.
        pending: sessions that are not over or not published yet, and have no file.
        dropped: sessions → the symbols that were left out of their files (``on_incomplete="drop"``).
        partial: sessions whose file lacks bars without a reason (``require="any"``).
        differing: sessions whose newest certificate is about other bars than their file: bars or members changed since.
        certificates: how many files of certificates were written or removed.
    """

    path: Path
    written: list[date] = field(default_factory=list)
    unchanged: list[date] = field(default_factory=list)
    removed: list[date] = field(default_factory=list)
    incomplete: dict[date, str] = field(default_factory=dict)
    pending: list[date] = field(default_factory=list)
    dropped: dict[date, tuple[str, ...]] = field(default_factory=dict)
    partial: list[date] = field(default_factory=list)
    differing: list[date] = field(default_factory=list)
    certificates: int = 0

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing was written or removed."""
        return not (self.written or self.removed or self.certificates)

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "path": str(self.path),
            **{name: [str(day) for day in getattr(self, name)] for name in ("written", "unchanged", "removed")},
            "incomplete": {str(day): reason for day, reason in self.incomplete.items()},
            "pending": [str(day) for day in self.pending],
            "dropped": {str(day): list(symbols) for day, symbols in self.dropped.items()},
            "partial": [str(day) for day in self.partial],
            "differing": [str(day) for day in self.differing],
            "certificates": self.certificates,
        }

    def __str__(self) -> str:
        counts = f"{len(self.written):,} sessions written, {len(self.unchanged):,} unchanged"
        if self.removed:
            counts += f", {len(self.removed):,} removed ({_name_days(self.removed)})"
        lines = [f"nothing has changed: {counts}" if self.is_unchanged else counts, f"read {self.path}"]
        if self.is_unchanged and not (self.unchanged or self.incomplete or self.pending):
            lines[0] = "no session to export: the window has none with bars of this interval"
        lines += [f"not exported: {reason}" for reason in list(self.incomplete.values())[:_MAX_NAMED]]
        if len(self.incomplete) > _MAX_NAMED:
            lines.append(f"not exported: {len(self.incomplete) - _MAX_NAMED:,} further sessions")
        if self.pending:
            lines.append(f"not published yet: {_name_days(self.pending)}")
        if self.partial:
            lines.append(f"exported although bars are absent: {_name_days(self.partial)}")
        if self.differing:
            lines.append(f"certificates about other bars than exported: {_name_days(self.differing)}")
        for day, symbols in list(self.dropped.items())[:_MAX_NAMED]:
            lines.append(f"left out of {day} because they are incomplete: {_name(symbols)}")
        return "\n".join(lines)


def _name_days(days: Sequence[date]) -> str:
    return _name([str(day) for day in days])


def _name(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
