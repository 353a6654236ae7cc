"""The history before healed sessions: newest first and fair, in the fewest requests, with calls that are left over."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.history import frontier, walk
from backfill_assets.backfill.history.estimate import estimate_history
from backfill_assets.backfill.history.frontier import read_histories
from backfill_assets.backfill.history.spending import (
    COMPLETE,
    NEWER_FIRST,
    OFF,
    SPENT,
    WAITING,
    explain_no_walk,
    walk_history,
)
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.spare_calls import count_spare_requests
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import DataQuirks, Faults, Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.history import write_goals
from backfill_assets.store.history_state import (
    end_history_pause,
    read_history_state,
    read_past_days,
    start_history_pause,
)
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.conftest import NOW, StartSandbox, read_stored_bars

FIRST = date(2026, 3, 2)  # a Monday
LAST = date(2026, 5, 29)  # the session before the three that are healed
LISTED = date(2026, 4, 15)
SETTINGS: dict[str, Any] = {"history_from": FIRST, "partition_days": 3, "max_span_days": 32, "overlap_sessions": 0}
PRICE = 5
MakeEngine = Callable[..., Engine]


def fill_newer(engine: Engine) -> None:
    """Request what the sessions that are healed lack, as the sensors do: the history gives way to it."""
    for interval in engine.settings.intervals:
        due = find_due_work(engine, US, interval)
        if not due.ranges:
            continue
        run_backfill(engine, replace(due.job, symbols=tuple(one.symbol for one in due.ranges)), lambda _: None)


def go_on(engine: Engine, **options: Any) -> str:
    """Fill what the sensors would, and walk; returns why the walk ended."""
    fill_newer(engine)
    return walk_alone(engine, **options)


def walk_alone(engine: Engine, **options: Any) -> str:
    """Walk; returns why the walk ended."""
    done = walk_history(engine, lambda _: None, **options)
    return str(done.stopped or done.reason)


def move(engine: Engine, **changes: Any) -> Engine:
    """The engine with other settings, such as another clock."""
    return Engine(engine.database, engine.settings.model_copy(update=changes))


def count_intraday(sandbox: Sandbox) -> int:
    return int(sandbox.stats()["by_endpoint"].get("intraday", 0))


def count_history_bars(engine: Engine, symbol: str) -> int:
    """How many bars are stored before the sessions that are healed."""
    end = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
    return sum(bar[0] < end for bar in read_stored_bars(engine.database, symbol))


def list_asked(engine: Engine) -> list[str]:
    """The tickers of intraday requests in the order in which they were sent."""
    with engine.database.transaction() as connection:
        rows = connection.execute("SELECT ticker FROM backfill.requests WHERE purpose = 'history' ORDER BY at, ticker")
        return [ticker.partition(".")[0] for (ticker,) in rows]


def estimate(engine: Engine) -> Any:
    found = estimate_history(engine)
    assert found is not None
    return found


def test_nothing_is_walked_over_unless_somebody_asks_for_it(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",), partition_days=3)
    assert walk_alone(engine) == OFF
    assert estimate_history(engine) is None
    assert sandbox.stats()["requests"] == 0


def test_a_store_becomes_complete_newest_first_in_the_fewest_requests(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(listed={"MSFT": LISTED})
    engine = make_engine(sandbox, ("AAPL", "MSFT", "KO"), **SETTINGS)
    before = estimate(engine)
    assert (before.symbols, before.symbols_done, before.percent) == (3, 0, 0.0)
    assert before.calls == 9 * PRICE + 3  # three requests and one daily history a symbol, its listing unknown
    assert go_on(engine) == COMPLETE
    # MSFT needs two requests alone: it was not listed before. Nobody gets the second one before all have the first.
    assert Counter(list_asked(engine)) == {"AAPL": 3, "KO": 3, "MSFT": 2}
    asked = list_asked(engine)
    assert [set(asked[:3]), set(asked[3:6])] == [{"AAPL", "KO", "MSFT"}] * 2
    assert sandbox.stats()["calls_by_endpoint"]["eod"] == 3
    sessions = list_sessions(US, FIRST, LAST)
    assert count_history_bars(engine, "AAPL") == 13 * len(sessions)
    assert count_history_bars(engine, "MSFT") == 13 * sum(s.day >= LISTED for s in sessions)
    after = estimate(engine)
    assert (after.is_complete, after.percent, after.requests, after.describe()) == (True, 100.0, 0, "complete")
    calls = sandbox.stats()["calls"]
    assert go_on(engine) == COMPLETE
    assert sandbox.stats()["calls"] == calls


def test_bars_of_1m_come_in_requests_of_120_days(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    first = date(2026, 1, 16)
    settings = {"history_from": first, "partition_days": 3, "intervals": ("1m",)}
    engine = make_engine(start_sandbox(), ("AAPL",), **settings)
    (history,) = read_histories(engine)
    sessions = list_sessions(US, first, LAST)
    assert history.count_symbols_a_look(len(sessions)) == frontier.MAX_LOOK_SLOTS // (390 * len(sessions)) < 50
    assert estimate(engine).calls == 2 * PRICE + 1  # 134 days
    assert go_on(engine) == COMPLETE
    assert list_asked(engine) == ["AAPL", "AAPL"]
    with engine.database.transaction() as connection:
        rows = connection.execute("SELECT count(*) FROM market_data WHERE timestamp < '2026-06-01'").fetchone()
    assert rows == (390 * len(sessions),)


def test_one_request_brings_the_bars_of_all_intervals_of_its_feed(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL",), intervals=("30m", "1h"), **SETTINGS)
    fill_newer(engine)
    before = estimate(engine)
    assert (before.symbols, before.requests, before.calls) == (1, 3, 3 * PRICE + 1)
    assert walk_alone(engine) == COMPLETE
    assert list_asked(engine) == ["AAPL"] * 3
    sessions = list_sessions(US, FIRST, date(2026, 6, 2))
    assert len(read_stored_bars(engine.database, "AAPL")) == 13 * len(sessions)
    assert len(read_stored_bars(engine.database, "AAPL", "1h")) == 7 * len(sessions)
    assert (estimate(engine).is_complete, estimate(engine).calls) == (True, 0)


def test_what_the_store_has_is_not_requested_again(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",), **SETTINGS)
    job, _ = build_job(engine, JobRequest(start=date(2026, 4, 20), end=date(2026, 6, 2)))
    run_backfill(engine, job, lambda _: None)
    spent = count_intraday(sandbox)
    assert go_on(engine) == COMPLETE
    # 49 days are left: two requests of 32, though the first step begins in the middle of what is there.
    assert count_intraday(sandbox) == spent + 2


def test_a_symbol_that_lacks_nothing_costs_nothing(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",), **SETTINGS)
    for start, end in (("03-02", "03-31"), ("04-01", "05-01"), ("05-02", "06-02")):
        request = JobRequest(start=date.fromisoformat(f"2026-{start}"), end=date.fromisoformat(f"2026-{end}"))
        run_backfill(engine, build_job(engine, request)[0], lambda _: None)
    calls = sandbox.stats()["calls"]
    assert calls == 3 * PRICE
    assert walk_alone(engine) == COMPLETE
    assert sandbox.stats()["calls"] == calls


def test_a_year_has_its_partition_before_its_first_bars_come(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL",), **SETTINGS)
    with engine.database.transaction() as connection:  # as if the table began with the next year
        (years,) = connection.execute("SELECT first_year, end_year FROM backfill.bar_partition_years('market_data')")
        for name in ("before_2020", *range(years[0], 2027)):
            connection.execute(f"DROP TABLE market_data_{name}".encode())
        connection.execute(
            "CREATE TABLE market_data_before_2027 PARTITION OF market_data"
            " FOR VALUES FROM (MINVALUE) TO ('2027-01-01 00:00+00')"
        )
    assert go_on(engine) == COMPLETE
    with engine.database.transaction() as connection:
        places = connection.execute("SELECT DISTINCT tableoid::regclass::text FROM market_data").fetchall()
    assert places == [("market_data_2026",)]


def test_what_does_not_come_is_requested_once_more_and_then_left_alone(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    hole = frozenset({("AAPL", date(2026, 4, 7))})
    sandbox = start_sandbox(publication=Publication(never_published=hole))
    engine = make_engine(sandbox, ("AAPL",), cross_feed_calls=0, **SETTINGS)
    assert go_on(engine) == COMPLETE
    assert len(list_asked(engine)) == 3
    (line,) = read_histories(engine)[0].symbols
    assert line.look_again_at is not None
    assert timedelta(days=11) < line.look_again_at - NOW < timedelta(days=13)
    for days, total in ((5, 3), (13, 4), (26, 4)):
        later = move(engine, as_of=NOW + timedelta(days=days), partition_days=30)
        sandbox.move_clock(NOW + timedelta(days=days))
        assert go_on(later) == COMPLETE
        assert (days, len(list_asked(engine))) == (days, total)
        assert estimate(later).percent == 100.0  # a walk that begins anew takes nothing back


def test_bars_that_were_deleted_come_again_within_a_month(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",), **SETTINGS)
    assert go_on(engine) == COMPLETE
    before = read_stored_bars(engine.database, "AAPL")
    with engine.database.transaction() as connection:
        (symbol,) = list_symbols(connection, "US")
        stamps = [datetime(2026, 4, 7, 15, tzinfo=UTC)]
        assert delete_bars(connection, symbol.symbol_id, INTERVALS["30m"], stamps) == 1
    assert go_on(engine) == COMPLETE
    assert len(read_stored_bars(engine.database, "AAPL")) == len(before) - 1
    later = NOW + walk.LOOK_AGAIN_AFTER
    sandbox.move_clock(later)
    assert go_on(move(engine, as_of=later, partition_days=30)) == COMPLETE
    assert set(before) <= set(read_stored_bars(engine.database, "AAPL"))


def test_it_goes_on_the_next_day_when_the_days_calls_are_spent(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(daily=40)
    engine = make_engine(sandbox, ("AAPL", "MSFT"), daily_calls=40, collector_reserve=0.0, **SETTINGS)
    job, _ = build_job(engine, JobRequest())
    run_backfill(engine, job, lambda _: None)  # 10 calls; 5 more are reviews', of 40 a quarter is kept for others
    first = estimate(engine)
    assert first.calls == 6 * PRICE + 2
    assert first.days_known == 0
    assert first.done_on is not None
    days, moment = 0, NOW
    while go_on(move(engine, as_of=moment)) == SPENT:
        days, moment = days + 1, NOW + timedelta(days=days + 1)
        sandbox.move_clock(moment)
        said = estimate(move(engine, as_of=moment))
        assert said.days_known == days
    assert days > 0
    assert abs((first.done_on - NOW.date()).days - days) <= 1
    assert estimate(move(engine, as_of=moment)).is_complete


def test_a_day_whose_calls_are_used_up_counts_as_one_without_calls(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(daily=20), ("AAPL", "MSFT", "KO"), daily_calls=20, **SETTINGS)
    fill_newer(engine)
    assert walk_alone(engine).startswith("daily call quota is used up")
    unknown = "0.0 % complete, end unknown: no calls were left over on 1 day"
    assert estimate(engine).describe().startswith(unknown)
    tomorrow = move(engine, as_of=NOW + timedelta(days=1))  # nobody has spent any yet, but yesterday left none
    with engine.database.transaction() as connection:
        assert read_past_days(connection, engine.require_token(), tomorrow.settings.now(), 7).left_over == (0,)


def test_since_when_symbols_are_listed_is_read_with_calls_that_are_left_over(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    names = ("AAPL", "MSFT", "KO", "AMD", "NFLX", "JPM", "NVDA", "INTC")
    sandbox = start_sandbox(daily=90)
    engine = make_engine(sandbox, names, daily_calls=90, collector_reserve=0.0, **SETTINGS)
    fill_newer(engine)  # 40 calls; 40 of the other 50 are left to the session that closes today
    affordable = count_spare_requests(engine) * PRICE
    assert 0 < affordable < len(names)
    assert walk_alone(engine) == SPENT
    assert 0 < sandbox.stats()["calls_by_endpoint"]["eod"] <= affordable


def test_a_pause_holds_until_somebody_resumes(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",), **SETTINGS)
    with engine.database.transaction() as connection:
        start_history_pause(connection, "ada@host", "too much at once")
    assert walk_alone(engine).startswith("the history is paused by ada@host since")
    assert "end unknown: the history is paused by ada@host" in estimate(engine).describe()
    assert sandbox.stats()["requests"] == 0
    with engine.database.transaction() as connection:
        assert end_history_pause(connection)
        assert not end_history_pause(connection)
        assert "too much at once" in read_history_state(connection).said
    assert go_on(engine) == COMPLETE


def test_a_refused_token_ends_it_in_words_and_it_resumes_by_itself(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(tokens=frozenset({"another"}))
    engine = make_engine(sandbox, ("AAPL",), **SETTINGS)
    fill_newer(move(engine, token=SecretStr("another")))
    assert "check EODHD_API_TOKEN" in walk_alone(engine)
    with engine.database.transaction() as connection:
        assert "check EODHD_API_TOKEN" in read_history_state(connection).said
    assert estimate(engine).calls == 3 * PRICE + 1
    renewed = move(engine, token=SecretStr("another"))
    assert go_on(renewed) == COMPLETE


def test_a_symbol_that_fails_holds_nobody_up(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL", "XXXXX"), **SETTINGS)
    assert go_on(engine) in {WAITING, COMPLETE}
    assert Counter(list_asked(engine))["AAPL"] == 3
    assert count_history_bars(engine, "AAPL") == 13 * len(list_sessions(US, FIRST, LAST))


def test_a_failed_request_is_sent_again_by_the_next_walk(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(per_minute=100_000, faults=Faults(status_502=1.0))
    engine = make_engine(sandbox, ("AAPL",), attempts=1, backoff_seconds=(0.0, 0.0), **SETTINGS)
    assert go_on(engine) != COMPLETE
    assert estimate(engine).percent == 0.0


def test_two_processes_request_nothing_twice(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    names = ("AAPL", "MSFT", "KO", "AMD", "NFLX", "JPM")
    sandbox = start_sandbox(latency_ms=(1.0, 4.0))
    engine = make_engine(sandbox, names, **SETTINGS)
    fill_newer(engine)
    with ThreadPoolExecutor(2) as executor:
        ends = list(executor.map(lambda _: walk_alone(engine), range(2)))
    assert set(ends) <= {COMPLETE, WAITING}
    assert go_on(engine) == COMPLETE
    assert Counter(list_asked(engine)) == dict.fromkeys(names, 3)
    assert sandbox.stats()["calls_by_endpoint"]["eod"] == len(names)


def test_newer_gaps_come_first_whoever_walks(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",), **SETTINGS)
    options = "--exchange US --interval 30m --start 2026-06-01 --end 2026-06-02"
    assert walk_alone(engine) == f"{NEWER_FIRST}: Dagster's sensors request them, or backfill-assets run {options}"
    assert sandbox.stats()["requests"] == 0
    assert go_on(engine) == COMPLETE


def test_a_walk_ends_after_some_requests_and_new_symbols_get_theirs(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL", "MSFT"), **SETTINGS)
    assert "the next one goes on" in go_on(engine, max_requests=2)
    assert Counter(list_asked(engine)) == {"AAPL": 1, "MSFT": 1}
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["KO"]))
    assert go_on(engine, max_requests=1) != COMPLETE
    assert Counter(list_asked(engine))["KO"] == 1  # whoever has come least far is next
    assert go_on(engine) == COMPLETE
    assert Counter(list_asked(engine)) == dict.fromkeys(("AAPL", "MSFT", "KO"), 3)


def test_a_symbol_may_have_a_day_of_its_own(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT"), **{**SETTINGS, "history_from": None})
    with engine.database.transaction() as connection:
        aapl = next(s for s in list_symbols(connection, "US") if s.ticker.symbol == "AAPL")
        write_goals(connection, [aapl.symbol_id], date(2026, 5, 11))
    assert estimate(engine).symbols == 1
    assert go_on(engine) == COMPLETE
    assert Counter(list_asked(engine)) == {"AAPL": 1}
    with engine.database.transaction() as connection:
        write_goals(connection, [aapl.symbol_id], date(2026, 4, 27))  # further back: it goes on from there
    assert go_on(engine) == COMPLETE
    sessions = list_sessions(US, date(2026, 4, 27), LAST)
    assert count_history_bars(engine, "AAPL") == 13 * len(sessions)


def test_a_symbol_that_the_vendor_does_not_serve_has_no_history_until_it_does(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "KO"), **SETTINGS)
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.unserved_symbols (symbol_id, found_at, asked_since, reason)"
            " SELECT symbol_id, now(), now(), 'unknown' FROM market_symbols WHERE symbol = 'KO'"
        )
    assert estimate(engine).symbols == 1
    with engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.unserved_symbols SET ended_at = now()")
    assert estimate(engine).symbols == 2


def test_a_day_before_everything_that_the_vendor_has_is_refused_by_name(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL",), history_from=date(2020, 10, 9))
    with pytest.raises(UsageError, match=r"BACKFILL_HISTORY_FROM 2020-10-09 is before .* give 2020-10-12"):
        go_on(engine)


@pytest.mark.parametrize(("first", "sessions"), [(date(2026, 5, 29), 1), (date(2026, 5, 30), 0), (date(2026, 6, 3), 0)])
def test_a_first_day_right_before_the_sessions_that_are_healed(
    make_engine: MakeEngine, start_sandbox: StartSandbox, first: date, sessions: int
) -> None:
    """On the weekend before them nothing is left to request, and nothing is paid to learn so."""
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",), **{**SETTINGS, "history_from": first})
    assert go_on(engine) == COMPLETE
    assert sandbox.stats()["by_endpoint"].get("eod", 0) == sessions
    found = estimate_history(engine)
    assert (found.sessions if found else 0) == sessions


def test_a_daily_history_that_fails_is_waited_for_as_long_as_other_requests(
    make_engine: MakeEngine, start_sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"Z{chr(65 + number)}{chr(65 + number)}" for number in range(25))
    sandbox = start_sandbox(refused_endpoints={"eod": (502, "bad gateway")}, more_symbols=names)
    engine = make_engine(sandbox, ("AAPL", *names), attempts=1, **SETTINGS)
    monkeypatch.setattr(frontier, "MAX_LOOK_SLOTS", 5 * 13 * len(list_sessions(US, FIRST, LAST)))
    fill_newer(engine)
    for asked in (23, 26, 26):  # by five at most; none of twenty is answered: the others are left to the next walk
        assert walk_alone(engine) == WAITING
        assert sandbox.stats()["by_endpoint"]["eod"] == asked
    assert explain_no_walk(engine) == WAITING  # Dagster starts no run
    found = estimate(engine)
    assert timedelta() < found.waits_until - NOW <= timedelta(minutes=8)
    assert found.describe().endswith(f"; after failed requests 26 symbols wait until {found.waits_until:%F %H:%M} UTC")
    night = NOW.replace(hour=23, minute=59, second=59)
    assert found.done_on == NOW.date() < estimate(move(engine, as_of=night)).done_on  # they wait beyond midnight
    with engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.requests SET at = at - interval '3 minutes'")
    assert explain_no_walk(engine) == ""
    assert estimate(engine).waits_until is None


def test_nothing_is_requested_before_what_the_plan_includes(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    """One symbol pays to learn where it begins, no other is requested before it. A larger plan is found out."""
    sandbox = start_sandbox(quirks=DataQuirks(plan_limit_days=30))
    engine = make_engine(sandbox, ("AAPL",), **SETTINGS)
    limit = "the token's plan has no rows of US before 2026-05-04; once it has: backfill-assets run --force"
    assert go_on(engine).startswith(limit)
    assert Counter(list_asked(engine)) == {"AAPL": 2}  # of three: the first begins in the plan
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["MSFT"]))
    assert go_on(engine).startswith(limit)
    assert Counter(list_asked(engine)) == {"AAPL": 2, "MSFT": 1}
    assert explain_no_walk(engine).startswith(limit)
    found = estimate(engine)
    assert (found.is_complete, found.requests, found.reason.startswith(limit)) == (False, 0, True)
    larger = move(engine, base_url=start_sandbox().base_url)
    start, end = found.reason.split()[-3], found.reason.split()[-1]
    options = JobRequest(symbols=("AAPL",), start=date.fromisoformat(start), end=date.fromisoformat(end), force=True)
    run_backfill(larger, build_job(larger, options)[0], lambda _: None)
    assert go_on(larger) == COMPLETE
