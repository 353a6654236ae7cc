"""``decisions``: the inbox of what a person must decide, with evidence and a proposal each."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backfill_assets.cli.caller import clean_text, describe_caller
from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings, make_console
from backfill_assets.config.counts import format_count
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import Engine
    from backfill_assets.store.evidence.proposals import Answer, Decision

F = TypeVar("F", bound=Callable[..., Any])
OPEN_COMMAND = "backfill-assets decisions list"
DECISION_ID = click.IntRange(1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions are meant; None: any."""

    kind: str | None
    rule: str | None
    ticker: str | None

    @property
    def is_given(self) -> bool:
        """Whether one of the options was given."""
        return any((self.kind, self.rule, self.ticker))

    def select(self, decisions: "Sequence[Decision]") -> "list[Decision]":
        """The decisions that match."""
        wanted = {"kind": self.kind, "rule": self.rule, "ticker": self.ticker}
        return [
            decision
            for decision in decisions
            if all(getattr(decision.proposal, name) == value for name, value in wanted.items() if value)
        ]


@click.group(cls=CommandGroup)
def decisions() -> None:
    """What a person must decide: doubts about bars, renamed and ended tickers, closed days."""


def _add_filter_options(command: F) -> F:
    for option in (
        click.option("--ticker", help="Only decisions about this ticker, for example AAPL."),
        click.option("--rule", help="Only decisions about doubts by this rule, for example price_spike."),
        click.option("--kind", help="Only decisions of this kind, for example doubt."),
    ):
        command = option(command)
    return command


def _add_answer_options(command: F) -> F:
    """The decisions that are answered, by ID or by filter, and why."""
    for option in (
        add_common_options,
        click.option("--note", help="Why; shown with the decision."),
        _add_filter_options,
        click.argument("ids", metavar="[ID]...", nargs=-1, type=DECISION_ID),
    ):
        command = option(command)
    return command


def _build_filter(kind: str | None, rule: str | None, ticker: str | None) -> DecisionFilter:
    from backfill_assets.backfill.decisions.kinds import KINDS
    from backfill_assets.market.calendar.tickers import parse_ticker
    from backfill_assets.market.plausibility.rules import Rule

    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown kind {kind[:30]!r}; use one of {', '.join(KINDS)}")
    if rule is not None and rule not in set(Rule):
        raise UsageError(f"unknown rule {rule[:30]!r}; use one of {', '.join(Rule)}")
    return DecisionFilter(kind, rule, str(parse_ticker(ticker)) if ticker is not None else None)


