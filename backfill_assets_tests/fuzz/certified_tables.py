"""The family of certified tables: what happens to bars and their tables between a certificate and its verification.

Besides the exit codes it judges that a certificate is broken if, and only if, a bar of it has other canonical values.
"""

from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg

from backfill_assets_tests.fuzz.command_runs import run_command
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.oracle import judge_runs
from backfill_assets_tests.fuzz.stores import get_usual_template
from backfill_assets_tests.fuzz.workbench import Workbench, get_name

_VERIFY = ("verify-certificate",)
_COMMANDS = (
    *(_VERIFY, ("verify-certificate", "--format", "json"), ("verify-certificate", "1"), ("verify-certificate", "99")),
    *(("certify", "2026-06-01", "--universe", "model"), ("certify", "2026-06-02", "--universe", "model")),
    ("certify", "2026-06-01", "--universe", "model", "--accept-changes", "--format", "json"),
    ("certify", "2026-06-01", "--universe", "model", "--current-members"),
    *(("certify", "2026-06-01"), ("certificates", "list"), ("audit",), ("run",), ("run", "--verify-existing")),
    *(("universes", "list", "--format", "json"), ("universes", "show", "model"), ("universes", "remove", "model")),
    *(("universes", "add", "model", "MSFT"), ("universes", "set", "model", "--deadline", "16h")),
    ("bars", "AAPL", "--start", "2026-06-01", "--end", "2026-06-02", "--require", "any", "--format", "csv"),
    ("bars", "--universe", "model", "--start", "2026-06-01", "--end", "2026-06-02", "--known-at", "2026-06-02T00:00Z"),
    ("export", "--dir", "out", "--universe", "model", "--format", "json"),
    ("export", "--dir", "out", "--universe", "model", "--require", "any", "--adjustment", "splits"),
)
_BAR = "symbol_id = 1 AND timestamp = '2026-06-0{day} 13:30Z'::timestamptz + {slot} * interval '30 minutes'"
_PRICES = ("open_price", "high_price", "low_price", "close_price")
_NUMERIC = ", ".join(f"ALTER {price} TYPE numeric(12,6)" for price in _PRICES)
# Changes of bars, of which the verdict is known.
_OF_BARS = (
    "UPDATE market_data SET close_price = close_price + {small} WHERE {bar}",
    "UPDATE market_data SET high_price = high_price * 2 WHERE {bar}",
    "UPDATE market_data SET volume = volume + {number} WHERE {bar}",
    "UPDATE market_data SET fetched_at = now() WHERE {bar}",
    "UPDATE market_data SET source = NULL, source_interval = NULL, source_rows = NULL, is_final = NULL,"
    " fetched_at = NULL WHERE {bar}",
    "UPDATE market_data SET interval_type = '30min' WHERE {bar}",
    "UPDATE market_data SET timestamp = timestamp + interval '1 year' WHERE {bar}",
    "DELETE FROM market_data WHERE {bar}",
    "WITH gone AS (DELETE FROM market_data WHERE {bar} RETURNING *) INSERT INTO market_data SELECT * FROM gone",
    "UPDATE market_data SET open_price = low_price, close_price = low_price, high_price = low_price WHERE {bar}",
    "TRUNCATE market_data",
    f"ALTER TABLE market_data {_NUMERIC}",
    "ALTER TABLE market_data ALTER volume TYPE numeric",
    "INSERT INTO market_data SELECT 1, '30m', timestamp + interval '10 days', 1, 1, 1, 1, 1 FROM market_data LIMIT 1",
)
# Changes around them: any documented end is right.
_AROUND = (
    "UPDATE market_data SET timestamp = timestamp + interval '1 minute' WHERE {bar}",
    "INSERT INTO market_data SELECT 1, '30min', timestamp, 1, 1, 1, 1, 1 FROM market_data WHERE {bar}",
    "UPDATE market_symbols SET symbol = 'AAPX' WHERE symbol_id = 1",
    "UPDATE market_symbols SET symbol = NULL WHERE symbol_id = 1",
    "UPDATE market_symbols SET exchange = 'LSE' WHERE symbol_id = 1",
    "UPDATE market_symbols SET is_active = false",
    "UPDATE market_symbols SET symbol_id = 77 WHERE symbol_id = 1",
    "DELETE FROM market_symbols WHERE symbol_id = {number}",
    "UPDATE backfill.universes SET max_incomplete = 2147483647",
    "UPDATE backfill.universes SET deadline = '1 microsecond'",
    "UPDATE backfill.universes SET deadline = '178000000 years'",
    "UPDATE backfill.universes SET name = 'é''\"' WHERE name = 'model'",
    "DELETE FROM backfill.universes WHERE name = 'all'",
    "INSERT INTO backfill.universe_members VALUES ('US', 'model', {number}, '-infinity')",
    "UPDATE backfill.universe_members SET member_from = '2099-01-01Z'",
    "UPDATE backfill.universe_members SET member_until = '2026-06-01 20:00Z'",
    "DELETE FROM backfill.universe_members",
    "UPDATE backfill.doubts SET ended_at = NULL, outcome = NULL, marks_bar = true",
    "DELETE FROM backfill.session_evidence",
    "ALTER TABLE market_data DISABLE TRIGGER ALL",
)
_SELECT = """
SELECT extract(epoch FROM timestamp)::bigint, open_price::float8, high_price::float8, low_price::float8,
       close_price::float8, volume::float8
FROM market_data WHERE symbol_id = 1 AND interval_type IN ('30m', '30min')
  AND timestamp BETWEEN '2026-06-01 13:30Z' AND '2026-06-02 19:30Z' ORDER BY 1
"""


