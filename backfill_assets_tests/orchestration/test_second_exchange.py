"""Instances that older versions recorded keep their histories when a second exchange is switched on."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

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
FOLDER = Path(__file__).parent
SYMBOLS = {"instance_2bde12b": ("AAPL", "MSFT", "AMZN", "TSLA"), "version_0_6_0": ("AAPL", "MSFT", "TSLA")}
ALERT_CURSORS = {"instance_2bde12b": '{"checks": 42, "runs": 45}', "version_0_6_0": '{"checks": 77, "runs": 82}'}
FAILING = ["bars_30m: newest_bar_is_fresh", "bars_30m: no_missing_bars"]
LSE_BARS = build_bars_key("30m", "LSE")


@pytest.fixture
def open_recorded(
    create_database: Callable[..., str],
    home: Path,
    tmp_path: Path,
    start_sandbox: StartSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Any]:
    """Open a recorded instance one hour later, with London beside the US."""

    def restore(version: str, name: str) -> str:
        url = create_database(None)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(gzip.decompress((FOLDER / version / f"{name}.sql.gz").read_bytes()))
        return url

    @contextmanager
    def open_instance(version: str) -> Iterator[Deployment]:
        later = NOW + timedelta(hours=1)
        withheld = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
        sandbox = start_sandbox(now=later, publication=withheld, exchanges={"LSE": ExchangeConfig()})
        settings = load_settings(
            database_url=SecretStr(restore(version, "bars")),
            dagster_postgres_url=SecretStr(restore(version, "dagster")),
            home=home,
            token=SecretStr("test-token-4711"),
            base_url=sandbox.base_url,
            as_of=later,
            partition_days=3,
            daily_data=False,
            exchanges=("US", "LSE"),
        )
        for name, value in build_child_environment(settings).items():
            monkeypatch.setenv(name, value)
        (tmp_path / "dagster.yaml").write_text((FOLDER / "instance_2bde12b" / "dagster.yaml").read_text())
        with open_engine(settings) as engine, dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            with engine.database.transaction() as connection:
                add_symbols(connection, parse_tickers(["VOD.LSE"]))
            yield Deployment(engine, sandbox, instance, build_definitions(settings))

    return open_instance


def read_cursors(deployment: Deployment) -> dict[str, str | None]:
    states = deployment.instance.all_instigator_state()
    return {state.instigator_name: state.instigator_data.cursor for state in states}


@pytest.mark.parametrize("version", SYMBOLS)
def test_histories_stay_when_a_second_exchange_is_switched_on(
    open_recorded: Callable[[str], Any], version: str
) -> None:
    symbols = SYMBOLS[version]
    green = build_partition_keys(symbols, ("2026-06-01", "2026-06-02")) - {"2026-06-02|AAPL.US"}
    with open_recorded(version) as deployment:
        tickers = sorted(f"{symbol}.US" for symbol in symbols)
        assert deployment.materialized == green
        deployment.tick("symbol_partitions_sensor")
        assert deployment.instance.get_dynamic_partitions(SYMBOL_DIMENSION) == tickers
        assert deployment.instance.get_dynamic_partitions("symbol_LSE") == ["VOD.LSE"]
        cursors = read_cursors(deployment)
        assert (cursors["alert_sensor"], cursors["gap_backfill_sensor"]) == (ALERT_CURSORS[version], "1")
        assert deployment.tick("gap_backfill_sensor", cursors["gap_backfill_sensor"]).cursor in {"1", "2"}

        (run,) = deployment.run_gap_sensor("gap_backfill_sensor_LSE")
        assert run.success
        london = {f"{day}|VOD.LSE" for day in ("2026-06-01", "2026-06-02")}
        assert set(deployment.instance.get_materialized_partitions(LSE_BARS)) == london
        assert deployment.materialized == green

        assert deployment.verify().success
        told = deployment.tick("alert_sensor", cursors["alert_sensor"]).skip_message or ""
        assert "0 messages sent" in told  # what had failed was told, and of London nothing fails
        with deployment.engine.database.transaction() as connection:
            assert [state.name for state in list_failing(connection)] == FAILING


def test_complete_sessions_of_version_0_6_0_are_not_recorded_again(open_recorded: Callable[[str], Any]) -> None:
    with open_recorded("version_0_6_0") as deployment:
        recorded = set(deployment.instance.get_materialized_partitions(build_gate_key()))
        assert recorded == {"2026-06-01"}
        cursor = read_cursors(deployment)["complete_sessions_sensor"]
        assert cursor is not None
        result = deployment.tick("complete_sessions_sensor", cursor)
        assert (result.asset_events, result.run_requests or []) == ([], [])
        assert deployment.tick("complete_sessions_sensor_LSE").asset_events == []  # follows from now on
