"""From check results to delivered messages, with real PostgreSQL, Apprise and an HTTP receiver."""

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
from backfill_assets.cli.alert_rendering import show_alerts
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.store.alert_outbox import list_failing, list_not_judged, postpone, read_endpoint_states
from backfill_assets.store.bars.source_host import bind_source_host, require_source_host
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.alert_receiver import MAX_CHAT_LENGTH, SECRET, Receiver
from backfill_assets_tests.waiting import LONGEST_SECONDS

NOON = datetime(2026, 6, 3, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNREACHABLE_ADDRESS = f"json://127.0.0.1:9/{SECRET}"
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


def create_passing(event_id: str, at: datetime, **changed: Any) -> Observation:
    changed = {"meaning": "0 bars are missing in 0 symbols", **changed}
    return replace(FAILING, event_id=event_id, observed_at=at, passed=True, offenders=(), **changed)


def create_failing(event_id: str, at: datetime, **changed: Any) -> Observation:
    return replace(FAILING, event_id=event_id, observed_at=at, **changed)


class AlertPipeline:
    """Records observations and delivers messages like the alert sensor."""

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
    assert pipeline.record(NOON + HOUR, create_failing("2", NOON + HOUR)) == 0
    assert pipeline.deliver(NOON + HOUR) == DeliveryResult(1, {})
    assert pipeline.deliver(NOON + HOUR) == DeliveryResult(0, {})
    (message,) = receiver.messages
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
    pipeline.record(NOON + 5 * HOUR, create_passing("2", NOON + 5 * HOUR))
    assert pipeline.record(NOON + 6 * HOUR, create_passing("3", NOON + 6 * HOUR)) == 0
    pipeline.record(NOON + 7 * HOUR, create_failing("4", NOON + 7 * HOUR))
    pipeline.deliver(NOON + 7 * HOUR)
    assert receiver.titles == ["FAILING: no_missing_bars", "RECOVERED: no_missing_bars", "FAILING: no_missing_bars"]
    assert receiver.messages[1]["message"] == "no_missing_bars passes again after 5 h: 0 bars are missing in 0 symbols"
    assert "since: 2026-06-03 19:00 UTC" in receiver.messages[2]["message"]


def test_a_lasting_failure_is_repeated_at_most_daily(pipeline: AlertPipeline, receiver: Receiver) -> None:
    reported_hours = []
    for at in range(60):
        if pipeline.record(NOON + at * HOUR, create_failing(str(at), NOON + at * HOUR)):
            reported_hours.append(at)
            pipeline.deliver(NOON + at * HOUR)
    assert reported_hours == [0, 24, 48]
    assert receiver.titles == [f"{state}: no_missing_bars" for state in ("FAILING", "STILL FAILING", "STILL FAILING")]
    assert "since: 2026-06-03 12:00 UTC (2 days)" in receiver.messages[2]["message"]


def test_new_vendor_gaps_are_not_a_recovery_and_are_reported_once(pipeline: AlertPipeline, receiver: Receiver) -> None:
    vendor_gaps = (VendorGap("MSFT.US", date(2026, 5, 22), 13), VendorGap("TSLA.US", date(2026, 5, 22), 2))
    pipeline.record(NOON, FAILING)
    pipeline.record(NOON + HOUR, create_passing("2", NOON + HOUR, given_up=vendor_gaps))
    # the window moved
    assert pipeline.record(NOON + 2 * HOUR, create_passing("3", NOON + 2 * HOUR, given_up=vendor_gaps[:1])) == 0
    assert pipeline.record(NOON + 3 * HOUR, create_passing("4", NOON + 3 * HOUR, given_up=vendor_gaps)) == 0
    more_gaps = (vendor_gaps[0], vendor_gaps[1]._replace(slots=5))
    assert pipeline.record(NOON + 4 * HOUR, create_passing("5", NOON + 4 * HOUR, given_up=more_gaps)) == 1
    pipeline.deliver(NOON + 4 * HOUR)
    assert receiver.titles[1:] == ["GIVEN UP: no_missing_bars"] * 2
    assert "given up: 15 slots are now vendor_gap" in receiver.messages[1]["message"]
    assert "sessions: MSFT.US 2026-05-22 (13), TSLA.US 2026-05-22 (2)" in receiver.messages[1]["message"]
    assert "given up: 3 slots are now vendor_gap" in receiver.messages[2]["message"]
    assert "passes again" not in receiver.messages[1]["message"]


def test_new_vendor_gaps_do_not_end_a_failure_with_missing_bars(pipeline: AlertPipeline) -> None:
    vendor_gaps = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    pipeline.record(NOON, FAILING)
    assert pipeline.record(NOON + HOUR, create_failing("2", NOON + HOUR, given_up=vendor_gaps)) == 1
    with pipeline.database.transaction() as connection:
        (state,) = list_failing(connection)
    assert (state.failing_since, state.notified_at) == (NOON, NOON + HOUR)


def test_a_missing_session_outside_the_window_is_not_recovered(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(NOON, FAILING)
    next_day = NOON + 25 * HOUR
    assert pipeline.record(NOON + HOUR, create_passing("2", NOON + HOUR, lingering=13)) == 0
    assert pipeline.record(next_day, create_passing("3", next_day, lingering=13)) == 1
    vendor_gaps = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    pipeline.record(next_day + HOUR, create_passing("4", next_day + HOUR, given_up=vendor_gaps))
    pipeline.deliver(next_day + HOUR)
    assert receiver.titles[-2:] == ["STILL FAILING: no_missing_bars", "GIVEN UP: no_missing_bars"]
    assert receiver.messages[-2]["message"].splitlines() == [
        "no_missing_bars: 0 bars are missing in 0 symbols",
        "not recovered: 13 bars are still missing in older sessions",
        "since: 2026-06-03 12:00 UTC (25 h)",
        "likely cause: 2 symbols: TSLA.US, AMZN.US",
        "next step: backfill-assets report",
    ]


def test_missing_bars_outside_the_window_do_not_fail_a_passing_check(pipeline: AlertPipeline) -> None:
    assert pipeline.record(NOON, create_passing("1", NOON, lingering=13)) == 0


def test_vendor_gaps_are_reported_by_the_checks_that_failed(pipeline: AlertPipeline, receiver: Receiver) -> None:
    vendor_gaps = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    freshness = replace(FAILING, event_id="f", name="newest_bar_is_fresh")
    recent_bars = create_passing("r", NOON, name="all_recent")
    pipeline.record(NOON, FAILING, freshness, recent_bars)
    pipeline.record(
        NOON + HOUR,
        replace(recent_bars, event_id="r2", observed_at=NOON + HOUR, given_up=vendor_gaps),
        create_passing("2", NOON + HOUR, given_up=vendor_gaps),
    )
    pipeline.record(
        NOON + 2 * HOUR,
        replace(freshness, event_id="f2", observed_at=NOON + 2 * HOUR, passed=True, given_up=vendor_gaps),
    )
    pipeline.deliver(NOON + 2 * HOUR)
    assert receiver.titles[1:] == ["GIVEN UP: no_missing_bars", "GIVEN UP: newest_bar_is_fresh"]


def test_vendor_gaps_without_a_failure_are_reported_once(pipeline: AlertPipeline) -> None:
    vendor_gaps = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    assert (
        pipeline.record(
            NOON,
            create_passing("1", NOON, given_up=vendor_gaps),
            create_passing("2", NOON, given_up=vendor_gaps, name="all_recent"),
        )
        == 1
    )
    assert pipeline.record(NOON + HOUR, create_passing("3", NOON + HOUR, given_up=vendor_gaps)) == 0


def test_a_warning_that_becomes_an_error_is_reported(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(NOON, replace(FAILING, severity="warning"))
    assert pipeline.record(NOON + HOUR, create_failing("2", NOON + HOUR)) == 1
    assert pipeline.record(NOON + 2 * HOUR, create_failing("3", NOON + 2 * HOUR, severity="warning")) == 0
    pipeline.deliver(NOON + HOUR)
    assert receiver.titles == ["FAILING (warning): no_missing_bars", "FAILING: no_missing_bars"]


def test_simultaneous_changes_are_one_message(pipeline: AlertPipeline, receiver: Receiver) -> None:
    freshness = replace(
        FAILING, event_id="2", name="newest_bar_is_fresh", meaning="2 symbols end before the newest slot"
    )
    assert pipeline.record(NOON, FAILING, freshness) == 1
    pipeline.deliver(NOON)
    assert receiver.titles == ["FAILING: no_missing_bars and 1 more"]
    assert "newest_bar_is_fresh: 2 symbols end" in receiver.messages[0]["message"]


def test_repeated_and_older_observations_change_nothing(pipeline: AlertPipeline, receiver: Receiver) -> None:
    history = [
        FAILING,
        create_passing("2", NOON),
        create_failing("3", NOON + HOUR),
        create_passing("4", NOON + 2 * HOUR),
    ]
    assert pipeline.record(NOON + 2 * HOUR, *history) == 4
    assert pipeline.record(NOON + 3 * HOUR, *history) == 0
    older = create_failing("unknown event", NOON + HOUR)  # older than the newest recorded observation
    assert pipeline.record(NOON + 3 * HOUR, older) == 0
    pipeline.deliver(NOON + 3 * HOUR)
    assert len(receiver.messages) == 4


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
    assert "run ab12 failed: no API token is set" in receiver.messages[0]["message"]


def test_a_database_of_another_vendor_is_reported_as_the_cause(database: Database) -> None:
    with database.transaction() as connection:
        bind_source_host(connection, "127.0.0.1")
        with pytest.raises(UsageError) as raised:
            require_source_host(connection, "eodhd.com")
    assert find_error_cause(str(raised.value)) == "settings: this database belongs to another vendor"


def test_an_observation_is_unchanged_after_a_round_trip_through_metadata() -> None:
    observation = replace(FAILING, given_up=(VendorGap("MSFT.US", date(2026, 5, 22), 13),), severity="warning")
    stored = json.loads(json.dumps(observation.to_metadata()))
    assert parse_observation(stored, event_id="77") == replace(observation, event_id="77")
    with pytest.raises(ValueError, match="observed_at"):
        parse_observation({**stored, "observed_at": "yesterday"}, event_id="78")


def test_retries_of_an_address_use_a_growing_delay(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.status = 503
    pipeline.record(NOON, FAILING)
    minutes = [at for at in range(9) if pipeline.deliver(NOON + timedelta(minutes=at)).failed]
    assert minutes == [0, 1, 3, 7]
    assert [compute_retry_delay(failures).seconds // 60 for failures in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    with pipeline.database.transaction() as connection:
        (state,) = read_endpoint_states(connection, {fingerprint_address(receiver.url): ("",)}, NOON).values()
    assert (state.pending_messages, state.failures, state.last_error) == (1, 4, "HTTP status 503")
    receiver.status = 200
    pipeline.record(NOON + 2 * HOUR, create_passing("2", NOON + 2 * HOUR))
    assert pipeline.deliver(NOON + 3 * HOUR).sent == 2
    assert receiver.titles == ["FAILING: no_missing_bars", "RECOVERED: no_missing_bars"]


def test_an_unreachable_address_does_not_block_others_or_cause_duplicates(
    pipeline: AlertPipeline, receiver: Receiver
) -> None:
    two_addresses = pipeline.with_addresses(UNREACHABLE_ADDRESS, receiver.url)
    two_addresses.record(NOON, FAILING)
    assert two_addresses.deliver(NOON) == DeliveryResult(1, {1: "unreachable, or rejected the message"})
    assert two_addresses.deliver(NOON + timedelta(minutes=1)).sent == 0
    assert len(receiver.messages) == 1


def test_an_address_that_never_responds_does_not_block_the_caller(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.may_respond.clear()
    slow_pipeline = pipeline.with_addresses(receiver.build_url(600))  # Apprise would wait ten minutes
    slow_pipeline.record(NOON, FAILING)
    assert slow_pipeline.deliver(NOON, timeout_seconds=1) == DeliveryResult(0, {1: "no answer in time"})


def test_a_slow_address_does_not_block_others(pipeline: AlertPipeline, receiver: Receiver) -> None:
    with Receiver() as slow:
        slow.may_respond.clear()
        pipeline.record(NOON, FAILING)
        delivered = pipeline.with_addresses(slow.build_url(1), receiver.url).deliver(NOON)
    assert delivered == DeliveryResult(1, {1: "unreachable, or rejected the message"})
    assert receiver.titles == ["FAILING: no_missing_bars"]


def test_two_processes_do_not_send_to_one_address_at_once(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.may_respond.clear()
    pipeline.record(NOON, FAILING)
    first = threading.Thread(target=pipeline.deliver, args=(NOON,))
    first.start()
    receiver.request_received.wait()
    assert pipeline.deliver(NOON) == DeliveryResult(0, {})
    receiver.may_respond.set()
    first.join()
    assert len(receiver.paths) == 1


def test_a_new_address_receives_messages_of_the_past_day(pipeline: AlertPipeline, receiver: Receiver) -> None:
    without_addresses = pipeline.with_addresses()
    without_addresses.record(NOON - 30 * HOUR, replace(FAILING, observed_at=NOON - 30 * HOUR))
    without_addresses.record(NOON - HOUR, create_passing("2", NOON - HOUR))
    assert without_addresses.deliver(NOON) == DeliveryResult(0, {})
    pipeline.deliver(NOON)
    assert receiver.titles == ["RECOVERED: no_missing_bars"]


def test_old_messages_are_dropped(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.status = 500
    pipeline.record(NOON, FAILING)
    pipeline.deliver(NOON)
    receiver.status = 200
    later = NOON + timedelta(days=3)
    pipeline.record(later, create_passing("2", later))
    pipeline.deliver(later)
    assert receiver.titles == ["RECOVERED: no_missing_bars"]


def test_a_message_too_long_for_the_service_is_split(pipeline: AlertPipeline, receiver: Receiver) -> None:
    failures = [
        replace(FAILING, event_id=f"{n}", name=f"check {n}", meaning=f"{n} bars " + "x" * 900) for n in range(3)
    ]
    chat = pipeline.with_addresses(receiver.chat_url)
    chat.record(NOON, *failures)
    chat.record(NOON + HOUR, create_passing("r", NOON + HOUR, name="check 0"))
    assert chat.deliver(NOON + HOUR) == DeliveryResult(2, {})
    parts = [str(message["content"]) for message in receiver.messages]
    assert all(len(part) <= MAX_CHAT_LENGTH for part in parts)
    lines = "\n".join(parts).splitlines()
    assert [line for line in lines if line.startswith("check ")][:3] == [f"{o.name}: {o.meaning}" for o in failures]
    assert "check 0 passes again after 60 min" in parts[-1]


def test_a_repeatedly_rejected_message_is_skipped_and_reported(pipeline: AlertPipeline, receiver: Receiver) -> None:
    receiver.rejected_text = "bars are missing in 4"
    pipeline.record(NOON, FAILING)
    pipeline.record(NOON + HOUR, create_passing("2", NOON + HOUR))
    results = [pipeline.deliver(NOON + timedelta(minutes=at)) for at in range(32)]
    failed_at = [at for at, result in enumerate(results) if result.failed]
    assert failed_at == [0, 1, 3, 7, 15, 31]
    assert [results[at].skipped for at in failed_at] == [0, 0, 0, 0, 0, 1]
    error = "HTTP status 400 repeatedly: the message was skipped"
    assert results[31].failed == {1: error}
    output = io.StringIO()
    show_alerts(Console(file=output, width=200), read_alert_status(pipeline.database, pipeline.settings, NOON + HOUR))
    assert output.getvalue().splitlines()[-1] == f"address 1 (json): 1 waiting · nothing sent yet · {error}"
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


def test_an_invalid_address_is_reported_by_its_position_only(settings: Settings, receiver: Receiver) -> None:
    urls = (SecretStr(receiver.url), SecretStr("nonsense://hush"))
    outcomes = send_test(settings.model_copy(update={"alert_urls": urls}))
    assert outcomes == [("json", None), ("nonsense", "Apprise does not support this address")]
    assert receiver.titles == ["TEST"]


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """All log records of all loggers at DEBUG level, formatted."""
    lines: list[str] = []

    class ListHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name} {self.format(record)} {record.args!r}")

    root, handler = logging.getLogger(), ListHandler()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(before)


def test_addresses_appear_in_no_output(
    pipeline: AlertPipeline, receiver: Receiver, log_lines: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    pipelines = [
        pipeline,
        pipeline.with_addresses(UNREACHABLE_ADDRESS),
        pipeline.with_addresses(f"nonsense://{SECRET}"),
    ]
    pipeline.record(NOON, FAILING)
    outcomes: list[object] = [(each.deliver(NOON), send_test(each.settings), each.settings) for each in pipelines]
    assert SECRET in receiver.paths[0]  # the message was sent
    assert not [line for line in [*log_lines, *map(repr, outcomes), *capfd.readouterr()] if SECRET in line]
    with pipeline.database.transaction() as connection:
        for table in ("states", "events", "messages", "endpoints", "vendor_gaps"):
            rows = connection.execute(f"SELECT t::text FROM backfill.alert_{table} t".encode()).fetchall()
            assert not [row for (row,) in rows if SECRET in row], table


def test_messages_are_sent_as_plain_text(pipeline: AlertPipeline, receiver: Receiver) -> None:
    pipeline.record(NOON, replace(FAILING, meaning="<b>5 & 6</b>", offenders=("A" * 40,) * 20))
    pipeline.deliver(NOON)
    assert "no_missing_bars: <b>5 & 6</b>" in receiver.messages[0]["message"]
    assert receiver.messages[0]["message"].count("A" * 40) == 5


def test_concurrent_observers_queue_one_message(
    pipeline: AlertPipeline, run_in_threads: Callable[..., list[Any]]
) -> None:
    assert sorted(run_in_threads(lambda: pipeline.record(NOON, FAILING), 4)) == [0, 0, 0, 1]


@pytest.fixture
def run_in_threads() -> Callable[..., list[Any]]:
    def run(work: Callable[[], Any], times: int) -> list[Any]:
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run


def test_a_failure_that_can_no_longer_be_judged_is_no_recovery(pipeline: AlertPipeline, receiver: Receiver) -> None:
    reason = "not judged: no bar is overdue yet"
    not_judged = {"judged": False, "meaning": reason}
    pipeline.record(NOON, FAILING)
    assert pipeline.record(NOON + HOUR, create_passing("2", NOON + HOUR, **not_judged)) == 1
    assert pipeline.record(NOON + 2 * HOUR, create_passing("3", NOON + 2 * HOUR, **not_judged)) == 0
    pipeline.deliver(NOON + 2 * HOUR)
    assert receiver.titles[-1] == "NO LONGER JUDGED: no_missing_bars"
    assert receiver.messages[-1]["message"] == f"no_missing_bars failed for 60 min; {reason}"
    shown = io.StringIO()
    status = read_alert_status(pipeline.database, pipeline.settings, NOON + 2 * HOUR)
    show_alerts(Console(file=shown, width=200), status)
    assert shown.getvalue().splitlines()[:2] == [f"n/a   no_missing_bars: {reason}", "no observed check fails"]
    pipeline.record(NOON + 3 * HOUR, create_passing("4", NOON + 3 * HOUR))
    with pipeline.database.transaction() as connection:
        assert list_not_judged(connection) == []
