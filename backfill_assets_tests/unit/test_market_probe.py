"""Which requests a probe has, and what answers say; decided by fields of the profile alone."""

import json
import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from backfill_assets.backfill.probe_recording import read_recording
from backfill_assets.config.markets_file import correct_profile
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.market.probe.answers import AnsweredRows, ProbeAnswers
from backfill_assets.market.probe.questions import (
    QuestionKind,
    find_christmas,
    find_week,
    list_questions,
    open_for_probe,
)
from backfill_assets.market.probe.report import judge_answers
from backfill_assets.market.probe.series_figures import count_series
from backfill_assets.market.probe.session_report import find_empty_spans
from backfill_assets.market.vendor import DailyRows, ExchangeHours, IntradayRows

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
JAKARTA = ExchangeHours(
    "Jakarta", "Asia/Jakarta", time(9), time(15, 50), (time(12), time(13, 30)), frozenset(), frozenset(), {}
)


def build_rows(stamps: list[int], close: float = 10.0, volume: float = 100.0, moves: float = 0.0) -> IntradayRows:
    size = len(stamps)
    low = np.full(size, close)
    return IntradayRows(
        np.array(stamps, np.int64), low, low + moves, low.copy(), low.copy(), np.full(size, volume, float)
    )


def answer_week(market: MarketProfile, skipped: tuple[str, str] = ("", ""), shift: int = 0) -> AnsweredRows:
    """Rows of 5m over a week, without those from one local time to another."""
    week = find_week(market, NOW)
    stamps = [
        stamp
        for session in week
        for stamp in range(int(session.open.timestamp()), int(session.close.timestamp()) + shift, 300)
        if not skipped[0] <= f"{datetime.fromtimestamp(stamp, market.zone):%H:%M}" < skipped[1]
    ]
    first, last = week[0].open, week[-1].close + timedelta(hours=1)
    return AnsweredRows("S", "5m", first, last, NOW, build_rows(stamps))


def get_proposals(answers: ProbeAnswers) -> dict[str, str | None]:
    return {item.name: item.proposed for item in judge_answers(answers).attributes}


@pytest.mark.parametrize("exchange", PROFILES)
def test_every_exchange_has_a_first_question_and_rows(exchange: str) -> None:
    questions = list_questions(PROFILES[exchange], ["S"], NOW)
    assert questions[0].kind is QuestionKind.EXCHANGES
    rows = [question for question in questions if question.kind is QuestionKind.ROWS]
    assert rows
    assert all(question.first and question.last and question.first < question.last for question in rows)
    assert QuestionKind.SYMBOLS not in {question.kind for question in questions}


def test_a_profile_with_other_fields_is_asked_other_questions() -> None:
    """No code decides: London with crypto's fields is asked what crypto is asked."""
    crypto = PROFILES["CC"]
    london = replace(PROFILES["LSE"], times_count_from=crypto.times_count_from, volume_kind=crypto.volume_kind)
    kinds = [(question.kind, question.interval) for question in list_questions(london, ["S"], NOW)]
    assert kinds == [(question.kind, question.interval) for question in list_questions(crypto, ["S"], NOW)]


def test_the_week_has_the_latest_half_day() -> None:
    days = [session.day for session in find_week(PROFILES["PA"], NOW)]
    assert days[-2] == date(2025, 12, 31)
    assert sum(session.is_early_close for session in find_week(PROFILES["PA"], NOW)) >= 1
    tokyo = find_week(PROFILES["TSE"], NOW)  # never has one
    assert (len(tokyo), tokyo[-1].day) == (5, date(2026, 11, 6))


def test_a_christmas_that_is_not_settled_is_not_asked_for() -> None:
    assert find_christmas(datetime(2026, 12, 27, 23, tzinfo=UTC)).year == 2025
    assert find_christmas(datetime(2026, 12, 28, tzinfo=UTC)).year == 2026


def test_times_without_rows_in_every_session_are_a_break() -> None:
    market = open_for_probe(PROFILES["JK"])
    answer = answer_week(market, ("12:00", "13:30"))
    sessions = list_sessions(market, date(2026, 11, 2), date(2026, 11, 6))
    assert find_empty_spans(answer, sessions) == [(time(12), time(13, 30))]
    assert find_empty_spans(answer_week(market), sessions) == []


def test_a_break_of_the_vendor_is_proposed_where_none_is_known() -> None:
    market = PROFILES["JK"]
    answers = ProbeAnswers(market, NOW, hours=JAKARTA, rows=[answer_week(open_for_probe(market), ("12:00", "13:30"))])
    report = judge_answers(answers)
    assert tomllib.loads(report.settings)["JK"]["breaks"] == [["12:00", "13:30"]]
    assert "S has no row at 12:00 to 13:30" in report.attributes[0].seen
    known = replace(market, needs_breaks=False, breaks=((time(12), time(13, 30)),))
    assert get_proposals(replace(answers, market=known))["breaks"] is None


