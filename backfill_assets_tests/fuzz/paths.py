"""The family of paths: folders and files with names and of kinds that the file system allows, in every place for one.

Most inputs use the fuzz's own server. A few start the embedded server in a folder, in a process of its own.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.fuzz.command_runs import CommandRun, run_command, run_process
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.oracle import TOKEN, judge_runs
from backfill_assets_tests.fuzz.stores import get_usual_template
from backfill_assets_tests.fuzz.workbench import Workbench

_NAMES = (
    *(
        "a b",
        " a",
        "a ",
        "a'b",
        'a"b',
        "a\\b",
        "a\nb",
        "a\tb",
        "a%b",
        "%41",
        "a%sb",
        "a{b}",
        "{0}",
        "$HOME",
        "`id`",
        "~",
        "~root",
        "-a",
        "--help",
    ),
    *(
        "a;b",
        "a&b",
        "a|b",
        "a*b",
        "a?b",
        "[a]",
        "[bold]",
        "a#b",
        "a:b",
        "a,b",
        "a=b",
        "a@b",
        "a!b",
        "(a)",
        "<a>",
        "é",
        "e\u0301",
        "日本語",
        "🚀",
    ),
    *(
        "\u202ea",
        "a\u200b",
        "\udcff",
        "a\udc80b",
        ".",
        "..",
        ".a",
        "a.",
        "...",
        "nul",
        "CON",
        "x" * 100,
        "x" * 255,
        "é" * 120,
        "a/b/c d",
        "d" * 120 + "/" + "e" * 120,
    ),
    *(
        "\x07",
        "\x1b[31m",
        "\x7f",
        "\x01",
        "a\rb",
        "İ",
        "ß",
        "a+b",
        "a^b",
        "host=x",
        "x dbname=y",
        "%zz",
        "a/../b",
        "//a",
        "a//b",
    ),
)
_PLACES = (
    "working folder",
    "--output",
    "--output",
    "--file",
    "BACKFILL_HOME",
    "BACKFILL_CALENDAR_FILE",
    "EODHD_API_TOKEN_FILE",
    "TMPDIR",
    "--replay",
    "HOME",
)
_KINDS = (
    "usual",
    "usual",
    "usual",
    "missing",
    "folder",
    "dangling link",
    "link",
    "link to itself",
    "empty file",
    "below a file",
    "missing parent",
)
_SPECIAL = (
    "/dev/full",
    "/dev/null",
    "/proc/self/mem",
    "/proc/version",
    "/",
    "/sys/kernel",
    "/dev/zero",
    "",
    "/dev/stdin",
    "/dev/fd/99",
    "x" * 5000,
)
_EMBEDDED_SHARE = 0.02


@dataclass(frozen=True)
class PathScenario:
    """A place for a path, and a kind of what is there; ``embedded`` starts a server in a folder with the name."""

    place: str
    kind: str
    name: str
    embedded: bool

    def __str__(self) -> str:
        """One line."""
        return f"{self.place}: {self.kind} {self.name!r}" + (", embedded server" if self.embedded else "")


class PathFamily:
    """Odd paths."""

    name = "paths"
    share = 100

    def draw(self, random: Random) -> FuzzInput:
        embedded = random.random() < _EMBEDDED_SHARE
        place = random.choice(("BACKFILL_HOME", "working folder", "TMPDIR")) if embedded else random.choice(_PLACES)
        kind = random.choice(_KINDS)
        name = random.choice(_NAMES)
        if random.random() < 0.12 and not embedded:
            kind, name = "special", random.choice(_SPECIAL)
        second = random.choice(_NAMES)
        changes = (Change(f"within the folder {second!r}", lambda _: second),) if random.random() < 0.3 else ()
        return FuzzInput(PathScenario(place, kind, name, embedded), changes)

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        scenario: PathScenario = fuzz_input.scenario
        with workbench.lend_folder() as folder, workbench.lend_database(get_usual_template(workbench)) as url:
            for change in fuzz_input.changes:
                folder = folder / change.apply(None)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = _prepare(scenario, folder)
            except (OSError, ValueError):
                return Verdict(())  # the file system itself refuses it
            environment = workbench.build_environment(url, HOME=str(workbench.folder))
            workbench.vendor.sends_nothing = True
            runs = (
                _run_embedded(scenario, path, environment) if scenario.embedded else _run(scenario, path, environment)
            )
            workbench.vendor.sends_nothing = False
        return judge_runs(runs, may_be_interrupted=scenario.place == "--replay")


def _prepare(scenario: PathScenario, folder: Path) -> str:
    """Make what is at the path; returns the path."""
    if scenario.kind == "special":
        return scenario.name
    path = folder / scenario.name
    is_folder = scenario.place in {"working folder", "BACKFILL_HOME", "TMPDIR", "--replay", "HOME"}
    match scenario.kind:
        case "missing":
            pass
        case "missing parent":
            path = path / "not there" / "x"
        case "below a file":
            path.write_text("AAPL")
            path = path / "x"
        case "dangling link":
            path.symlink_to(folder / "not there")
        case "link to itself":
            path.symlink_to(path)
        case "link":
            _fill(folder / "target of the link", scenario.place, is_folder=is_folder)
            path.symlink_to(folder / "target of the link")
        case "empty file":
            path.write_text("")
        case "folder":
            path.mkdir(parents=True, exist_ok=True)
        case _:
            _fill(path, scenario.place, is_folder=is_folder)
    return str(path)


def _fill(path: Path, place: str, *, is_folder: bool) -> None:
    if is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text({"--file": "AAPL\n", "BACKFILL_CALENDAR_FILE": "{}", "EODHD_API_TOKEN_FILE": TOKEN}.get(place, ""))


def _run(scenario: PathScenario, path: str, environment: dict[str, str]) -> list[CommandRun]:
    match scenario.place:
        case "working folder":
            with suppress(OSError):
                os.listdir(path)
                return [
                    run_command(command, environment, folder=Path(path))
                    for command in (["report"], ["report", "--output", "r", "--format", "html"])
                ]
            return []
        case "--output":
            return [
                run_command(["report", "--format", kind, "--output", path], environment) for kind in ("html", "table")
            ]
        case "--file":
            return [run_command(["symbols", "add", "--file", path], environment)]
        case "--replay":
            return [run_command(["sandbox", "--port", "0", "--replay", path], environment, interrupt_after=0.5)]
        case "EODHD_API_TOKEN_FILE":
            environment = {name: value for name, value in environment.items() if name != "EODHD_API_TOKEN"}
    if not path:
        return []
    return [run_command([command], {**environment, scenario.place: path}) for command in ("status", "run")]


def _run_embedded(scenario: PathScenario, path: str, environment: dict[str, str]) -> list[CommandRun]:
    environment = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
    folder = Path(path) if scenario.place == "working folder" else None
    if scenario.place == "working folder":
        if not Path(path).is_dir():
            return []
        environment["BACKFILL_HOME"] = "home"
    elif scenario.place == "TMPDIR":
        environment |= {"TMPDIR": path, "BACKFILL_HOME": str(Path(path).parent / "home")}
    else:
        environment["BACKFILL_HOME"] = path
    run = run_process(["status"], environment, folder=folder)
    if run.code == 0:
        with suppress(Exception):  # the last process has stopped it already
            release_embedded_server((folder or Path()) / environment["BACKFILL_HOME"])
    return [run]
