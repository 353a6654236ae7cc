"""What a message says: plain text that reads on a phone. Decides nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from backfill_assets.alerts.observation import Observation, VendorGap
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL

ChangeKind: TypeAlias = Literal["failing", "still failing", "given up", "recovered"]
MAX_LISTED = 5
REPORT_COMMAND, STATUS_COMMAND = "backfill-assets report", "backfill-assets status"
HTML_REPORT_COMMAND = f"{REPORT_COMMAND} --format html --output report.html"
COMMAND_BY_CHECK = {
    "every_symbol_has_recent_bars": REPORT_COMMAND,
    "no_missing_bars": REPORT_COMMAND,
    "newest_bar_is_fresh": REPORT_COMMAND,
    "no_rate_limit_errors": STATUS_COMMAND,  # of all intervals
}


@dataclass(frozen=True, slots=True)
class StateChange:
    """What is to be told of one check or run; ``since`` is when it began to fail, ``gone`` what was given up now."""

    kind: ChangeKind
    observation: Observation
    since: datetime
    new_gaps: tuple[VendorGap, ...] = ()


def get_command(check: str, interval: str = DEFAULT_INTERVAL) -> str:
    """The command that shows more of a check of an interval's bars."""
    command = COMMAND_BY_CHECK.get(check, HTML_REPORT_COMMAND)
    return command if interval == DEFAULT_INTERVAL or command == STATUS_COMMAND else f"{command} --interval {interval}"


def format_title(changes: Sequence[StateChange]) -> str:
    """One line for changes of one kind."""
    kind, names = changes[0].kind, list(dict.fromkeys(change.observation.name for change in changes))
    is_warning = kind in ("failing", "still failing") and all(c.observation.severity == "warning" for c in changes)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"backfill_assets: {kind.upper()}{' (warning)' if is_warning else ''}: {names[0]}{more}"


def format_body(changes: Sequence[StateChange]) -> str:
    """A paragraph for each change; what was given up is listed once."""
    first_listing = [
        at for at, change in enumerate(changes) if change.new_gaps not in [c.new_gaps for c in changes[:at]]
    ]
    return "\n\n".join(
        "\n".join(_format_paragraph(change, include_gaps=at in first_listing)) for at, change in enumerate(changes)
    )


def _format_paragraph(change: StateChange, *, include_gaps: bool) -> list[str]:
    observation, elapsed = change.observation, change.observation.observed_at - change.since
    if change.kind == "recovered":
        return [f"{observation.name} holds again after {format_duration(elapsed)}: {observation.meaning}"]
    lines = [f"{observation.name}: {observation.meaning}"]
    if observation.passed and observation.lingering:
        lines.append(f"not recovered: {observation.lingering:,} bars of sessions before those are still missing")
    if change.new_gaps and include_gaps:
        lines += _format_vendor_gaps(change)
    if not observation.passed or observation.lingering:
        lines += _format_failure(change, elapsed)
    return [*lines, f"look: {observation.go_to or get_command(observation.name)}"]


def _format_failure(change: StateChange, elapsed: timedelta) -> Iterator[str]:
    observation = change.observation
    if observation.offenders:
        yield f"worst: {', '.join(observation.offenders[:MAX_LISTED])}" + (
            ", …" if len(observation.offenders) > MAX_LISTED else ""
        )
    yield f"since: {change.since:%Y-%m-%d %H:%M} UTC" + (f" ({format_duration(elapsed)})" if elapsed else "")
    if observation.cause:
        yield f"likely cause: {observation.cause}"


def _format_vendor_gaps(change: StateChange) -> list[str]:
    slots = sum(gap.slots for gap in change.new_gaps)
    listed = ", ".join(f"{gap.ticker} {gap.day} ({gap.slots})" for gap in change.new_gaps[:MAX_LISTED])
    more = len(change.new_gaps) - MAX_LISTED
    return [
        f"given up: {slots:,} slots became vendor_gap; the vendor never gave them, they are asked for weekly",
        f"which: {listed}" + (f" and {more} more sessions" if more > 0 else ""),
    ]


def format_duration(elapsed: timedelta) -> str:
    """A length of time as people say it."""
    minutes = round(elapsed.total_seconds() / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
