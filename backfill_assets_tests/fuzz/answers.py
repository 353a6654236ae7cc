"""The family of answers: what the vendor sends is odd, for a while or for one ticker, and right again later.

Besides the exit codes it judges the store: bars are consistent and on the grid whatever came, and right answers later
make every bar right (``run --force``).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg

from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.fuzz.answer_changes import draw_action_changes, draw_changes
from backfill_assets_tests.fuzz.command_runs import CommandRun, run_command
from backfill_assets_tests.fuzz.exchanges import SEVERAL
from backfill_assets_tests.fuzz.inputs import FuzzInput, Verdict
from backfill_assets_tests.fuzz.oracle import judge_runs
from backfill_assets_tests.fuzz.reply import parse_reply
from backfill_assets_tests.fuzz.vendor import Answer, keep_answer
from backfill_assets_tests.fuzz.workbench import Workbench, get_name

SYMBOLS = ("AAPL", "MSFT")
_LONDON = ("VOD.LSE", "BP.LSE")
WINDOW = ("--start", "2026-06-01", "--end", "2026-06-02")
_SELECT_BARS = """
SELECT s.symbol, extract(epoch FROM d.timestamp)::bigint, round(open_price::numeric, 5), round(high_price::numeric, 5),
       round(low_price::numeric, 5), round(close_price::numeric, 5), volume
FROM market_data d JOIN market_symbols s USING (symbol_id)
WHERE d.interval_type = '30m' AND d.timestamp BETWEEN '2026-06-01T00:00Z' AND '2026-06-03T00:00Z' ORDER BY 1, 2
"""
_SELECT_INCONSISTENT_BARS = """
SELECT s.symbol, d.timestamp::text, open_price, high_price, low_price, close_price, volume FROM market_data d
LEFT JOIN market_symbols s USING (symbol_id)
WHERE NOT coalesce(low_price > 0 AND low_price <= least(open_price, close_price)
                   AND high_price >= greatest(open_price, close_price) AND volume >= 0 AND s.symbol IS NOT NULL
                   AND high_price < 'infinity', false)
   OR extract(epoch FROM d.timestamp)::bigint % 1800 <> 0 OR extract(isodow FROM d.timestamp AT TIME ZONE 'UTC') > 5
   OR s.exchange = 'US' AND (d.timestamp AT TIME ZONE 'America/New_York')::time NOT BETWEEN '09:30' AND '15:30'
   OR s.exchange = 'LSE' AND (d.timestamp AT TIME ZONE 'Europe/London')::time NOT BETWEEN '08:00' AND '16:00' LIMIT 1
