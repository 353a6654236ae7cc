"""``audit``: finds what is improbable among stored bars, also those of other programs, and changes none of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import psycopg
import pytest

from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import Databases
from backfill_assets_tests.external_tables import create_external_tables
from backfill_assets_tests.unit.session_panels import build_full_panel, build_session_grid, change_panel, copy_values

MakeUser = Callable[..., User]
GRID = build_session_grid("2026-04-20", "2026-06-02")  # up to the newest session at the tests' time
SESSIONS = len(GRID.sessions)
NEWEST = SESSIONS - 1
NAMES = ("AAPL", "MSFT", "AMZN", "TSLA", "VTI", "NVDA")
INSERT_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT m.symbol_id, %(spelling)s, to_timestamp(at), o, h, l, c, v, %(source)s, %(source_interval)s, 6, true, now()
FROM unnest(%(symbols)s::text[], %(at)s::bigint[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[],
            %(close)s::float8[], %(volume)s::float8[]) AS t (symbol, at, o, h, l, c, v)
JOIN market_symbols m USING (symbol)
"""
OURS = {"spelling": "30m", "source": "127.0.0.1", "source_interval": "5m"}
OTHERS = {"spelling": "30m", "source": None, "source_interval": None}
OPENED_DOUBTS = """
SELECT session_day::text, rule, from_audit, from_rows, source_interval, marks_bar, ended_at FROM backfill.doubts
"""
INSERT_DAYS = """
INSERT INTO backfill.daily_prices (symbol_id, day, open_price, high_price, low_price, close_price, adjusted_close,
                                   volume, read_at)
SELECT symbol_id, day, open / f, high / f, low / f, close / f, close / f, 0, '2026-06-03 13:00+00'
FROM (
    SELECT symbol_id, symbol, timestamp::date AS day, (array_agg(open_price ORDER BY timestamp))[1] AS open,
           max(high_price) AS high, min(low_price) AS low, (array_agg(close_price ORDER BY timestamp DESC))[1] AS close
    FROM market_data JOIN market_symbols USING (symbol_id) GROUP BY 1, 2, 3
) d CROSS JOIN LATERAL (SELECT CASE WHEN symbol = 'MSFT' AND day < '2026-05-18' THEN 2.39 ELSE 1 END AS f) x
"""
WRONG_DAY = "day = '2026-05-20' AND symbol_id = (SELECT symbol_id FROM market_symbols WHERE symbol = 'AAPL')"
HASH = "SELECT md5(string_agg(d::text, ';' ORDER BY symbol_id, timestamp, interval_type)) FROM market_data d"


def make_panel(symbols: int, repeats: tuple[int, int] | None = None) -> SessionPanel:
    """Clean bars; ``repeats`` are the session of the first symbol that has another one's prices, and that one."""
    panel = build_full_panel(GRID, symbols)
    values = copy_values(panel)
    if repeats:
        for name in ("open", "high", "low", "close"):
            values[name][repeats[0]] = values[name][repeats[1]]
    return change_panel(panel, **values)


def store(url: str, panel: SessionPanel, **provenance: Any) -> None:
    line, column = np.nonzero(panel.is_present)
    values: dict[str, Any] = {name: getattr(panel, name)[line, column].tolist() for name in copy_values(panel)}
    values["at"] = (panel.opens[line] + column * panel.seconds).tolist()
    values["symbols"] = [NAMES[key - 1] for key in panel.symbol_id[line].tolist()]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(INSERT_BARS, OURS | values | provenance)


