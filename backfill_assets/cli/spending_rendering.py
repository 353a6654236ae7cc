"""Lines of ``status`` about the budget, what calls were spent for, and a pause."""

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


def format_budget(budget: dict[str, Any] | None) -> str:
    """The calls and requests that are left, and what the vendor said about them; from the JSON of the status."""
    if budget is None:
        return "no token set (EODHD_API_TOKEN)"
    text = (
        f"{budget['calls_left_today']:,} calls until {budget['resets_at']} · "
        f"{budget['requests_left_this_minute']:,} of {budget['requests_ceiling']:,} requests this minute"
    )
    if used_up := budget["used_up"]:
        text += f" · the vendor said at {used_up['said_at']} that the day's calls are used up ({used_up['message']})"
    return text
