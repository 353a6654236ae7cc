"""Days of markets without a night: their partitions, deadlines and descriptions; no run is started."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._utils.schedules import schedule_execution_time_iterator

from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.partitions import compute_first_day
from backfill_assets.orchestration.timetable import build_morning
from backfill_assets.reading.dagster import build_session_days
from backfill_assets_tests.orchestration.described_definitions import describe_definitions

pytestmark = pytest.mark.filterwarnings("ignore")
NEW_YORK = ZoneInfo("America/New_York")
AUTUMN = date(2026, 10, 26)  # a Monday; New York's clocks go back on Sunday, 1 November
ListKeys = Callable[[datetime], list[str]]


@pytest.fixture
def list_keys(request: pytest.FixtureRequest) -> ListKeys:
    """The partitions that Dagster has at a moment, of the exchange that parametrizes this fixture."""
    days = build_session_days(load_settings(), request.param, AUTUMN)

    def list_at(moment: datetime) -> list[str]:
        with partition_loading_context(effective_dt=moment):
            return list(days.get_partition_keys())

    return list_at


@pytest.mark.parametrize("list_keys", ["FOREX"], indirect=True)
def test_a_trade_date_is_a_partition_when_it_opens_the_evening_before(list_keys: ListKeys) -> None:
    market = load_settings().get_market("FOREX")
    sessions = list_sessions(market, AUTUMN, date(2027, 1, 8))
    for number, session in enumerate(sessions):
        keys = list_keys(session.open)
        assert session.day.isoformat() in keys, session
        assert len(keys) - number in {1, 2}  # at most one that opens later, as on a Sunday
    hours = [(s.open.hour, s.close - s.open) for s in sessions[4:6]]
    assert hours == [(21, timedelta(days=1)), (22, timedelta(days=1))]  # UTC, of Friday 30 October and Monday
    end = list_keys(datetime(2027, 1, 9, 12, tzinfo=NEW_YORK))
    assert {"2026-12-25", "2027-01-01", "2026-10-31", "2026-11-01"}.isdisjoint(end)
    assert [day.isoformat() for day in (s.day for s in sessions)] == end[: len(sessions)]


@pytest.mark.parametrize("list_keys", ["FOREX"], indirect=True)
@pytest.mark.parametrize(
    ("moment", "newest"),
    [
        ((10, 29, 23, 59), "2026-10-30"),
        ((10, 30, 0, 0), "2026-11-02"),  # from the midnight before the Friday's close
        ((10, 31, 12, 0), "2026-11-03"),
        ((11, 1, 1, 30), "2026-11-03"),
        ((11, 1, 17, 0), "2026-11-03"),
        ((11, 2, 17, 0), "2026-11-03"),
    ],
)
def test_the_newest_trade_date_over_a_weekend_in_which_clocks_change(
    list_keys: ListKeys, moment: tuple[int, int, int, int], newest: str
) -> None:
    month, day, hour, minute = moment
    for fold in (0, 1):
        assert list_keys(datetime(2026, month, day, hour, minute, tzinfo=NEW_YORK, fold=fold))[-1] == newest


@pytest.mark.parametrize("list_keys", ["CC"], indirect=True)
def test_every_day_in_utc_is_a_partition_of_cryptocurrencies(list_keys: ListKeys) -> None:
    keys = list_keys(datetime(2027, 10, 25, 23, 59, tzinfo=UTC))
    assert (len(keys), keys[0], keys[-1]) == (365, AUTUMN.isoformat(), "2027-10-25")
    assert list_keys(datetime(2027, 10, 26, tzinfo=UTC))[-1] == "2027-10-26"


@pytest.mark.parametrize(("exchange", "symbols", "days"), [("CC", 1000, 90), ("CC", 1911, 52), ("FOREX", 997, 90)])
def test_days_count_for_the_limit_of_partitions_and_slots_do_not(exchange: str, symbols: int, days: int) -> None:
    settings = load_settings(as_of=datetime(2026, 11, 9, 12, tzinfo=UTC))
    first = compute_first_day(settings, settings.get_market(exchange), symbols)
    assert len(build_session_days(settings, exchange, first).get_partition_keys()) == days


def test_with_a_fixed_clock_the_trade_date_that_has_opened_is_the_last_partition() -> None:
    for minute, newest in ((59, "2026-11-06"), (61, "2026-11-09")):  # 17:00 in New York is 22:00 UTC
        settings = load_settings(as_of=datetime(2026, 11, 8, 21, tzinfo=UTC) + timedelta(minutes=minute))
        assert build_session_days(settings, "FOREX", AUTUMN).get_last_partition_key() == newest


def list_moments(settings: Settings, exchange: str) -> dict[str, Any]:
    """The next deadlines and reports after Saturday 31 October, in the zone of the exchange."""
    market = settings.get_market(exchange)
    morning = build_morning(settings, market)
    moments: dict[str, Any] = {"reach": morning.reach}
    for name, cron in (("deadlines", morning.deadline_cron), ("reports", morning.report_cron)):
        start = datetime(2026, 10, 31, tzinfo=market.zone).timestamp()
        iterator = schedule_execution_time_iterator(start, cron, str(market.zone), ascending=True)
        moments[name] = [f"{next(iterator):%a %d %H:%M}" for _ in range(4)]
    return moments


def test_deadlines_follow_midnight_in_utc_and_trade_dates() -> None:
    settings = load_settings(as_of=datetime(2026, 10, 31, 12, tzinfo=UTC))
    assert list_moments(settings, "CC") == {
        "reach": timedelta(hours=18),
        "deadlines": ["Sat 31 00:00", "Sun 01 00:00", "Mon 02 00:00", "Tue 03 00:00"],
        "reports": ["Sat 31 00:15", "Sun 01 00:15", "Mon 02 00:15", "Tue 03 00:15"],
    }
    assert list_moments(settings, "FOREX") == {
        "reach": timedelta(hours=11),
        "deadlines": ["Sat 31 09:00", "Tue 03 09:00", "Wed 04 09:00", "Thu 05 09:00"],
        "reports": ["Sat 31 09:15", "Tue 03 09:15", "Wed 04 09:15", "Thu 05 09:15"],
    }


def test_a_day_is_waited_for_until_the_request_after_the_vendor_has_it(tmp_path: Path) -> None:
    markets_file = tmp_path / "markets.toml"
    markets_file.write_text('[CC]\naskable_after = "10h"\noverdue_after = "12h"\n')
    settings = load_settings(
        as_of=datetime(2026, 10, 31, 12, tzinfo=UTC), markets_file=markets_file, around_the_clock_ask_hours=8
    )
    morning = build_morning(settings, settings.get_market("CC"))
    assert (morning.deadline_cron, morning.report_cron) == ("0 18 * * *", "15 18 * * *")
    assert morning.reach == timedelta(hours=8)


def test_actions_are_defined_only_where_an_exchange_has_some(settings: Settings) -> None:
    alone = describe_definitions(build_definitions(settings.model_copy(update={"exchanges": ("CC", "FOREX")})))
    assert alone["assets"].keys() == {
        *("market_symbols", "data_quality_overview"),
        *(f"{name}_{code}" for name in ("bars_30m", "data_quality_report") for code in ("CC", "FOREX")),
        *(f"complete_sessions/{code}/all" for code in ("CC", "FOREX")),
    }
    both = describe_definitions(build_definitions(settings.model_copy(update={"exchanges": ("US", "CC")})))
    assert both["assets"]["adjusted_bars"]["parents"] == ["bars_30m", "corporate_actions"]
    currencies = describe_definitions(build_definitions(settings.model_copy(update={"exchanges": ("FOREX",)})))
    assert "read_daily_data" not in currencies["jobs"]
    assert "daily_data_sensor" not in currencies["sensors"]
    assert "read_daily_data" in alone["jobs"]  # of cryptocurrencies


def test_the_catalog_says_when_days_end_and_what_volumes_are(settings: Settings) -> None:
    definitions = build_definitions(settings.model_copy(update={"exchanges": ("CC", "FOREX", "LSE")}))
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert "A day goes from 00:00 to 24:00 (UTC)." in str(specs["bars_30m_CC"].description)
    assert "A day goes from 17:00 of the day before to 17:00 (New York)." in str(specs["bars_30m_FOREX"].description)
    assert "A day goes" not in str(specs["bars_30m_LSE"].description)

    def describe_column(name: str, column_name: str) -> str:
        columns: list[dg.TableColumn] = specs[name].metadata["dagster/column_schema"].columns
        return str(next(column.description for column in columns if column.name == column_name))

    assert describe_column("bars_30m_LSE", "volume") == "Shares traded."
    assert "quote currency" in describe_column("bars_30m_CC", "volume")
    assert "mean nothing" in describe_column("bars_30m_FOREX", "volume")
    closes = [describe_column(f"bars_30m_{exchange}", "close_price") for exchange in ("LSE", "CC", "FOREX")]
    assert ["no official close" in text for text in closes] == [False, True, True]
