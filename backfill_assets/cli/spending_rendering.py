"""Lines of ``status`` about what calls were spent for, and about a pause."""

from typing import Any


def format_spending(calls: dict[str, Any] | None, pause: dict[str, Any] | None) -> dict[str, str]:
    """Title and text of each line, from the JSON of the status; none where nothing was spent and nothing is paused."""
    lines = {}
    if calls and calls["past_30_days"]:
        for title, period in (("calls today", "today"), ("calls 30 days", "past_30_days")):
            lines[title] = " · ".join(f"{purpose} {count:,}" for purpose, count in calls[period].items()) or "none"
    if pause:
        end = f"until {pause['until']}" if pause["until"] else "until: backfill-assets resume"
        reason = f" ({pause['reason']})" if pause["reason"] else ""
        lines["PAUSED"] = f"all spending, by {pause['by']} since {pause['since']}, {end}{reason}"
    return lines
