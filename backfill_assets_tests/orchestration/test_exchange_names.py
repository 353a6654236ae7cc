"""With the US alone Dagster's definitions are those of version 0.7.0; others have names of their own beside them.

Since then one job and one sensor for each exchange and interval came, which heal what is no partition, a job and a
schedule that fill the history, and a check for each of them that it is complete. The sensor of the symbol partitions
has renewed the days, too, and says so in its description.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.build import build_definitions
from backfill_assets_tests.orchestration.described_definitions import describe_definitions

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "version_0_7_0" / "names.json").read_text("utf-8"))
EVERY_OPTION = {"intervals": ("30m", "1h"), "universes": ("all", "model"), "live": True, "auto": False}

ALSO_NEW = {"heal_sessions", "fill_history", "history_schedule"}
NEW_CHECK = "history_is_complete"


def describe(settings: Settings, **changed: Any) -> dict[str, Any]:
    return describe_definitions(build_definitions(settings.model_copy(update=changed)))


def split_new(described: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """What existed in version 0.7.0, and the names that came later."""
    new = {
        name
        for kind in ("jobs", "sensors", "schedules")
        for name in described[kind]
        if name in ALSO_NEW or name.startswith("healing_sensor")
    }
    kinds = ("jobs", "sensors", "schedules")
    old = {kind: {name: one for name, one in described[kind].items() if name not in new} for kind in kinds}
    old["checks"] = {name: one for name, one in described["checks"].items() if not name.endswith(NEW_CHECK)}
    new |= {name for name in described["checks"] if name not in old["checks"]}
    partitions = old["sensors"]["symbol_partitions_sensor"]
    description = partitions["description"].replace(", and their days up to date", "")
    old["sensors"]["symbol_partitions_sensor"] = {**partitions, "description": description}
    return {**described, **old}, new


@pytest.mark.parametrize(("variant", "options"), [("default", {}), ("every option", EVERY_OPTION)])
def test_with_the_us_alone_everything_is_as_in_version_0_7_0(
    settings: Settings, variant: str, options: dict[str, Any]
) -> None:
    described, new = split_new(describe(settings, **options))
    assert described == RECORDED[variant]
    checks = {f"bars_{interval}: {NEW_CHECK}" for interval in options.get("intervals", ("30m",))}
    assert new == {*ALSO_NEW, "healing_sensor", *(["healing_sensor_1h"] if options else []), *checks}


def test_other_exchanges_are_beside_the_us_and_change_none_of_its_names(settings: Settings) -> None:
    both, new = split_new(describe(settings, exchanges=("US", "LSE", "AU")))
    suffixes = ("", "_LSE", "_AU")
    checks = {f"bars_30m{suffix}: {NEW_CHECK}" for suffix in suffixes}
    assert new == {*ALSO_NEW, *(f"healing_sensor{suffix}" for suffix in suffixes), *checks}
    assert both == RECORDED["three exchanges"]
    alone = RECORDED["default"]
    for kind in ("checks", "sensors", "jobs"):
        assert {name: both[kind][name] for name in alone[kind]} == alone[kind], kind
    for name, asset in alone["assets"].items():
        assert asset["partitions"] == both["assets"][name]["partitions"]
        assert asset["group"] == both["assets"][name]["group"]
        assert asset["freshness"] == both["assets"][name]["freshness"]
    assert both["assets"].keys() - alone["assets"].keys() == {
        "data_quality_overview",
        *(f"{name}_{code}" for name in ("bars_30m", "data_quality_report") for code in ("LSE", "AU")),
        *(f"complete_sessions/{code}/all" for code in ("LSE", "AU")),
    }
    assert both["sensors"].keys() - alone["sensors"].keys() == {
        f"{name}_{code}" for name in ("gap_backfill_sensor", "complete_sessions_sensor") for code in ("LSE", "AU")
    }
    assert both["schedules"] == {
        **alone["schedules"],
        "morning_report_schedule_LSE": [
            "45 8 * * 2-6",
            "Europe/London",
            both["schedules"]["morning_report_schedule_LSE"][2],
        ],
        "morning_report_schedule_AU": [
            "15 8 * * 2-6",
            "Australia/Sydney",
            both["schedules"]["morning_report_schedule_AU"][2],
        ],
    }
    assert both["jobs"] == alone["jobs"]  # one verify job for all
    london = both["assets"]["bars_30m_LSE"]
    assert (london["group"], london["freshness"]) == (
        "market_data_LSE",
        ["30 8 * * 2-6", "13:00:00", "Europe/London"],
    )
    assert london["partitions"]["symbol_LSE"] == "symbol_LSE"
    assert london["partitions"]["day"]["holidays"][-2:] == ["2026-12-25", "2026-12-28"]
    assert both["assets"]["adjusted_bars"]["parents"] == [
        "bars_30m",
        "bars_30m_AU",
        "bars_30m_LSE",
        "corporate_actions",
    ]
