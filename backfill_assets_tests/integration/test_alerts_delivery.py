"""From check results to delivered messages: real PostgreSQL, Apprise, and a real HTTP receiver."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from backfill_assets.alerts.alert_status import read_alert_status
from backfill_assets.alerts.causes import find_error_cause
from backfill_assets.alerts.delivery import DeliveryResult, compute_retry_delay, deliver, fingerprint_address, send_test
from backfill_assets.alerts.observation import Observation, VendorGap, build_run_observation, parse_observation
from backfill_assets.alerts.state_changes import record_observations
from backfill_assets.cli.rendering import show_alerts
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.store.alert_outbox import list_failing, postpone, read_endpoint_states
from backfill_assets.store.bars.source_host import bind_source_host, require_source_host
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.alert_receiver import LONGEST, SECRET, Receiver
from backfill_assets_tests.waiting import LONGEST_SECONDS

NOON = datetime(2026, 6, 3, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEAD = f"json://127.0.0.1:9/{SECRET}"
FAILING = Observation(
    event_id="1",
    name="no_missing_bars",
    observed_at=NOON,
    passed=False,
    figure=49,
    meaning="49 bars are missing in 4 symbols",
    offenders=("TSLA.US (26)", "AMZN.US (17)"),
    cause="2 symbols: TSLA.US, AMZN.US",
)


def passing(event_id: str, at: datetime, **changed: Any) -> Observation:
    meaning = "0 bars are missing in 0 symbols"
    return replace(FAILING, event_id=event_id, observed_at=at, passed=True, meaning=meaning, offenders=(), **changed)


def failing(event_id: str, at: datetime, **changed: Any) -> Observation:
    return replace(FAILING, event_id=event_id, observed_at=at, **changed)


class AlertPipeline:
    """Records and delivers like the alert sensor, on one database."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def record(self, now: datetime, *observations: Observation) -> int:
        with self.database.transaction() as connection:
            return record_observations(connection, observations, now)

    def deliver(self, now: datetime, **more: float) -> DeliveryResult:
        return deliver(self.database, self.settings, now, **{"timeout_seconds": LONGEST_SECONDS, **more})

    def with_addresses(self, *urls: str) -> "AlertPipeline":
        return AlertPipeline(
            self.database, self.settings.model_copy(update={"alert_urls": tuple(map(SecretStr, urls))})
        )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture
def pipeline(database: Database, settings: Settings, receiver: Receiver) -> AlertPipeline:
    return AlertPipeline(database, settings).with_addresses(receiver.url)


def test_a_failure_is_reported_once_with_details(pipeline: AlertPipeline, receiver: Receiver) -> None:
    assert pipeline.record(NOON, FAILING) == 1
    assert pipeline.record(NOON + HOUR, failing("2", NOON + HOUR)) == 0
    assert pipeline.deliver(NOON + HOUR) == DeliveryResult(1, {})
    assert pipeline.deliver(NOON + HOUR) == DeliveryResult(0, {})
    (message,) = receiver.got
    assert message["title"] == "backfill_assets: FAILING: no_missing_bars"
    assert message["type"] == "failure"
    assert message["message"].splitlines() == [
        "no_missing_bars: 49 bars are missing in 4 symbols",
        "worst: TSLA.US (26), AMZN.US (17)",
        "since: 2026-06-03 12:00 UTC",
        "likely cause: 2 symbols: TSLA.US, AMZN.US",
        "next step: backfill-assets report",
    ]


def test_recovery_has_its_duration_and_a_new_failure_is_reported_again(
    pipeline: AlertPipeline, receiver: Receiver
) -> None:
    pipeline.record(NOON, FAILING)
    pipeline.record(NOON + 5 * HOUR, passing("2", NOON + 5 * HOUR))
    assert pipeline.record(NOON + 6 * HOUR, passing("3", NOON + 6 * HOUR)) == 0
    pipeline.record(NOON + 7 * HOUR, failing("4", NOON + 7 * HOUR))
    pipeline.deliver(NOON + 7 * HOUR)
    assert receiver.titles == ["FAILING: no_missing_bars", "RECOVERED: no_missing_bars", "FAILING: no_missing_bars"]
    assert receiver.got[1]["message"] == "no_missing_bars passes again after 5 h: 0 bars are missing in 0 symbols"
    assert "since: 2026-06-03 19:00 UTC" in receiver.got[2]["message"]


