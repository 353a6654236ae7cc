"""When assets run that depend on complete sessions: with ``on_complete_session``, with Dagster's own conditions."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import list_previous_sessions, list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.reading.dagster import build_gate_key, on_complete_session, session_partitions
from backfill_assets_tests.orchestration.gate import Automation

pytestmark = pytest.mark.filterwarnings("ignore")
KEY = build_gate_key()
MONDAY, TUESDAY, WEDNESDAY = "2026-06-01", "2026-06-02", "2026-06-03"  # the clock stands on Wednesday after the open


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_AS_OF", "2026-06-03T14:00:00Z")
    monkeypatch.setenv("BACKFILL_SESSIONS_START", "2026-05-01")


class Downstream:
    """Assets that depend on complete sessions, whose events the test makes itself."""

    def __init__(self, instance: dg.DagsterInstance, **assets: dict[str, Any]) -> None:
        self.instance = instance
        gate = dg.asset(key=KEY, partitions_def=session_partitions())(lambda: None)
        self.assets = [gate, *(_build_asset(name, **options) for name, options in assets.items())]
        self.automation = Automation(instance, dg.Definitions(assets=self.assets))
        self.tick()

    def complete(self, *days: str, version: str = "1") -> None:
        """What the sensor records."""
        for day in days:
            tags = {"dagster/data_version": version}
            self.instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=day, tags=tags))

    def tick(self) -> dict[str, set[str | None]]:
        return self.automation.tick()

    def run(self, day: str | None, *names: str) -> None:
        assert dg.materialize(self.assets, selection=list(names), instance=self.instance, partition_key=day).success


def _build_asset(
    name: str, condition: Any = None, partitions: Any = "sessions", deps: Any = (KEY,)
) -> dg.AssetsDefinition:
    return dg.asset(
        name=name,
        deps=list(deps),
        partitions_def=session_partitions() if partitions == "sessions" else partitions,
        automation_condition=condition or on_complete_session(),
    )(lambda: None)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral_instance:
        yield ephemeral_instance


def test_any_newly_complete_or_revised_session_runs_once(instance: dg.DagsterInstance) -> None:
    downstream = Downstream(instance, profile={})
    downstream.complete(MONDAY)  # Tuesday has closed and Wednesday has opened since
    assert downstream.tick() == {"profile": {MONDAY}}
    assert downstream.tick() == {}
    downstream.run(MONDAY, "profile")
    downstream.complete(TUESDAY)
    assert [downstream.tick(), downstream.tick()] == [{"profile": {TUESDAY}}, {}]
    downstream.complete(MONDAY, version="2")
    assert downstream.tick() == {"profile": {MONDAY}}
    downstream.complete(MONDAY, version="3")  # right after the request
    assert [downstream.tick(), downstream.tick()] == [{"profile": {MONDAY}}, {}]


def test_each_exchange_starts_what_depends_on_its_own_sessions(instance: dg.DagsterInstance) -> None:
    """Sydney's Wednesday has closed when New York's and London's are open."""
    assets = []
    for code in ("LSE", "AU"):
        days = session_partitions(exchange=code)
        assets.append(dg.asset(key=build_gate_key(exchange=code), partitions_def=days)(lambda: None))
        condition = on_complete_session(exchange=code)
        depends = {"deps": [build_gate_key(exchange=code)], "automation_condition": condition}
        assets.append(dg.asset(name=f"profile_{code}", partitions_def=days, **depends)(lambda: None))
    automation = Automation(instance, dg.Definitions(assets=assets))
    automation.tick()
    for code, day in (("AU", WEDNESDAY), ("LSE", MONDAY)):
        event = dg.AssetMaterialization(
            build_gate_key(exchange=code), partition=day, tags={"dagster/data_version": "1"}
        )
        instance.report_runless_asset_event(event)
        assert [automation.tick(), automation.tick()] == [{f"profile_{code}": {day}}, {}]


def test_a_revision_during_a_run_is_run_after_it(instance: dg.DagsterInstance) -> None:
    downstream = Downstream(instance, profile={})
    downstream.complete(MONDAY)
    assert downstream.tick() == {"profile": {MONDAY}}
    ticks: list[Any] = []

    @dg.asset(name="profile", deps=[KEY], partitions_def=session_partitions())
    def running() -> None:
        ticks.append(downstream.tick())
        downstream.complete(MONDAY, version="2")
        ticks.append(downstream.tick())

    assert dg.materialize([running], instance=instance, partition_key=MONDAY).success
    assert ticks == [{}, {}]
    assert [downstream.tick(), downstream.tick()] == [{"profile": {MONDAY}}, {}]


def test_a_chain_runs_together_and_each_asset_once(instance: dg.DagsterInstance) -> None:
    features = {"deps": (KEY, dg.AssetKey("profile"))}
    downstream = Downstream(instance, profile={}, features=features, model={"deps": (dg.AssetKey("features"),)})
    downstream.complete(MONDAY)
    assert downstream.tick() == {name: {MONDAY} for name in ("profile", "features", "model")}
    downstream.run(MONDAY, "profile", "features", "model")
    assert [downstream.tick(), downstream.tick()] == [{}, {}]


