"""The family of settings: values of every setting, as the model of the settings lists them."""

from dataclasses import dataclass
from random import Random
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from backfill_assets.config.settings import SECRET_VARIABLES, Settings
from backfill_assets_tests.fuzz.command_runs import run_command
from backfill_assets_tests.fuzz.exchanges import CODES, ENABLED, MOMENTS, SEVERAL, draw_ticker
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.odd_values import DATES, NUMBERS, TICKERS, TIMES, draw_text
from backfill_assets_tests.fuzz.oracle import judge_runs
from backfill_assets_tests.fuzz.stores import get_several_template, get_usual_template
from backfill_assets_tests.fuzz.workbench import Workbench

_HUSH = "hush-4711"  # part of values of secret settings; no output may contain it
_COMMANDS = (
    *(("settings",), ("settings", "--all"), ("settings", "--format", "json")),
    *(("report",), ("report", "--format", "html"), ("status",)),
    *(("run",), ("run",), ("run", "--format", "json"), ("plan",), ("verify",), ("review",), ("live",)),
    *(("symbols", "list"), ("symbols", "sync")),
    *(
        ("audit",),
        ("decisions", "list"),
        ("alerts", "list"),
        ("alerts", "test"),
        ("why", "AAPL", "2026-06-01"),
        ("status", "--format", "json"),
        ("symbols", "add", "TSLA"),
    ),
)
_LISTS = (
    *(
        "[]",
        "[1]",
        "[1, 2]",
        "[0, 0]",
        '["30m"]',
        '["30m", "1h"]',
        '["1m","5m","15m","30m","1h"]',
        '["30m", "30m"]',
        "30m 1h",
        "[1,",
        "{}",
        "[[1]]",
        "[null]",
        "[true]",
        "[1e400]",
        "[NaN]",
        "[" * 5000,
        '["' + "x" * 10_000 + '"]',
        "[1, 3, 6, 12, 24, 168]",
        "[0.001]",
        "[600, 600]",
    ),
)
_URLS = (
    *(
        "http://127.0.0.1:1/api",
        "https://127.0.0.1:1/api",
        "http://[::1]:1/api",
        "http://localhost:1/",
        "http://127.0.0.1:1/é",
        "http://127.0.0.1:1/a b",
        "http://",
        "https://eodhd.com@127.0.0.1/",
        "http://127.0.0.1:1//api//",
        "ftp://x/",
        "http://127.0.0.1:1/%zz",
        "http://127.0.0.1:1/%2e%2e/x",
    ),
    *(
        "HTTP://127.0.0.1:1/API",
        "http://127.0.0.1:65536/",
        "http://１２７.0.0.1/",
        "http://127.1:1/api",
        "http://x..y/",
        "http://-/",
        "http://" + "a." * 130 + "de/",
    ),
    *(
        "http://[::1",
        "http://[fe80::1%25lo]:1/",
        "http://127.0.0.1:1/\u00a0",
        "http://0:1/api",
        "http://user:hush-4711@127.0.0.1:1/api",
    ),
)
_DATABASES = (
    *(
        f"postgresql://u:{_HUSH}@127.0.0.1:1/x",
        f"postgresql://u:{_HUSH}@@127.0.0.1:1/x",
        f"postgresql://u:{_HUSH}/x@127.0.0.1:1/x",
    ),
    *(
        f"host=127.0.0.1 port=1 password={_HUSH}",
        f"host=127.0.0.1 port=1 password='{_HUSH}",
        f"postgresql://127.0.0.1:1/x?password={_HUSH}",
    ),
    *(
        "postgresql://",
        "postgres",
        "sqlite:///x.db",
        "postgresql:///x?host=/nonexistent",
        "postgresql://127.0.0.1:1,127.0.0.1:2/x",
        "host='",
        "é",
    ),
    *(
        f"postgresql://u:{_HUSH}%zz@127.0.0.1:1/x",
        f"postgresql://127.0.0.1:1/x?sslmode=nonsense&password={_HUSH}",
        "service=nonsense",
        "postgresql://127.0.0.1:1/a%00b",
    ),
    *(
        f"postgresql://127.0.0.1:1/x?application_name={'y' * 500}",
        "postgresql://127.0.0.1:1/x?connect_timeout=abc",
        "postgresql://[::1]:1/" + "x" * 3000,
    ),
    *(
        "postgresql://127.0.0.1:1/x?client_encoding=nonsense",
        "postgresql://127.0.0.1:1/x?options=-c%20nonsense%3D1",
        "\udc80",
        "postgresql+psycopg://127.0.0.1:1/x",
    ),
)
_ALERTS = (
    *(
        f"json://127.0.0.1:1/{_HUSH}",
        f"mailto://u:{_HUSH}@127.0.0.1:1",
        f"slack://{_HUSH}",
        f"nonsense://{_HUSH}",
        f'["json://127.0.0.1:1/{_HUSH}"]',
    ),
    *(
        f"json://127.0.0.1:1/é{_HUSH} xml://127.0.0.1:1",
        f"file:///dev/null?{_HUSH}",
        "json://127.0.0.1:1 " * 50,
        f"json://[::1/{_HUSH}",
        f"tgram://{_HUSH}/x",
    ),
)
_PATHS = (
    *("/proc/nonexistent/x", "/dev/null", "/", ".", "/proc/self/mem", "/dev/zero", "~", "~nobody-here/x", "a\nb"),
    *("é" * 200, "x" * 5000, "\udcff"),
)
_COMMANDS_OF_EXCHANGES = (
    *(("markets", "list"), ("markets", "show", "LSE", "--format", "json"), ("run", "--exchange", "LSE")),
    *(("symbols", "sync", "--exchange", "AU"), ("symbols", "list", "--exchange", "LSE"), ("run",), ("report",)),
)
_OF_EXCHANGES = (
    *("BACKFILL_EXCHANGES", "BACKFILL_EXCHANGES", "BACKFILL_EXCHANGE_ORDER", "BACKFILL_MARKETS_FILE", "BACKFILL_AS_OF"),
    *("BACKFILL_AS_OF", "BACKFILL_SYNC_EXCHANGE", "BACKFILL_CALENDAR_FILE"),
)


