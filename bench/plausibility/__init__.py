"""How much improbable data the rules of plausibility find in simulated sessions, and how many clean ones they doubt.

``python -m bench plausibility`` prints the counts and renews them in docs/plausibility.md. No database, no HTTP.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from backfill_assets.sandbox.oddities import OddityKind
from bench.plausibility.counts import CleanCount, KindCount, add_clean, add_kinds, count_clean, count_kind
from bench.plausibility.volumes import SORTS
from bench.report_writer import replace_part

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "plausibility.md"
LINES = 6_000  # sessions judged at once
CLEAN_BLOCKS = 11  # of each sort: 60,000 sessions and more
KIND_BLOCKS = 2  # of each kind and sort
CLEAN_HEADINGS = ("names", "clean sessions", "doubted before their day is known", "their day never known", "doubted")
KIND_HEADINGS = ("kind", "sessions", "promised", "found", "share", "not promised", "found ", "bars", "marked", "others")


def run(console: Console) -> bool:
    """Count, print and write everything; return whether every promise is kept."""
    clean = [add_clean([count_clean(sort, LINES, block) for block in range(CLEAN_BLOCKS)]) for sort in SORTS]
    by_sort = {kind: list(_count_sorts(kind)) for kind in OddityKind}
    totals = [add_kinds(counts, "all") for counts in by_sort.values()]
    missed = [count for counts in by_sort.values() for count in counts if not count.keeps_promise]
    tables = [
        ("Clean sessions", CLEAN_HEADINGS, [*map(_describe_clean, clean), _describe_clean(_add_sorts(clean))]),
        ("Improbable data", KIND_HEADINGS, [_describe_kind(count) for count in totals]),
        ("By names, where less than 99 % is found", KIND_HEADINGS, [_describe_kind(count) for count in missed]),
    ]
    for title, headings, rows in tables:
        _print_table(console, title, headings, rows)
    text = "\n\n".join(_format_table(title, headings, rows) for title, headings, rows in tables if rows)
    replace_part(DOCUMENT, "plausibility", text)
    for count in clean:
        if count.rules:
            console.print(f"{count.sort}: {dict(count.rules)}", highlight=False)
    return not missed and not any(count.doubted for count in clean)


def _count_sorts(kind: OddityKind) -> Iterator[KindCount]:
    for sort in SORTS:
        yield add_kinds([count_kind(kind, sort, LINES, block) for block in range(KIND_BLOCKS)], sort)


def _add_sorts(counts: Sequence[CleanCount]) -> CleanCount:
    total = add_clean(list(counts))
    total.sort = "all"
    return total


def _describe_clean(count: CleanCount) -> tuple[str, ...]:
    numbers = (count.sessions, count.doubted_on_arrival, count.doubted_unknown, count.doubted)
    return count.sort, *(f"{number:,}" for number in numbers)


def _describe_kind(count: KindCount) -> tuple[str, ...]:
    name = count.kind.value if count.sort == "all" else f"{count.kind.value}, {count.sort}"
    share = f"{100 * count.found / count.promised:.2f} %" if count.promised else "–"
    numbers = (count.others, count.others_found, count.bars, count.marked_bars, count.right_bars_marked)
    wanted = (name, f"{count.sessions:,}", f"{count.promised:,}", f"{count.found:,}", share)
    return (*wanted, *(f"{number:,}" for number in numbers))


def _print_table(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*headings, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()


def _format_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(h.strip() for h in headings)} |"]
    lines.append("|---|" + "--:|" * (len(headings) - 1))
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
