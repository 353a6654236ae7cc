"""What ``why`` says about a doubt: the row, its neighbours, the day, the other feed, and how it ended."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.market.exchanges.registry import PROFILES, US
from backfill_assets.market.plausibility.doubt_texts import describe_figures
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.quality.doubt_explanation import explain_doubts
from backfill_assets.quality.slot_explanation import SlotExplanation
from backfill_assets.store.bars.stored_bars import StoredBar
from backfill_assets.store.evidence.daily_prices import DailyPrice
from backfill_assets.store.evidence.doubts import Outcome, StoredDoubt

SLOT = datetime(2026, 6, 1, 15, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
READ_AT = datetime(2026, 6, 2, 13, tzinfo=UTC)
DOUBT = StoredDoubt(
    doubt_id=7,
    symbol_id=1,
    interval_type="30m",
    source_interval="5m",
    session_day=date(2026, 6, 1),
    rule=Rule.PRICE_SPIKE,
    first_slot=SLOT,
    last_slot=SLOT,
    first_row=SLOT + timedelta(minutes=10),
    figures={"price": 9_999.0, "low_after": None, "direction": "up", "close_before": 100.02, "allowed": 10.0},
    values_hash="x",
    withheld_volume=0,
    from_rows=True,
    from_audit=False,
    opened_at=READ_AT,
    seen_at=READ_AT + HALF_HOUR,
    ended_at=None,
    outcome=None,
    outcome_reason=None,
    marks_bar=True,
    other_feed=None,
    repeats=1,
)
DAY = DailyPrice(100.0, 101.5, 99.25, 100.5, 100.5, 1_000, READ_AT)
SLOTS = [SlotExplanation("2026-06-01T15:00:00Z", "suspect", "", "2026-06-03T13:00:00Z")]


def build_bar(number: int, high: float = 100.5) -> StoredBar:
    at = SLOT + number * HALF_HOUR
    return StoredBar(at, 100.25, 1_200, "eodhd.com", "5m", 6, True, READ_AT, 100.0, high, 99.5)


BARS = [build_bar(-2), build_bar(-1), build_bar(0, 9_999.0), build_bar(1), build_bar(2)]


def test_an_open_doubt_is_shown_between_its_neighbours_and_beside_its_day() -> None:
    (explanation,) = explain_doubts(US, [DOUBT], BARS, DAY, SLOTS)
    assert explanation.describe() == [
        "doubt 7: a price lies far from its neighbours and returns (price_spike)",
        "in the vendor's rows of 5m, first 2026-06-01T15:10:00Z: the bar of 2026-06-01T15:00:00Z",
        "figures: direction up, price 9,999, close before 100.02, low after unknown, allowed 10",
        "bar before: 2026-06-01T14:30:00Z  open 100, high 100.5, low 99.5, close 100.25, volume 1,200",
        "bar in doubt: 2026-06-01T15:00:00Z  open 100, high 9,999, low 99.5, close 100.25, volume 1,200",
        "bar after: 2026-06-01T15:30:00Z  open 100, high 100.5, low 99.5, close 100.25, volume 1,200",
        "the day's range in the daily data is 99.25 to 101.5, that of the bars in doubt 99.5 to 9,999",
        "the vendor's other feed was not asked",
        "opened 2026-06-02T13:00:00Z, last found 2026-06-02T13:30:00Z; the vendor gave the same values 1 time since",
        "open; next request: 2026-06-03T13:00:00Z",
    ]


def test_its_json_has_the_same() -> None:
    fields = explain_doubts(US, [DOUBT], BARS, DAY, SLOTS)[0].as_dict()
    bar = {"open": 100.0, "high": 100.5, "low": 99.5, "close": 100.25, "volume": 1_200.0, "source_interval": "5m"}
    assert fields == {
        "doubt_id": 7,
        "rule": "price_spike",
        "meaning": "a price lies far from its neighbours and returns",
        "first_slot": "2026-06-01T15:00:00Z",
        "last_slot": "2026-06-01T15:00:00Z",
        "first_row": "2026-06-01T15:10:00Z",
        "source_interval": "5m",
        "figures": DOUBT.figures,
        "withheld_volume": 0,
        "bar_before": {"slot": "2026-06-01T14:30:00Z", **bar},
        "bars": [{"slot": "2026-06-01T15:00:00Z", **bar, "high": 9_999.0}],
        "bar_after": {"slot": "2026-06-01T15:30:00Z", **bar},
        "other_feed": None,
        "from_audit": False,
        "opened_at": "2026-06-02T13:00:00Z",
        "seen_at": "2026-06-02T13:30:00Z",
        "repeats": 1,
        "ask_again": "2026-06-03T13:00:00Z",
        "ended_at": None,
        "outcome": None,
        "outcome_reason": None,
        "marks_bar": True,
    }


def test_what_the_other_feed_said_is_shown() -> None:
    said = {
        "source_interval": "1m",
        "answer": "kept",
        "asked_at": "2026-06-03T13:05:00Z",
        "bars": [
            {"slot": "2026-06-01T15:00:00Z", "open": 100.0, "high": 100.6, "low": 99.4, "close": 100.2, "volume": 9}
        ],
    }
    lines = explain_doubts(US, [replace(DOUBT, other_feed=said)], BARS, DAY)[0].describe()
    assert lines[7:9] == [
        "the vendor's other feed (1m, asked 2026-06-03T13:05:00Z): does not settle it",
        "its bar: 2026-06-01T15:00:00Z  open 100, high 100.6, low 99.4, close 100.2, volume 9",
    ]
    assert lines[-1] == "open"


def test_bars_that_were_taken_from_the_other_feed_are_shown_once_and_no_longer_in_doubt() -> None:
    bar = {"slot": "2026-06-01T15:00:00Z", "open": 100.0, "high": 9_999.0, "low": 99.5, "close": 100.25, "volume": 1200}
    said = {"source_interval": "1m", "answer": "taken", "bars": [bar]}
    mended = replace(DOUBT, other_feed=said, marks_bar=False, outcome=Outcome.MENDED, ended_at=READ_AT)
    lines = explain_doubts(US, [mended], BARS, DAY)[0].describe()
    assert lines[4] == "bar now: 2026-06-01T15:00:00Z  open 100, high 9,999, low 99.5, close 100.25, volume 1,200"
    assert "the vendor's other feed (1m): differs, and the bars were taken from it" in lines
    assert not [line for line in lines if line.startswith("its bar")]


def test_figures_are_written_alike_whatever_was_compared() -> None:
    figures = {"usual_share": 0.2157, "volume": "5686916, 5777976", "row": "16:40 UTC, 16:50 UTC", "day_volume": 1.5e7}
    assert describe_figures({**figures, "repeated_session": "2026-04-30"}) == [
        "row 16:40 UTC, 16:50 UTC",
        "repeated session 2026-04-30",
        "volume 5,686,916, 5,777,976",
        "day volume 15,000,000",
        "usual session volume / day volume 0.2157",
    ]


def test_an_ended_doubt_says_how() -> None:
    ended = replace(DOUBT, ended_at=READ_AT, outcome=Outcome.STANDS, outcome_reason="the vendor repeats it")
    assert explain_doubts(US, [ended], BARS, DAY)[0].describe()[-1] == (
        "stands (the bars stay suspect, without an alarm) 2026-06-02T13:00:00Z: the vendor repeats it;"
        " the bars are suspect because of it"
    )
    confirmed = replace(ended, outcome=Outcome.CONFIRMED, marks_bar=False)
    assert explain_doubts(US, [confirmed], BARS, DAY)[0].describe()[-1].endswith("; it no longer marks the bars")


def test_a_doubt_about_many_bars_shows_the_first_and_the_last() -> None:
    whole = replace(
        DOUBT,
        rule=Rule.SESSION_REPEATED,
        first_slot=SLOT - 2 * HALF_HOUR,
        last_slot=SLOT + 2 * HALF_HOUR,
        first_row=None,
        from_audit=True,
        source_interval=None,
        withheld_volume=1_500,
    )
    (explanation,) = explain_doubts(US, [whole], BARS, None)
    lines = explanation.describe()
    assert (
        lines[1] == "the bars from 2026-06-01T14:00:00Z to 2026-06-01T16:00:00Z, of another program, found by an audit"
    )
    assert "withheld: 1,500 shares, which the bar's volume lacks" in lines
    assert [line.split(" ")[3] for line in lines if line.startswith("bar in doubt")] == [
        "2026-06-01T14:00:00Z",
        "2026-06-01T16:00:00Z",
    ]
    assert not [line for line in lines if line.startswith(("bar before", "bar after"))]
    assert "the day's range is not known" in lines
    assert len(explanation.as_dict()["bars"]) == 5
    assert explain_doubts(US, [], BARS, DAY) == []


@pytest.mark.parametrize(("exchange", "said"), [("CC", ["the day's range is not known"]), ("FOREX", [])])
def test_what_an_exchange_does_not_have_is_not_said_to_be_absent(exchange: str, said: list[str]) -> None:
    lines = explain_doubts(PROFILES[exchange], [DOUBT], BARS, None)[0].describe()
    assert [line for line in lines if "other feed" in line or "day's range" in line] == said