def test_a_lasting_failure_is_repeated_at_most_daily(pipeline: AlertPipeline, receiver: Receiver) -> None:
    told = []
    for at in range(60):
        if pipeline.record(NOON + at * HOUR, failing(str(at), NOON + at * HOUR)):
            told.append(at)
            pipeline.deliver(NOON + at * HOUR)
    assert told == [0, 24, 48]
    assert receiver.titles == [f"{state}: no_missing_bars" for state in ("FAILING", "STILL FAILING", "STILL FAILING")]
    assert "since: 2026-06-03 12:00 UTC (2 days)" in receiver.got[2]["message"]


def test_new_vendor_gaps_are_not_a_recovery_and_are_reported_once(pipeline: AlertPipeline, receiver: Receiver) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13), VendorGap("TSLA.US", date(2026, 5, 22), 2))
    pipeline.record(NOON, FAILING)
    pipeline.record(NOON + HOUR, passing("2", NOON + HOUR, given_up=gone))
    assert (
        pipeline.record(NOON + 2 * HOUR, passing("3", NOON + 2 * HOUR, given_up=gone[:1])) == 0
    )  # the window has moved on
    assert pipeline.record(NOON + 3 * HOUR, passing("4", NOON + 3 * HOUR, given_up=gone)) == 0
    more = (gone[0], gone[1]._replace(slots=5))
    assert pipeline.record(NOON + 4 * HOUR, passing("5", NOON + 4 * HOUR, given_up=more)) == 1
    pipeline.deliver(NOON + 4 * HOUR)
    assert receiver.titles[1:] == ["GIVEN UP: no_missing_bars"] * 2
    assert "given up: 15 slots are now vendor_gap" in receiver.got[1]["message"]
    assert "sessions: MSFT.US 2026-05-22 (13), TSLA.US 2026-05-22 (2)" in receiver.got[1]["message"]
    assert "given up: 3 slots are now vendor_gap" in receiver.got[2]["message"]
    assert "passes again" not in receiver.got[1]["message"]


def test_new_vendor_gaps_do_not_end_the_failure_while_bars_are_missing(pipeline: AlertPipeline) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    pipeline.record(NOON, FAILING)
    assert pipeline.record(NOON + HOUR, failing("2", NOON + HOUR, given_up=gone)) == 1
    with pipeline.database.transaction() as connection:
        (state,) = list_failing(connection)
    assert (state.failing_since, state.notified_at) == (NOON, NOON + HOUR)


