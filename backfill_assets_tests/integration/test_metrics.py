"""Metrics: the figures of ``status``, under names that keep Prometheus' conventions, and served over HTTP."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from backfill_assets.alerts.delivery import fingerprint_address
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.calendar.sessions import list_overlapping_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.metrics.families import build_down_families
from backfill_assets.metrics.reader import MetricsPass, MetricsReader, format_metrics, read_families
from backfill_assets.metrics.server import HEALTH_PATH, METRICS_PATH, MetricsServer
from backfill_assets.quality.status import read_status
from backfill_assets.store.alert_outbox import AlertState, enqueue, lease_endpoints, save_state
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.sensor_looks import record_look
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.conftest import Databases, make_job
from backfill_assets_tests.processes import start_process
from bench.coverage import NOW, fill_store

ALLOWED_LABELS = {"exchange", "interval", "state", "purpose", "outcome"}
ADDRESS = "json://127.0.0.1:9/hush"
TOKEN = "test-token-4711"  # noqa: S105 - made up
US_30M = (("exchange", "US"), ("interval", "30m"))
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
# External, provisional, suspect (built from one row) and doubtful bars, and bars that are gone.
_FAULTS = """
UPDATE market_data SET source = NULL, source_interval = NULL, source_rows = NULL, is_final = NULL, fetched_at = NULL
WHERE symbol_id = 11;
UPDATE market_data SET is_final = false WHERE symbol_id IN (12, 13);
UPDATE market_data SET source_rows = 1 WHERE symbol_id IN (14, 53);
DELETE FROM market_data WHERE symbol_id IN (15, 16) AND timestamp BETWEEN '2026-06-02Z' AND '2026-06-02 18:00Z';
UPDATE market_symbols SET is_active = false WHERE symbol_id = 17;
INSERT INTO market_symbols (symbol, exchange) VALUES ('VOD', 'LSE');
INSERT INTO backfill.doubts (symbol_id, interval_type, session_day, rule, first_slot, last_slot, figures, values_hash,
                             from_rows, opened_at, seen_at, ended_at, outcome, outcome_reason)
SELECT id, '30m', '2026-06-02', 'price_spike', '2026-06-02 14:00Z', '2026-06-02 14:00Z', '{}', 'x', false, now(), now(),
       CASE WHEN id > 20 THEN now() END, CASE WHEN id > 20 THEN 'mended' END, CASE WHEN id > 20 THEN 'x' END
FROM generate_series(18, 24) AS id;
INSERT INTO backfill.revisions (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,
                                volume, source_interval, replaced_at)