def test_a_weekday_with_hours_of_its_own_is_not_taken_for_a_full_day() -> None:
    jakarta = replace(PROFILES["JK"], needs_breaks=False, breaks=((time(12), time(13, 30)),))
    friday = {4: ((time(9), time(11, 30)), (time(14), time(15, 50)))}
    answers = ProbeAnswers(replace(jakarta, weekday_hours=friday), datetime(2026, 11, 7, 12, tzinfo=UTC), hours=JAKARTA)
    report = judge_answers(answers)
    assert (report.attributes[0].assumed, report.attributes[0].proposed) == ("breaks: 12:00 to 13:30", None)


REQUEST = {"kind": "rows", "path": "/x", "subject": "S.CC", "asked_at": "2026-11-10T12:00:00Z", "answer": []}


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, "has no interval, from and to"),
        ({"interval": "7m", "from": 1, "to": 2}, "has no interval, from and to"),
        ({"interval": "5m", "from": "x", "to": 2}, "has no interval, from and to"),
        ({"interval": "5m", "from": 10**20, "to": 2}, "has no interval, from and to"),
        ({"interval": "5m", "from": 1, "to": 2}, "has moments outside 2004-01-01 to 2100-01-01"),
    ],
)
def test_a_broken_recording_is_named(tmp_path: Path, params: dict[str, object], reason: str) -> None:
    file = tmp_path / "probe.json"
    answers = [{**REQUEST, "params": params}]
    file.write_text(json.dumps({"exchange": "CC", "started_at": "2026-11-10T12:00:00Z", "answers": answers}))
    with pytest.raises(UsageError, match=reason):
        read_recording(file)


def test_rows_of_the_close_are_proposed_from_a_week() -> None:
    market = PROFILES["TSE"]
    within = ProbeAnswers(market, NOW, rows=[answer_week(market, ("11:30", "12:30"), 300)])
    assert get_proposals(within)["closing_seconds"] == "300"
    late = ProbeAnswers(market, NOW, rows=[answer_week(market, ("11:30", "12:30"), 900)])
    assert get_proposals(late)["closing_seconds"] == "900"


def test_other_days_of_the_vendor_are_corrections_that_the_file_accepts(tmp_path: Path) -> None:
    early = {date(2026, 12, 24): time(12), date(2026, 12, 31): time(14, 5), date(2020, 1, 2): time(9)}
    hours = replace(JAKARTA, lunch=None, holidays=frozenset({date(2026, 11, 12)}), early_closes=early)
    (tmp_path / "markets").write_text(judge_answers(ProbeAnswers(PROFILES["PA"], NOW, hours=hours)).settings)
    overrides = correct_profile("PA", None, tmp_path / "markets").overrides
    assert overrides.closures == {date(2026, 11, 12)}
    assert overrides.early_closes == {date(2026, 12, 24): time(12)}  # the calendar has the other one, and one is past


def test_a_pair_whose_rows_trail_is_requested_later() -> None:
    stamps = [int(NOW.timestamp()) - 300 * number for number in range(100, 600)]
    market = PROFILES["CC"]
    quotes = AnsweredRows("A", "5m", NOW - timedelta(days=3), NOW, NOW, build_rows(stamps, volume=np.nan))
    proposals = get_proposals(ProbeAnswers(market, NOW, rows=[quotes]))
    assert proposals["askable_after"] == '"8h"'  # the newest row ended 8:15 h ago
    assert proposals["null_volume"] == '"quote"'  # prices stand still
    moving = replace(quotes, rows=build_rows(stamps, volume=np.nan, moves=1.0))
    assert get_proposals(ProbeAnswers(market, NOW, rows=[moving]))["null_volume"] is None


def test_series_without_rows_and_with_odd_ones_are_counted() -> None:
    empty = AnsweredRows("A", "1m", NOW - timedelta(days=3), NOW, NOW, build_rows([]))
    assert (count_series(empty).rows, count_series(empty).age) == (0, None)
    saturday = int(datetime(2026, 11, 7, 12, tzinfo=UTC).timestamp())
    rows = build_rows([saturday, saturday, saturday + 29], volume=2048.5, moves=1.0)
    rows.low[2] = 0.2
    figures = count_series(replace(empty, rows=rows))
    counted = (figures.weekend, figures.weekend_moving, figures.repeated, figures.off_grid, figures.near_zero_lows)
    assert counted == (3, 3, 1, 1, 1)
    assert (figures.fractional, figures.in_float_steps) == (3, 0)


def test_daily_data_without_any_volume_say_nothing() -> None:
    days = np.arange("2026-11-02", "2026-11-07", dtype="datetime64[D]")
    ones = np.ones(len(days))
    daily = DailyRows(days, ones, ones, ones, ones, ones, np.zeros(len(days)))
    proposals = get_proposals(ProbeAnswers(PROFILES["LSE"], NOW, daily=[("S", daily)]))
    assert proposals["daily_evidence"] == '"nothing"'
    assert get_proposals(ProbeAnswers(PROFILES["FOREX"], NOW, daily=[("S", daily)]))["daily_evidence"] is None
