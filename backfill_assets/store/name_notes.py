"""Sentences about names in the two contract tables that this program does not use, and what to do about them.

What is used and what is not is decided in ``store.symbols`` and ``store.bars.interval_spellings``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, INTERVALS
from backfill_assets.market.exchanges.names import find_exchange, find_exchange_of_suffix
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.store.bars.interval_spellings import find_unknown_intervals
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import Universe

_MAX_EXAMPLES = 5
_MAX_NAME_LENGTH = 40


def describe_names(connection: Connection, universe: Universe) -> list[str]:
    """One sentence for each kind of name that is not used; empty if there is none."""
    return [*_describe_universe(universe), *_describe_intervals(find_unknown_intervals(connection))]


def _describe_universe(universe: Universe) -> Iterator[str]:
    others = universe.other_exchanges
    if disabled := {name: count for name, count in others.items() if find_exchange(name) is not None}:
        codes = ", ".join(sorted({code for name in disabled if (code := find_exchange(name)) is not None}))
        yield (
            f"{_count(sum(disabled.values()), 'active row')} of market_symbols not used, because the exchange is not"
            f" enabled: {_count_each(disabled)}; add {codes} to BACKFILL_EXCHANGES"
        )
    if unsupported := {name: count for name, count in others.items() if name not in disabled}:
        yield (
            f"{_count(sum(unsupported.values()), 'active row')} of market_symbols not used, because the"
            f" exchange is not supported: {_count_each(unsupported)}; for US symbols write US or a market such as"
            f" NASDAQ or NYSE{_suggest_codes(unsupported)}"
        )
    if universe.unrecognized:
        rows = [f"{_quote(row.symbol)} (symbol_id {row.symbol_id})" for row in universe.unrecognized]
        yield (
            f"{_count(len(rows), 'active row')} of market_symbols not used, because the vendor has no such symbol:"
            f" {_list(rows)}; write the ticker alone, such as AAPL or BRK-B, or set is_active to false"
        )
    if universe.duplicates:
        tickers = {symbol.symbol_id: symbol.ticker for symbol in universe.symbols}
        rows = [
            f"{_quote(row.symbol)} on {_quote(row.exchange)} (symbol_id {row.symbol_id}) is {tickers[used_id]},"
            f" for which symbol_id {used_id} is used"
            for row, used_id in universe.duplicates
        ]
        yield (
            f"{_count(len(rows), 'active row')} of market_symbols not used, because another row means the same ticker:"
            f" {_list(rows)}; set is_active to false on the rows that you do not need"
        )


def _suggest_codes(names: Iterable[str | None]) -> str:
    """The codes of exchanges that rows call by another program's suffix, such as L; empty without any."""
    meant = {code for name in names if name and (code := find_exchange_of_suffix(name.strip().upper()))}
    return "".join(f", for symbols of {PROFILES[code].name} {code}" for code in sorted(meant))


def _describe_intervals(unknown: Sequence[str]) -> Iterator[str]:
    if unknown:
        yield (
            f"bars of market_data not read, because their interval_type is no known spelling of {', '.join(INTERVALS)}:"
            f" {_list([_quote(text) for text in unknown])}; if they are bars of one of these intervals, rename it"
            f" (such as {DEFAULT_INTERVAL}), else this program stores its own beside them"
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _count_each(rows_by_name: Mapping[str, int]) -> str:
    return _list([f"{_quote(name)} ({count:,})" for name, count in rows_by_name.items()])


def _list(examples: Sequence[str]) -> str:
    more = f", and {len(examples) - _MAX_EXAMPLES:,} more" if len(examples) > _MAX_EXAMPLES else ""
    return ", ".join(examples[:_MAX_EXAMPLES]) + more


def _quote(text: str | None) -> str:
    return repr(text if text is None or len(text) <= _MAX_NAME_LENGTH else text[:_MAX_NAME_LENGTH] + "…")
