"""From what checks say to what arrives at people: on real PostgreSQL, through Apprise, at a real HTTP receiver."""

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
FAILS = Observation(
    event_id="1",
    name="no_missing_bars",
    observed_at=NOON,
    passed=False,
    figure=49,
    meaning="49 bars are missing, of 4 symbols",
    offenders=("TSLA.US (26)", "AMZN.US (17)"),
    cause="2 symbols: TSLA.US, AMZN.US",
)


def holds(event_id: str, at: datetime, **changed: Any) -> Observation:
    meaning = "0 bars are missing, of 0 symbols"
    return replace(FAILS, event_id=event_id, observed_at=at, passed=True, meaning=meaning, offenders=(), **changed)


def again(event_id: str, at: datetime, **changed: Any) -> Observation:
    return replace(FAILS, event_id=event_id, observed_at=at, **changed)


class Post:
    """Observes and delivers as a sensor does, over one database."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def told(self, now: datetime, *observations: Observation) -> int:
        with self.database.transaction() as connection:
            return record_observations(connection, observations, now)

    def delivers(self, now: datetime, **more: float) -> DeliveryResult:
        return deliver(self.database, self.settings, now, **{"timeout_seconds": LONGEST_SECONDS, **more})

    def to(self, *urls: str) -> "Post":
        return Post(self.database, self.settings.model_copy(update={"alert_urls": tuple(map(SecretStr, urls))}))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture
def post(database: Database, settings: Settings, receiver: Receiver) -> Post:
    return Post(database, settings).to(receiver.url)


def test_a_failure_is_told_once_with_all_that_helps(post: Post, receiver: Receiver) -> None:
    assert post.told(NOON, FAILS) == 1
    assert post.told(NOON + HOUR, again("2", NOON + HOUR)) == 0
    assert post.delivers(NOON + HOUR) == DeliveryResult(1, {})
    assert post.delivers(NOON + HOUR) == DeliveryResult(0, {})
    (message,) = receiver.got
    assert message["title"] == "backfill_assets: FAILING: no_missing_bars"
    assert message["type"] == "failure"
    assert message["message"].splitlines() == [
        "no_missing_bars: 49 bars are missing, of 4 symbols",
        "worst: TSLA.US (26), AMZN.US (17)",
        "since: 2026-06-03 12:00 UTC",
        "likely cause: 2 symbols: TSLA.US, AMZN.US",
        "look: backfill-assets report",
    ]


def test_recovery_says_after_how_long_and_what_fails_anew_is_told_anew(post: Post, receiver: Receiver) -> None:
    post.told(NOON, FAILS)
    post.told(NOON + 5 * HOUR, holds("2", NOON + 5 * HOUR))
    assert post.told(NOON + 6 * HOUR, holds("3", NOON + 6 * HOUR)) == 0
    post.told(NOON + 7 * HOUR, again("4", NOON + 7 * HOUR))
    post.delivers(NOON + 7 * HOUR)
    assert receiver.titles == ["FAILING: no_missing_bars", "RECOVERED: no_missing_bars", "FAILING: no_missing_bars"]
    assert receiver.got[1]["message"] == "no_missing_bars holds again after 5 h: 0 bars are missing, of 0 symbols"
    assert "since: 2026-06-03 19:00 UTC" in receiver.got[2]["message"]


def test_what_goes_on_is_repeated_at_most_daily(post: Post, receiver: Receiver) -> None:
    told = []
    for at in range(60):
        if post.told(NOON + at * HOUR, again(str(at), NOON + at * HOUR)):
            told.append(at)
            post.delivers(NOON + at * HOUR)
    assert told == [0, 24, 48]
    assert receiver.titles == [f"{state}: no_missing_bars" for state in ("FAILING", "STILL FAILING", "STILL FAILING")]
    assert "since: 2026-06-03 12:00 UTC (2 days)" in receiver.got[2]["message"]


def test_slots_given_up_are_no_recovery_and_told_once(post: Post, receiver: Receiver) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13), VendorGap("TSLA.US", date(2026, 5, 22), 2))
    post.told(NOON, FAILS)
    post.told(NOON + HOUR, holds("2", NOON + HOUR, given_up=gone))
    assert post.told(NOON + 2 * HOUR, holds("3", NOON + 2 * HOUR, given_up=gone[:1])) == 0  # the window slid
    assert post.told(NOON + 3 * HOUR, holds("4", NOON + 3 * HOUR, given_up=gone)) == 0
    more = (gone[0], gone[1]._replace(slots=5))
    assert post.told(NOON + 4 * HOUR, holds("5", NOON + 4 * HOUR, given_up=more)) == 1
    post.delivers(NOON + 4 * HOUR)
    assert receiver.titles[1:] == ["GIVEN UP: no_missing_bars"] * 2
    assert "given up: 15 slots became vendor_gap" in receiver.got[1]["message"]
    assert "which: MSFT.US 2026-05-22 (13), TSLA.US 2026-05-22 (2)" in receiver.got[1]["message"]
    assert "given up: 3 slots became vendor_gap" in receiver.got[2]["message"]
    assert "holds again" not in receiver.got[1]["message"]


def test_what_is_given_up_while_others_are_missing_leaves_the_failure(post: Post) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    post.told(NOON, FAILS)
    assert post.told(NOON + HOUR, again("2", NOON + HOUR, given_up=gone)) == 1
    with post.database.transaction() as connection:
        (state,) = list_failing(connection)
    assert (state.failing_since, state.notified_at) == (NOON, NOON + HOUR)


def test_a_session_that_only_left_the_window_has_not_recovered(post: Post, receiver: Receiver) -> None:
    post.told(NOON, FAILS)
    later = NOON + 25 * HOUR
    assert post.told(NOON + HOUR, holds("2", NOON + HOUR, lingering=13)) == 0
    assert post.told(later, holds("3", later, lingering=13)) == 1
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    post.told(later + HOUR, holds("4", later + HOUR, given_up=gone))
    post.delivers(later + HOUR)
    assert receiver.titles[-2:] == ["STILL FAILING: no_missing_bars", "GIVEN UP: no_missing_bars"]
    assert receiver.got[-2]["message"].splitlines() == [
        "no_missing_bars: 0 bars are missing, of 0 symbols",
        "not recovered: 13 bars of sessions before those are still missing",
        "since: 2026-06-03 12:00 UTC (25 h)",
        "likely cause: 2 symbols: TSLA.US, AMZN.US",
        "look: backfill-assets report",
    ]


def test_what_lingers_elsewhere_is_no_failure_of_what_holds(post: Post) -> None:
    assert post.told(NOON, holds("1", NOON, lingering=13)) == 0


def test_each_check_that_failed_for_what_was_given_up_says_so_and_no_other(post: Post, receiver: Receiver) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    fresh, full = replace(FAILS, event_id="f", name="newest_bar_is_fresh"), holds("r", NOON, name="all_recent")
    post.told(NOON, FAILS, fresh, full)
    post.told(
        NOON + HOUR,
        replace(full, event_id="r2", observed_at=NOON + HOUR, given_up=gone),
        holds("2", NOON + HOUR, given_up=gone),
    )
    post.told(NOON + 2 * HOUR, replace(fresh, event_id="f2", observed_at=NOON + 2 * HOUR, passed=True, given_up=gone))
    post.delivers(NOON + 2 * HOUR)
    assert receiver.titles[1:] == ["GIVEN UP: no_missing_bars", "GIVEN UP: newest_bar_is_fresh"]


def test_what_was_given_up_before_anything_failed_is_told_once(post: Post) -> None:
    gone = (VendorGap("MSFT.US", date(2026, 5, 22), 13),)
    assert post.told(NOON, holds("1", NOON, given_up=gone), holds("2", NOON, given_up=gone, name="all_recent")) == 1
    assert post.told(NOON + HOUR, holds("3", NOON + HOUR, given_up=gone)) == 0


def test_a_warning_that_becomes_an_error_is_news(post: Post, receiver: Receiver) -> None:
    post.told(NOON, replace(FAILS, severity="warning"))
    assert post.told(NOON + HOUR, again("2", NOON + HOUR)) == 1
    assert post.told(NOON + 2 * HOUR, again("3", NOON + 2 * HOUR, severity="warning")) == 0
    post.delivers(NOON + HOUR)
    assert receiver.titles == ["FAILING (warning): no_missing_bars", "FAILING: no_missing_bars"]


def test_what_changes_together_is_one_message(post: Post, receiver: Receiver) -> None:
    fresh = replace(FAILS, event_id="2", name="newest_bar_is_fresh", meaning="2 symbols end before the newest slot")
    assert post.told(NOON, FAILS, fresh) == 1
    post.delivers(NOON)
    assert receiver.titles == ["FAILING: no_missing_bars and 1 more"]
    assert "newest_bar_is_fresh: 2 symbols end" in receiver.got[0]["message"]


def test_replays_and_late_news_change_nothing(post: Post, receiver: Receiver) -> None:
    history = [FAILS, holds("2", NOON), again("3", NOON + HOUR), holds("4", NOON + 2 * HOUR)]
    assert post.told(NOON + 2 * HOUR, *history) == 4
    assert post.told(NOON + 3 * HOUR, *history) == 0
    assert post.told(NOON + 3 * HOUR, again("never seen", NOON + HOUR)) == 0  # older than what is known
    post.delivers(NOON + 3 * HOUR)
    assert len(receiver.got) == 4


def test_a_rolled_back_observation_is_observed_again(post: Post) -> None:
    with post.database.transaction() as connection:
        assert record_observations(connection, [FAILS], NOON) == 1
        connection.rollback()
    assert post.told(NOON, FAILS) == 1


def test_a_run_that_failed_and_one_that_went_through(post: Post, receiver: Receiver) -> None:
    post.told(NOON, build_run_observation("backfill_gaps", "ab12", NOON, error="no API token is set", cause="no token"))
    post.told(NOON + HOUR, build_run_observation("backfill_gaps", "cd34", NOON + HOUR, error=None))
    post.delivers(NOON + HOUR)
    assert receiver.titles == ["FAILING: run of backfill_gaps", "RECOVERED: run of backfill_gaps"]
    assert "run ab12 failed: no API token is set" in receiver.got[0]["message"]


def test_a_database_of_another_vendor_is_told_as_that(database: Database) -> None:
    with database.transaction() as connection:
        bind_source_host(connection, "127.0.0.1")
        with pytest.raises(UsageError) as refused:
            require_source_host(connection, "eodhd.com")
    assert find_error_cause(str(refused.value)) == "settings: this database belongs to another vendor"


def test_an_observation_survives_metadata() -> None:
    seen = replace(FAILS, given_up=(VendorGap("MSFT.US", date(2026, 5, 22), 13),), severity="warning")
    stored = json.loads(json.dumps(seen.to_metadata()))
    assert parse_observation(stored, event_id="77") == replace(seen, event_id="77")
    with pytest.raises(ValueError, match="observed_at"):
        parse_observation({**stored, "observed_at": "yesterday"}, event_id="78")


def test_an_address_that_is_down_is_tried_again_later_and_later(post: Post, receiver: Receiver) -> None:
    receiver.status = 503
    post.told(NOON, FAILS)
    minutes = [at for at in range(9) if post.delivers(NOON + timedelta(minutes=at)).failed]
    assert minutes == [0, 1, 3, 7]
    assert [compute_retry_delay(failures).seconds // 60 for failures in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    with post.database.transaction() as connection:
        (state,) = read_endpoint_states(connection, [fingerprint_address(receiver.url)], NOON).values()
    assert (state.pending_messages, state.failures, state.last_error) == (1, 4, "HTTP status 503")
    receiver.status = 200
    post.told(NOON + 2 * HOUR, holds("2", NOON + 2 * HOUR))
    assert post.delivers(NOON + 3 * HOUR).sent == 2
    assert receiver.titles == ["FAILING: no_missing_bars", "RECOVERED: no_missing_bars"]


def test_a_dead_address_holds_up_no_other_and_nobody_gets_it_twice(post: Post, receiver: Receiver) -> None:
    both = post.to(DEAD, receiver.url)
    both.told(NOON, FAILS)
    assert both.delivers(NOON) == DeliveryResult(1, {1: "it cannot be reached, or refuses"})
    assert both.delivers(NOON + timedelta(minutes=1)).sent == 0
    assert len(receiver.got) == 1


def test_an_address_that_never_answers_does_not_hold_up_the_caller(post: Post, receiver: Receiver) -> None:
    receiver.holds.clear()
    patient = post.to(receiver.build_url(600))  # Apprise would wait ten minutes
    patient.told(NOON, FAILS)
    assert patient.delivers(NOON, timeout_seconds=1) == DeliveryResult(0, {1: "it did not answer in time"})


def test_an_address_that_is_slow_does_not_hold_up_others(post: Post, receiver: Receiver) -> None:
    with Receiver() as slow:
        slow.holds.clear()
        post.told(NOON, FAILS)
        delivered = post.to(slow.build_url(1), receiver.url).delivers(NOON)
    assert delivered == DeliveryResult(1, {1: "it cannot be reached, or refuses"})
    assert receiver.titles == ["FAILING: no_missing_bars"]


def test_two_processes_do_not_send_to_one_address_at_once(post: Post, receiver: Receiver) -> None:
    receiver.holds.clear()
    post.told(NOON, FAILS)
    first = threading.Thread(target=post.delivers, args=(NOON,))
    first.start()
    receiver.arrived.wait()
    assert post.delivers(NOON) == DeliveryResult(0, {})
    receiver.holds.set()
    first.join()
    assert len(receiver.paths) == 1


def test_an_address_that_is_new_gets_the_past_day(post: Post, receiver: Receiver) -> None:
    silent = post.to()
    silent.told(NOON - 30 * HOUR, replace(FAILS, observed_at=NOON - 30 * HOUR))
    silent.told(NOON - HOUR, holds("2", NOON - HOUR))
    assert silent.delivers(NOON) == DeliveryResult(0, {})
    post.delivers(NOON)
    assert receiver.titles == ["RECOVERED: no_missing_bars"]


def test_news_that_are_old_are_dropped(post: Post, receiver: Receiver) -> None:
    receiver.status = 500
    post.told(NOON, FAILS)
    post.delivers(NOON)
    receiver.status = 200
    later = NOON + timedelta(days=3)
    post.told(later, holds("2", later))
    post.delivers(later)
    assert receiver.titles == ["RECOVERED: no_missing_bars"]


def test_a_message_that_is_too_long_for_a_service_comes_in_pieces(post: Post, receiver: Receiver) -> None:
    outage = [replace(FAILS, event_id=f"{n}", name=f"check {n}", meaning=f"{n} bars " + "x" * 900) for n in range(3)]
    chat = post.to(receiver.chat_url)
    chat.told(NOON, *outage)
    chat.told(NOON + HOUR, holds("r", NOON + HOUR, name="check 0"))
    assert chat.delivers(NOON + HOUR) == DeliveryResult(2, {})
    pieces = [str(said["content"]) for said in receiver.got]
    assert all(len(piece) <= LONGEST for piece in pieces)
    lines = "\n".join(pieces).splitlines()
    assert [line for line in lines if line.startswith("check ")][:3] == [f"{o.name}: {o.meaning}" for o in outage]
    assert "check 0 holds again after 60 min" in pieces[-1]


def test_a_message_that_an_address_refuses_is_skipped_in_the_end_and_said(post: Post, receiver: Receiver) -> None:
    receiver.refuses = "bars are missing, of 4"
    post.told(NOON, FAILS)
    post.told(NOON + HOUR, holds("2", NOON + HOUR))
    tries = [post.delivers(NOON + timedelta(minutes=at)) for at in range(32)]
    refused = [at for at, tried in enumerate(tries) if tried.failed]
    assert refused == [0, 1, 3, 7, 15, 31]
    assert [tries[at].skipped for at in refused] == [0, 0, 0, 0, 0, 1]
    said = "HTTP status 400 again and again: a message was skipped"
    assert tries[31].failed == {1: said}
    text = io.StringIO()
    show_alerts(Console(file=text, width=200), read_alert_status(post.database, post.settings, NOON + HOUR))
    assert text.getvalue().splitlines()[-1] == f"address 1 (json): 1 waiting · nothing sent yet · {said}"
    assert post.delivers(NOON + timedelta(minutes=32)) == DeliveryResult(1, {})
    assert receiver.titles == ["RECOVERED: no_missing_bars"]
    (address,) = read_alert_status(post.database, post.settings, NOON + HOUR)["addresses"]
    assert address["error"] is None


def test_an_outage_skips_nothing_however_it_ends(post: Post, receiver: Receiver) -> None:
    post.told(NOON, FAILS)
    receiver.status = 503
    post.delivers(NOON)
    with post.database.transaction() as connection:
        for _ in range(8):
            postpone(connection, fingerprint_address(receiver.url), "HTTP status 503", NOON)
    for at, receiver.status in [(1, 400), (2, 404), (3, 200)]:
        assert not post.delivers(NOON + at * HOUR).skipped
    assert receiver.titles == ["FAILING: no_missing_bars"]


def test_a_word_that_is_no_address_is_named_by_its_place_only(settings: Settings, receiver: Receiver) -> None:
    urls = (SecretStr(receiver.url), SecretStr("nonsense://hush"))
    outcomes = send_test(settings.model_copy(update={"alert_urls": urls}))
    assert outcomes == [("json", None), ("nonsense", "not an address that Apprise understands")]
    assert receiver.titles == ["TEST"]


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Everything any logger says at DEBUG."""
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