@dataclass(frozen=True)
class SettingScenario:
    """A command, and whether several exchanges are collected."""

    command: tuple[str, ...]
    has_several: bool

    def __str__(self) -> str:
        """One line."""
        return " ".join(self.command) + (" (several exchanges)" if self.has_several else "")


class SettingFamily:
    """Odd settings."""

    name = "settings"
    share = 190

    def draw(self, random: Random) -> FuzzInput:
        changes = tuple(_draw_change(random) for _ in range(random.choice((1, 1, 1, 2, 3))))
        has_several = random.random() < 0.3
        if has_several:
            changes = (_draw_change(random, random.choice(_OF_EXCHANGES)), *changes[1:])
        commands = (*_COMMANDS, *_COMMANDS_OF_EXCHANGES * 3) if has_several else _COMMANDS
        return FuzzInput(SettingScenario(random.choice(commands), has_several), changes)

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        has_several = fuzz_input.scenario.has_several
        template = (get_several_template if has_several else get_usual_template)(workbench)
        with workbench.lend_database(template) as url, workbench.lend_folder() as folder:
            environment = workbench.build_environment(url, **({"BACKFILL_EXCHANGES": SEVERAL} if has_several else {}))
            for change in fuzz_input.changes:
                environment = change.apply(environment)
            workbench.vendor.sends_nothing = True
            command = fuzz_input.scenario.command
            run = run_command(
                command, environment, folder=folder, interrupt_after=15 if command[0] in {"run", "review"} else 0
            )
            workbench.vendor.sends_nothing = False
        faults = [f"{command[0]}: a secret is printed"] if _HUSH in run.out + run.err else []
        names = [change.description.partition("=")[0] for change in fuzz_input.changes]
        if (
            run.code == 2
            and not any(name.removesuffix("_FILE") in run.err for name in names)
            and command[0] not in {"live", "alerts", "symbols"}
            and "--exchange" not in command  # may name the exchange only
        ):
            faults.append(f"{command[0]}: exit code 2 names none of the settings: {run.last_line}")
        return judge_runs([run], faults, may_be_interrupted=True)


def _draw_change(random: Random, wanted: str | None = None) -> Change:
    fields = {str(field.alias): field for field in Settings.model_fields.values()}
    name = wanted or random.choice(list(fields))
    field = fields[name]
    usual = _list_usual_values(field)
    value = random.choice(usual) if usual and random.random() < 0.5 else _draw_value(random, name, field.default)
    value = value.replace("\x00", "")
    spelled = name.lower() if random.random() < 0.1 else name

    def apply(environment: dict[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in environment.items() if spelled == name or k != name}
        return {**kept, spelled: value}

    return Change(f"{name}={value}" if spelled == name else f"{name}={value} (written {spelled})", apply)


def _list_usual_values(field: FieldInfo) -> tuple[str, ...]:
    """The bounds of a number and what lies between, the choices of a text, both values of a switch."""
    if field.annotation is bool:
        return ("true", "false", "0", "yes", "off")
    if get_origin(field.annotation) is Literal:
        return tuple(map(str, get_args(field.annotation)))
    bounds = [
        getattr(limit, name) for limit in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(limit, name)
    ]
    if not bounds:
        return ()
    low, high = min(bounds), max(bounds)
    values = (
        (low, low + 1, (low + high) / 2, high - 1, high)
        if field.annotation is float
        else (low, low + 1, (low + high) // 2, high - 1, high)
    )
    return tuple(map(str, values))


def _draw_value(random: Random, name: str, default: object) -> str:
    if random.random() < 0.25 and name not in SECRET_VARIABLES:
        return draw_text(random)
    if name.endswith("_FILE") or name == "BACKFILL_HOME":
        return random.choice(_PATHS)
    special = {
        "EODHD_BASE_URL": _URLS,
        "DATABASE_URL": _DATABASES,
        "DAGSTER_POSTGRES_URL": _DATABASES,
        "BACKFILL_ALERT_URLS": _ALERTS,
    }
    special |= {
        "BACKFILL_AS_OF": (*TIMES, *DATES, *MOMENTS, *MOMENTS),
        "BACKFILL_EXCHANGES": ENABLED,
        "BACKFILL_SYNC_EXCHANGE": CODES,
        "BACKFILL_LIVE_SYMBOLS": (draw_ticker(random),),
        "EODHD_API_TOKEN": (
            f"{_HUSH}",
            f" {_HUSH}\n",
            f"é{_HUSH}",
            f"{_HUSH}/?&=#%",
            "demo",
            f"a b{_HUSH}",
            f"{_HUSH}🚀",
            "x",
        ),
    }
    if name in special:
        return random.choice(special[name])
    if isinstance(default, tuple):
        return random.choice(_LISTS)
    if isinstance(default, int | float) and not isinstance(default, bool):
        return random.choice(
            (
                *NUMBERS,
                str(default),
                f"{default}.0",
                f" {default} ",
                str(random.randrange(1, 400)),
                str(random.random()),
            )
        )
    return random.choice(
        (*_LISTS, *NUMBERS, *TICKERS, "true", "false", "yes", "0", "1", "5m", "1m", "DEBUG", "US", "common_stock")
    )
