"""The family of locales: the process around a command: languages, encodings, zones, terminals, where output goes.

Every input is a process of its own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.fuzz.command_runs import run_process
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.oracle import judge_runs
from backfill_assets_tests.fuzz.stores import get_usual_template
from backfill_assets_tests.fuzz.workbench import Workbench

_VARIABLES: dict[str, tuple[str, ...]] = {
    "LC_ALL": (
        "C",
        "POSIX",
        "C.UTF-8",
        "en_US.ISO-8859-1",
        "de_DE",
        "tr_TR.UTF-8",
        "ja_JP.eucJP",
        "nonsense",
        "",
        "en_US.utf8@euro",
    ),
    "LANG": ("C", "POSIX", "C.UTF-8", "de_DE.ISO-8859-1", "zh_CN.GB18030", "nonsense", ""),
    "LC_CTYPE": ("C", "C.UTF-8", "nonsense"),
    "LC_NUMERIC": ("de_DE.UTF-8", "C"),
    "LC_TIME": ("ja_JP.UTF-8", "C"),
    "LANGUAGE": ("de:fr", "nonsense"),
    "PYTHONIOENCODING": (
        "ascii",
        "latin-1",
        "ascii:replace",
        "utf-16",
        "cp1252",
        "cp437",
        "utf-8:strict",
        "ascii:strict",
        "koi8-r",
        ":strict",
        "shift_jis",
        "utf-8-sig",
    ),
    "PYTHONUTF8": ("0", "1"),
    "PYTHONCOERCECLOCALE": ("0", "warn"),
    "PYTHONUNBUFFERED": ("1",),
    "PYTHONOPTIMIZE": ("1", "2"),
    "PYTHONHASHSEED": ("0", "1"),
    "PYTHONDEVMODE": ("1",),
    "PYTHONWARNINGS": ("error::ResourceWarning", "default", "error::DeprecationWarning:backfill_assets"),
    "PYTHONDONTWRITEBYTECODE": ("1",),
    "TZ": (
        "Asia/Tokyo",
        "America/New_York",
        "nonsense",
        "",
        "UTC0",
        "EST5EDT,M3.2.0,M11.1.0",
        ":/nonexistent",
        "<+1345>-13:45",
        "Pacific/Apia",
        "é",
        "x" * 300,
    ),
    "COLUMNS": ("1", "0", "-1", "40", "100000", "nonsense", "10", ""),
    "LINES": ("1", "0", "nonsense"),
    "TERM": ("dumb", "", "nonsense", "xterm-256color", "unknown"),
    "NO_COLOR": ("1", ""),
    "FORCE_COLOR": ("1", ""),
    "COLORTERM": ("truecolor",),
    "TTY_COMPATIBLE": ("1", "0"),
    "TTY_INTERACTIVE": ("1",),
    "JUPYTER_COLUMNS": ("x",),
    "HOME": ("", "/proc/nonexistent", "relative"),
    "PATH": ("", "/proc/nonexistent"),
    "USER": ("", "é"),
    "PGCLIENTENCODING": ("LATIN1", "SQL_ASCII", "nonsense"),
    "PGTZ": ("Asia/Tokyo", "nonsense"),
    "PGDATESTYLE": ("German", "SQL, DMY", "nonsense"),
    "PGOPTIONS": ("-c statement_timeout=1ms", "-c nonsense=1", "-c search_path="),
    "PGUSER": ("nobody-here",),
    "PGDATABASE": ("nowhere",),
    "PGSSLMODE": ("nonsense",),
    "PGSERVICE": ("nonsense",),
    "PGCONNECT_TIMEOUT": ("abc", "-1", "0"),
    "PGAPPNAME": ("é" * 100,),
    "http_proxy": ("http://127.0.0.1:1", "nonsense", "socks5://127.0.0.1:1", "://", "é"),
    "no_proxy": ("*", "127.0.0.1", "é,"),
    "ALL_PROXY": ("http://127.0.0.1:1", "socks4://x"),
    "SSL_CERT_FILE": ("/proc/nonexistent", "/dev/null"),
    "SSL_CERT_DIR": ("/proc/nonexistent",),
    "SSLKEYLOGFILE": ("/proc/nonexistent/x", "/dev/null"),
    "MPLBACKEND": ("nonsense", "TkAgg"),
    "MPLCONFIGDIR": ("/proc/nonexistent/x", "/dev/null"),
    "XDG_CONFIG_HOME": ("/proc/nonexistent", "relative"),
    "OMP_NUM_THREADS": ("0", "nonsense"),
    "NETRC": ("/proc/nonexistent", "/dev/null"),
    "_BACKFILL_ASSETS_COMPLETE": ("bash_source",),
}
_COMMANDS = (
    *(
        ("report",),
        ("why", "AAPL", "2026-06-01"),
        ("run",),
        ("run", "--quiet"),
        ("status",),
        ("settings",),
        ("settings", "--format", "markdown"),
        ("--help",),
    ),
    *(
        ("run", "--help"),
        ("report", "--format", "html"),
        ("report", "--format", "json"),
        ("report", "--format", "markdown"),
        ("verify",),
        ("plan",),
        ("symbols", "list"),
    ),
    *(
        ("symbols", "add", "é"),
        ("symbols", "add", "日本語"),
        ("report", "--symbols", "\udcff"),
        ("why", "AAPL", "١"),
        ("alerts", "list"),
        ("review",),
        ("live",),
        ("--version",),
    ),
    *(
        ("report", "--output", "é.html", "--format", "html"),
        ("nonsense–",),
        ("run", "--debug"),
        ("symbols", "add", "--file", "日本"),
    ),
)
_OUTPUTS = ("pipe", "pipe", "pipe", "pipe", "pipe", "file", "closed pipe", "full disk", "closed")


@dataclass(frozen=True)
class ProcessScenario:
    """A command and where its output goes."""

    command: tuple[str, ...]
    output: str

    def __str__(self) -> str:
        """One line."""
        return f"{' '.join(map(str, self.command))} > {self.output}"


class LocaleFamily:
    """Odd processes."""

    name = "locales"
    share = 45

    def draw(self, random: Random) -> FuzzInput:
        count = random.choice((1, 1, 2, 3, 4))
        changes = tuple(_draw_change(random) for _ in range(count))
        return FuzzInput(ProcessScenario(random.choice(_COMMANDS), random.choice(_OUTPUTS)), changes)

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        scenario: ProcessScenario = fuzz_input.scenario
        with workbench.lend_database(get_usual_template(workbench)) as url, workbench.lend_folder() as folder:
            live = {"BACKFILL_LIVE": "true", "BACKFILL_AS_OF": NOW.replace(hour=15, minute=10).isoformat()}
            environment = workbench.build_environment(url, **(live if scenario.command[0] == "live" else {}))
            for change in fuzz_input.changes:
                environment = change.apply(environment)
            workbench.vendor.sends_nothing = True
            with _open_output(scenario.output, str(folder / "output")) as descriptor:
                closes = scenario.output == "closed"
                run = run_process(scenario.command, environment, folder=folder, stdout=descriptor, closes_stdout=closes)
            workbench.vendor.sends_nothing = False
        return judge_runs([run])


def _draw_change(random: Random) -> Change:
    name = random.choice((*_VARIABLES, *("LC_ALL", "PYTHONIOENCODING", "PYTHONUTF8", "LANG", "TZ", "COLUMNS") * 3))
    value = random.choice(_VARIABLES[name])
    return Change(f"{name}={value[:60]}", lambda environment: {**environment, name: value})


@contextmanager
def _open_output(kind: str, file: str) -> Iterator[int | None]:
    if kind == "closed pipe":
        reading, descriptor = os.pipe()
        os.close(reading)
    elif kind in {"file", "full disk"}:
        descriptor = os.open("/dev/full" if kind == "full disk" else file, os.O_WRONLY | os.O_CREAT)
    else:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
