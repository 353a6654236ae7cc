"""The family of files: symbols files, calendar files and files with secrets, as people write and save them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from backfill_assets_tests.fuzz.command_runs import run_command
from backfill_assets_tests.fuzz.exchanges import MARKETS, SEVERAL, draw_markets_change
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.odd_values import DATES, TICKERS, TIMES, draw_json_value, draw_text
from backfill_assets_tests.fuzz.oracle import TOKEN, judge_runs
from backfill_assets_tests.fuzz.stores import get_several_template, get_usual_template
from backfill_assets_tests.fuzz.workbench import Workbench

_SYMBOLS = ("AAPL", "MSFT", "TSLA", "NVDA", "BRK-B", "AMZN", "VTI", "META", "GOOG", "JPM")
_CALENDAR = {"closures": ["2026-06-01"], "early_closes": {"2026-06-02": "13:00"}}
_CSV = 'Symbol,Name,Last Sale\nAAPL,Apple Inc,1.5\nMSFT,Microsoft,2.5\nTSLA,"Tesla, Inc",3\n'
_MARKET_COMMANDS = (
    *(("markets", "list"), ("markets", "show", "LSE"), ("markets", "show", "AU", "--format", "json")),
    *(("run",), ("run", "--exchange", "LSE", "--force"), ("report",), ("report", "--format", "html"), ("status",)),
    *(("report", "--format", "json"), ("verify",), ("plan",), ("review",), ("why", "VOD.LSE", "2026-06-02")),
    *(("bars", "VOD.LSE", "--start", "2026-06-01", "--end", "2026-06-03", "--require", "any"), ("audit",)),
    *(("certify", "2026-06-02", "--exchange", "LSE"), ("markets", "list", "--enabled", "--format", "json")),
)
_START: dict[str, bytes] = {
    "symbols": "\n".join(_SYMBOLS).encode(),
    "symbols CSV": _CSV.encode(),
    "universe": b"AAPL\nMSFT\n",
    "calendar": json.dumps(_CALENDAR).encode(),
    "markets": MARKETS.encode(),
    "token": TOKEN.encode(),
    "database": b"",  # filled in when the address is known
}


@dataclass(frozen=True)
class FileScenario:
    """A kind of file, and the commands that read it."""

    kind: str
    commands: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """One line."""
        return f"{self.kind} file: {'; '.join(' '.join(command) for command in self.commands)}"


class FileFamily:
    """Odd files."""

    name = "files"
    share = 160

    def draw(self, random: Random) -> FuzzInput:
        kind = random.choice(
            (
                "symbols",
                "symbols",
                "symbols CSV",
                "symbols CSV",
                "universe",
                *("calendar", "calendar"),
                *("markets", "markets", "markets", "markets"),
                "token",
                "database",
            )
        )
        reads = ("report", "run", "verify", "plan", "status")
        commands: tuple[tuple[str, ...], ...] = ((random.choice(reads),),)
        if kind.startswith("symbols"):
            commands = (("symbols", "add", "--file", "FILE"), ("report",))
        elif kind == "universe":
            commands = (("universes", "add", "model", "--file", "FILE"), ("universes", "list"))
        elif kind == "markets":
            commands = tuple(random.sample(_MARKET_COMMANDS, 2))
        draw = {"calendar": _draw_calendar_change, "markets": draw_markets_change}.get(kind, _draw_symbols_change)
        changes = [
            draw(random) if random.random() < (0.9 if kind == "markets" else 0.6) else _draw_bytes_change(random)
            for _ in range(random.choice((1, 1, 2, 3)))
        ]
        return FuzzInput(
            FileScenario(kind, commands),
            tuple(sorted(changes, key=lambda change: change.description.startswith("bytes"))),
        )

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        scenario: FileScenario = fuzz_input.scenario
        has_several = scenario.kind == "markets"
        template = (get_several_template if has_several else get_usual_template)(workbench)
        with workbench.lend_database(template) as url, workbench.lend_folder() as folder:
            content = url.encode() if scenario.kind == "database" else _START[scenario.kind]
            for change in fuzz_input.changes:
                content = change.apply(content)
            file = folder / "file"
            file.write_bytes(content)
            environment = workbench.build_environment(url, **({"BACKFILL_EXCHANGES": SEVERAL} if has_several else {}))
            variable = {
                "calendar": "BACKFILL_CALENDAR_FILE",
                "markets": "BACKFILL_MARKETS_FILE",
                "token": "EODHD_API_TOKEN_FILE",
                "database": "DATABASE_URL_FILE",
            }.get(scenario.kind)
            if variable:
                environment = {
                    name: value for name, value in environment.items() if name != variable.removesuffix("_FILE")
                }
                environment[variable] = str(file)
            workbench.vendor.sends_nothing = True
            runs = [
                run_command([str(file) if word == "FILE" else word for word in command], environment)
                for command in scenario.commands
            ]
            workbench.vendor.sends_nothing = False
        faults = [
            f"{run.arguments[0]}: the error does not name the file: {run.last_line}"
            for run in runs
            if run.code == 2 and not _names_file(run.err)
        ]
        return judge_runs(runs, faults, has_own_tables=scenario.kind != "database")


def _names_file(err: str) -> bool:
    return any(words in err.lower() for words in ("file", "not in the store", "extra_sessions"))


# --- any file -------------------------------------------------------------------------------------------------------

_BYTES: tuple[tuple[str, Callable[[bytes, Random], bytes]], ...] = (
    ("BOM before", lambda b, _: b"\xef\xbb\xbf" + b),
    ("two BOMs before", lambda b, _: b"\xef\xbb\xbf\xef\xbb\xbf" + b),
    ("UTF-16", lambda b, _: b.decode("utf-8", "replace").encode("utf-16")),
    ("UTF-16 without BOM", lambda b, _: b.decode("utf-8", "replace").encode("utf-16-le")),
    ("UTF-32", lambda b, _: b.decode("utf-8", "replace").encode("utf-32")),
    ("latin-1 letters", lambda b, _: b + "\nSociété".encode("latin-1")),
    ("CRLF", lambda b, _: b.replace(b"\n", b"\r\n")),
    ("CR", lambda b, _: b.replace(b"\n", b"\r")),
    (
        "line ends of Unicode",
        lambda b, random: b.replace(b"\n", random.choice(("\x85", "\u2028", "\x0b", "\x0c", "\x1c")).encode()),
    ),
    ("NUL within", lambda b, random: b[: random.randrange(len(b) + 1)] + b"\x00" + b[5:]),
    ("NULs only", lambda b, random: b"\x00" * random.choice((1, 100, 5000))),
    ("random bytes", lambda b, random: random.randbytes(random.choice((1, 50, 3000)))),
    ("gzip", lambda b, _: __import__("gzip").compress(b)),
    (
        "a spreadsheet",
        lambda b, _: b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00xl/worksheets/sheet1.xml" + bytes(range(256)),
    ),
    ("PDF", lambda b, _: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b),
    ("empty", lambda b, _: b""),
    ("white space", lambda b, _: b" \n\t\r\n \n"),
    ("a million bytes", lambda b, _: (b or b"A") + b"\n# " + b"x" * 1_000_000),
    ("a million bytes less some", lambda b, _: b + b"\n# " + b"x" * (1_000_000 - len(b) - 10)),
    ("300,000 lines", lambda b, _: b + b"\n\n#" * 150_000),
    ("one byte changed", lambda b, random: b[: (n := random.randrange(len(b) + 1))] + random.randbytes(1) + b[n + 1 :]),
    ("cut short", lambda b, random: b[: random.randrange(len(b) + 1)]),
    ("invalid UTF-8 in the middle", lambda b, _: b[:4] + b"\xff\xfe\x80" + b[4:]),
    ("surrogates in UTF-8", lambda b, _: b + b"\n\xed\xa0\x80"),
    ("deeply nested JSON", lambda b, random: random.choice((b"[", b'{"closures":')) * random.choice((500, 100_000))),
    ("a huge number", lambda b, _: b.replace(b"2", b"2" * 5000)),
)


def _draw_bytes_change(random: Random) -> Change:
    (name, change), seed = random.choice(_BYTES), random.getrandbits(32)
    return Change(f"bytes: {name} (draw {seed})", lambda content: change(content, Random(seed)))


# --- symbols files --------------------------------------------------------------------------------------------------

_LINES = (
    *(
        "# a comment",
        "AAPL # a comment",
        "AAPL,MSFT",
        "AAPL;MSFT",
        "AAPL\tMSFT",
        "AAPL MSFT",
        "AAPL,Apple Inc",
        '"AAPL","Apple Inc"',
        "'AAPL'",
        "AAPL|Apple",
    ),
    *(
        "Symbol",
        "symbol,name",
        "Ticker\tName",
        "Code,Name,Country,Exchange,Currency,Type,Isin",
        "AAPL,",
        ",AAPL",
        ",",
        '"',
        '"AAPL',
        'AAPL"',
        '"A""B"',
    ),
    *(
        "<html>",
        "AAPL: 12",
        "AAPL=1",
        "1,AAPL",
        "1",
        "2026-06-01",
        "=AAPL",
        "$AAPL",
        "NYSE:IBM",
        "IBM US Equity",
        "IBM.N",
        "[AAPL]",
        '["AAPL", "MSFT"]',
        '{"symbol": "AAPL"}',
    ),
    *(
        '"multi\nline",x',
        "AAPL,1,2,3,4,5",
        "-",
        "--",
        "-AAPL",
        "x" * 20_000,
        "AAPL\u00a0",
        "\u3000AAPL",
        "AAPL\u200b",
        "A\u0301PL",
        "aapl",
        "AAPL.us",
        "AAPL.LSE",
    ),
)


def _draw_symbols_change(random: Random) -> Change:
    line = random.choice((*_LINES, *_LINES, *TICKERS, draw_text(random))).encode("utf-8", "surrogateescape")
    where = random.choice(("first", "last", "middle", "every"))

    def apply(content: bytes) -> bytes:
        lines = content.split(b"\n")
        if where == "every":
            return b"\n".join(part + b"\n" + line for part in lines)
        at = {"first": 0, "last": len(lines), "middle": len(lines) // 2}[where]
        return b"\n".join([*lines[:at], line, *lines[at:]])

    return Change(f"{where} line {line[:200]!r}", apply)


# --- calendar files -------------------------------------------------------------------------------------------------

_CLOSES = (
    "13:00",
    "13:00:00",
    "24:00",
    "25:00",
    "9:30",
    "09:30",
    "09:31",
    "16:00",
    "23:59",
    "00:00",
    "13",
    "13:00Z",
    "13:00+02:00",
    "1pm",
    "",
    "12:17",
    "13:00:00.5",
)


def _draw_calendar_change(random: Random) -> Change:
    days, closes = (*DATES, *TIMES), _CLOSES
    value = draw_json_value(random)
    options = (
        ("closures", [random.choice(days) for _ in range(random.choice((1, 1, 3)))]),
        (
            "closures",
            [f"{year}-{month:02}-{day:02}" for year in (2025, 2026) for month in range(1, 13) for day in range(1, 29)],
        ),
        ("early_closes", {random.choice((*days, "2026-06-02", "2026-06-02")): random.choice(closes)}),
        ("early_closes", {"2026-06-02": random.choice(closes)}),
        (random.choice(("closures", "early_closes", "closed", "", "Closures")), value),
        ("closures", [value]),
        ("early_closes", {"2026-06-02": value}),
    )
    key, entry = random.choice(options)

    def apply(content: bytes) -> bytes:
        try:
            calendar = json.loads(content)
        except ValueError:
            return content
        return json.dumps({**calendar, key: entry}).encode() if isinstance(calendar, dict) else content

    return Change(f"{key!r}: {str(entry)[:120]}", apply)
