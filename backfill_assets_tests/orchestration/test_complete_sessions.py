"""Complete sessions become materializations once, revised ones again; what depends on them runs as often."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.orchestration.complete_sessions import DATA_VERSION_TAG
from backfill_assets.reading.dagster import on_complete_session, session_partitions
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.certificates import read_certificates_after
from backfill_assets.store.runs import finish_run, start_run
from backfill_assets.store.universes import create_universe, find_symbols
from backfill_assets_tests.orchestration.conftest import Deployment
from backfill_assets_tests.orchestration.gate import CHECK_KEY, KEY, Automation, Gate

pytestmark = pytest.mark.filterwarnings("ignore")
FRIDAY, MONDAY, TUESDAY = date(2026, 5, 29), date(2026, 6, 1), date(2026, 6, 2)
CHANGE = "UPDATE market_data SET volume = {} WHERE timestamp = '{} 14:00Z' AND interval_type = '30m'"
MakeGate = Callable[..., Gate]


@pytest.fixture
def make_gate(start_sandbox: Callable[..., Sandbox], deploy: Callable[..., Deployment]) -> MakeGate:
    def make(symbols: tuple[str, ...] = ("AAPL",), *, vendor: dict[str, Any] | None = None, **settings: Any) -> Gate:
        sandbox = start_sandbox(per_minute=100_000, **(vendor or {}))
        return Gate(deploy(sandbox, symbols, **{"requests_per_minute": 100_000, "event_sessions": 4, **settings}))

    return make


def execute(gate: Gate, statement: str) -> None:
    """Change the table past the triggers, which would take the bars for another program's."""
    with gate.engine.database.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(statement.encode())


def test_sessions_are_recorded_once_when_they_are_complete(make_gate: MakeGate) -> None:
    """The clock stands on Wednesday after the open; Tuesday becomes complete before Monday."""
    gate = make_gate(("AAPL", "MSFT"))
    assert gate.tick() == []
    before = gate.cursor
    gate.fill(TUESDAY, TUESDAY)
    assert [gate.tick(), gate.tick()] == [["2026-06-02"], []]
    tuesday = gate.events[0]
    with gate.engine.database.transaction() as connection:
        certificate = read_certificates_after(connection, 0)[0]
    assert tuesday.tags == {DATA_VERSION_TAG: certificate.sha256}
    metadata = {name: value.value for name, value in tuesday.metadata.items()}
    assert (metadata["kind"], metadata["symbols"], metadata["bars"]) == ("complete", 2, 26)
    assert (metadata["counts"]["present"], metadata["dagster/partition_row_count"]) == (26, 26)
    gate.cursor = before  # the tick that recorded a session ended before Dagster stored its cursor
    gate.fill(MONDAY, MONDAY)
    assert gate.tick() == ["2026-06-01"]


def test_what_was_complete_at_the_first_tick_is_recorded_on_request(make_gate: MakeGate) -> None:
    """A new instance of Dagster beside a full store, and then another store with fewer certificates."""
    gate = make_gate(("AAPL", "MSFT"))
    gate.fill(FRIDAY, MONDAY)
    assert (gate.tick(), gate.tick(), gate.recorded) == ([], [], set())
    assert gate.certify("2026-05-29", "2026-06-01").success
    assert gate.recorded == {"2026-05-29", "2026-06-01"}
    again = gate.certify("2026-06-01")
    assert (again.success, again.get_asset_materialization_events()) == (True, [])  # in this version already
    gate.cursor = str(gate.cursor).replace('"seen": 2', '"seen": 500')
    assert gate.tick() == []
    gate.fill(TUESDAY, TUESDAY)
    assert gate.tick() == ["2026-06-02"]