@decisions.command("list")
@click.option("--all", "show_all", is_flag=True, help="Also what was decided, and what was settled without it.")
@_add_filter_options
@add_format_option("table", "json")
@add_common_options
def decisions_list(
    show_all: bool,
    kind: str | None,
    rule: str | None,
    ticker: str | None,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Show what can be decided, with its number and the proposal; what waits for an answer comes first."""
    from backfill_assets.backfill.decisions.inbox import refresh_inbox
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.decision_rendering import MAX_TABLE_ROWS, show_decisions, sort_waiting_first
    from backfill_assets.store.evidence.decisions import list_closed_decisions, list_open_decisions, record_shown

    chosen, settings = _build_filter(kind, rule, ticker), load_command_settings(as_of, debug=debug)
    now = settings.now()
    with open_engine(settings) as engine:
        refresh_inbox(engine.database, now)
        with engine.database.transaction() as connection:
            found = sort_waiting_first(list_open_decisions(connection), now)
            found += list_closed_decisions(connection) if show_all else []
            selected = chosen.select(found)
            record_shown(connection, selected if output_format == "json" else selected[:MAX_TABLE_ROWS])
    if output_format == "json":
        click.echo(json.dumps([decision.as_dict(now) for decision in selected], indent=1))
    else:
        show_decisions(make_console(), selected, now)


@decisions.command("show")
@click.argument("decision_id", metavar="ID", type=DECISION_ID)
@add_format_option("table", "json")
@add_common_options
def decisions_show(decision_id: int, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Show a decision with its evidence, and every answer that it had."""
    from backfill_assets.backfill.decisions.inbox import describe_unknown, refresh_inbox
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.decision_rendering import show_decision
    from backfill_assets.store.evidence.decisions import list_history, read_decisions, record_shown

    settings = load_command_settings(as_of, debug=debug)
    now = settings.now()
    with open_engine(settings) as engine:
        refresh_inbox(engine.database, now)
        with engine.database.transaction() as connection:
            decision = read_decisions(connection, [decision_id]).get(decision_id)
            history = list_history(connection, decision_id)
            record_shown(connection, [decision] if decision else [])
    if decision is None:
        raise UsageError(describe_unknown(decision_id))
    if output_format == "json":
        entries = [entry.as_dict() for entry in history]
        click.echo(json.dumps({**decision.as_dict(now), "history": entries}, indent=1))
    else:
        show_decision(make_console(), decision, history, now)


@decisions.command("accept")
@_add_answer_options
def decisions_accept(
    ids: tuple[int, ...], note: str | None, as_of: datetime | None, debug: bool, **chosen: str | None
) -> None:
    """Do what was proposed: decisions with these IDs, or all open ones that the options choose."""
    from backfill_assets.store.evidence.proposals import Answer

    _decide(Answer.ACCEPTED, ids, _build_filter(**chosen), note, as_of, debug=debug)


@decisions.command("reject")
@_add_answer_options
def decisions_reject(
    ids: tuple[int, ...], note: str | None, as_of: datetime | None, debug: bool, **chosen: str | None
) -> None:
    """Decide against what was proposed: decisions with these IDs, or all open ones that the options choose."""
    from backfill_assets.store.evidence.proposals import Answer

    _decide(Answer.REJECTED, ids, _build_filter(**chosen), note, as_of, debug=debug)


@decisions.command("undo")
@click.argument("decision_id", metavar="ID", type=DECISION_ID)
@click.option("--note", help="Why; shown with the decision.")
@add_common_options
def decisions_undo(decision_id: int, note: str | None, as_of: datetime | None, debug: bool) -> None:
    """Take a decision back: what it changed is restored, and it is open again."""
    from backfill_assets.backfill.decisions.inbox import undo
    from backfill_assets.backfill.job_request import open_engine

    text, settings = clean_text(note, "--note"), load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        decision = undo(engine.database, decision_id, by=describe_caller(), note=text, now=settings.now())
    state = "it is open again" if decision.is_open else "it is settled without a decision now"
    click.echo(f"{decision.decision_id} undone: {decision.proposal.subject}; {state}")


def _decide(
    answer: "Answer",
    ids: tuple[int, ...],
    chosen: DecisionFilter,
    note: str | None,
    as_of: datetime | None,
    *,
    debug: bool,
) -> None:
    from backfill_assets.backfill.decisions.inbox import decide
    from backfill_assets.backfill.job_request import open_engine

    if bool(ids) == chosen.is_given:
        raise UsageError(f"give either IDs or one of --kind, --rule and --ticker; see: {OPEN_COMMAND}")
    text, settings = clean_text(note, "--note"), load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        decided = decide(
            engine.database,
            ids or _find_ids(engine, chosen, settings.now()),
            answer,
            by=describe_caller(),
            note=text,
            now=settings.now(),
            was_shown=bool(ids),
        )
    for decision in decided:
        click.echo(f"{decision.decision_id} {answer}: {decision.proposal.subject}")
    click.echo(
        f"{format_count(len(decided), 'decision')} {answer}; to take one back: backfill-assets decisions undo ID"
    )


def _find_ids(engine: "Engine", chosen: DecisionFilter, now: datetime) -> list[int]:
    from backfill_assets.backfill.decisions.inbox import refresh_inbox
    from backfill_assets.store.evidence.decisions import list_open_decisions

    refresh_inbox(engine.database, now)
    with engine.database.transaction() as connection:
        selected = chosen.select(list_open_decisions(connection))
    if not selected:
        raise UsageError(f"no open decision matches these options; see: {OPEN_COMMAND}")
    return [decision.decision_id for decision in selected]
