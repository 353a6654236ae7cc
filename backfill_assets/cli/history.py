"""``history``: sessions before those that are healed, filled with calls that are left over."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.caller import clean_text, describe_caller
from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.options import (
    add_common_options,
    add_debug_option,
    add_format_option,
    load_command_settings,
    make_console,
)
from backfill_assets.config.counts import format_count
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import Engine
    from backfill_assets.backfill.history.spending import HistoryWalk


@click.group(cls=CommandGroup)
def history() -> None:
    """Sessions since BACKFILL_HISTORY_FROM: filled with calls that are left over, newest first."""


@history.command("start")
@click.option("--requests", type=click.IntRange(1), help="At most about this many requests.  [default: no limit]")
@click.option("--quiet", is_flag=True, help="Print the summary only.")
@add_format_option("table", "json")
@add_common_options
def history_start(requests: int | None, quiet: bool, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Request what is absent of the history until no calls are left over today; ends a pause.

    With Dagster, history_schedule does the same by itself. Without, start it once a day, after run: it ends as soon as
    newer gaps are due, and each time it goes on where the last one ended.
    """
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.history_state import end_history_pause

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        _require_wanted(engine)
        with engine.database.transaction() as connection:
            end_history_pause(connection)
        done = _walk(engine, requests, show_tickers=not quiet and output_format != "json")
        described = _describe(engine)
    if output_format == "json":
        click.echo(json.dumps({"walk": done.as_dict(), **described}, indent=1))
    else:
        counts = ((done.requests, "request"), (done.calls, "call"), (done.inserted, "bar"))
        click.echo(" · ".join([*(format_count(*count) for count in counts), done.describe_end()]))
        click.echo(f"history: {described['summary']}")
    sys.exit(done.stopped.exit_code if done.stopped else 0)


def _walk(engine: "Engine", requests: int | None, *, show_tickers: bool) -> "HistoryWalk":
    from backfill_assets.backfill.history.spending import walk_history
    from backfill_assets.cli.progress import show_run_progress

    with show_run_progress(make_console(stderr=True), show_tickers=show_tickers) as listener:
        return walk_history(engine, listener, max_requests=requests)


def _require_wanted(engine: "Engine") -> None:
    from backfill_assets.backfill.history.frontier import is_history_wanted
    from backfill_assets.backfill.history.spending import OFF

    if not is_history_wanted(engine):
        raise UsageError(f"{OFF}; for example: BACKFILL_HISTORY_FROM=2020-10-12")
    first, today = engine.settings.history_from, engine.settings.now().date()
    if first is not None and first > today:
        raise UsageError(f"BACKFILL_HISTORY_FROM {first} is in the future; give the first day that is to have bars")


def _describe(engine: "Engine") -> dict[str, Any]:
    """The estimate as JSON, with the one line that says it, and the state of the walk."""
    from backfill_assets.backfill.history.estimate import estimate_history
    from backfill_assets.market.calendar.timestamps import format_optional_timestamp
    from backfill_assets.store.history_state import read_history_state

    estimate = estimate_history(engine)
    with engine.database.transaction() as connection:
        state = read_history_state(connection)
    nothing = {"summary": "no symbol has sessions before those that are healed; nothing to do"}
    return {
        **(estimate.as_dict() if estimate else nothing),
        "pause": state.describe_pause() or None,
        "looked_at": format_optional_timestamp(state.looked_at),
        "said": state.said or None,
    }


@history.command("status")
@add_format_option("table", "json")
@add_common_options
def history_status(output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Show how complete the history is, when it will be done, and why it last stopped."""
    _show(output_format, as_of, debug, _list_status)


@history.command("estimate")
@add_format_option("table", "json")
@add_common_options
def history_estimate(output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Show what the rest of the history costs, and when it will be done; requests nothing.

    The date rests on the calls that were left over on past days, not on the limit.
    """
    _show(output_format, as_of, debug, _list_estimate)


def _show(
    output_format: str, as_of: datetime | None, debug: bool, list_lines: Callable[[dict[str, Any]], dict[str, str]]
) -> None:
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.named_lines import show_named_lines

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        _require_wanted(engine)
        described, today = _describe(engine), engine.settings.now().date()
    if output_format == "json":
        click.echo(json.dumps(described, indent=1))
        return
    lines = list_lines(described)
    if begin := described.get("ends_before"):
        lines["newer sessions"] = (
            f"not included: those from {begin} on are filled by Dagster's sensors; without Dagster:"
            f" backfill-assets run --start {begin} --end {today}"
        )
    show_named_lines(make_console(), list(lines.items()))


def _list_status(described: dict[str, Any]) -> dict[str, str]:
    names = {"summary": "history", "pause": "pause", "looked_at": "last look", "said": "its result"}
    lines = {shown: described[name] for name, shown in names.items() if described[name]}
    if lines.get("pause", "") in described["summary"]:  # said already
        lines.pop("pause", None)
    return lines


def _list_estimate(described: dict[str, Any]) -> dict[str, str]:
    lines = {}
    if "symbols" in described:
        cost = format_count(described["calls"], "call")
        lines = {
            "symbols": f"{described['symbols']:,}, {described['symbols_done']:,} done",
            "sessions": f"{described['sessions']:,} of all symbols, {described['sessions_done']:,} done",
            "requests left": f"{described['requests']:,}, {cost} with daily histories",
        }
    if described.get("calls_a_day") is not None:
        days = described["days_known"]
        known = "today alone" if not days else "the past day" if days == 1 else f"the past {days} days"
        lines["calls left today"] = f"{described['calls_left_today']:,}"
        lines["calls a day"] = f"{described['calls_a_day']:,}, by {known}"
    return {**lines, "history": described["summary"]}


@history.command("pause")
@click.option("--reason", help="Shown wherever the pause is shown.")
@add_debug_option
def history_pause(reason: str | None, debug: bool) -> None:
    """Request nothing of the history until somebody resumes it; all other work goes on.

    A walk that is under way ends after the requests of its present step. To stop all spending: backfill-assets pause.
    """
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.history_state import read_history_state, start_history_pause

    text = clean_text(reason, "--reason")
    with open_engine(load_command_settings(debug=debug)) as engine, engine.database.transaction() as connection:
        start_history_pause(connection, describe_caller(), text)
        paused = read_history_state(connection).describe_pause()
    click.echo(paused)


@history.command("resume")
@add_common_options
def history_resume(as_of: datetime | None, debug: bool) -> None:
    """End a pause of the history; Dagster goes on by itself, in a terminal: history start."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.history_state import end_history_pause

    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        is_ended = end_history_pause(connection)
    click.echo("the history goes on" if is_ended else "the history was not paused; nothing to do")
