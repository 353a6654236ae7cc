"""Alerts about exchanges: the subject names what is not the US, times are those of the exchange, identity stays."""

from dataclasses import replace
from datetime import UTC, datetime

from backfill_assets.alerts.causes import Diagnostics, find_likely_cause
from backfill_assets.alerts.messages import StateChange, format_body, format_title
from backfill_assets.alerts.notify import build_observations
from backfill_assets.alerts.observation import Observation, build_observation, parse_observation
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.moment_style import MomentStyle
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.criteria import check_no_missing_bars
from backfill_assets.store.evidence.findings import CALENDAR_DRIFT, TOO_MANY_UNSERVED, Finding
from backfill_assets_tests.unit.coverage_builders import NOW, build_coverage

SINCE = datetime(2026, 6, 2, 23, 30, tzinfo=UTC)


def build_sydney_grid() -> SlotGrid:
    days = list_sessions(PROFILES["AU"], NOW.date().replace(day=1), NOW.date().replace(day=2))
    return build_slot_grid(days, INTERVALS["30m"])


def build_sydney_coverage() -> Coverage:
    grid = build_sydney_grid()
    states = {(name, range(12, 24)): SlotState.MISSING for name in ("BHP", "CBA")}
    coverage = build_coverage("BHP CBA", grid, states)
    return replace(
        coverage, symbols=tuple(Symbol(n, Ticker(name, "AU"), True) for n, name in enumerate(("BHP", "CBA")))
    )


def build_diagnostics(*findings: Finding) -> Diagnostics:
    style = MomentStyle(PROFILES["AU"])
    return Diagnostics(build_sydney_coverage(), {"": 5}, None, findings, style=style)


def change(name: str, exchange: str) -> StateChange:
    observation = Observation("e", name, NOW, passed=False, meaning="3 bars are missing", exchange=exchange)
    return StateChange("failing", observation, SINCE)


def test_the_subject_names_an_exchange_that_is_not_the_us() -> None:
    titles = [
        format_title(changes)
        for changes in (
            [change("bars_30m: no_missing_bars", "")],
            [change("bars_30m: no_missing_bars", "US")],
            [change("bars_30m_AU: no_missing_bars", "AU")],
            [change("no_missing_bars", "AU")],
            [change("bars_30m: no_missing_bars", "US"), change("bars_30m_AU: no_missing_bars", "AU")],
        )
    ]
    assert titles == [
        "backfill_assets: FAILING: bars_30m: no_missing_bars",
        "backfill_assets: FAILING: bars_30m: no_missing_bars",
        "backfill_assets: FAILING: bars_30m_AU: no_missing_bars",
        "backfill_assets: FAILING: AU: no_missing_bars",
        "backfill_assets: FAILING: US, AU: bars_30m: no_missing_bars and 1 more",
    ]


def test_times_of_a_message_are_those_of_the_exchange() -> None:
    assert "since: 2026-06-03 09:30 Sydney (AU) (14 h)" in format_body([change("bars_30m_AU: no_missing_bars", "AU")])
    assert "since: 2026-06-02 23:30 UTC (14 h)" in format_body([change("bars_30m: no_missing_bars", "")])


def test_observations_of_the_us_alone_are_what_they_were() -> None:
    criterion = check_no_missing_bars(build_sydney_coverage())
    assert "exchange" not in build_observation(criterion, NOW).to_metadata()
    (observed,) = build_observations([criterion], NOW, build_diagnostics())
    assert (observed.name, observed.exchange) == ("no_missing_bars", "AU")
    assert observed.go_to == "backfill-assets report --exchange AU"
    assert parse_observation(observed.to_metadata(), event_id="e") == replace(observed, event_id="e")


def test_causes_are_looked_for_among_the_findings_of_the_exchange() -> None:
    drift = Finding(CALENDAR_DRIFT, "2026-06-02", "the vendor has trading outside the session", NOW)
    too_many = Finding(TOO_MANY_UNSERVED, "US", "30 symbols of the US never had a bar", NOW)
    of_others = find_likely_cause("no_missing_bars", build_diagnostics(drift, too_many))
    assert of_others == "vendor outage: no data of 2026-06-02 for 2 of 2 symbols"
    own = replace(drift, subject="AU 2026-06-02")
    assert find_likely_cause("no_missing_bars", build_diagnostics(own)) == (
        "calendar: 2026-06-02: the vendor has trading outside the session"
    )
