"""What ``why`` says about the day's figures in the vendor's daily data."""

from datetime import UTC, datetime, timedelta

from backfill_assets.quality.daily_explanation import build_daily_fields, describe_daily_price
from backfill_assets.store.evidence.daily_prices import DailyPrice

CLOSE = datetime(2026, 6, 2, 20, tzinfo=UTC)
MORNING = CLOSE + timedelta(hours=16)
PRICE = DailyPrice(101.25, 103.0, 100.5, 102.123456, 51.0, 1_234_567, MORNING)
FIGURES = "open 101.25, high 103, low 100.5, close 102.123456, adjusted close 51, volume 1,234,567"


def test_without_a_row_nothing_is_said() -> None:
    assert describe_daily_price(None, [], CLOSE) == []
    assert build_daily_fields(None, [], CLOSE) is None


def test_figures_are_shown_with_the_time_of_reading() -> None:
    assert describe_daily_price(PRICE, [], CLOSE) == [
        f"the day in the daily data: {FIGURES}; read 2026-06-03T12:00:00Z, not revised"
    ]
    assert build_daily_fields(PRICE, [], CLOSE) == {
        "open": 101.25,
        "high": 103.0,
        "low": 100.5,
        "close": 102.123456,
        "adjusted_close": 51.0,
        "volume": 1_234_567,
        "read_at": "2026-06-03T12:00:00Z",
        "is_settled": True,
        "revisions": [],
    }


def test_a_row_that_is_not_settled_and_one_of_before_say_so() -> None:
    evening = DailyPrice(None, None, None, 102.0, None, None, CLOSE + timedelta(hours=3))
    (sentence,) = describe_daily_price(evening, [], CLOSE)
    assert sentence == (
        "the day in the daily data: open unknown, high unknown, low unknown, close 102, adjusted close unknown,"
        " volume unknown; read 2026-06-02T23:00:00Z, less than 12 h after the close: the vendor may change it,"
        " not revised"
    )
    (of_before,) = describe_daily_price(DailyPrice(None, None, None, 102.0, None, 5, None), [], CLOSE)
    assert of_before.endswith("volume 5; read by an earlier version, not revised")


def test_each_revision_says_what_changed() -> None:
    first = DailyPrice(101.25, 103.0, 100.5, 102.0, 51.0, 1_200_000, CLOSE, MORNING - timedelta(hours=6))
    second = DailyPrice(101.25, None, 100.5, 102.0, 51.0, 1_234_567, MORNING - timedelta(hours=6), MORNING)
    sentences = describe_daily_price(PRICE, [first, second], CLOSE)
    assert sentences == [
        f"the day in the daily data: {FIGURES}; read 2026-06-03T12:00:00Z",
        "the vendor changed its daily data, seen 2026-06-03T06:00:00Z: high 103 to unknown,"
        " volume 1,200,000 to 1,234,567",
        "the vendor changed its daily data, seen 2026-06-03T12:00:00Z: high unknown to 103, close 102 to 102.123456",
    ]
    fields = build_daily_fields(PRICE, [first, second], CLOSE)
    assert fields is not None
    assert [old["replaced_at"] for old in fields["revisions"]] == ["2026-06-03T06:00:00Z", "2026-06-03T12:00:00Z"]
    assert fields["revisions"][0]["volume"] == 1_200_000