def find_error(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    return str(failure.step_failure_data.error)


def test_one_event_is_made_of_a_review_and_of_material_revisions_only(make_gate: MakeGate) -> None:
    """Monday is revised materially, symbol by symbol and with ticks in between; Tuesday by one share."""
    gate = make_gate(("AAPL", "MSFT"))
    gate.tick()
    gate.fill(MONDAY, TUESDAY)
    execute(gate, CHANGE.format("volume * 2", "2026-06-01"))  # the vendor's value is then a revision
    execute(gate, CHANGE.format("volume + 1", "2026-06-02"))
    assert gate.tick() == ["2026-06-01", "2026-06-02"]
    run = uuid4()
    with gate.engine.database.transaction() as connection:
        start_run(connection, run, "review", 2)
    for symbol in ("AAPL", "MSFT"):
        gate.fill(MONDAY, TUESDAY, force=True, symbols=[symbol])
        assert [gate.tick(), gate.tick()] == [[], []]
    with gate.engine.database.transaction() as connection:
        assert len(read_certificates_after(connection, 0)) == 6  # two more of each session
        finish_run(connection, run, "finished")
    assert [gate.tick(), gate.tick()] == [["2026-06-01"], []]
    assert gate.events[-1].tags != gate.events[0].tags
    assert gate.events[-1].metadata["revised_bars"].value == 1  # since the certificate before


def test_an_overdue_session_fails_its_check_and_is_refused_on_request_until_it_is_complete(make_gate: MakeGate) -> None:
    gate = make_gate(("AAPL", "MSFT"), event_sessions=2)
    gate.starts_runs = True
    alerts = gate.deployment.tick("alert_sensor")
    gate.fill(MONDAY, TUESDAY)
    execute(gate, "DELETE FROM market_data WHERE timestamp = '2026-06-02 14:00Z'")
    gate.tick()
    gate.tick()
    assert (gate.list_check_results(), gate.evaluations) == ([("2026-06-02", False)], 1)
    assert read_shown_state(gate) == {"FAILED": ["2026-06-02"]}
    told = gate.deployment.tick("alert_sensor", cursor=alerts.cursor).skip_message
    assert told == "1 results read, 0 messages sent"  # that the run of the check succeeded
    assert "2026-06-02: AAPL.US: 1 missing; see: backfill-assets why AAPL 2026-06-02" in find_error(
        gate.certify("2026-06-01", "2026-06-02")
    )
    assert gate.recorded == {"2026-06-01"}
    assert sorted(gate.list_check_results()[1:]) == [("2026-06-01", True), ("2026-06-02", False)]
    gate.fill(MONDAY, TUESDAY)
    gate.tick()
    assert gate.list_check_results()[3:] == [("2026-06-02", True)]
    assert read_shown_state(gate) == {"SUCCEEDED": ["2026-06-01", "2026-06-02"]}
    assert "the session is not over" in find_error(gate.certify("2026-06-03"))


def test_a_named_universe_has_an_asset_and_one_without_is_told_once(
    make_gate: MakeGate, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = make_gate(("AAPL", "MSFT"), universes=("all", "model"), event_sessions=2)
    with gate.engine.database.transaction() as connection:
        for name in ("model", "other"):
            create_universe(connection, "US", name, find_symbols(connection, "US", parse_tickers(["AAPL"])))
    gate.tick()
    gate.tick()
    assert capfd.readouterr().err.count("universe other has no asset") == 1
    gate.fill(FRIDAY, TUESDAY, symbols=["AAPL"])
    gate.tick()
    assert [(event.asset_key.path[-1], event.partition) for event in gate.events] == [("model", "2026-06-02")]


def test_a_session_is_recorded_again_when_its_certificate_says_more(make_gate: MakeGate) -> None:
    """Bars of another program that the vendor confirms: what refused the first certificate can run now."""
    gate = make_gate(event_sessions=2)
    gate.starts_runs = True
    gate.tick()
    gate.fill(TUESDAY, TUESDAY)
    execute(gate, "UPDATE market_data SET source = NULL, fetched_at = NULL")
    assert gate.tick() == ["2026-06-02"]
    gate.fill(TUESDAY, TUESDAY, verify_existing=True)
    assert [gate.tick(), gate.tick(), gate.tick()] == [[], ["2026-06-02"], []]
    assert [event.metadata["kind"].value for event in gate.events] == ["unverified", "complete"]
    # its check was evaluated after the second event, not before, when it would be outdated by it
    assert (gate.evaluations, read_shown_state(gate)) == (3, {"SUCCEEDED": ["2026-06-02"]})


def read_shown_state(gate: Gate) -> dict[str, list[str]]:
    """The partitions of the check by the status that Dagster's UI shows."""
    import asyncio

    from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
    from dagster._core.storage.asset_check_state import AssetCheckState

    view = AssetGraphView.for_test(gate.deployment.definitions, gate.instance)
    partitions = view.asset_graph.get(CHECK_KEY).partitions_def
    state = asyncio.run(AssetCheckState.gen(view, (CHECK_KEY, partitions)))
    assert state is not None
    found = {status.value: subset.subset_value.get_partition_keys() for status, subset in state.subsets.items()}
    return {status: list(days) for status, days in found.items() if days}


def test_a_first_load_of_ninety_sessions_starts_no_ninety_runs(make_gate: MakeGate) -> None:
    gate = make_gate(partition_days=90, event_sessions=20)

    @dg.asset(
        partitions_def=session_partitions(), deps=[KEY], automation_condition=on_complete_session(start="2026-06-01")
    )
    def profile() -> None: ...

    merged = dg.Definitions.merge(gate.deployment.definitions, dg.Definitions(assets=[profile]))
    automation = Automation(gate.instance, merged)
    assert (gate.tick(), automation.tick()) == ([], {})
    gate.fill(date(2026, 1, 23), TUESDAY)
    recorded = gate.tick()
    with gate.engine.database.transaction() as connection:
        assert len(read_certificates_after(connection, 0)) == 89  # today's session is open
    assert len(recorded) == 19
    assert automation.tick() == {"profile": {"2026-06-01", "2026-06-02"}}  # from the start date on
    assert automation.tick() == {}
