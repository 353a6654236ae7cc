"""What the alerts are told: a judged check or a run that ended, as plain values.

Knows nothing of Dagster. A check puts ``as_metadata`` into its metadata, the sensor reads it back with
``from_metadata``; whether it is news is decided in ``observing``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from pydantic import TypeAdapter

from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState

Severity: TypeAlias = Literal["warning", "error"]


class VendorGap(NamedTuple):
    """Slots of a ticker's session that the vendor never gave."""

    ticker: str
    day: date
    slots: int


class CriterionLike(Protocol):
    """What is used of a criterion (``quality.criteria.Criterion`` is one)."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def passed(self) -> bool: ...  # noqa: D102
    @property
    def figure(self) -> float: ...  # noqa: D102
    @property
    def threshold(self) -> float: ...  # noqa: D102
    @property
    def meaning(self) -> str: ...  # noqa: D102
    @property
    def offenders(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a check or the end of one run.

    Attributes:
        event_id: names this look; the same one twice changes nothing.
        name: of the check or job; its state is followed under it.
        observed_at: when, UTC; a look that is older than the last one known changes nothing.
        passed: whether it holds.
        figure: what was measured.
        threshold: what it is measured against.
        meaning: the figure in words.
        offenders: who breaks it, the worst first.
        severity: how bad a failure is.
        cause: the likely cause in one phrase, empty if none is known.
        given_up: what the vendor never gave; each is told once.
        lingering: bars missing in sessions that the check does not look at (any more); while there are
            some, what failed has not recovered.
        go_to: the command or page that shows more; empty: what fits the name.
    """

    event_id: str
    name: str
    observed_at: datetime
    passed: bool
    figure: float = 0
    threshold: float = 0
    meaning: str = ""
    offenders: tuple[str, ...] = ()
    severity: Severity = "error"
    cause: str = ""
    given_up: tuple[VendorGap, ...] = ()
    lingering: int = 0
    go_to: str = ""

    def to_metadata(self) -> dict[str, Any]:
        """The observation as JSON values."""
        values: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return values


_ADAPTER = TypeAdapter(Observation)


def parse_observation(values: Mapping[str, Any], *, event_id: str) -> Observation:
    """An observation as ``as_metadata`` gave it, under the id of the event that carried it.

    Raises:
        ValueError: the values are not of that form.
    """
    return replace(_ADAPTER.validate_python({**values, "event_id": event_id}), event_id=event_id)


def build_observation(
    criterion: CriterionLike, observed_at: datetime, *, event_id: str = "", **extra: Any
) -> Observation:
    """A criterion as judged at ``at``, with ``more`` fields; without ``event_id``, name and moment make one."""
    return Observation(
        event_id=event_id or f"{criterion.name} {observed_at.isoformat()}",
        name=criterion.name,
        observed_at=observed_at,
        passed=criterion.passed,
        figure=float(criterion.figure),
        threshold=float(criterion.threshold),
        meaning=criterion.meaning,
        offenders=tuple(criterion.offenders),
        **extra,
    )


def build_run_observation(
    job: str, run_id: str, observed_at: datetime, *, error: str | None, cause: str = "", go_to: str = ""
) -> Observation:
    """A run of ``job`` (or an asset) that failed with ``error`` or (None) went through; a cancellation is neither."""
    return Observation(
        event_id=f"run {run_id} of {job} {'failed' if error is not None else 'went through'}",
        name=f"run of {job}",
        observed_at=observed_at,
        passed=error is None,
        figure=float(error is not None),
        meaning="it went through" if error is None else f"run {run_id} failed: {error}",
        cause=cause,
        go_to=go_to,
    )


def find_vendor_gaps(coverage: Coverage) -> tuple[VendorGap, ...]:
    """What the vendor never gave of a window, per ticker and session."""
    counts = coverage.count_by_session(coverage.has_state(SlotState.VENDOR_GAP))
    return tuple(
        VendorGap(str(coverage.symbols[row].ticker), coverage.grid.sessions[session].day, int(counts[row, session]))
        for row, session in np.argwhere(counts).tolist()
    )
