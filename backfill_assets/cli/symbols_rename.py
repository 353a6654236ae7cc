"""``symbols rename``: one instrument under two tickers, recorded with its evidence, and taken back."""

import sys
from datetime import date, datetime
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.caller import clean_text, describe_caller
from backfill_assets.cli.options import DateType, add_common_options, load_command_settings
from backfill_assets.config.counts import format_count
from backfill_assets.eodhd.pricing import CALL_PRICES, format_calls
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import Engine
    from backfill_assets.backfill.identity.rename_request import RenameCase
    from backfill_assets.market.calendar.tickers import Ticker
    from backfill_assets.store.evidence.proposals import Decision

MOST_CALLS = CALL_PRICES.symbol_changes + 2 * CALL_PRICES.daily


@click.command(
    "rename",
    help="Record that OLD became NEW: one instrument. OLD ends on the session before, NEW takes over; no bar is moved."
    f" The evidence is shown first; what is not known of it is requested (at most {format_calls(MOST_CALLS)}).",
)
@click.argument("old")
@click.argument("new")
@click.option("--on", "first_day", type=DateType(), help="The first session under NEW, for example 2022-06-09.")
@click.option("--yes", is_flag=True, help="Do not ask. What contradicts the rename still refuses it.")
@click.option(
    "--insist",
    is_flag=True,
    help="Record it although the evidence contradicts it. Bars of OLD from that day on then are another instrument's,"
    " which took the ticker over.",
)
@click.option("--undo", is_flag=True, help="Take the recorded rename back: everything is as before.")
@click.option("--note", help="Why; shown with the decision.")
@add_common_options
def symbols_rename(
    old: str,
    new: str,
    first_day: date | None,
    yes: bool,
    insist: bool,
    undo: bool,
    note: str | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Record that OLD became NEW, or take that back."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.market.calendar.tickers import parse_ticker

    old_ticker, new_ticker, text = parse_ticker(old), parse_ticker(new), clean_text(note, "--note")
    if undo and (yes or insist):
        raise UsageError("--undo takes neither --yes nor --insist")
    if not undo and first_day is None:
        raise UsageError(f"say from which session on {old_ticker} is {new_ticker}: --on YYYY-MM-DD")
    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        if undo:
            _undo_rename(engine, old_ticker, new_ticker, first_day, text)
        elif first_day is not None:
            _record_rename(engine, old_ticker, new_ticker, first_day, text, is_asked=not yes, is_insisted=insist)


def _record_rename(
    engine: "Engine",
    old: "Ticker",
    new: "Ticker",
    first_day: date,
    note: str | None,
    *,
    is_asked: bool,
    is_insisted: bool,
) -> None:
    from backfill_assets.backfill.identity.rename_request import examine_rename
    from backfill_assets.store.universes import list_universes_of

    case = examine_rename(engine, old, new, first_day, is_insisted=is_insisted)
    _show_case(case)
    contradictions = case.facts.list_contradictions()
    if contradictions and not is_insisted:
        raise UsageError(
            f"nothing was recorded, because the evidence contradicts that {case.rename}; if you know better: --insist",
            contradictions,
        )
    if is_asked and not _confirm():
        click.echo("nothing was recorded")
        return
    decision = _decide(engine, case, note)
    click.echo(
        f"recorded as decision {decision.decision_id}; to take it back: backfill-assets symbols rename"
        f" {old.short_name} {new.short_name} --undo"
    )
    with engine.database.transaction() as connection:
        for name in list_universes_of(connection, old, without=new):
            click.echo(f"universe {name} has {old} and not {new}: backfill-assets universes add {name} {new}")


def _confirm() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nothing was recorded: without a terminal to ask on, confirm with --yes")
    return click.confirm("record it?", default=False)


def _decide(engine: "Engine", case: "RenameCase", note: str | None) -> "Decision":
    from backfill_assets.backfill.decisions.inbox import decide_at_once
    from backfill_assets.backfill.decisions.renames import accept_rename, build_rename_proposal

    return decide_at_once(
        engine.database,
        build_rename_proposal(case.rename, case.facts),
        lambda context: accept_rename(context, case.rename),
        by=describe_caller(),
        note=note,
        now=engine.settings.now(),
    )


def _show_case(case: "RenameCase") -> None:
    """Print the evidence, what it cost, and what the rename changes."""
    rename, changes = case.rename, case.changes
    click.echo(str(rename))
    lines = list(case.facts.list_evidence()) + [("could not be read", failure) for failure in case.failures]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        click.echo(f"  {name:<{width}}  {text}")
    click.echo(f"  evidence: {format_calls(case.calls)} of the vendor")
    state = "goes on as another instrument" if changes.is_old_continued else "ended, and not active any more"
    click.echo(f"{rename.old} until {rename.last_day}: {state}")
    click.echo(f"{rename.new} from {rename.first_day} on: the same instrument, active")
    for other in changes.others:
        ticker, days = (
            (rename.old, f"from {other.listed_from} on")
            if other.listed_until is None
            else (
                rename.new,
                f"until {other.listed_until}",
            )
        )
        click.echo(f"{ticker} {days}: another instrument")
    if changes.withdrawn:
        click.echo(f"{format_count(len(changes.withdrawn), 'recorded listing')} replaced")


def _undo_rename(engine: "Engine", old: "Ticker", new: "Ticker", first_day: date | None, note: str | None) -> None:
    from backfill_assets.backfill.decisions.inbox import undo
    from backfill_assets.backfill.decisions.renames import find_recorded_rename

    with engine.database.transaction() as connection:
        decision_id = find_recorded_rename(connection, old, new, first_day)
    decision = undo(engine.database, decision_id, by=describe_caller(), note=note, now=engine.settings.now())
    click.echo(f"decision {decision.decision_id} undone: {old} and {new} are as before; no bar was changed")
