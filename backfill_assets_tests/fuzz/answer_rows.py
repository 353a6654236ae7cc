"""Changes of the rows of an answer: their values, keys, times, order and nesting."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.odd_values import draw_json_value
from backfill_assets_tests.fuzz.reply import Reply

Rows = list[Any]


def draw_row_change(random: Random) -> Change:
    name, change = random.choice(_ROW_CHANGES)
    where, seed = random.choice(_PLACES), random.getrandbits(32)
    if name in _WHOLE_LISTS:
        where = "all"

    def apply(reply: Reply) -> Reply:
        rows = reply.content if isinstance(reply.content, list) else [reply.content]
        if not reply.is_json or not all(isinstance(row, dict) for row in rows):
            return reply
        draws = Random(seed)
        if name in _WHOLE_LISTS:
            return replace(reply, content=change([dict(r) for r in rows], draws))
        chosen = set(_choose(where, len(rows), draws))
        changed = [change(dict(r), draws) if n in chosen else r for n, r in enumerate(rows)]
        return replace(reply, content=changed if isinstance(reply.content, list) else changed[0])

    return Change(f"rows {where}: {name} (draw {seed})", apply)


_PLACES = ("all", "all", "first", "last", "half", "second half", "every tenth", "one", "one", "most")


def _choose(where: str, count: int, random: Random) -> Sequence[int]:
    everything = range(count)
    match where:
        case "all":
            return everything
        case "first":
            return everything[:1]
        case "last":
            return everything[-1:]
        case "half":
            return everything[::2]
        case "second half":
            return everything[count // 2 :]
        case "every tenth":
            return everything[:: 10 + random.randrange(3)]
        case "most":
            return [n for n in everything if random.random() < 0.9]
        case _:
            return [random.randrange(count)] if count else []


_PRICES = ("open", "high", "low", "close")
Row = dict[str, Any]


def _change_numbers(factor: Callable[[Any], Any], fields: Sequence[str] | None = None) -> Callable[[Row, Random], Row]:
    def change(row: Row, _: Random) -> Row:
        names = fields if fields is not None else list(row)
        return {k: _try(factor, v) if k in names and isinstance(v, int | float) else v for k, v in row.items()}

    return change


def _try(change: Callable[[Any], Any], value: Any) -> Any:
    """The changed value; one that an earlier change made too odd for this one stays as it is."""
    try:
        return change(value)
    except (OverflowError, TypeError, ValueError):
        return value


def _set_one_field(row: Row, random: Random) -> Row:
    return {**row, random.choice(sorted(row) or ["open"]): draw_json_value(random)}


def _set_every_field(row: Row, random: Random) -> Row:
    value = draw_json_value(random)
    return {name: random.choice((value, draw_json_value(random))) for name in row}


def _set_values(row: Row, random: Random) -> Row:
    value = draw_json_value(random)
    return {k: v if k in {"timestamp", "code", "date", "datetime"} else value for k, v in row.items()}


def _drop_field(row: Row, random: Random) -> Row:
    dropped = random.choice(sorted(row) or ["open"])
    return {k: v for k, v in row.items() if k != dropped}


def _swap_fields(row: Row, random: Random) -> Row:
    one, other = random.choice(_PRICES), random.choice((*_PRICES, "volume"))
    return {**row, one: row.get(other), other: row.get(one)}


def _shift_time(seconds: float) -> Callable[[Row, Random], Row]:
    return _change_numbers(lambda v: v + seconds, ("timestamp",))


def _spell_time(spell: Callable[[Any], Any]) -> Callable[[Row, Random], Row]:
    return lambda row, _: {k: _try(spell, v) if k == "timestamp" and v is not None else v for k, v in row.items()}


def _to_iso(value: Any) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(value, UTC).isoformat() if isinstance(value, int) and 0 < value < 2**33 else value


def _repeat(rows: Rows, random: Random) -> Rows:
    row = random.choice(rows or [{}])
    return [*rows, {**row, "volume": 1}, {**row, "close": 1, "high": 2, "low": 0.5}]


def _shuffle(rows: Rows, random: Random) -> Rows:
    random.shuffle(rows)
    return rows


def _add_rows_after(rows: Rows, random: Random) -> Rows:
    """Rows in the time after each day's last one, as of an auction, some of them without volume."""
    last = [row for row, later in zip(rows, [*rows[1:], {}], strict=True) if _is_last_of_day(row, later)]
    late = [{**row, "timestamp": row["timestamp"] + 300 * n} for row in last for n in random.sample(range(1, 40), 4)]
    return [*rows, *({**row, "volume": random.choice((None, 0, row.get("volume"), 5e6))} for row in late)]


def _is_last_of_day(row: Row, later: Row) -> bool:
    stamp, next_stamp = row.get("timestamp"), later.get("timestamp", 2**40)
    is_usual = all(isinstance(value, int) and 0 < value <= 2**40 for value in (stamp, next_stamp))
    return is_usual and next_stamp - stamp > 3600


def _set_listing(row: Row, random: Random) -> Row:
    """A line of a list of symbols with an odd code, currency, exchange or type."""
    code = random.choice(
        ("VOD", "vod", "VOD.LSE", "0A0A", "A B", "", "NULL", "X" * 30, "É", "AAPL", "VOD_old", "VOD-P")
    )
    unit = random.choice(
        ("GBX", "GBp", "gbx", "GBP", "EUR", "ZAC", "ZAc", "", None, "Unknown", "XXXXXXXX" * 40, 7, "🚀")
    )
    exchange = random.choice(("LSE", "AU", "IL", "US", "NYSE", "", None, "lse"))
    odd = {
        "Code": code,
        "Currency": unit,
        "Exchange": exchange,
        "Isin": random.choice((None, "", "GB", "US0378331005", 1)),
    }
    return {**row, **{name: odd[name] for name in random.sample(sorted(odd), random.choice((1, 1, 2)))}}