def test_a_missing_session_outside_the_window_is_not_recovered(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(NOON, FAILING)
    later = NOON + 25 * HOUR
    assert pipeline.record(NOON + HOUR, passing("2", NOON + HOUR, lingering=13)) == 0
    assert pipeline.record(later, passing("3", later, lingering=13)) == 1
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    pipeline.record(later + HOUR, passing("4", later + HOUR, given_up=gone))
    pipeline.deliver(later + HOUR)
    assert receiver.titles[-2:] == ["STILL FAILING: no_missing_bars", "GIVEN UP: no_missing_bars"]
    assert receiver.got[-2]["message"].splitlines() == [
        "no_missing_bars: 0 bars are missing in 0 symbols",
        "not recovered: 13 bars are still missing in older sessions",
        "since: 2026-06-03 12:00 UTC (25 h)",
        "likely cause: 2 symbols: TSLA.US, AMZN.US",
        "next step: backfill-assets report",
    ]


def test_missing_bars_outside_the_window_do_not_fail_a_passing_check(pipeline: AlertPipeline) -> None:
    assert pipeline.record(NOON, passing("1", NOON, lingering=13)) == 0


def test_vendor_gaps_are_reported_by_the_checks_that_failed_for_them(
    pipeline: AlertPipeline, receiver: Receiver
) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    fresh, full = replace(FAILING, event_id="f", name="newest_bar_is_fresh"), passing("r", NOON, name="all_recent")
    pipeline.record(NOON, FAILING, fresh, full)
    pipeline.record(
        NOON + HOUR,
        replace(full, event_id="r2", observed_at=NOON + HOUR, given_up=gone),
        passing("2", NOON + HOUR, given_up=gone),
    )
    pipeline.record(
        NOON + 2 * HOUR, replace(fresh, event_id="f2", observed_at=NOON + 2 * HOUR, passed=True, given_up=gone)
    )
    pipeline.deliver(NOON + 2 * HOUR)
    assert receiver.titles[1:] == ["GIVEN UP: no_missing_bars", "GIVEN UP: newest_bar_is_fresh"]


def test_vendor_gaps_without_a_failure_are_reported_once(pipeline: AlertPipeline) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    assert (
        pipeline.record(NOON, passing("1", NOON, given_up=gone), passing("2", NOON, given_up=gone, name="all_recent"))
        == 1
    )
    assert pipeline.record(NOON + HOUR, passing("3", NOON + HOUR, given_up=gone)) == 0


def test_a_warning_that_becomes_an_error_is_reported(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(NOON, replace(FAILING, severity="warning"))
    assert pipeline.record(NOON + HOUR, failing("2", NOON + HOUR)) == 1
    assert pipeline.record(NOON + 2 * HOUR, failing("3", NOON + 2 * HOUR, severity="warning")) == 0
    pipeline.deliver(NOON + HOUR)
    assert receiver.titles == ["FAILING (warning): no_missing_bars", "FAILING: no_missing_bars"]


def test_simultaneous_changes_are_one_message(pipeline: AlertPipeline, receiver: Receiver) -> None:
    fresh = replace(FAILING, event_id="2", name="newest_bar_is_fresh", meaning="2 symbols end before the newest slot")
    assert pipeline.record(NOON, FAILING, fresh) == 1
    pipeline.deliver(NOON)
    assert receiver.titles == ["FAILING: no_missing_bars and 1 more"]
    assert "newest_bar_is_fresh: 2 symbols end" in receiver.got[0]["message"]


def test_repeated_and_older_observations_change_nothing(pipeline: AlertPipeline, receiver: Receiver) -> None:
    history = [FAILING, passing("2", NOON), failing("3", NOON + HOUR), passing("4", NOON + 2 * HOUR)]
    assert pipeline.record(NOON + 2 * HOUR, *history) == 4
    assert pipeline.record(NOON + 3 * HOUR, *history) == 0
    assert pipeline.record(NOON + 3 * HOUR, failing("never seen", NOON + HOUR)) == 0  # older than the last one recorded
    pipeline.deliver(NOON + 3 * HOUR)
    assert len(receiver.got) == 4


def test_a_rolled_back_observation_can_be_recorded_again(pipeline: AlertPipeline) -> None:
    with pipeline.database.transaction() as connection:
        assert record_observations(connection, [FAILING], NOON) == 1
        connection.rollback()
    assert pipeline.record(NOON, FAILING) == 1


def test_failed_and_succeeded_runs_are_reported(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(
        NOON, build_run_observation("backfill_gaps", "ab12", NOON, error="no API token is set", cause="no token")
    )
    pipeline.record(NOON + HOUR, build_run_observation("backfill_gaps", "cd34", NOON + HOUR, error=None))
    pipeline.deliver(NOON + HOUR)
    assert receiver.titles == ["FAILING: run of backfill_gaps", "RECOVERED: run of backfill_gaps"]
    assert "run ab12 failed: no API token is set" in receiver.got[0]["message"]


def test_a_database_of_another_vendor_is_the_reported_cause(database: Database) -> None:
    with database.transaction() as connection:
        bind_source_host(connection, "127.0.0.1")
        with pytest.raises(UsageError) as refused:
            require_source_host(connection, "eodhd.com")
    assert find_error_cause(str(refused.value)) == "settings: this database belongs to another vendor"


def test_an_observation_survives_a_round_trip_through_metadata() -> None:
    seen = replace(FAILING, given_up=(VendorGap("MSFT.US", date(2026, 5, 22), 13),), severity="warning")
    stored = json.loads(json.dumps(seen.to_metadata()))
    assert parse_observation(stored, event_id="77") == replace(seen, event_id="77")
    with pytest.raises(ValueError, match="observed_at"):
        parse_observation({**stored, "observed_at": "yesterday"}, event_id="78")


def test_retries_of_an_address_back_off(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.status = 503
    pipeline.record(NOON, FAILING)
    minutes = [at for at in range(9) if pipeline.deliver(NOON + timedelta(minutes=at)).failed]
    assert minutes == [0, 1, 3, 7]
    assert [compute_retry_delay(failures).seconds // 60 for failures in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    with pipeline.database.transaction() as connection:
        (state,) = read_endpoint_states(connection, [fingerprint_address(receiver.url)], NOON).values()
    assert (state.pending_messages, state.failures, state.last_error) == (1, 4, "HTTP status 503")
    receiver.status = 200
    pipeline.record(NOON + 2 * HOUR, passing("2", NOON + 2 * HOUR))
    assert pipeline.deliver(NOON + 3 * HOUR).sent == 2
    assert receiver.titles == ["FAILING: no_missing_bars", "RECOVERED: no_missing_bars"]


def test_a_dead_address_does_not_block_others_and_nothing_is_sent_twice(
    pipeline: AlertPipeline, receiver: Receiver
) -> None:
    both = pipeline.with_addresses(DEAD, receiver.url)
    both.record(NOON, FAILING)
    assert both.deliver(NOON) == DeliveryResult(1, {1: "unreachable, or rejected the message"})
    assert both.deliver(NOON + timedelta(minutes=1)).sent == 0
    assert len(receiver.got) == 1


def test_an_address_that_never_responds_does_not_block_the_caller(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.holds.clear()
    patient = pipeline.with_addresses(receiver.build_url(600))  # Apprise would wait ten minutes
    patient.record(NOON, FAILING)
    assert patient.deliver(NOON, timeout_seconds=1) == DeliveryResult(0, {1: "no answer in time"})


def test_a_slow_address_does_not_block_others(pipeline: AlertPipeline, receiver: Receiver) -> None:
    with Receiver() as slow:
        slow.holds.clear()
        pipeline.record(NOON, FAILING)
        delivered = pipeline.with_addresses(slow.build_url(1), receiver.url).deliver(NOON)
    assert delivered == DeliveryResult(1, {1: "unreachable, or rejected the message"})
    assert receiver.titles == ["FAILING: no_missing_bars"]


def test_two_processes_do_not_send_to_one_address_at_once(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.holds.clear()
    pipeline.record(NOON, FAILING)
    first = threading.Thread(target=pipeline.deliver, args=(NOON,))
    first.start()
    receiver.arrived.wait()
    assert pipeline.deliver(NOON) == DeliveryResult(0, {})
    receiver.holds.set()
    first.join()
    assert len(receiver.paths) == 1


def test_a_new_address_receives_messages_of_the_past_day(pipeline: AlertPipeline, receiver: Receiver) -> None:
    silent = pipeline.with_addresses()
    silent.record(NOON - 30 * HOUR, replace(FAILING, observed_at=NOON - 30 * HOUR))
    silent.record(NOON - HOUR, passing("2", NOON - HOUR))
    assert silent.deliver(NOON) == DeliveryResult(0, {})
    pipeline.deliver(NOON)
    assert receiver.titles == ["RECOVERED: no_missing_bars"]


def test_old_messages_are_dropped(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.status = 500
    pipeline.record(NOON, FAILING)
    pipeline.deliver(NOON)
    receiver.status = 200
    later = NOON + timedelta(days=3)
    pipeline.record(later, passing("2", later))
    pipeline.deliver(later)
    assert receiver.titles == ["RECOVERED: no_missing_bars"]


def test_a_message_too_long_for_the_service_is_split(pipeline: AlertPipeline, receiver: Receiver) -> None:
    outage = [replace(FAILING, event_id=f"{n}", name=f"check {n}", meaning=f"{n} bars " + "x" * 900) for n in range(3)]
    chat = pipeline.with_addresses(receiver.chat_url)
    chat.record(NOON, *outage)
    chat.record(NOON + HOUR, passing("r", NOON + HOUR, name="check 0"))
    assert chat.deliver(NOON + HOUR) == DeliveryResult(2, {})
    pieces = [str(said["content"]) for said in receiver.got]
    assert all(len(piece) <= LONGEST for piece in pieces)
    lines = "\n".join(pieces).splitlines()
    assert [line for line in lines if line.startswith("check ")][:3] == [f"{o.name}: {o.meaning}" for o in outage]
    assert "check 0 passes again after 60 min" in pieces[-1]


def test_a_message_that_an_address_rejects_is_finally_skipped_and_reported(
    pipeline: AlertPipeline, receiver: Receiver
) -> None:
    receiver.refuses = "bars are missing in 4"
    pipeline.record(NOON, FAILING)
    pipeline.record(NOON + HOUR, passing("2", NOON + HOUR))
    tries = [pipeline.deliver(NOON + timedelta(minutes=at)) for at in range(32)]
    refused = [at for at, tried in enumerate(tries) if tried.failed]
    assert refused == [0, 1, 3, 7, 15, 31]
    assert [tries[at].skipped for at in refused] == [0, 0, 0, 0, 0, 1]
    said = "HTTP status 400 repeatedly: the message was skipped"
    assert tries[31].failed == {1: said}
    text = io.StringIO()
    show_alerts(Console(file=text, width=200), read_alert_status(pipeline.database, pipeline.settings, NOON + HOUR))
    assert text.getvalue().splitlines()[-1] == f"address 1 (json): 1 waiting · nothing sent yet · {said}"
    assert pipeline.deliver(NOON + timedelta(minutes=32)) == DeliveryResult(1, {})
    assert receiver.titles == ["RECOVERED: no_missing_bars"]
    (address,) = read_alert_status(pipeline.database, pipeline.settings, NOON + HOUR)["addresses"]
    assert address["error"] is None


def test_an_outage_skips_no_message(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(NOON, FAILING)
    receiver.status = 503
    pipeline.deliver(NOON)
    with pipeline.database.transaction() as connection:
        for _ in range(8):
            postpone(connection, fingerprint_address(receiver.url), "HTTP status 503", NOON)
    for at, receiver.status in [(1, 400), (2, 404), (3, 200)]:
        assert not pipeline.deliver(NOON + at * HOUR).skipped
    assert receiver.titles == ["FAILING: no_missing_bars"]


def test_an_invalid_address_is_named_by_its_position_only(settings: Settings, receiver: Receiver) -> None:
    urls = (SecretStr(receiver.url), SecretStr("nonsense://hush"))
    outcomes = send_test(settings.model_copy(update={"alert_urls": urls}))
    assert outcomes == [("json", None), ("nonsense", "Apprise does not support this address")]
    assert receiver.titles == ["TEST"]


@pytest.fixture
def said() -> Iterator[list[str]]:
    """All log lines of all loggers at DEBUG."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name} {self.format(record)} {record.args!r}")

    root, ear = logging.getLogger(), Ear()
    before = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(ear)
    root.setLevel(before)


def test_addresses_appear_in_no_output(
    pipeline: AlertPipeline, receiver: Receiver, said: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    posts = [pipeline, pipeline.with_addresses(DEAD), pipeline.with_addresses(f"nonsense://{SECRET}")]
    pipeline.record(NOON, FAILING)
    outcomes: list[object] = [(each.deliver(NOON), send_test(each.settings), each.settings) for each in posts]
    assert SECRET in receiver.paths[0]  # it was really sent
    assert not [line for line in [*said, *map(repr, outcomes), *capfd.readouterr()] if SECRET in line]
    with pipeline.database.transaction() as connection:
        for table in ("states", "events", "messages", "endpoints", "vendor_gaps"):
            rows = connection.execute(f"SELECT t::text FROM backfill.alert_{table} t".encode()).fetchall()
            assert not [row for (row,) in rows if SECRET in row], table


def test_messages_are_sent_as_plain_text(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(NOON, replace(FAILING, meaning="<b>5 & 6</b>", offenders=("A" * 40,) * 20))
    pipeline.deliver(NOON)
    assert "no_missing_bars: <b>5 & 6</b>" in receiver.got[0]["message"]
    assert receiver.got[0]["message"].count("A" * 40) == 5


def test_concurrent_observers_queue_one_message(
    pipeline: AlertPipeline, new_thread_results: Callable[..., list[Any]]
) -> None:
    assert sorted(new_thread_results(lambda: pipeline.record(NOON, FAILING), 4)) == [0, 0, 0, 1]


@pytest.fixture
def new_thread_results() -> Callable[..., list[Any]]:
    def run(work: Callable[[], Any], times: int) -> list[Any]:
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run