def test_addresses_are_nowhere(
    post: Post, receiver: Receiver, said: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    posts = [post, post.to(DEAD), post.to(f"nonsense://{SECRET}")]
    post.told(NOON, FAILS)
    outcomes: list[object] = [(each.delivers(NOON), send_test(each.settings), each.settings) for each in posts]
    assert SECRET in receiver.paths[0]  # it did go over the wire
    assert not [line for line in [*said, *map(repr, outcomes), *capfd.readouterr()] if SECRET in line]
    with post.database.transaction() as connection:
        for table in ("states", "events", "messages", "endpoints", "vendor_gaps"):
            rows = connection.execute(f"SELECT t::text FROM backfill.alert_{table} t".encode()).fetchall()
            assert not [row for (row,) in rows if SECRET in row], table


def test_text_goes_as_text(post: Post, receiver: Receiver) -> None:
    post.told(NOON, replace(FAILS, meaning="<b>5 & 6</b>", offenders=("A" * 40,) * 20))
    post.delivers(NOON)
    assert "no_missing_bars: <b>5 & 6</b>" in receiver.got[0]["message"]
    assert receiver.got[0]["message"].count("A" * 40) == 5


def test_observers_at_the_same_time_queue_one_message(post: Post, new_thread_results: Callable[..., list[Any]]) -> None:
    assert sorted(new_thread_results(lambda: post.told(NOON, FAILS), 4)) == [0, 0, 0, 1]


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
