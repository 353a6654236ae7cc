"""The day partitions are the sessions of the calendar, at any time."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.orchestration.partitions import build_day_partitions, compute_first_day, sync_symbol_partitions


def list_day_keys_at(moment: datetime | None, symbols: int = 10, **settings: Any) -> list[str]:
    changed_settings = load_settings(as_of=moment, **settings)
    return list(
        build_day_partitions(
            changed_settings, "US", compute_first_day(changed_settings, changed_settings.get_market("US"), symbols)
        ).get_partition_keys()
    )


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 6, 3, 14, tzinfo=UTC),
        datetime(2026, 11, 29, 12, tzinfo=UTC),
        datetime(2021, 1, 20, 20, tzinfo=UTC),
        datetime(2026, 3, 9, 13, 29, tzinfo=UTC),
        datetime(2031, 7, 8, 22, tzinfo=UTC),
    ],
    ids=["in a session", "a Sunday after Thanksgiving", "five years ago", "before the open", "in the future"],
)
def test_partitions_are_the_newest_opened_sessions(moment: datetime) -> None:
    keys = list_day_keys_at(moment, partition_days=200)
    sessions = list_sessions(US, date(moment.year - 2, 1, 1), moment.date())
    opened_days = [s.day.isoformat() for s in sessions if s.open <= moment]
    assert keys == opened_days[-200:]


def test_newest_sessions_are_partitions_without_a_fixed_clock() -> None:
    keys = list_day_keys_at(None, partition_days=30)
    today = datetime.now(UTC).date()
    sessions = [s.day.isoformat() for s in list_sessions(US, date(today.year - 1, 1, 1), date(today.year + 1, 1, 31))]
    first = sessions.index(keys[0])
    assert keys == sessions[first : first + len(keys)]
    assert len(keys) in {30, 31}  # 31: a session that has not opened is also a partition


@pytest.mark.parametrize(("symbols", "days"), [(1, 90), (1111, 90), (1112, 89), (5000, 20), (200_000, 1)])
def test_partition_count_stays_below_100_000(symbols: int, days: int) -> None:
    assert len(list_day_keys_at(datetime(2026, 6, 3, 14, tzinfo=UTC), symbols)) == days


def test_a_closure_from_the_settings_is_not_a_partition(tmp_path: Any) -> None:
    file = tmp_path / "calendar.json"
    file.write_text('{"closures": ["2026-06-02"]}')
    keys = list_day_keys_at(datetime(2026, 6, 3, 14, tzinfo=UTC), partition_days=3, calendar_file=file)
    assert keys == ["2026-05-29", "2026-06-01", "2026-06-03"]


def test_symbol_partitions_are_added_in_order_and_deleted(instance: dg.DagsterInstance) -> None:
    assert sync_symbol_partitions(instance, ["B.US", "A.US", "B.US"]) == (2, 0)
    assert sync_symbol_partitions(instance, ["A.US", "C.US"]) == (1, 1)
    assert list(instance.get_dynamic_partitions("symbol")) == ["A.US", "C.US"]
    assert sync_symbol_partitions(instance, ["A.US", "C.US"]) == (0, 0)


def test_default_number_of_partition_days_is_ninety() -> None:
    assert Settings.model_fields["partition_days"].default == 90
