"""Acknowledged and snoozed alerts, owners of symbols, and the heartbeat."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from backfill_assets.alerts.alert_status import read_alert_status
from backfill_assets.alerts.answers import answer_alerts
from backfill_assets.alerts.heartbeat import send_heartbeat
from backfill_assets.alerts.observation import Observation, VendorGap
from backfill_assets.alerts.owners import list_audiences, read_owned_universes
from backfill_assets.alerts.state_changes import record_observations
from backfill_assets.cli.alert_rendering import format_answer
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.store.alert_answers import AlertAnswer, AnswerKind
from backfill_assets.store.alert_outbox import lease_endpoints
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets.store.universes import create_universe
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub

NOON = datetime(2026, 6, 3, 12, tzinfo=UTC)
MISSING, FRESH = "bars_30m: no_missing_bars", "bars_30m: newest_bar_is_fresh"


def observe(database: Database, hour: float, name: str = MISSING, **changed: Any) -> list[str]:
    """Record an observation; returns the kinds of the messages about it."""
    at = NOON + timedelta(hours=hour)
    values = {"passed": False, "figure": 13, "meaning": "13 bars are missing", **changed}
    with database.transaction() as connection:
        before = connection.execute("SELECT coalesce(max(message_id), 0) FROM backfill.alert_messages").fetchone()
        record_observations(connection, [Observation(f"{name} {hour}", name, at, **values)], at)
        query = "SELECT kind FROM backfill.alert_messages WHERE message_id > %s ORDER BY message_id"
        return [kind for (kind,) in connection.execute(query, before)]


def answer(database: Database, kind: AnswerKind, hour: float, *names: str, until: float | None = None) -> list[str]:
    end = NOON + timedelta(hours=until) if until is not None else None
    given = AlertAnswer("", kind, "ann@host", NOON + timedelta(hours=hour), end, "with the vendor")
    return [one.name for one in answer_alerts(database, names, given)]


def read_ends(database: Database) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute("SELECT kind, ended_why FROM backfill.alert_answers ORDER BY answer_id").fetchall()


def test_acknowledged_alert_is_not_repeated_and_its_end_is_told(database: Database) -> None:
    assert observe(database, 0) == ["failing"]
    answer(database, "acknowledged", 1, "no_missing")
    assert [observe(database, hour) for hour in (2, 26, 50)] == [[], [], []]
    assert observe(database, 51, passed=True) == ["recovered"]
    assert observe(database, 52) == ["failing"], "the answer was about the failure that ended"
    assert read_ends(database) == [("acknowledged", "it passes")]


@pytest.mark.parametrize(
    ("worse", "kind"),
    [({"figure": 26}, "still failing"), ({"severity": "error"}, "failing")],
    ids=["twice", "severity"],
)
def test_acknowledged_alert_that_gets_worse_is_told(database: Database, worse: dict[str, Any], kind: str) -> None:
    observe(database, 0, severity="warning")
    answer(database, "acknowledged", 1, MISSING)
    assert observe(database, 2, severity="warning") == []
    assert observe(database, 3, severity="warning", figure=25) == []
    assert observe(database, 4, **{"severity": "warning", **worse}) == [kind]
    assert observe(database, 28.5, **{"severity": "warning", **worse}) == ["still failing"], "repeated as before"
    assert read_ends(database) == [("acknowledged", "it got worse")]


def test_acknowledged_alert_whose_slots_are_given_up_is_told_and_repeated_again(database: Database) -> None:
    gap = VendorGap("MSFT.US", NOON.date(), 13)
    observe(database, 0)
    answer(database, "acknowledged", 1, MISSING)
    assert observe(database, 2, given_up=(gap,)) == ["given up"]
    assert observe(database, 27, given_up=(gap,)) == ["still failing"]
    assert read_ends(database) == [("acknowledged", "it got worse")]


def test_acknowledgement_compares_with_a_figure_above_zero(database: Database) -> None:
    """A check that passes while bars are missing in older sessions has not recovered; its figure is 0."""
    observe(database, 0)
    answer(database, "acknowledged", 1, MISSING)
    assert observe(database, 2, passed=True, figure=0, lingering=5) == []
    assert observe(database, 3, figure=10) == []
    assert observe(database, 4, figure=20) == ["still failing"]


def test_snoozed_alert_is_silent_until_the_time_and_then_told_again(database: Database) -> None:
    gap = VendorGap("MSFT.US", NOON.date(), 13)
    observe(database, 0, severity="warning")
    answer(database, "snoozed", 1, MISSING, until=30)
    assert observe(database, 26, figure=500, given_up=(gap,)) == []
    assert observe(database, 30, figure=500, given_up=(gap,)) == ["given up"], "also what was kept back"
    assert observe(database, 31, figure=500, given_up=(gap,)) == []
    answer(database, "snoozed", 32, MISSING, until=40)
    assert observe(database, 33, passed=True) == []
    assert observe(database, 34) == ["failing"], "another failure"
    assert read_ends(database) == [("snoozed", "its time is over"), ("snoozed", "it passes")]


def test_answer_names_what_it_is_about(database: Database) -> None:
    with pytest.raises(UsageError, match="'x' is nothing that fails; what fails: nothing"):
        answer(database, "acknowledged", 0, "x")
    with pytest.raises(UsageError, match="nothing fails"):
        answer(database, "acknowledged", 0)
    observe(database, 0)
    observe(database, 0, FRESH)
    with pytest.raises(UsageError, match=f"'bars' means several that fail: '{FRESH}', '{MISSING}'"):
        answer(database, "acknowledged", 0, "bars")
    assert answer(database, "acknowledged", 0) == [FRESH, MISSING]
    assert answer(database, "snoozed", 1, "fresh", until=2) == [FRESH]
    assert read_ends(database) == [("acknowledged", "answered anew"), ("acknowledged", None), ("snoozed", None)]


def test_answers_are_listed_with_who_when_and_why(database: Database, settings: Settings) -> None:
    observe(database, 0)
    answer(database, "snoozed", 1, MISSING, until=2)
    (failing,) = read_alert_status(database, settings, NOON)["failing"]
    at, until = "2026-06-03T13:00:00Z", "2026-06-03T14:00:00Z"
    note = "with the vendor"
    assert failing["answer"] == {"kind": "snoozed", "by": "ann@host", "at": at, "until": until, "note": note}
    assert format_answer(failing["answer"]) == f"snoozed until {until} by ann@host {at}: {note}"
    assert json.dumps(failing)


def test_heartbeat_is_sent_and_its_address_is_not_logged(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert send_heartbeat(settings) is None, "no address"
    for status, problem in ((200, None), (500, "answers with status 500"), (302, "answers with status 302")):
        monitor = StubVendor(status, b"OK", {"location": "http://127.0.0.1:9/"})
        with serve_stub(monitor) as address:
            sent = send_heartbeat(settings.model_copy(update={"heartbeat_url": SecretStr(f"{address}/hush")}))
        assert sent == (problem and f"BACKFILL_HEARTBEAT_URL {problem}")
        assert [path.rpartition("/")[2] for path in monitor.request_paths] == ["hush"]
    nowhere = settings.model_copy(update={"heartbeat_url": SecretStr("http://127.0.0.1:9/hush")})
    assert send_heartbeat(nowhere) == "BACKFILL_HEARTBEAT_URL cannot be reached (ConnectError)"
    assert "hush" not in caplog.text


def test_owner_is_told_when_a_known_failure_reaches_own_symbols(database: Database, settings: Settings) -> None:
    given = settings.model_copy(update={"alert_owners": (SecretStr("model=json://127.0.0.1/model"),)})
    with database.transaction() as connection:
        add_symbols(connection, [Ticker("AAPL"), Ticker("MSFT")])
        create_universe(connection, "US", "model", list_symbols(connection, "US")[:1])

    def observe_offenders(hour: int, *offenders: str) -> list[tuple[str | None, str]]:
        at = NOON + timedelta(hours=hour)
        observation = Observation(str(hour), MISSING, at, passed=not offenders, figure=9, offenders=offenders)
        with database.transaction() as connection:
            before = connection.execute("SELECT coalesce(max(message_id), 0) FROM backfill.alert_messages").fetchone()
            record_observations(connection, [observation], at, owned=read_owned_universes(connection, given))
            query = "SELECT audience, kind FROM backfill.alert_messages WHERE message_id > %s ORDER BY message_id"
            return connection.execute(query, before).fetchall()

    assert observe_offenders(0, "MSFT.US (9)") == [(None, "failing")]
    answer(database, "acknowledged", 1, MISSING)  # by somebody who looks after MSFT
    assert observe_offenders(2, "MSFT.US (9)") == []
    assert observe_offenders(3, "MSFT.US (9)", "AAPL.US (1)") == [("US/model", "failing")]
    assert observe_offenders(4, "MSFT.US (9)", "AAPL.US (1)") == []
    assert observe_offenders(5) == [("US/model", "recovered"), (None, "recovered")]
    begun = observe_offenders(6, "MSFT.US (9)")
    answer(database, "snoozed", 6, MISSING, until=9)
    assert (begun, observe_offenders(7, "AAPL.US (9)")) == ([(None, "failing")], [])
    assert observe_offenders(9, "AAPL.US (9)") == [("US/model", "still failing"), (None, "still failing")]


def test_owner_is_told_of_own_symbols_and_of_the_end(database: Database, settings: Settings) -> None:
    owners = tuple(SecretStr(f"{name}=json://127.0.0.1/{name}") for name in ("model", "other"))
    given = settings.model_copy(update={"alert_owners": owners, "alert_urls": (SecretStr("json://127.0.0.1/all"),)})
    with database.transaction() as connection:
        symbols = add_symbols(connection, [Ticker("AAPL"), Ticker("MSFT")]) and list_symbols(connection, "US")
        for name, symbol in (("model", symbols[0]), ("other", symbols[1])):
            universe = create_universe(connection, "US", name, [symbol])
            assert universe.name == name
    for hour, values in enumerate(
        (
            {"passed": False, "offenders": ("AAPL.US (13)",)},
            {"passed": False, "offenders": ("MSFT.US (13)", "AAPL.US (1)"), "severity": "error"},
            {"passed": True},
        )
    ):
        at = NOON + timedelta(hours=hour)
        observation = Observation(str(hour), MISSING, at, **{"severity": "warning", **values})
        with database.transaction() as connection:
            record_observations(connection, [observation], at, owned=read_owned_universes(connection, given))
    with database.transaction() as connection:
        query = "SELECT kind FROM backfill.alert_messages WHERE audience IS NOT DISTINCT FROM %s ORDER BY message_id"
        told = {name: connection.execute(query, [name]).fetchall() for name in (None, "US/model", "US/other")}
        kinds = {name: [kind for (kind,) in rows] for name, rows in told.items()}
        later = NOON + timedelta(hours=3)
        leased = lease_endpoints(connection, list_audiences(given), later, seconds=60, max_messages=10)
    every = ["failing", "failing", "recovered"]
    assert kinds == {None: every, "US/model": every, "US/other": every[1:]}
    assert {one.endpoint.rpartition("/")[2]: len(one.messages) for one in leased} == {"all": 3, "model": 3, "other": 2}
    shown = read_alert_status(database, given, later)["addresses"]
    assert [(one["number"], one.get("universes")) for one in shown] == [(1, None), (2, ["US/model"]), (3, ["US/other"])]
