"""The family of options: values of every option and argument of every command, as click's own tree lists them."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import click

from backfill_assets.cli.main import cli
from backfill_assets.cli.options import DateType, InstantType, MillisecondRangeType
from backfill_assets_tests.fuzz.command_runs import run_command
from backfill_assets_tests.fuzz.exchanges import CODES, MOMENTS, SEVERAL, draw_ticker
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.odd_values import DATES, NUMBERS, TICKERS, TIMES, draw_text
from backfill_assets_tests.fuzz.oracle import judge_runs
from backfill_assets_tests.fuzz.stores import get_several_template, get_usual_template
from backfill_assets_tests.fuzz.workbench import Workbench

_PATHS = (
    "/proc/nonexistent/x",
    "/dev/null",
    "/",
    ".",
    "",
    "/proc/self/mem",
    "/dev/full",
    "/var",
    "~/x",
    "a\nb",
    "é" * 200,
    "x" * 300,
)
_USUAL_ARGUMENTS = {
    "why": ["AAPL", "2026-06-01"],
    "symbols add": ["AAPL"],
    "symbols deactivate": ["AAPL"],
    "symbols rename": ["AAPL", "MSFT", "--on", "2026-06-02", "--yes", "--insist"],
    "symbols show": ["AAPL"],
    "bars": ["AAPL", "--start", "2026-06-01", "--end", "2026-06-02", "--require", "any"],
    "export": ["--dir", "out", "--require", "any"],
    "certify": ["2026-06-01"],
    "markets show": ["LSE"],
    "universes add": ["model", "AAPL"],
    "universes show": ["all"],
    "universes remove": ["model"],
    "universes set": ["all", "--max-incomplete", "1"],
    **{f"decisions {name}": ["1"] for name in ("show", "accept", "reject", "undo")},
}
_FOLDERS = ("out", "a/b", ".", "", "/dev/null", "/dev/full", "/proc/nonexistent", "a\nb", "é" * 200, "x" * 300)
_LONG_COMMANDS = {"sandbox": 1.0, "dev": 20.0, "live": 5.0, "run": 10.0}  # seconds until Ctrl-C
_NO_DATABASE = "postgresql://127.0.0.1:1/closed"


@dataclass(frozen=True)
class OptionScenario:
    """A command with its usual arguments, and whether several exchanges are collected."""

    words: tuple[str, ...]
    has_arguments: bool
    has_several: bool

    def __str__(self) -> str:
        """One line."""
        notes = ("" if self.has_arguments else " (without its arguments)", " (several)" if self.has_several else "")
        return " ".join(self.words) + "".join(notes)


class OptionFamily:
    """Odd options and arguments."""

    name = "options"
    share = 170

    def draw(self, random: Random) -> FuzzInput:
        path, command = random.choice(list(_iterate_commands(cli)))
        has_several = random.random() < 0.4
        if has_several:
            path, command = random.choice([found for found in _iterate_commands(cli) if _is_of_exchanges(*found)])
        count = random.choice((1, 1, 2, 3))
        changes = tuple(_draw_change(random, command) for _ in range(count))
        return FuzzInput(OptionScenario(tuple(path.split()), random.random() < 0.8, has_several), changes)

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        scenario: OptionScenario = fuzz_input.scenario
        name = " ".join(scenario.words)
        arguments = [*_USUAL_ARGUMENTS.get(name, [])] if scenario.has_arguments else []
        for change in fuzz_input.changes:
            arguments = change.apply(arguments)
        template = (get_several_template if scenario.has_several else get_usual_template)(workbench)
        more = {"BACKFILL_LIVE": "true", **({"BACKFILL_EXCHANGES": SEVERAL} if scenario.has_several else {})}
        with workbench.lend_database(template) as url, workbench.lend_folder() as folder:
            environment = workbench.build_environment(_NO_DATABASE if name == "dev" else url, **more)
            workbench.vendor.sends_nothing = True
            run = run_command(
                [*scenario.words, *arguments], environment, folder=folder, interrupt_after=_LONG_COMMANDS.get(name, 0)
            )
            workbench.vendor.sends_nothing = False
        faults = [] if run.code != 2 or _has_error_line(run.err) else [f"{name}: exit code 2 without an error line"]
        return judge_runs([run], faults, may_be_interrupted=name in _LONG_COMMANDS, has_own_tables=name != "dev")


def _has_error_line(err: str) -> bool:
    return any(line.startswith("error: ") for line in err.splitlines())


def _iterate_commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _iterate_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


_OF_EXCHANGES = {"exchange", "symbols", "ticker", "tickers", "symbol", "as_of"}


def _is_of_exchanges(path: str, command: click.Command) -> bool:
    return path not in {"dev", "sandbox"} and any(
        parameter.name in {"exchange", "ticker"} for parameter in command.params
    )


def _draw_change(random: Random, command: click.Command) -> Change:
    named = [parameter for parameter in command.params if parameter.name in _OF_EXCHANGES]
    parameter = random.choice(named if named and random.random() < 0.3 else command.params)
    value = _draw_value(random, parameter)
    if isinstance(parameter, click.Argument):
        given = ["--", value] if random.random() < 0.3 else [value]
        return Change(f"argument {value!r}", lambda arguments: [*arguments, *given])
    name = random.choice([*parameter.opts, *parameter.secondary_opts])
    if isinstance(parameter, click.Option) and parameter.is_flag:
        given = [name] if random.random() < 0.8 else [f"{name}={value}"]
    else:
        given = random.choice(([f"{name}={value}"], [f"{name}={value}"], [name, value], [name]))
    return Change(
        " ".join(map(repr, given)), lambda arguments: [*given, *arguments] if given != [name] else [*arguments, *given]
    )


_USUAL_VALUES: dict[str, tuple[str, ...]] = {
    "start": ("2026-05-28", "2026-06-01", "2026-06-02", "2026-06-06", "2004-01-01"),
    "end": ("2026-06-02", "2026-06-03", "2026-06-07", "2099-12-31"),
    "hours_back": ("0.5", "24", "1000", "87840", "1e-9"),
    "symbols": ("AAPL", "MSFT,AAPL", "NOSUCH", "AAPL,NOSUCH2", "aapl,AAPL.US", " AAPL , MSFT "),
    "interval": ("30m", "1m", "5m", "15m", "1h"),
    "as_of": (
        "2026-06-03T14:00:00Z",
        "2026-06-02T19:00:00Z",
        "2026-06-06T00:00:00Z",
        "2027-01-04T00:00:00Z",
        "2004-01-01T00:00:00Z",
        "2099-12-31T23:59:59Z",
        *MOMENTS,
    ),
    "batch_size": ("1", "2", "999999999999"),
    "delay": ("0", "0.1", "1e-9"),
    "calls": ("0", "5", "100", "99999999999999999999"),
    "day": ("2026-06-01", "2026-06-02", "2026-06-03", "2026-06-06", "2004-01-02", "2099-12-31"),
    "ticker": ("AAPL", "MSFT.US", "NOSUCH"),
    "kind": ("doubt", "rename", "no_data", "halt", "doubts"),
    "rule": ("price_spike", "price_outside_day", "volume_running_total", "spike"),
    "decision_id": ("1", "2", "99"),
    "ids": ("1", "2", "99"),
    "tickers": ("AAPL", "TSLA", "BRK-B", "NVDA.US"),
    "old": ("AAPL", "MSFT", "NOSUCH", "AAPL.US", "AAPL.LSE"),
    "new": ("AAPL", "MSFT", "NOSUCH", "NEWONE"),
    "first_day": ("2026-06-01", "2026-06-02", "2026-06-06", "2022-06-09", "0001-01-01", "9999-12-31"),
    "kinds": ("split", "dividend", "spinoff"),
    "port": ("0",),
    "exchange": ("LSE", "AU", "US", "lse", "PA", "HK", "XLON", "KO"),
    "exchanges": ("LSE", "LSE,AU", "US", "HK"),
    "universe": ("all", "model", "ALL", ""),
    "name": ("all", "model", "MODEL", "a b", "'; --"),
    "certificate": ("1", "99", "all"),
    "session": ("2026-06-01", "2026-06-02", "2026-06-06"),
    "columns": ("close", "symbol,timestamp,close", "close,close", "Close", ",", "volume,"),
    "deadline": ("16h", "0h", "none", "1m", "400d", "-1h"),
    "max_incomplete": ("0", "1", "2147483648"),
    "known_at": ("2026-06-02T19:00:00Z", "2026-06-03T14:00:00Z", "2004-01-01T00:00:00Z", "2099-12-31T23:59:59Z"),
    "point_in_time": ("2026-06-02T19:00:00Z", "2026-06-01T13:30:00Z", "2004-01-01T00:00:00Z", "2099-12-31T23:59:59Z"),
}


def _find_usual_values(parameter: click.Parameter) -> tuple[str, ...]:
    """Values that the command takes; none for an option that this module does not know yet."""
    if isinstance(parameter.type, click.Choice):
        return tuple(map(str, parameter.type.choices))
    return _USUAL_VALUES.get(str(parameter.name), ())


def _draw_value(random: Random, parameter: click.Parameter) -> str:
    kind = random.random()
    if parameter.name == "folder":  # made where they lack, so that they must lie in the folder of the input
        return random.choice(_FOLDERS)
    if parameter.name in {"exchange", "exchanges"} and kind > 0.5:
        return random.choice(CODES)
    if parameter.name in _OF_EXCHANGES - {"exchange", "as_of"} and kind > 0.7:
        return draw_ticker(random)
    if kind < 0.15:
        return draw_text(random).replace("\x00", "")
    if kind < 0.6 and (usual := _find_usual_values(parameter)):
        return random.choice(usual)
    kinds: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
        (InstantType, TIMES),
        (DateType, DATES),
        (MillisecondRangeType, ("0-0", "9-1", "nan-nan", "1e308-inf", "-", "1-2-3", *NUMBERS)),
        (click.Path, _PATHS),
        (click.types.IntParamType, NUMBERS),
        (click.types.FloatParamType, NUMBERS),
    )
    if isinstance(parameter.type, click.Choice):
        return str(random.choice((*parameter.type.choices, *parameter.type.choices, "", "JSON")))
    values = next((values for kind, values in kinds if isinstance(parameter.type, kind)), None)
    return random.choice(values or (*TICKERS, "30m", "1m", "5m", "15m", "1h", "1d", "US", "Common Stock", "Fund"))