@dataclass(frozen=True)
class CertifiedScenario:
    """The commands after the changes."""

    commands: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """One line."""
        return "; ".join(" ".join(command) for command in self.commands)


class CertifiedFamily:
    """Tables that were changed after a certificate."""

    name = "certified"
    share = 90

    def draw(self, random: Random) -> FuzzInput:
        statements = random.choice((_OF_BARS, _OF_BARS, (*_OF_BARS, *_AROUND)))
        changes = tuple(_draw_change(random, statements) for _ in range(random.choice((1, 1, 1, 2, 3))))
        return FuzzInput(CertifiedScenario((_VERIFY, *random.sample(_COMMANDS, 2))), changes)

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        with (
            workbench.lend_database(_get_certified_template(workbench)) as url,
            workbench.lend_folder() as folder,
        ):
            environment = workbench.build_environment(url)
            before = _read_canonical(url)
            for change in fuzz_input.changes:
                with suppress(psycopg.Error), psycopg.connect(url) as connection:
                    connection.execute(change.apply("").encode())
            after = _read_canonical(url)
            runs = [run_command(command, environment, folder=folder) for command in fuzz_input.scenario.commands]
        expected = 0 if before == after else 3
        is_judged = all(change.description.startswith("bars: ") for change in fuzz_input.changes)
        faults = [f"verify-certificate gives {runs[0].code}, not {expected}"] if runs[0].code != expected else []
        return judge_runs(runs, faults if is_judged else ())


def _draw_change(random: Random, statements: tuple[str, ...]) -> Change:
    statement = random.choice(statements)
    bar = _BAR.format(day=random.choice((1, 2)), slot=random.randrange(13))
    small = random.choice(("0", "0.000000001", "-0.0000001", "0.000002", "0.01", "1"))
    text = statement.format(bar=bar, small=small, number=random.choice((0, 1, 2, 99)))
    return Change(("bars: " if statement in _OF_BARS else "") + text, lambda _: text)


def _get_certified_template(workbench: Workbench) -> str:
    if "certified" not in workbench.cache:
        url = workbench.create_database(get_usual_template(workbench))
        environment = workbench.build_environment(url)
        certify = [("certify", day, "--universe", "model") for day in ("2026-06-01", "2026-06-02")]
        for command in (("universes", "add", "model", "AAPL"), *certify):
            run = run_command(command, environment)
            if run.code != 0:
                raise AssertionError(f"the fuzz cannot start: {run}")
        workbench.cache["certified"] = get_name(url)
    return str(workbench.cache["certified"])


def _read_canonical(url: str) -> list[tuple[str, ...]]:
    """The bars of both sessions as texts, as far as a certificate tells values apart."""
    with psycopg.connect(url) as connection:
        return [_format_bar(*row) for row in connection.execute(_SELECT.encode())]


def _format_bar(epoch: int, *values: Any) -> tuple[str, ...]:
    *prices, volume = values
    return (str(epoch), *(f"{p:.6f}" if p >= 0.01 else f"{p:.7e}" for p in prices), f"{volume:.0f}")
