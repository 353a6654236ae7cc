"""Bars as a table on the terminal, and in the formats of files. Which bars is decided in ``bars``."""

from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from backfill_assets.market.calendar.timestamps import format_timestamp

if TYPE_CHECKING:
    from rich.console import Console

MAX_TABLE_ROWS = 40
_CSV_ROWS = 100_000
_SECONDS = pa.timestamp("s", "UTC")


def show_bars(console: "Console", table: pa.Table) -> None:
    """Print the first rows, and how many more there are; a column that is null throughout is left out."""
    from rich.table import Table

    shown = table.slice(0, MAX_TABLE_ROWS)
    names = [name for name in table.column_names if table[name].null_count < table.num_rows or not table.num_rows]
    rendered = Table(box=None, pad_edge=False)
    for name in names:
        rendered.add_column(name, justify="right" if _is_number(table.schema.field(name).type) else "left")
    for row in shown.select(names).to_pylist():
        rendered.add_row(*(_format_cell(value) for value in row.values()))
    console.print(rendered)
    if table.num_rows > len(shown):
        console.print(f"… and {table.num_rows - len(shown):,} more rows; --format csv has all", highlight=False)


def write_bars(table: pa.Table, output_format: str, file: BinaryIO) -> None:
    """Write the table to an open file: ``csv``, ``parquet`` or ``arrow`` (an Arrow IPC stream)."""
    if output_format == "csv":
        _write_csv(table, file)
    elif output_format == "parquet":
        from pyarrow import parquet

        parquet.write_table(table, file, compression="zstd")
    else:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)


def _write_csv(table: pa.Table, file: BinaryIO) -> None:
    """In pieces, as texts take many times the memory of numbers; numbers in the shortest form that reads back."""
    to_seconds = {field.name for field in table.schema if _has_whole_seconds(table[field.name])}
    for first in range(0, max(table.num_rows, 1), _CSV_ROWS):
        piece = table.slice(first, _CSV_ROWS)
        texts = {name: _format_column(piece[name], name in to_seconds) for name in piece.column_names}
        pa.table(texts).to_pandas().to_csv(file, index=False, header=not first, lineterminator="\n")


def _has_whole_seconds(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return bool(pa.types.is_timestamp(column.type) and column.equals(pc.floor_temporal(column, unit="second")))


def _format_column(column: pa.ChunkedArray, to_seconds: bool) -> pa.ChunkedArray:
    """As text; moments as ISO 8601 in UTC with ``Z``."""
    import pyarrow.compute as pc

    if not pa.types.is_timestamp(column.type):
        return column.cast(pa.string())
    return pc.strftime(column.cast(_SECONDS) if to_seconds else column, "%Y-%m-%dT%H:%M:%SZ")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "tzinfo"):
        return format_timestamp(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.10g}" if isinstance(value, float) else str(value)
