"""An instance of version 0.8.0 with London beside the US goes on where it stood, also with one exchange more.

Its ``dagster.yaml`` stays as it was; ``version_0_8_0`` has it, the two databases, and the script that recorded them.
"""

import gzip
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import build_child_environment, load_settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.reading.dagster import build_gate_key
from backfill_assets.sandbox.config import ExchangeConfig, Publication
from backfill_assets.store.alert_outbox import list_failing
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW, StartSandbox
from backfill_assets_tests.orchestration.conftest import SYMBOL_DIMENSION, Deployment, build_partition_keys

pytestmark = pytest.mark.filterwarnings("ignore")
RECORDED = Path(__file__).with_name("version_0_8_0")
SYMBOLS = ("AAPL", "MSFT", "TSLA")
ALERT_CURSOR = '{"checks": 156, "runs": 161}'
PAIR = "BTC-USD.CC"
FAILING = ["bars_30m: newest_bar_is_fresh", "bars_30m: no_missing_bars"]
LSE_BARS, CC_BARS = build_bars_key("30m", "LSE"), build_bars_key("30m", "CC")


@pytest.fixture
def upgraded(
    create_database: Callable[..., str],
    home: Path,
    tmp_path: Path,
    start_sandbox: StartSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deployment]:
    """The recorded instance one hour later, with a pair of cryptocurrencies beside the US and London."""

    def restore(name: str) -> str:
        url = create_database(None)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(gzip.decompress((RECORDED / f"{name}.sql.gz").read_bytes()))
        return url

    later = NOW + timedelta(hours=1)
    sandbox = start_sandbox(
        now=later,
        publication=Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))})),
        exchanges={"LSE": ExchangeConfig(), "CC": ExchangeConfig(symbols=1, history_from=date(2026, 5, 30))},
    )
    settings = load_settings(
        database_url=SecretStr(restore("bars")),
        dagster_postgres_url=SecretStr(restore("dagster")),
        home=home,
        token=SecretStr("test-token-4711"),
        base_url=sandbox.base_url,
        as_of=later,
        partition_days=3,
        daily_data=False,
        exchanges=("US", "LSE", "CC"),
    )
    for name, value in build_child_environment(settings).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster.yaml").write_text((RECORDED / "dagster.yaml").read_text())
    with open_engine(settings) as engine, dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        with engine.database.transaction() as connection:
            add_symbols(connection, parse_tickers([PAIR]))
        yield Deployment(engine, sandbox, instance, build_definitions(settings))


def read_cursors(deployment: Deployment) -> dict[str, str | None]:
    states = deployment.instance.all_instigator_state()
    return {state.instigator_name: state.instigator_data.cursor for state in states}


def test_histories_stay_when_cryptocurrencies_are_switched_on(upgraded: Deployment) -> None:
    green = build_partition_keys(SYMBOLS, ("2026-06-01", "2026-06-02")) - {"2026-06-02|AAPL.US"}
    london = {f"{day}|VOD.LSE" for day in ("2026-06-01", "2026-06-02")}

    def read_greens() -> tuple[set[str], set[str]]:
        return upgraded.materialized, set(upgraded.instance.get_materialized_partitions(LSE_BARS))

    assert read_greens() == (green, london)
    upgraded.tick("symbol_partitions_sensor")
    dimensions = (SYMBOL_DIMENSION, "symbol_LSE", "symbol_CC")
    assert [upgraded.instance.get_dynamic_partitions(name) for name in dimensions] == [
        [f"{symbol}.US" for symbol in SYMBOLS],
        ["VOD.LSE"],
        [PAIR],
    ]
    cursors = read_cursors(upgraded)
    gap_sensors = ("gap_backfill_sensor", "gap_backfill_sensor_LSE")
    assert [cursors[name] for name in ("alert_sensor", *gap_sensors)] == [ALERT_CURSOR, "1", "1"]
    assert all(upgraded.tick(name, cursors[name]).cursor in {"1", "2"} for name in gap_sensors)

    (run,) = upgraded.run_gap_sensor("gap_backfill_sensor_CC")
    assert run.success
    days = {f"{day}|{PAIR}" for day in ("2026-06-01", "2026-06-02")}
    assert set(upgraded.instance.get_materialized_partitions(CC_BARS)) == days
    assert read_greens() == (green, london)

    assert upgraded.verify().success
    told = upgraded.tick("alert_sensor", cursors["alert_sensor"]).skip_message or ""
    assert "0 messages sent" in told  # what had failed was told, and of the pair nothing fails
    with upgraded.engine.database.transaction() as connection:
        assert [state.name for state in list_failing(connection)] == FAILING


def test_complete_sessions_of_version_0_8_0_are_not_recorded_again(upgraded: Deployment) -> None:
    cursors = read_cursors(upgraded)
    for exchange, sensor, days in (
        ("US", "complete_sessions_sensor", {"2026-06-01"}),
        ("LSE", "complete_sessions_sensor_LSE", {"2026-06-01", "2026-06-02"}),
    ):
        assert set(upgraded.instance.get_materialized_partitions(build_gate_key("all", exchange))) == days
        assert cursors[sensor] is not None
        result = upgraded.tick(sensor, cursors[sensor])
        assert (result.asset_events, result.run_requests or []) == ([], [])
    assert upgraded.tick("complete_sessions_sensor_CC").asset_events == []  # follows from now on
