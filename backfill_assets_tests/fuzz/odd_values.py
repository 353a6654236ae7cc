"""Odd values that users and vendors really write: texts, numbers, times, JSON values; shared by the families."""

from random import Random
from typing import Any

TEXTS = (
    *("", " ", "\t", "\n", "a\nb", "-", "--", "None", "null", "nan", "NaN", "inf", "-inf", "true", "false", "[]", "{}"),
    *(
        "é",
        "日本語",
        "🚀",
        "\u202eabc",
        "a\u200bb",
        "\ufeff",
        "ａｂｃ",
        "İ",
        "ß",
        "\x07",
        "\x1b[31mred",
        "%s%(x)s%n",
        "{0}",
        "$(id)",
    ),
    *(
        "'; DROP TABLE market_data; --",
        '"',
        "\\",
        "\\x00",
        "a/b",
        "../..",
        "~",
        "*",
        "[1,2",
        '{"a":',
        "x" * 300,
        "é" * 5000,
    ),
    *(
        "\udc80",
        "a\udcffb",
        "[bold]x[/bold]",
        "[/]",
        "[red",
        "#",
        "=",
        "a=b",
        ",",
        ";",
        "@",
        "0x10",
        "1e5",
        "１２",
        "٣",
    ),
)
NUMBERS = (
    *("0", "-0", "1", "-1", "0.5", "1.5", "1e3", "1e308", "1e309", "1e-320", "-1e9", "9" * 30, "9" * 400, "nan", "inf"),
    *(
        "-inf",
        "1_000",
        "1,5",
        "1,000",
        "0x10",
        " 7 ",
        "+3",
        "1.",
        ".5",
        "٣",
        "１２",
        "²",
        "2147483648",
        "9223372036854775808",
    ),
)
TIMES = (
    *(
        "2026-06-03T12:00:00Z",
        "2026-06-03T12:00:00",
        "2026-06-03",
        "1700000000",
        "0001-01-01T00:00:00Z",
        "20260603T120000Z",
    ),
    *(
        "9999-12-31T23:59:59Z",
        "2026-06-03T12:00:00+99:00",
        "2026-06-03T12:00:00-00:00",
        "2026-06-03 12:00:00+02",
        "now",
    ),
    *("2026-02-30T00:00:00Z", "2026-06-03T24:00:00Z", "2004-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2026-W23-3"),
    *(
        "2026-06-03T12:00:60Z",
        "2038-01-19T03:14:08Z",
        "2100-01-01T00:00:00Z",
        "٢٠٢٦-٠٦-٠٣",
        "2026-06-03T12:00:00.123456789Z",
    ),
)
DATES = (
    *(
        "2026-06-01",
        "2026-06-02",
        "2026-6-1",
        "2026-02-30",
        "20260601",
        "0001-01-01",
        "9999-12-31",
        "2003-12-31",
        "2004-01-01",
    ),
    *(
        "2026-W23-1",
        "2026-152",
        "yesterday",
        "01/06/2026",
        "1776-07-04",
        "2026-06-06",
        "2026-11-27",
        "2099-12-31",
        "2026-06-01T00:00",
    ),
)
TICKERS = (
    *(
        "AAPL",
        "aapl",
        "AAPL.US",
        " MSFT ",
        "BRK.B",
        "BRK-B",
        "BC/PA",
        "NAN",
        "NULL",
        "TRUE",
        "None",
        "A" * 10,
        "A" * 11,
    ),
    *(
        "AAPL,MSFT",
        "AAPL;MSFT",
        "AAPL MSFT",
        ".US",
        "AAPL.",
        "AAPL.LSE",
        "-",
        "--",
        "^GSPC",
        "EURUSD.FOREX",
        "0P0001",
        "АAPL",
    ),
    *(
        "AAPL.us",
        "AAPL.US.US",
        "A.B.C",
        "AAPL\u200b",
        "ＡＡＰＬ",
        "ABC_old1",
        "'",
        "%",
        "\x00"[:0],
        "Z" * 300,
        "*",
        "AAPL.NASDAQ",
    ),
)


def draw_text(random: Random) -> str:
    """A text of any kind; it may hold halves of surrogate pairs, as arguments and variables may."""
    kind = random.random()
    if kind < 0.6:
        return random.choice(TEXTS)
    if kind < 0.85:
        return random.choice((*NUMBERS, *TIMES, *DATES, *TICKERS))
    return "".join(
        chr(random.choice((random.randrange(32, 127), random.randrange(161, 0xD7FF))))
        for _ in range(random.randrange(1, 30))
    )


def draw_json_value(random: Random) -> Any:
    """A value of JSON, or one of the constants that Python and PHP write beside it."""
    return random.choice(
        (
            *(
                None,
                True,
                False,
                "",
                "NA",
                "N/A",
                "null",
                [],
                {},
                [1],
                {"a": 1},
                0,
                -0.0,
                -1,
                1,
                0.5,
                1e-320,
                1e308,
                -1e308,
            ),
            *(
                float("nan"),
                float("inf"),
                float("-inf"),
                2**31,
                2**63,
                2**64,
                10**30,
                10**400,
                "12.5",
                " 12.5 ",
                "1,234.5",
            ),
            *(
                "1e3",
                "１２",
                "12.5abc",
                "\u0000",
                "\ud800",
                "é" * 500,
                [[[]]],
                {"open": 1},
                "2026-06-01",
                1780320600000,
            ),
        )
    )