def test_sessions_before_the_start_date_do_not_count(instance: dg.DagsterInstance) -> None:
    downstream = Downstream(
        instance,
        monday={"condition": on_complete_session(start=MONDAY)},
        weekend={"condition": on_complete_session(start=date(2026, 5, 30))},
        wednesday={"condition": on_complete_session(start=WEDNESDAY)},
    )
    downstream.complete("2026-05-29")
    assert downstream.tick() == {}
    downstream.complete(TUESDAY, MONDAY)
    assert downstream.tick() == {"monday": {MONDAY, TUESDAY}, "weekend": {MONDAY, TUESDAY}}
    downstream.complete(WEDNESDAY)
    assert downstream.tick() == {name: {WEDNESDAY} for name in ("monday", "weekend", "wednesday")}


@pytest.mark.parametrize(
    ("now", "start", "before"),
    [("2026-06-03T14:00Z", "2026-03-03", "2026-03-02"), ("2026-11-04T16:00Z", "2026-06-02", MONDAY)],
)
def test_the_start_date_may_be_on_the_other_side_of_a_change_of_summer_time(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, now: str, start: str, before: str
) -> None:
    monkeypatch.setenv("BACKFILL_AS_OF", now)
    monkeypatch.setenv("BACKFILL_SESSIONS_START", "2026-02-02")
    downstream = Downstream(instance, profile={"condition": on_complete_session(start=start)})
    downstream.complete(before, start)
    assert downstream.tick() == {"profile": {start}}


def test_the_start_date_stays_while_sessions_are_added(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code server that runs for three weeks without being reloaded."""
    monkeypatch.delenv("BACKFILL_AS_OF")
    newest = session_partitions().get_last_partition_key()
    assert newest is not None
    downstream = Downstream(instance, profile={"condition": on_complete_session(start=newest)})
    later = datetime.now(UTC) + timedelta(days=21)
    assert downstream.automation.tick(later) == {}
    sessions = list_sessions(US, date.fromisoformat(newest), later.astimezone(US.zone).date())  # by New York's date
    (before,) = list_previous_sessions(sessions[0], 1)
    latest = sessions[-1].day.isoformat()
    downstream.complete(before.day.isoformat(), newest, latest)
    assert downstream.automation.tick(later) == {"profile": {newest, latest}}


def test_plain_eager_never_runs_for_a_session_and_without_partitions_waits_for_all_of_them(
    instance: dg.DagsterInstance,
) -> None:
    """A session becomes complete when the next one is the latest partition, and some session is always missing."""
    eager = dg.AutomationCondition.eager()
    downstream = Downstream(
        instance,
        sessions={"condition": eager},
        table={"condition": eager, "partitions": None},
        summary={"partitions": None},
        by_hand={"condition": eager & on_complete_session(), "partitions": None},
    )
    downstream.complete(MONDAY, TUESDAY)
    assert downstream.tick() == {"summary": {None}}  # once for both
    assert downstream.tick() == {}
    downstream.complete(MONDAY, version="2")
    assert downstream.tick() == {"summary": {None}}
    downstream.complete(WEDNESDAY)
    assert downstream.tick() == {"sessions": {WEDNESDAY}, "summary": {None}}  # had it been the latest partition


def test_plain_eager_without_partitions_runs_once_every_session_is_complete(instance: dg.DagsterInstance) -> None:
    """And then with each event, until the next session begins."""
    few = session_partitions(start=MONDAY)
    gate = dg.asset(key=KEY, partitions_def=few)(lambda: None)
    table = _build_asset("table", dg.AutomationCondition.eager(), None)
    downstream = Downstream(instance)
    downstream.automation = Automation(instance, dg.Definitions(assets=[gate, table]))
    downstream.tick()
    downstream.complete(MONDAY, TUESDAY)
    assert downstream.tick() == {}
    downstream.complete(WEDNESDAY)
    assert downstream.tick() == {"table": {None}}


def test_other_code_locations_have_equal_partitions() -> None:
    partitions = session_partitions("model", start="2026-05-01")
    assert partitions == session_partitions(start=date(2026, 5, 1))
    days = [s.day.isoformat() for s in list_sessions(US, date(2026, 5, 1), date(2026, 6, 3))]
    assert list(partitions.get_partition_keys()) == days
    assert session_partitions() == partitions
    assert Settings.model_fields["sessions_start"].default == date(2020, 10, 1)


def test_without_a_fixed_clock_the_partitions_have_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """They depend on the year and the settings alone, so that two servers loaded on different days agree."""
    monkeypatch.delenv("BACKFILL_AS_OF")
    partitions = session_partitions()
    assert partitions.end is None
    year = datetime.now(UTC).year + 1
    sessions = [s.day.isoformat() for s in list_sessions(US, date(year, 1, 1), date(year, 12, 31))]
    with partition_loading_context(effective_dt=datetime(year, 12, 31, 12, tzinfo=UTC)):
        assert [key for key in partitions.get_partition_keys() if key.startswith(str(year))] == sessions


@pytest.mark.parametrize(
    ("options", "message"),
    [({"start": "tomorrow"}, "not a date"), ({"start": "2026-06-08"}, "no session from then on has begun")],
)
def test_a_start_that_cannot_be_used_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        on_complete_session(**options)
    with pytest.raises(UsageError, match="exchange 'NOWHERE' is not supported"):
        session_partitions(exchange="NOWHERE")


def test_the_condition_is_evaluated_by_the_daemon() -> None:
    """A condition that is not serializable would never be evaluated by Dagster's default sensor."""
    assert on_complete_session(start=MONDAY).is_serializable
