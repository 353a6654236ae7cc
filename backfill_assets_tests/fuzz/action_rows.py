"""Changes of rows that list corporate actions: ratios, amounts, currencies and days that no exchange ever had."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.odd_values import draw_json_value
from backfill_assets_tests.fuzz.reply import Reply

Row = dict[str, Any]
_RATIOS = (
    *("0/0", "0/1", "1/0", "-2/1", "-2/-1", "1/1", "1e400/1", "1/1e400", "nan/1", "inf/1", "1/inf", "10:1", "10", "/"),
    *(
        "2.000000/1.000000",
        "1.000000/3.000000",
        "1.05/1",
        "2/1/1",
        " 3 / 1 ",
        "1,000/1",
        "1/1000000",
        "1000001/1000000",
    ),
    *(
        "9" * 400 + "/1",
        "0." + "0" * 300 + "1/1",
        "１２/1",
        "\u0000/1",
        "",
        "abc",
        10,
        0.1,
        -4,
        0,
        None,
        [4, 1],
        {"a": 1},
    ),
)
_AMOUNTS = (
    *(0, -0.24, 0.24, "0.24", "-0.24", "0", 1e-12, 1e12, 1e308, 10**400, "1e400", "9" * 400, "nan", "Infinity"),
    *(
        float("nan"),
        float("inf"),
        None,
        True,
        "",
        "1,5",
        "1,234.5",
        "$1",
        "\u0000",
        [],
        {},
        99999,
        "0.1234567890123456789",
    ),
)
_CURRENCIES = (
    *("USD", "usd", "GBX", "GBp", "GBP", "ZAC", "ILA", "XXX", "US$", "", " ", "\u0000", "U\u0000D", "é" * 200, "NaN"),
    *(None, 1, True, [], {"code": "USD"}, "USD/EUR", "\ud800"),
)
_DAYS = (
    *("0001-01-01", "9999-12-31", "0000-00-00", "2026-02-30", "2026-6-1", "20260601", "2026-06-01 00:00:00", "", None),
    *(
        "2026-06-06",
        "2026-07-03",
        "1899-12-31",
        "2026-06-02T00:00:00Z",
        "-2026-06-01",
        "10000-01-01",
        1780320600,
        [],
        "\u0000",
    ),
    *("2026-06-01", "2026-06-02", "2026-05-29", "2099-12-31", "01/06/2026"),
)
_PERIODS = ("Quarterly", "Special", "", None, "\u0000", "é" * 5000, 4, [], "quarterly ", "a\nb")
_VALUES: dict[str, tuple[Any, ...]] = {
    "split": _RATIOS,
    "value": _AMOUNTS,
    "unadjustedValue": _AMOUNTS,
    "dividend": _AMOUNTS,
    "currency": _CURRENCIES,
    "period": _PERIODS,
    **dict.fromkeys(("date", "declarationDate", "recordDate", "paymentDate"), _DAYS),
}
_MANY = 100_000


def draw_action_change(random: Random) -> Change:
    """A change of one, of each or of the number of rows."""
    name, change = random.choice(_CHANGES)
    seed = random.getrandbits(32)

    def apply(reply: Reply) -> Reply:
        rows = reply.content
        if not reply.is_json or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return reply
        return replace(reply, content=change([dict(row) for row in rows], Random(seed)))

    return Change(f"actions: {name} (draw {seed})", apply)


def _change_one(rows: list[Row], random: Random) -> list[Row]:
    position = random.randrange(len(rows)) if rows else 0
    return [_set_value(row, random) if n == position else row for n, row in enumerate(rows)]


def _change_each(rows: list[Row], random: Random) -> list[Row]:
    return [_set_value(row, random) for row in rows]


def _set_value(row: Row, random: Random) -> Row:
    known = [name for name in row if name in _VALUES]
    if not known:
        return {**row, "x": draw_json_value(random)}
    name = random.choice(known)
    return {**row, name: random.choice(_VALUES[name])}


def _double(rows: list[Row], random: Random) -> list[Row]:
    """The same rows again, each with one other value: what the vendor's duplicates are like."""
    return [*rows, *(_set_value(row, random) for row in rows)]


def _add_odd_rows(rows: list[Row], random: Random) -> list[Row]:
    like = rows[0] if rows else {"date": "2026-06-02", "split": "2.000000/1.000000", "value": 0.24, "currency": "USD"}
    added = [{name: random.choice(_VALUES.get(name, (value,))) for name, value in like.items()} for _ in range(20)]
    return [*rows, *added]


def _add_many(rows: list[Row], random: Random) -> list[Row]:
    like = rows[0] if rows else {"date": "2026-06-02", "split": "2.000000/1.000000", "value": 0.24, "currency": "USD"}
    day, amounts = random.choice(("2026-06-02", None)), random.choice((1, _MANY))
    return [
        {
            **like,
            "date": day or f"{1900 + n // 336}-{n // 28 % 12 + 1:02}-{n % 28 + 1:02}",
            **{name: 0.01 * (n % amounts + 1) for name in ("value", "unadjustedValue") if name in like},
            **({"split": f"{n % amounts + 2}/1"} if "split" in like else {}),
        }
        for n in range(_MANY)
    ]


def _move(day: str) -> Callable[[list[Row], Random], list[Row]]:
    return lambda rows, _: [{**row, "date": day} for row in rows]


_CHANGES: tuple[tuple[str, Callable[[list[Row], Random], list[Row]]], ...] = (
    ("an odd value in one row", _change_one),
    ("an odd value in each row", _change_each),
    ("an odd value in each row", _change_each),
    ("the same again with other values", _double),
    ("twenty odd rows more", _add_odd_rows),
    (f"{_MANY:,} rows", _add_many),
    ("all on one day", _move("2026-06-02")),
    ("all on the first day of all", _move("0001-01-01")),
    ("all on the last day of all", _move("9999-12-31")),
    ("of other tickers", lambda rows, _: [{**row, "code": f"X{n}"} for n, row in enumerate(rows)]),
)
