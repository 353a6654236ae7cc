"""The input of the alerts: the result of a check, or the end of a run, as plain values.

Independent of Dagster. An asset check stores ``Observation.to_metadata`` in its metadata, and the alert sensor reads it
back with ``parse_observation``. Whether an observation is reported is decided in ``state_changes``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.criteria import Criterion, Severity


class VendorGap(NamedTuple):
    """How many slots of a ticker's session the vendor never returned."""

    ticker: str
    day: date
    slots: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One result of a check, or the end of one run.

    Attributes:
        event_id: identifies the observation; an id that was recorded before is ignored.
        name: of the check or job; the alert state is kept under this name.
        observed_at: UTC; an observation older than the last one of its name is ignored.
        passed: whether the check passed or the run succeeded.
        figure: the measured value.
        threshold: the highest value that passes.
        meaning: the figure in words.
        offenders: the tickers (or bars, closes) that fail, worst first.
        severity: of a failure.
        cause: the likely cause in one phrase; empty if none is known.
        given_up: slots that the vendor never returned; each is reported once.
        lingering: bars missing in sessions outside the check's window; above 0 a failure has not recovered.
        go_to: the command or page that shows more; empty: the command that fits the name.
        judged: whether the check had anything to compare; if not, it neither failed nor passed, and ``passed`` is true.
        title: of a message about this observation alone; empty: the change and the name.
        news_at: when the newest part of a failure came up, UTC. With it, a failure that lasts is told again only if
            this is later than the last message.
        exchange: whose bars it is about, by the vendor's code; messages name it and its time zone. Empty if it is about
            all exchanges, or if the US is the only one.
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
    judged: bool = True
    title: str = ""
    news_at: datetime | None = None
    exchange: str = ""

    def to_metadata(self) -> dict[str, Any]:
        """The observation as JSON values; without an exchange as they were before there were several."""
        values: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return values if self.exchange else {name: value for name, value in values.items() if name != "exchange"}


_ADAPTER = TypeAdapter(Observation)


def parse_observation(values: Mapping[str, Any], *, event_id: str) -> Observation:
    """Read back what ``Observation.to_metadata`` returned; ``event_id`` is that of the event that carried it.

    Raises:
        ValueError: a field is missing or has the wrong type.
    """
    return replace(_ADAPTER.validate_python({**values, "event_id": event_id}), event_id=event_id)


def build_observation(criterion: Criterion, observed_at: datetime, *, event_id: str = "", **extra: Any) -> Observation:
    """The observation of a check result; ``extra`` are further fields. The default event id is name and time."""
    return Observation(
        event_id=event_id or f"{criterion.name} {observed_at.isoformat()}",
        name=criterion.name,
        observed_at=observed_at,
        passed=criterion.passed,
        judged=criterion.judged,
        figure=float(criterion.figure),
        threshold=float(criterion.threshold),
        meaning=criterion.meaning,
        offenders=tuple(criterion.offenders),
        **extra,
    )


def build_run_observation(
    job: str, run_id: str, observed_at: datetime, *, error: str | None, cause: str = "", go_to: str = ""
) -> Observation:
    """The end of a run of ``job`` (or an asset): failed with ``error``, or (None) succeeded."""
    return Observation(
        event_id=f"run {run_id} of {job} {'failed' if error is not None else 'went through'}",
        name=f"run of {job}",
        observed_at=observed_at,
        passed=error is None,
        figure=float(error is not None),
        meaning="the run succeeded" if error is None else f"run {run_id} failed: {error}",
        cause=cause,
        go_to=go_to,
    )


def find_vendor_gaps(coverage: Coverage) -> tuple[VendorGap, ...]:
    """The slots of a window that the vendor never returned, per ticker and session."""
    counts = coverage.count_by_session(coverage.has_state(SlotState.VENDOR_GAP))
    counts[coverage.absence_evidence.is_unserved] = 0  # one finding per symbol says so already
    return tuple(
        VendorGap(str(coverage.symbols[row].ticker), coverage.grid.sessions[session].day, int(counts[row, session]))
        for row, session in np.argwhere(counts).tolist()
    )
