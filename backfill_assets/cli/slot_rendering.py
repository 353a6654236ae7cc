"""The explanation of a session's slots in a terminal, and what the vendor returns for them now."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from backfill_assets.market.bars.bar_builder import BuiltBars
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.price_digits import format_price
from backfill_assets.quality.doubt_explanation import DoubtExplanation
from backfill_assets.quality.slot_explanation import SlotExplanation, format_request


def show_slot_explanations(
    console: Console,
    evidence: Sequence[str],
    explanations: Sequence[SlotExplanation],
    style: MomentStyle = UTC_STYLE,
) -> None:
    """Print the evidence about a session, and the state of each of its slots; moments in ``style``."""
    for sentence in evidence:
        console.print(f"· {sentence}", highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in (f"slot ({style.zone_name})", "state", "evidence", "next request"):
        table.add_column(title)
    for explanation in explanations:
        slot = style.format_without_zone(datetime.fromisoformat(explanation.slot))
        ask_again = format_request(explanation.ask_again, style) if explanation.ask_again else "–"
        table.add_row(slot, explanation.state, explanation.evidence, ask_again)
    console.print(table)


def show_doubt_explanations(
    console: Console, explanations: Sequence[DoubtExplanation], style: MomentStyle = UTC_STYLE
) -> None:
    """Print each doubt with its evidence; nothing where none is."""
    for explanation in explanations:
        title, *lines = explanation.describe(style)
        console.print(title, style="bold", highlight=False, markup=False)
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False)


def show_vendor_answer(console: Console, built: BuiltBars, grid: SlotGrid, style: MomentStyle = UTC_STYLE) -> None:
    """Print the bars that the vendor returned just now."""
    rejected = f", {len(built.rejects)} invalid rows" if len(built.rejects) else ""
    console.print(f"the vendor returns now: {len(built.bars)} of {grid.size} bars{rejected}")
    columns = {name: column.tolist() for name, column in dict(built.bars).items()}
    for bar in (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)):
        stamp = style.format_without_zone(to_datetime(bar["timestamp"]))
        final = "" if bar["is_final"] else ", not final"
        volume = f"{bar['volume']:,.0f}" if bar["volume_known"] else "unknown"
        values = f"close {format_price(bar['close'])}, volume {volume}, {bar['source_rows']} rows{final}"
        console.print(f"  {stamp}  {values}", highlight=False)
