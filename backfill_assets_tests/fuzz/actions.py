"""The family of actions: corporate actions, listings and symbols in the store as no market has them.

Besides the exit codes it judges the functions of the schema: a bar is adjusted by finite numbers above zero, or the
error says which factor is missing.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from random import Random

import psycopg

from backfill_assets_tests.fuzz.command_runs import run_command
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.oracle import judge_runs
from backfill_assets_tests.fuzz.stores import get_usual_template
from backfill_assets_tests.fuzz.workbench import Workbench

EXPECTED_ERRORS = {"BF001", "22023"}  # a missing factor; an adjustment that there is not
_COMMANDS = (
    ("run",),
    ("run", "--force", "--start", "2026-06-01", "--end", "2026-06-02"),
    ("verify", "--format", "json"),
    ("report", "--format", "json"),
    ("report", "--ended"),
    ("report", "--format", "html"),
    ("actions", "list", "--all"),
    ("actions", "list", "--all", "--format", "json"),
    ("symbols", "show", "AAPL"),
    ("symbols", "list", "--all"),
    ("symbols", "rename", "AAPL", "MSFT", "--on", "2026-06-02", "--yes", "--insist"),
    ("symbols", "rename", "AAPL", "MSFT", "--undo", "--yes"),
    ("symbols", "add", "--delisted", "TSLA"),
    ("decisions", "list"),
    ("decisions", "accept", "--kind", "rename"),
    ("why", "AAPL", "2026-06-01"),
    ("status", "--format", "json"),
    ("audit",),
    ("plan",),
)
_SHARES = ("1", "2", "3", "10", "1000000", "0.000001", "1.05", "1e27", "7.777777", "0", "-1", "'NaN'", "'Infinity'")
_RATIOS = ("2", "0.1", "1000000", "0.000001", "1.05")
_AMOUNTS = ("0.24", "1e27", "1e-27", "150", "149.99", "0", "-1", "'NaN'", "'Infinity'", "0.1234567890123456789")
_CURRENCIES = ("'USD'", "NULL", "'GBX'", "'GBp'", "'EUR'", "''", "'usd'", "'é'")
# Within the years that this program itself writes: nobody else writes these tables.
_DAYS = (
    *("'2026-06-01'", "'2026-06-02'", "'2026-05-29'", "'2026-06-06'", "'2099-12-31'", "'0001-01-01'", "'9999-12-30'"),
    *("'1900-01-01'", "'2022-06-09'", "NULL"),
)
_TIMES = (
    "now()",
    "'2026-06-02 20:00Z'",
    "'2026-06-01 00:00Z'",
    "'2026-05-01Z'",
    "'0001-01-02Z'",
    "'9999-12-30Z'",
    "NULL",
)
_MOMENTS = (
    None,
    None,
    "2026-06-02 20:00Z",
    "2026-06-01 00:00Z",
    "infinity",
    "-infinity",
    "4713-01-01 BC",
    "9999-12-31Z",
)
_FACTORS = ("0.5", "0.999999", "1e-300", "1", "0", "-0.5", "'NaN'", "'Infinity'")
_IDS = ("1", "2", "3", "99", "-1", "2147483647")
_STATEMENTS = (
    "INSERT INTO backfill.splits (symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen, withdrawn_at)"
    " VALUES ({id}, {day}, {shares}, {shares}, {shares}, 'x', {time}, {time})",
    "INSERT INTO backfill.split_revisions (symbol_id, ex_date, ratio, source, known_from, known_until)"
    " VALUES ({id}, {day}, {ratio}, 'x', {time}, {time})",
    "INSERT INTO backfill.dividends (symbol_id, ex_date, period, cum_day, amount, currency, source, first_seen)"
    " VALUES ({id}, {day}, '', {day}, {amount}, {currency}, 'x', {time})",
    "INSERT INTO backfill.spinoffs (symbol_id, ex_date, factor, sessions, source, first_seen)"
    " VALUES ({id}, {day}, {factor}, 5, 'x', {time})",
    "INSERT INTO backfill.listings (instrument_id, symbol_id, listed_from, listed_until, source, recorded_by,"
    " recorded_at) VALUES ({id}, {id}, {day}, {day}, 'x', 'x', {time})",
    "INSERT INTO backfill.listings (instrument_id, symbol_id, listed_from, source, recorded_by, recorded_at)"
    " VALUES (1, {id}, NULL, 'x', 'x', {time})",
    "INSERT INTO backfill.universe_changes (symbol_id, symbol, exchange, is_active, kind, changed_at)"
    " VALUES ({id}, 'AAPL', 'US', false, 'changed', {time})",
    "UPDATE backfill.split_reads SET known_after = {day}, known_until = {day}",
    "UPDATE backfill.dividend_reads SET known_after = {day}, known_until = {day} WHERE symbol_id = {id}",
    "DELETE FROM backfill.dividend_reads WHERE symbol_id = {id}",
    "UPDATE backfill.daily_prices SET close_price = {amount} WHERE symbol_id = {id}",
    "UPDATE backfill.daily_prices SET read_at = {time}",
    "DELETE FROM backfill.daily_prices",
    "DELETE FROM market_symbols WHERE symbol_id = {id}",
    "UPDATE market_symbols SET symbol = 'MSFT' WHERE symbol_id = {id}",
    "UPDATE market_symbols SET symbol = {currency} WHERE symbol_id = {id}",
    "UPDATE market_symbols SET exchange = {currency} WHERE symbol_id = {id}",
    "UPDATE market_symbols SET is_active = NULL WHERE symbol_id = {id}",
    "UPDATE market_symbols SET symbol_id = {id} WHERE symbol = 'AAPL'",
)
_ADJUSTMENTS = ("splits", "splits_and_dividends", "none")
_SELECT = """
SELECT symbol_id, "timestamp"::text, open_price, high_price, low_price, close_price, volume
FROM backfill.adjusted_bars(%(adjustment)s, %(moment)s::timestamptz)
"""


@dataclass(frozen=True)
class ActionScenario:
    """Two commands, and the moment of which adjusted bars are asked for."""

    commands: tuple[tuple[str, ...], ...]
    adjustment: str
    moment: str | None

    def __str__(self) -> str:
        """One line."""
        return f"{'; '.join(map(' '.join, self.commands))} | {self.adjustment} at {self.moment}"


class ActionFamily:
    """Odd actions and listings in the store."""

    name = "actions"
    share = 60

    def draw(self, random: Random) -> FuzzInput:
        moment = random.choice(_MOMENTS)
        adjustment = random.choice((*_ADJUSTMENTS, *_ADJUSTMENTS, *_ADJUSTMENTS, "split", ""))
        scenario = ActionScenario(tuple(random.sample(_COMMANDS, 2)), adjustment, moment)
        return FuzzInput(scenario, tuple(_draw_statement(random) for _ in range(random.choice((1, 2, 3, 5, 8)))))

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        scenario: ActionScenario = fuzz_input.scenario
        with workbench.lend_database(get_usual_template(workbench)) as url:
            with psycopg.connect(url, autocommit=True) as connection:
                for change in fuzz_input.changes:
                    with suppress(psycopg.Error):  # PostgreSQL itself refuses such a row
                        connection.execute(change.apply(None))
            faults = [*_find_faults(url, scenario)]
            environment = workbench.build_environment(url)
            runs = [run_command(command, environment) for command in scenario.commands]
            faults += _find_faults(url, scenario)
        return judge_runs(runs, faults)


def _draw_statement(random: Random) -> Change:
    parts = random.choice(_STATEMENTS)
    values = {"id": _IDS, "day": _DAYS, "shares": _SHARES, "amount": _AMOUNTS, "currency": _CURRENCIES}
    values |= {"time": _TIMES, "factor": _FACTORS, "ratio": _RATIOS}
    for name, choices in values.items():
        while "{" + name + "}" in parts:
            parts = parts.replace("{" + name + "}", random.choice(choices), 1)
    return Change(parts, lambda _: parts.encode())


def _find_faults(url: str, scenario: ActionScenario) -> Iterator[str]:
    try:
        with psycopg.connect(url) as connection:
            values = {"adjustment": scenario.adjustment, "moment": scenario.moment}
            bars = connection.execute(_SELECT.encode(), values).fetchall()
    except psycopg.Error as error:
        if error.sqlstate not in EXPECTED_ERRORS:
            yield f"adjusted bars: {error.sqlstate} {str(error).splitlines()[0][:200]}"
        return
    for bar in bars:
        if not all(isfinite(value) for value in bar[2:]) or min(bar[2:6]) <= 0:
            yield f"adjusted bars: no finite prices: {bar}"
            return