SELECT 1, '30m', '2026-06-02 14:00Z', 1, 1, 1, 1, 1, '5m', now() - age * interval '10 hours'
FROM generate_series(1, 5) AS age;
INSERT INTO backfill.requests (at, endpoint, ticker, status, calls, bytes, seconds)
SELECT now() - n * interval '10 hours', '/intraday', 'AAPL.US', CASE n WHEN 1 THEN 429 ELSE 200 END, 5, 9, 0.1
FROM generate_series(1, 3) AS n;
INSERT INTO backfill.runs (run_id, host, pid, description, tickers, finished_at, outcome)
SELECT gen_random_uuid(), 'h', 1, 'x', 1, now(), CASE WHEN n > 2 THEN 'failed' ELSE 'finished' END
FROM generate_series(1, 3) AS n;
INSERT INTO backfill.runs (run_id, host, pid, description, tickers) VALUES (gen_random_uuid(), 'h', 1, 'x', 1)
"""


@pytest.fixture(scope="module")
def faulty_url(databases: Databases) -> Iterator[str]:
    """A store of 60 symbols and 20 sessions with faults of every kind; the newest session is not published yet."""
    url = databases.create()
    name = databases.names[-1]
    database = Database(url)
    fill_store(database, 60, list_overlapping_sessions(US, NOW - timedelta(days=40), NOW)[-20:])
    with database.transaction() as connection:
        for statement in _FAULTS.split(";"):
            connection.execute(statement.encode())
    database.close()
    yield url
    databases.drop([name])


@pytest.fixture
def faulty(faulty_url: str, settings: Settings) -> Iterator[Engine]:
    """An engine over the store with faults, with an address for alerts."""
    database = Database(faulty_url)
    update = {"as_of": NOW, "alert_urls": (SecretStr(ADDRESS),), "database_url": SecretStr(faulty_url)}
    yield Engine(database, settings.model_copy(update=update))
    database.close()


def read_samples(engine: Engine) -> Samples:
    return parse(format_metrics(read_families(engine))[0].decode())


def parse(text: str) -> Samples:
    families = list(text_string_to_metric_families(text))
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_figures_are_those_of_the_status(faulty: Engine) -> None:
    samples, status = read_samples(faulty), read_status(faulty.database, faulty.settings)
    states = {dict(labels)["state"]: value for (name, labels), value in samples.items() if name == "backfill_slots"}
    assert samples["backfill_up", ()] == 1
    assert samples["backfill_missing_bars", US_30M] == status["missing"] > 26
    assert samples["backfill_symbols_with_missing_bars", US_30M] == status["symbols_with_missing"] > 2
    assert states["unverified"] == status["unverified"]["bars"] == 13
    assert states["provisional"] == status["live"]["provisional_bars"] > 0
    assert samples["backfill_symbols", (("exchange", "US"), ("state", "active"))] == status["symbols"]["active"] == 59
    assert samples["backfill_symbols", (("exchange", "US"), ("state", "inactive"))] == 1
    assert samples["backfill_newest_bar_timestamp_seconds", US_30M] == (
        datetime.fromisoformat(status["newest_bar"]).timestamp()
    )
    assert samples["backfill_calls_left_today", ()] == status["budget"]["calls_left_today"] > 0
    assert samples["backfill_runs_active", ()] == len(status["running"]) == 1


def test_states_are_those_of_a_whole_measurement(faulty: Engine) -> None:
    """What is left out for speed changes no state: thin symbols, suspect bars and holes are among them."""
    samples, coverage = read_samples(faulty), faulty.measure(make_job(faulty))
    whole = {state.name.lower(): coverage.count_slots(state) for state in SlotState}
    states = {dict(labels)["state"]: value for (name, labels), value in samples.items() if name == "backfill_slots"}
    assert states == whole, whole
    assert all(whole[name] for name in ("present", "provisional", "unverified", "suspect", "pending", "missing")), whole
    assert whole["no_trade"]
    assert sum(states.values()) == coverage.expected.sum()
    oldest = samples["backfill_oldest_missing_slot_timestamp_seconds", US_30M]
    assert oldest == coverage.find_oldest_missing() == datetime(2026, 6, 2, 13, 30, tzinfo=UTC).timestamp()


def test_what_happened_is_counted(faulty: Engine) -> None:
    samples = read_samples(faulty)

    def get(name: str, **labels: str) -> float:
        return samples[f"backfill_{name}", tuple(sorted(labels.items()))]

    assert get("doubts", exchange="US", state="open") == 3
    assert get("doubts", exchange="US", state="mended") == 4
    assert get("revisions_past_day", exchange="US") == 2
    assert (get("requests_past_day"), get("rate_limited_requests_past_day")) == (2, 1)
    assert (get("runs_total", outcome="finished"), get("runs_total", outcome="failed")) == (2, 1)
    assert get("runs_total", outcome="killed") == 0
    assert get("run_silence_seconds") >= 0


def test_look_of_the_sensor_and_the_alert_queue(faulty: Engine) -> None:
    database, coverage = faulty.database, faulty.measure(make_job(faulty))
    record_look(database, "US", "30m", coverage)
    record_look(database, "US", "30m", coverage)
    with database.transaction() as connection:
        save_state(connection, AlertState("no_missing_bars", NOW, NOW, "error", NOW, "x"))
        enqueue(connection, "failing", "title", "body", NOW)
        lease_endpoints(connection, {fingerprint_address(ADDRESS): ("",)}, NOW, seconds=1, max_messages=1)
    samples = read_samples(faulty)
    look = samples["backfill_sensor_last_look_timestamp_seconds", US_30M]
    assert 0 <= time.time() - look < 600
    assert samples["backfill_sensor_missing_bars", US_30M] == coverage.missing.sum()
    assert samples["backfill_failing_checks", (("state", "error"),)] == 1
    assert samples["backfill_alert_messages_waiting", ()] == 1


def test_ages_are_in_market_time(faulty: Engine) -> None:
    def read_ages(now: datetime) -> tuple[float, float]:
        engine = Engine(faulty.database, faulty.settings.model_copy(update={"as_of": now}))
        samples = read_samples(engine)
        names = ("backfill_newest_bar_age_market_seconds", "backfill_newest_bar_overdue_market_seconds")
        return samples[names[0], US_30M], samples[names[1], US_30M]

    session = 6.5 * 3600  # the newest bars are those of Tuesday, 2026-06-02
    assert read_ages(datetime(2026, 6, 3, 13, 0, tzinfo=UTC)) == (0, 0)
    assert read_ages(datetime(2026, 6, 3, 14, 0, tzinfo=UTC)) == (1800, 0)
    assert read_ages(datetime(2026, 6, 4, 10, 0, tzinfo=UTC)) == (session, 0)
    assert read_ages(datetime(2026, 6, 4, 13, 0, tzinfo=UTC)) == (session, session)  # overdue at 08:00 in New York
    weekend = [read_ages(datetime(2026, 6, day, 13, 0, tzinfo=UTC)) for day in (6, 7, 8)]
    assert weekend == [(3 * session, 3 * session)] * 3


@pytest.mark.parametrize("day", [15, 29])  # long before the newest bar, and so that it follows the window
def test_newest_bar_is_that_of_the_store_whatever_the_window(faulty: Engine, day: int) -> None:
    now = datetime(2026, 5, day, tzinfo=UTC)
    engine = Engine(faulty.database, faulty.settings.model_copy(update={"as_of": now}))
    newest = datetime(2026, 6, 2, 19, 30, tzinfo=UTC).timestamp()
    assert read_samples(engine)["backfill_newest_bar_timestamp_seconds", US_30M] == newest


def test_names_keep_the_conventions_and_labels_stay_few(faulty: Engine) -> None:
    engine = Engine(faulty.database, faulty.settings.model_copy(update={"exchanges": ("US", "LSE", "CC")}))
    text, media_type = format_metrics(read_families(engine))
    assert media_type.startswith("text/plain")
    families = list(text_string_to_metric_families(text.decode()))
    for family in families:
        assert family.name.startswith("backfill_")
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_minutes", "_ms", "_hours"))
        for sample in family.samples:
            assert set(sample.labels) <= ALLOWED_LABELS
            assert sample.name.endswith("_total") == (family.type == "counter")
    with engine.database.transaction() as connection:
        tickers = [symbol.ticker.symbol for symbol in list_symbols(connection, "US")]
    assert not any(ticker in text.decode() for ticker in tickers)
    assert {s.labels["exchange"] for f in families if f.name == "backfill_slots" for s in f.samples} == {
        "US",
        "LSE",
        "CC",
    }


def test_without_token_addresses_and_symbols_their_families_have_no_samples(
    database: Database, settings: Settings
) -> None:
    samples = read_samples(Engine(database, settings.model_copy(update={"token": None})))
    assert samples["backfill_slots", (*US_30M, ("state", "missing"))] == 0
    names = {name for name, _ in samples}
    assert not any(
        name in names
        for name in (
            "backfill_calls_left_today",
            "backfill_alert_messages_waiting",
            "backfill_newest_bar_timestamp_seconds",
            "backfill_newest_bar_age_market_seconds",
            "backfill_oldest_missing_slot_timestamp_seconds",
            "backfill_sensor_last_look_timestamp_seconds",
        )
    )


@contextmanager
def serve(read_pass: Callable[[], MetricsPass], answer_seconds: float = 60) -> Iterator[httpx.Client]:
    server = MetricsServer(read_pass, "127.0.0.1", 0, answer_seconds=answer_seconds)
    with server, httpx.Client(base_url=server.url.removesuffix(METRICS_PATH), timeout=60) as client:
        yield client


def test_scrapes_are_passes_and_a_database_that_is_away_is_said_clearly(
    faulty: Engine,
) -> None:
    lost = faulty.settings.model_copy(
        update={"database_url": SecretStr("postgresql://127.0.0.1:9/x"), "database_patience_seconds": 0}
    )
    readers = {name: MetricsReader(settings) for name, settings in (("up", faulty.settings), ("down", lost))}
    with serve(readers["up"].read) as client:
        answer = client.get(METRICS_PATH)
        assert answer.status_code == 200
        assert parse(answer.text)["backfill_up", ()] == 1
        assert answer.headers["content-type"].startswith("text/plain; version=")
        openmetrics = client.get(METRICS_PATH, headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert openmetrics.text.endswith("# EOF\n")
        head = client.head(METRICS_PATH)
        assert (head.status_code, head.content) == (200, b"")
        assert client.get("/secret").status_code == 404
        assert client.post(METRICS_PATH).status_code == 405
        assert client.get(HEALTH_PATH).text == "ok\n"
        assert METRICS_PATH in client.get("/").text
    with serve(readers["down"].read) as client:
        answer = client.get(METRICS_PATH)
        assert answer.status_code == 503
        assert answer.text.startswith("# database 'x' at 127.0.0.1:9 ")
        assert parse(answer.text) == {("backfill_up", ()): 0}
        assert client.get(HEALTH_PATH).status_code == 200
    for reader in readers.values():
        reader.close()


def test_concurrent_scrapes_share_one_pass_and_one_that_hangs_is_not_repeated() -> None:
    passes: list[None] = []
    may_end = threading.Event()

    def read_slowly() -> MetricsPass:
        passes.append(None)
        may_end.wait()
        return MetricsPass(tuple(build_down_families()))

    with serve(read_slowly, answer_seconds=0.2) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.get(METRICS_PATH), range(8)))
        assert {answer.status_code for answer in answers} == {503}
        assert "has not answered for 0.2 s" in answers[0].text
        assert len(passes) == 1
        may_end.set()
        while client.get(METRICS_PATH).status_code != 200:
            assert len(passes) <= 2


def test_a_fault_of_a_pass_ends_no_server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = MetricsReader(settings)
    monkeypatch.setattr("backfill_assets.metrics.reader.read_figures", lambda *_: 1 / 0)
    result = reader.read()
    assert result.failure is not None
    assert "bug" in result.failure
    monkeypatch.undo()
    assert reader.read().failure is None
    reader.close()


def test_server_ends_at_once_although_its_database_is_silent() -> None:
    """The database accepts connections and says nothing, as behind a network that has lost it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x"
        process = start_process(
            ["-m", "backfill_assets", "metrics", "--serve", "--port", "0"],
            {"DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("metrics at ").strip()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(address, timeout=0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert time.monotonic() - began < 10  # a container's grace; it takes well under a second on a quiet machine


def test_read_families_says_that_the_database_is_away(settings: Settings) -> None:
    url = SecretStr("postgresql://127.0.0.1:9/x")
    with pytest.raises(DatabaseUnavailable), _open(settings.model_copy(update={"database_url": url})) as engine:
        read_families(engine)


@contextmanager
def _open(settings: Settings) -> Iterator[Engine]:
    from backfill_assets.backfill.job_request import open_engine

    with open_engine(settings) as engine:
        yield engine