def query(url: str, statement: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def summarize(answer: Mapping[str, Any]) -> dict[str, int]:
    """The rules that doubt something, and how many doubts."""
    return {rule["rule"]: rule["doubts"] for rule in answer["rules"] if rule["doubts"]}


@pytest.fixture
def user(make_user: MakeUser) -> User:
    made = make_user()
    made.run_cli(["symbols", "add", *NAMES[:2]])
    return made


def test_improbable_bars_are_summarized_by_rule_and_nothing_is_changed(user: User, database_url: str) -> None:
    panel = make_panel(2, repeats=(NEWEST, NEWEST - 1))
    values = copy_values(panel)
    values["high"][SESSIONS + 5, 6] = 9999.0
    store(database_url, change_panel(panel, **values))
    before = query(database_url, HASH)

    result = user.run_cli("audit --format json")

    answer = result.json
    assert (result.code, result.err) == (0, "")
    assert summarize(answer) == {"session_repeated": 1, "price_spike": 1}
    assert (answer["bars"], answer["sessions"], answer["external_bars"]) == (2 * GRID.size, 2 * SESSIONS, 0)
    assert (answer["first_session"], answer["last_session"], answer["opened"]) == ("2026-04-20", "2026-06-03", None)
    rules = {rule["rule"]: rule for rule in answer["rules"]}
    repeated = rules["session_repeated"]
    counts = ("bars", "symbols", "first", "last", "judged_sessions", "unjudged_sessions")
    assert [repeated[name] for name in counts] == [13, 1, "2026-06-02", "2026-06-02", 2 * SESSIONS, 0]
    (example,) = repeated["examples"]
    assert (example["ticker"], example["session"]) == ("AAPL.US", "2026-06-02")
    assert (example["first_slot"], example["last_slot"]) == ("2026-06-02T13:30:00Z", "2026-06-02T19:30:00Z")
    assert example["figures"]["repeated_session"] == "2026-06-01"
    assert rules["price_outside_day"]["unjudged_sessions"] == 2 * SESSIONS  # without daily data
    assert {name for name, rule in rules.items() if rule["form"] == "rows only"} >= {"volume_running_total"}

    table = user.run_cli("audit")
    assert table.code == 0
    (line,) = [line.split() for line in table.out.splitlines() if line.startswith("session_repeated ")][:1]
    assert line == ["session_repeated", "1", "13", "1", "2026-06-02", "2026-06-02", str(2 * SESSIONS), "0"]
    assert "AAPL.US 2026-06-02 13:30 to 19:30 UTC: repeated session 2026-06-01" in table.out
    assert query(database_url, HASH) == before
    assert query(database_url, "SELECT count(*) FROM backfill.doubts") == [(0,)]


@pytest.mark.parametrize("provenance", [OURS, OTHERS], ids=["ours", "other program's"])
def test_doubts_are_opened_on_request_once_and_buy_nothing(
    user: User, database_url: str, provenance: dict[str, str | None]
) -> None:
    store(database_url, make_panel(2, repeats=(5, 4)), **provenance)
    before = query(database_url, HASH)
    checks = user.run_cli("verify --format json")

    answer = user.run_cli("audit --write --format json").json

    assert (summarize(answer), answer["opened"]) == ({"session_repeated": 1}, 1)
    assert answer["external_bars"] == (0 if provenance["source"] else 2 * GRID.size)
    opened = query(database_url, OPENED_DOUBTS)
    assert opened == [("2026-04-27", "session_repeated", True, False, provenance["source_interval"], True, None)]
    assert user.run_cli("audit --write --format json").json["opened"] == 0
    assert query(database_url, HASH) == before
    again = user.run_cli("verify --format json")
    assert (again.code, again.out) == (checks.code, checks.out)
    assert user.run_cli("plan --start 2026-04-20 --end 2026-06-02 --format json").json["requests"] == 0


def test_a_window_is_compared_with_all_that_is_stored_before(user: User, database_url: str) -> None:
    store(database_url, make_panel(2, repeats=(NEWEST, 1)))

    assert summarize(user.run_cli("audit --hours-back 30 --format json").json) == {"session_repeated": 1}
    answer = user.run_cli("audit --start 2026-05-01 --end 2026-05-29 --format json").json
    assert (summarize(answer), answer["first_session"], answer["sessions"]) == ({}, "2026-05-01", 2 * 20)
    answer = user.run_cli("audit --symbols MSFT --format json").json
    assert (summarize(answer), answer["bars"]) == ({}, GRID.size)


def test_what_the_market_shares_is_not_doubted(user: User, database_url: str) -> None:
    """A crash of minutes, as of 2010-05-06."""
    user.run_cli(["symbols", "add", *NAMES])
    panel = make_panel(len(NAMES))
    values = copy_values(panel)
    values["low"][10::SESSIONS, 10] *= 0.3
    values["low"][12, 3] *= 0.3
    store(database_url, change_panel(panel, **values))

    answer = user.run_cli("audit --format json").json

    assert summarize(answer) == {"price_spike": 1}
    (spikes,) = [rule for rule in answer["rules"] if rule["rule"] == "price_spike"]
    assert (spikes["confirmed"], spikes["bars"]) == (len(NAMES), 1)
    assert "6 spikes shared with at least 1 % of the market" in user.run_cli("audit").out


def test_whole_days_are_compared_and_a_common_factor_is_one_line(user: User, database_url: str) -> None:
    """The vendor adjusts daily prices back for spin-offs; one day of another symbol is wrong."""
    panel = make_panel(2)
    store(database_url, panel)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(INSERT_DAYS)
        connection.execute("UPDATE backfill.daily_prices SET high_price = high_price * 0.9 WHERE " + WRONG_DAY)
    answer = user.run_cli("audit --format json").json
    assert summarize(answer) == {"price_outside_day": 1}
    (stretch,) = answer["scaled"]
    assert (stretch["ticker"], stretch["first"], stretch["last"]) == ("MSFT.US", "2026-04-20", "2026-05-15")
    assert stretch["factor"] == pytest.approx(2.39, rel=0.01)
    assert "MSFT.US 2026-04-20 to 2026-05-15: all prices are 2.39 times" in user.run_cli("audit").out


def test_tables_of_other_programs_are_audited(make_user: MakeUser, databases: Databases) -> None:
    url = databases.create(template=None)
    create_external_tables(url)
    database = Database(url)
    migrate(database)
    database.close()
    user = make_user(DATABASE_URL=url)
    user.run_cli(["symbols", "add", *NAMES[:2]])
    store(url, make_panel(2, repeats=(NEWEST, NEWEST - 1)), **OTHERS | {"spelling": "30min"})
    answer = user.run_cli("audit --format json").json
    assert (summarize(answer), answer["external_bars"]) == ({"session_repeated": 1}, 2 * GRID.size)


def test_an_empty_store_has_nothing_to_audit(user: User) -> None:
    answer = user.run_cli("audit --format json").json
    assert (answer["bars"], answer["sessions"], summarize(answer)) == (0, 0, {})
    assert "no session due: none in all that is stored" in user.run_cli("audit").out
    assert user.run_cli("audit --hours-back 48 --format json").json["bars"] == 0
    assert user.run_cli("audit --hours-back 0").code == 2


@pytest.mark.parametrize("odd_time", ["294276-12-31", "infinity", "-infinity", "4713-01-02 BC", "2150-01-05"])
def test_a_bar_of_an_impossible_time_is_left_out(make_user: MakeUser, database_url: str, odd_time: str) -> None:
    """PostgreSQL stores times that no calendar and no other program has."""
    user = make_user()
    user.run_cli("symbols add AAPL")
    store(database_url, make_panel(1), **OTHERS)
    answers = [user.run_cli("audit --format json").json, user.run_cli("report --format json").json]
    query(
        database_url,
        "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,"
        f" volume) SELECT symbol_id, '30m', '{odd_time}', 5, 6, 4, 5, 77 FROM market_symbols RETURNING 1",
    )
    for command in ("audit", "audit --write", "status", "report", "decisions list"):
        assert user.run_cli(command).code == 0, command
    assert [user.run_cli(f"{name} --format json").json for name in ("audit", "report")] == answers
