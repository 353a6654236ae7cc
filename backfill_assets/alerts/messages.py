"""What a message says: plain text that reads on a phone. Decides nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from backfill_assets.alerts.observation import GivenUp, Observation

Kind: TypeAlias = Literal["failing", "still failing", "given up", "recovered"]
WORST = 5
MAIN_INTERVAL = "30m"  # which the commands mean without --interval
REPORT, STATUS = "backfill-assets report", "backfill-assets status"
PAGE = f"{REPORT} --format html --output report.html"
GO_TO = {
    "every_symbol_has_recent_bars": REPORT,
    "no_missing_bars": REPORT,
    "newest_bar_is_fresh": REPORT,
    "no_rate_limit_errors": STATUS,  # of all intervals
}


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be told of one check or run; ``since`` is when it began to fail, ``gone`` what was given up now."""

    kind: Kind
    observation: Observation
    since: datetime
    gone: tuple[GivenUp, ...] = ()


def go_to_of(check: str, interval: str = MAIN_INTERVAL) -> str:
    """The command that shows more of a check of an interval's bars."""
    command = GO_TO.get(check, PAGE)
    return command if interval == MAIN_INTERVAL or command == STATUS else f"{command} --interval {interval}"


def title_of(changes: Sequence[Change]) -> str:
    """One line for changes of one kind."""
    kind, names = changes[0].kind, list(dict.fromkeys(change.observation.name for change in changes))
    warned = kind in ("failing", "still failing") and all(c.observation.severity == "warning" for c in changes)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"backfill_assets: {kind.upper()}{' (warning)' if warned else ''}: {names[0]}{more}"


def body_of(changes: Sequence[Change]) -> str:
    """A paragraph for each change; what was given up is listed once."""
    listed = [at for at, change in enumerate(changes) if change.gone not in [c.gone for c in changes[:at]]]
    return "\n\n".join("\n".join(_paragraph(change, lists=at in listed)) for at, change in enumerate(changes))


def _paragraph(change: Change, *, lists: bool) -> list[str]:
    seen, lasted = change.observation, change.observation.observed_at - change.since
    if change.kind == "recovered":
        return [f"{seen.name} holds again after {duration(lasted)}: {seen.meaning}"]
    lines = [f"{seen.name}: {seen.meaning}"]
    if seen.passed and seen.lingering:
        lines.append(f"not recovered: {seen.lingering:,} bars of sessions before those are still missing")
    if change.gone and lists:
        lines += _given_up(change)
    if not seen.passed or seen.lingering:
        lines += _failure(change, lasted)
    return [*lines, f"look: {seen.go_to or go_to_of(seen.name)}"]


def _failure(change: Change, lasted: timedelta) -> Iterator[str]:
    seen = change.observation
    if seen.offenders:
        yield f"worst: {', '.join(seen.offenders[:WORST])}" + (", …" if len(seen.offenders) > WORST else "")
    yield f"since: {change.since:%Y-%m-%d %H:%M} UTC" + (f" ({duration(lasted)})" if lasted else "")
    if seen.cause:
        yield f"likely cause: {seen.cause}"


def _given_up(change: Change) -> list[str]:
    slots = sum(gap.slots for gap in change.gone)
    listed = ", ".join(f"{gap.ticker} {gap.day} ({gap.slots})" for gap in change.gone[:WORST])
    more = len(change.gone) - WORST
    return [
        f"given up: {slots:,} slots became vendor_gap; the vendor never gave them, they are asked for weekly",
        f"which: {listed}" + (f" and {more} more sessions" if more > 0 else ""),
    ]


def duration(lasted: timedelta) -> str:
    """A length of time as people say it."""
    minutes = round(lasted.total_seconds() / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
