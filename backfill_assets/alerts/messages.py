"""The text of an alert message: plain text, short enough for a phone.

Which changes are reported is decided in ``state_changes``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from backfill_assets.alerts.observation import Observation, VendorGap
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.quality.checks import get_command

ChangeKind: TypeAlias = Literal["failing", "still failing", "given up", "recovered", "no longer judged"]
MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of one check or run that is reported.

    Attributes:
        kind: what changed.
        observation: the observation that showed it.
        since: when the failure began, UTC.
        new_gaps: vendor gaps that no message has listed yet.
    """

    kind: ChangeKind
    observation: Observation
    since: datetime
    new_gaps: tuple[VendorGap, ...] = ()


def format_title(changes: Sequence[StateChange]) -> str:
    """One line that sums up changes of one kind."""
    kind, names = changes[0].kind, list(dict.fromkeys(change.observation.name for change in changes))
    if len(names) == 1 and (title := changes[-1].observation.title):
        return f"backfill_assets: {title}"
    is_warning = kind in ("failing", "still failing") and all(c.observation.severity == "warning" for c in changes)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    where = _format_exchanges(changes, names[0])
    return f"backfill_assets: {kind.upper()}{' (warning)' if is_warning else ''}: {where}{names[0]}{more}"


def _format_exchanges(changes: Sequence[StateChange], name: str) -> str:
    """The exchanges of the changes for the subject, unless only the US is concerned or ``name`` says which it is."""
    exchanges = list(dict.fromkeys(change.observation.exchange for change in changes if change.observation.exchange))
    is_said = exchanges in ([], [US.exchange]) or (len(exchanges) == 1 and f"_{exchanges[0]}" in name)
    return "" if is_said else f"{', '.join(exchanges)}: "


def format_body(changes: Sequence[StateChange]) -> str:
    """A paragraph for each change; the same vendor gaps are listed only once."""
    first_listing = [
        index for index, change in enumerate(changes) if change.new_gaps not in [c.new_gaps for c in changes[:index]]
    ]
    return "\n\n".join(
        "\n".join(_format_paragraph(change, include_gaps=index in first_listing))
        for index, change in enumerate(changes)
    )


def _format_paragraph(change: StateChange, *, include_gaps: bool) -> list[str]:
    observation, elapsed = change.observation, change.observation.observed_at - change.since
    if change.kind == "recovered" and observation.title:
        return [f"{observation.meaning}, for the first time in {format_duration(elapsed)}"]
    if change.kind == "recovered":
        return [f"{observation.name} passes again after {format_duration(elapsed)}: {observation.meaning}"]
    if change.kind == "no longer judged":
        return [f"{observation.name} failed for {format_duration(elapsed)}; {observation.meaning}"]
    lines = [f"{observation.name}: {observation.meaning}"]
    if observation.passed and observation.lingering:
        lines.append(f"not recovered: {observation.lingering:,} bars are still missing in older sessions")
    if change.new_gaps and include_gaps:
        lines += _format_vendor_gaps(change)
    if not observation.passed or observation.lingering:
        lines += _format_failure(change, elapsed)
    return [*lines, f"next step: {observation.go_to or get_command(observation.name)}"]


def _format_failure(change: StateChange, elapsed: timedelta) -> Iterator[str]:
    observation = change.observation
    if observation.offenders:
        yield f"worst: {', '.join(observation.offenders[:MAX_LISTED])}" + (
            ", …" if len(observation.offenders) > MAX_LISTED else ""
        )
    style = MomentStyle(get_profile(observation.exchange)) if observation.exchange else UTC_STYLE
    yield f"since: {style.format_minute(change.since)}" + (f" ({format_duration(elapsed)})" if elapsed else "")
    if observation.cause:
        yield f"likely cause: {observation.cause}"


def _format_vendor_gaps(change: StateChange) -> list[str]:
    slots = sum(gap.slots for gap in change.new_gaps)
    listed = ", ".join(f"{gap.ticker} {gap.day} ({gap.slots})" for gap in change.new_gaps[:MAX_LISTED])
    more = len(change.new_gaps) - MAX_LISTED
    return [
        f"given up: {slots:,} slots are now vendor_gap: the vendor never returned them; next requests: weekly",
        f"sessions: {listed}" + (f" and {more} more" if more > 0 else ""),
    ]


def format_duration(elapsed: timedelta) -> str:
    """A duration in minutes, hours or days, rounded."""
    minutes = round(elapsed.total_seconds() / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