"""
_INTRADAY = ("intraday",)
_OTHER_FEED = ("intraday 1m",)  # of a store whose bars come from 5m rows
_ACTIONS = {"splits", "div", "dividends"}
_ABSENT, _TUESDAY = (
    tuple(datetime(2026, 6, day, hour, tzinfo=UTC).timestamp() for hour in hours)
    for day, hours in ((1, (15, 16)), (2, (15, 19)))
)
_COMMANDS: tuple[tuple[tuple[str, ...], tuple[str, ...], int], ...] = (
    (("run",), _INTRADAY, 12),
    (("run", "--format", "json"), _INTRADAY, 3),
    (("run", "--force", *WINDOW), _INTRADAY, 3),
    (("run", "--strategy", "incremental", "--debug"), _INTRADAY, 1),
    (("review", "--format", "json"), _INTRADAY, 2),
    (("why", "AAPL", "2026-06-01", "--ask", "--format", "json"), _INTRADAY, 2),
    (("why", "AAPL", "2026-06-01", "--ask"), _INTRADAY, 2),
    (("run",), ("eod",), 2),
    (("run",), ("eod-bulk-last-day",), 2),
    (("run",), ("user",), 1),
    (("run",), ("user", "internal-user"), 2),
    (("run",), ("splits",), 4),
    (("run",), ("div",), 4),
    (("run",), ("splits", "div"), 2),
    (("run", "--format", "json"), ("eod", "splits", "div"), 1),
    (("run",), ("eod-bulk-last-day splits",), 2),
    (("run",), ("eod-bulk-last-day dividends",), 2),
    (("run", "--force", *WINDOW), _OTHER_FEED, 3),
    (("run", "--force", *WINDOW, "--format", "json"), _OTHER_FEED, 1),
    (("run",), ("symbol-change-history",), 1),
    (("run",), ("exchange-details",), 1),
    (("run",), ("*",), 3),
    (("live",), ("real-time", "us-quote-delayed"), 3),
    (("live", "--format", "json"), ("real-time", "us-quote-delayed"), 2),
    (("symbols", "sync"), ("exchange-symbol-list",), 3),
    (("symbols", "sync", "--type", "Common Stock"), ("exchange-symbol-list",), 1),
)
_LONDON_COMMANDS: tuple[tuple[tuple[str, ...], tuple[str, ...], int], ...] = (
    (("run",), _INTRADAY, 6),
    (("run", "--exchange", "LSE", "--format", "json"), _INTRADAY, 2),
    (("run", "--force", *WINDOW, "--exchange", "LSE"), _INTRADAY, 2),
    (("run", "--exchange", "LSE"), ("eod",), 1),
    (("run", "--exchange", "LSE"), ("eod-bulk-last-day",), 1),
    (("run",), ("splits", "div"), 1),
    (("run",), ("exchange-details", "symbol-change-history"), 1),
    (("symbols", "sync", "--exchange", "LSE"), ("exchange-symbol-list",), 4),
    (("symbols", "sync", "--exchange", "AU", "--all-lines"), ("exchange-symbol-list",), 1),
)
_LOOKS = (
    ("verify",),
    ("report", "--format", "json"),
    ("why", "MSFT", "2026-06-01"),
    ("status",),
    ("report", "--format", "html"),
    ("plan",),
    ("audit", "--write"),
    ("audit", "--format", "json"),
    ("decisions", "list", "--format", "json"),
    ("decisions", "show", "1"),
    ("actions", "list", "--all"),
    ("actions", "list", "--all", "--format", "json"),
    ("report", "--interval", "30m"),
    ("decisions", "accept", "--kind", "doubt"),
    ("decisions", "reject", "--kind", "doubt"),
)
_LONDON_LOOKS = (*_LOOKS, ("markets", "show", "LSE"), ("markets", "list"), ("symbols", "list"), ("report",))


@dataclass(frozen=True)
class AnswerScenario:
    """A command and the requests whose answers change: all, or the first ``first_requests``."""

    command: tuple[str, ...]
    endpoints: tuple[str, ...]
    first_requests: int
    is_filled: bool
    look: tuple[str, ...]
    source_interval: str
    is_london: bool

    def __str__(self) -> str:
        """One line."""
        which = f"first {self.first_requests}" if self.first_requests < 1000 else "all"
        store = ("London, " if self.is_london else "") + ("full store" if self.is_filled else "empty store")
        return f"{' '.join(self.command)} | {store}, {self.source_interval}, {which} of /{', /'.join(self.endpoints)}"


class AnswerFamily:
    """Odd answers of the vendor."""

    name = "answers"
    share = 270

    def draw(self, random: Random) -> FuzzInput:
        is_london = random.random() < 0.2
        choices = _LONDON_COMMANDS if is_london else _COMMANDS
        command, endpoints, _ = random.choices(choices, [weight for *_, weight in choices])[0]
        scenario = AnswerScenario(
            command,
            endpoints,
            random.choice((1, 1, 2, 10_000, 10_000, 10_000)),
            is_filled=random.random() < 0.3 and command[0] != "symbols",
            look=random.choice(_LONDON_LOOKS if is_london else _LOOKS),
            source_interval="1m" if random.random() < 0.1 and endpoints != _OTHER_FEED and not is_london else "5m",
            is_london=is_london,
        )
        lists_actions = bool(_ACTIONS & {word for name in endpoints for word in name.split()})
        return FuzzInput(scenario, (draw_action_changes if lists_actions else draw_changes)(random))

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        scenario: AnswerScenario = fuzz_input.scenario
        symbols = _LONDON if scenario.is_london else SYMBOLS
        full, empty = _get_templates(workbench, scenario.source_interval, symbols)
        store = full if scenario.is_filled else empty
        if scenario.endpoints == _OTHER_FEED:
            store = _get_asked_template(workbench, empty)
        with workbench.lend_database(store) as url:
            environment = _build_environment(workbench, url, scenario)
            runs = [_run_changed(workbench, fuzz_input, environment)]
            runs.append(run_command(scenario.look, environment))
            faults = list(_find_inconsistent_bars(url))
            later = {**environment, "BACKFILL_AS_OF": (NOW + timedelta(days=1)).isoformat(), "BACKFILL_LIVE": "false"}
            runs.append(run_command(["run", "--force", "--symbols", ",".join(symbols), *WINDOW], later))
            faults += _find_wrong_bars(url, workbench.cache[f"true bars of {full}"])
            if runs[-1].code not in {0, 3}:
                faults.append(f"after right answers a run ends with {runs[-1].code}: {runs[-1].last_line}")
        return judge_runs(runs, faults, has_own_tables=True)


def _build_environment(workbench: Workbench, url: str, scenario: AnswerScenario) -> dict[str, str]:
    exchanges = {"BACKFILL_EXCHANGES": SEVERAL} if scenario.is_london else {}
    environment = workbench.build_environment(url, BACKFILL_SOURCE_INTERVAL=scenario.source_interval, **exchanges)
    if scenario.command[0] == "live":
        environment |= {"BACKFILL_LIVE": "true", "BACKFILL_AS_OF": NOW.replace(hour=15, minute=10).isoformat()}
    if any(name.startswith("eod-bulk-last-day") for name in scenario.endpoints):
        environment |= {"BACKFILL_DAILY_FILE_SYMBOLS": "1"}
    return environment


def _run_changed(workbench: Workbench, fuzz_input: FuzzInput, environment: dict[str, str]) -> CommandRun:
    scenario, answered = fuzz_input.scenario, 0

    def change(endpoint: str, answer: Answer) -> Answer:
        nonlocal answered
        if not {endpoint, endpoint.partition(" ")[0], "*"} & {*scenario.endpoints}:
            return _leave_gaps(scenario, endpoint, answer)
        answered += 1
        if answered > scenario.first_requests:
            return answer
        reply = parse_reply(answer)
        for one in fuzz_input.changes:
            reply = one.apply(reply)
        return reply.finish()

    workbench.vendor.change = change
    try:
        return run_command(scenario.command, environment)
    finally:
        workbench.vendor.change = keep_answer


def _leave_gaps(scenario: AnswerScenario, endpoint: str, answer: Answer) -> Answer:
    """No intraday rows where daily data are what changes: only then they are asked for."""
    is_daily = scenario.endpoints[0] in {"eod", "eod-bulk-last-day", "symbol-change-history"}
    if scenario.endpoints == _OTHER_FEED:
        return _raise_doubts(endpoint, answer)
    return Answer() if is_daily and endpoint.startswith("intraday") else answer


def _raise_doubts(endpoint: str, answer: Answer) -> Answer:
    """Rows of 5 minutes of which two slots are absent and one row is a spike: the other feed is asked about both."""
    reply = parse_reply(answer)
    if endpoint != "intraday 5m" or not isinstance(reply.content, list) or not reply.content:
        return answer
    rows = [row for row in reply.content if not _ABSENT[0] <= row["timestamp"] < _ABSENT[1]]
    tuesday = [n for n, row in enumerate(rows) if _TUESDAY[0] <= row["timestamp"] < _TUESDAY[1]]
    if tuesday:
        position = tuesday[int(rows[0]["volume"]) % len(tuesday)]  # another one for each ticker: what all have is true
        rows[position] = {**rows[position], "high": 9999}
    return replace(reply, content=rows).finish()


def _get_templates(workbench: Workbench, source_interval: str, symbols: Sequence[str]) -> tuple[str, str]:
    """Names of the databases with all bars of the window and with none; both know the symbols."""
    key = f"answers {source_interval} of {symbols}"
    if key not in workbench.cache:
        empty, full = workbench.create_database(), workbench.create_database()
        for url in (empty, full):
            environment = workbench.build_environment(url, BACKFILL_SOURCE_INTERVAL=source_interval)
            environment |= {"BACKFILL_EXCHANGES": SEVERAL} if symbols == _LONDON else {}
            _require_success(run_command(["symbols", "add", *symbols], environment))
        _require_success(run_command(["run", "--force", *WINDOW], environment))
        workbench.cache[key] = (get_name(full), get_name(empty))
        workbench.cache[f"true bars of {get_name(full)}"] = set(_read(full, _SELECT_BARS))
    names: tuple[str, str] = workbench.cache[key]
    return names


def _get_asked_template(workbench: Workbench, empty: str) -> str:
    """The name of a database whose absent slots and doubts the first feed has repeated."""
    if "asked" not in workbench.cache:
        url = workbench.create_database(empty)
        environment = workbench.build_environment(url, BACKFILL_CROSS_FEED_CALLS="0")
        workbench.vendor.change = _raise_doubts
        for _ in range(2):
            _require_success(run_command(["run", "--force", *WINDOW], environment), {0, 3})
        workbench.vendor.change = keep_answer
        workbench.cache["asked"] = get_name(url)
    return str(workbench.cache["asked"])


def _require_success(run: CommandRun, codes: Collection[int] = (0,)) -> None:
    if run.code not in codes:
        raise AssertionError(f"the fuzz cannot start: {run}")


def _find_inconsistent_bars(url: str) -> Iterator[str]:
    for bar in _read(url, _SELECT_INCONSISTENT_BARS):
        yield f"an inconsistent bar is stored: {bar}"


def _find_wrong_bars(url: str, true: set[tuple[Any, ...]]) -> Iterator[str]:
    stored = set(_read(url, _SELECT_BARS))
    if stored != true:
        yield f"{len(true - stored)} bars stay wrong after right answers, for instance {min(stored ^ true)}"


def _read(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()
