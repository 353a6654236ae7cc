"""The summary of an audit in a terminal: a line for each rule, then examples of what was found."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from backfill_assets.backfill.plausibility.audit_result import AuditExample, AuditResult, RuleSummary
from backfill_assets.cli.named_lines import show_named_lines
from backfill_assets.config.counts import format_count
from backfill_assets.market.plausibility.doubt_texts import describe_figures
from backfill_assets.market.plausibility.rules import RULE_TEXTS

_COLUMNS = ("rule", "doubts", "bars", "symbols", "first", "last", "sessions judged", "not judged")
_MAX_SCALED = 5  # stretches that are shown
_NUMBERS = frozenset(("doubts", "bars", "symbols", "sessions judged", "not judged"))


def show_audit(console: Console, result: AuditResult) -> None:
    """Print what each rule found, and the first doubts of each."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in _COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=True)
    for rule in result.rules:
        if rule.has_stored_form:
            table.add_row(*_format_rule(rule), style="red" if rule.doubts else None)
    console.print(table)
    if examples := [line for rule in result.rules for line in _list_examples(rule)]:
        show_named_lines(console, examples)
    for line in _list_notes(result):
        console.print(line, highlight=False)


def _format_rule(rule: RuleSummary) -> tuple[str, ...]:
    days = (str(rule.first), str(rule.last)) if rule.first else ("", "")
    counts = (rule.doubts, rule.bars, rule.symbols)
    judged = (f"{rule.judged_sessions:,}", f"{rule.unjudged_sessions:,}")
    return (str(rule.rule), *(f"{count:,}" for count in counts), *days, *judged)


def _list_examples(rule: RuleSummary) -> Iterator[tuple[str, str]]:
    for position, example in enumerate(rule.examples):
        yield (
            str(rule.rule) if position == 0 else "",
            f"{_name_bars(example)}: {', '.join(describe_figures(example.figures))}",
        )


def _name_bars(example: AuditExample) -> str:
    until = "" if example.first_slot == example.last_slot else f" to {example.last_slot:%H:%M}"
    return f"{example.ticker} {example.first_slot:%Y-%m-%d %H:%M}{until} UTC"


def _list_notes(result: AuditResult) -> Iterator[str]:
    rows_only = [rule.rule for rule in result.rules if not rule.has_stored_form]
    if rows_only:
        yield "read the vendor's rows only, not stored bars: " + "; ".join(f"{r} ({RULE_TEXTS[r]})" for r in rows_only)
    if confirmed := sum(rule.confirmed for rule in result.rules):
        yield f"{format_count(confirmed, 'spike')} shared with at least 1 % of the market: not doubted"
    for stretch in result.scaled[:_MAX_SCALED]:
        yield (
            f"{stretch.ticker} {stretch.first} to {stretch.last}: all prices are {stretch.factor:.4g} times those of"
            " the daily data, as before a spin-off; not doubted"
        )
    if len(result.scaled) > _MAX_SCALED:
        yield f"… and {len(result.scaled) - _MAX_SCALED:,} more such stretches (--format json shows all)"
    if any(rule.unjudged_sessions for rule in result.rules):
        yield "not judged: the daily data of the session or the listing of the symbol are not known"
    doubts = sum(rule.doubts for rule in result.rules)
    external = f", {result.external_bars:,} of them of other programs" if result.external_bars else ""
    opened = "" if result.opened is None else f" · {result.opened:,} opened"
    yield (
        f"{format_count(doubts, 'doubt')} about {format_count(result.bars, 'bar')}{external}"
        f" · {format_count(result.sessions, 'session')} of single symbols{opened}"
    )