_ROW_CHANGES: tuple[tuple[str, Callable[[Any, Random], Any]], ...] = (
    ("one field odd", _set_one_field),
    ("one field odd", _set_one_field),
    ("every field odd", _set_every_field),
    ("the same odd value in all prices and the volume", _set_values),
    ("a field is absent", _drop_field),
    ("two fields swapped", _swap_fields),
    ("prices x100", _change_numbers(lambda v: v * 100, _PRICES)),
    ("prices /100", _change_numbers(lambda v: v / 100, _PRICES)),
    ("prices negative", _change_numbers(lambda v: -v, _PRICES)),
    ("prices 1e15", _change_numbers(lambda v: 1e15, _PRICES)),
    ("prices 1e-9", _change_numbers(lambda v: 1e-9, _PRICES)),
    ("high lower by 1e-6", _change_numbers(lambda v: v - 1e-6, ("high",))),
    ("high lower by 10 %", _change_numbers(lambda v: v * 0.9, ("high",))),
    ("low zero", _change_numbers(lambda v: 0, ("low",))),
    ("prices -1, volume 0", lambda row, _: {**row, **dict.fromkeys(_PRICES, -1), "volume": 0}),
    ("volume fractional", _change_numbers(lambda v: v + 0.618093, ("volume",))),
    ("volume zero", _change_numbers(lambda v: 0, ("volume",))),
    ("volume negative", _change_numbers(lambda v: -v - 1, ("volume",))),
    ("volume 1e19", _change_numbers(lambda v: 10**19, ("volume",))),
    ("volume 9e18", _change_numbers(lambda v: 9 * 10**18, ("volume",))),
    ("volume null", lambda row, _: {**row, "volume": None}),
    ("all null", lambda row, _: {k: v if k == "timestamp" else None for k, v in row.items()}),
    ("numbers as text", lambda row, _: {k: str(v) for k, v in row.items()}),
    (
        "numbers as text with commas",
        lambda row, _: {k: f"{v:,}" if isinstance(v, int | float) else v for k, v in row.items()},
    ),
    ("capital keys", lambda row, _: {k.capitalize(): v for k, v in row.items()}),
    ("short keys", lambda row, _: {k[:1]: v for k, v in row.items()}),
    ("one more field", lambda row, _: {**row, "warning": "Data is limited by your subscription", "x": [1]}),
    ("a warning without words", lambda row, _: {**row, "warning": ["no", 1]}),
    ("stamps in ms", _change_numbers(lambda v: v * 1000, ("timestamp",))),
    ("stamps in ns", _change_numbers(lambda v: v * 10**9, ("timestamp",))),
    ("stamps ISO", _spell_time(_to_iso)),
    ("stamps as text", _spell_time(str)),
    ("stamps as floats", _spell_time(float)),
    ("stamps half a second late", _shift_time(0.5)),
    ("stamps a second late", _shift_time(1)),
    ("stamps at the end", _shift_time(300)),
    ("stamps half an hour late", _shift_time(1800)),
    ("stamps four hours early", _shift_time(-4 * 3600)),
    ("stamps a day late", _shift_time(86_400)),
    ("stamps a day early", _shift_time(-86_400)),
    ("stamps a year early", _shift_time(-364 * 86_400)),
    ("stamps in the year 9000", _shift_time(6974 * 31_556_952)),
    ("stamps negative", _change_numbers(lambda v: -v, ("timestamp",))),
    ("stamps all equal", _change_numbers(lambda v: 1780320600, ("timestamp",))),
    ("not an object", lambda row, random: draw_json_value(random)),
    ("nested", lambda row, _: {"data": row}),
    ("list of values", lambda row, _: list(row.values())),
    ("an odd listing", _set_listing),
    ("rows after the close", _add_rows_after),
    ("repeated with other values", _repeat),
    ("in random order", _shuffle),
    ("newest first", lambda rows, _: rows[::-1]),
    ("twice", lambda rows, _: rows + rows),
    ("first half only", lambda rows, _: rows[: len(rows) // 2]),
    ("second half only", lambda rows, _: rows[len(rows) // 2 :]),
    ("every third only", lambda rows, _: rows[::3]),
    ("without the last", lambda rows, _: rows[:-1]),
    ("none", lambda rows, _: []),
    ("as a map of positions", lambda rows, _: {str(n): row for n, row in enumerate(rows)}),
    ("as a map of stamps", lambda rows, _: {str(row.get("timestamp")): row for row in rows}),
    ("under data", lambda rows, _: {"data": rows, "links": {}}),
    ("in a list", lambda rows, _: [rows]),
    ("as text in JSON", lambda rows, _: json.dumps(rows)),
    ("as columns", lambda rows, _: {key: [row.get(key) for row in rows] for key in (rows[0] if rows else {})}),
    ("one null between", lambda rows, _: [*rows[:3], None, 1, "x", [], *rows[3:]]),
    ("one empty object between", lambda rows, _: [*rows[:3], {}, *rows[3:]]),
    ("a warning at the end", lambda rows, _: [*rows, {"warning": "Your plan is limited to 1 year"}]),
    ("only a warning", lambda rows, _: [{"warning": "Data is limited by one year as you have free subscription"}]),
)
_WHOLE_LISTS = {name for name, _ in _ROW_CHANGES[-20:]}
