"""Publication times of a session: after the regular close, per ticker, late, partial, or never."""

from datetime import UTC, date, datetime, timedelta
from math import inf

import pytest

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.world.publication import FINAL_STAGE, PublicationSchedule, PublicationTimes
from backfill_assets.sandbox.world.session_index import get_session_index

MONDAY, EARLY = date(2026, 6, 1), date(2025, 11, 28)
SYMBOLS = [f"S{n:04d}" for n in range(200)]


def find_session(day: date) -> Session:
    session = get_session_index(date(2018, 1, 2)).find_session(day)
    assert session is not None
    return session


def make_schedule(quirks: DataQuirks | None = None, **publication: object) -> PublicationSchedule:
    plan = Publication(**publication)  # type: ignore[arg-type]
    config = SandboxConfig(publication=plan, quirks=quirks or DataQuirks.build_clean())
    return PublicationSchedule(config, get_session_index(date(2018, 1, 2)))


def compute_hours_after_close(times: PublicationTimes, day: date = MONDAY) -> float:
    return (times.first_at - find_session(day).regular_close.timestamp()) / 3600


def get_times(
    schedule: PublicationSchedule, symbol: str = "AAPL", day: date = MONDAY, interval: str = "5m"
) -> PublicationTimes:
    return schedule.get_times(symbol, symbol, find_session(day), interval)


def test_session_appears_for_all_tickers_at_once_by_default() -> None:
    drawn = {compute_hours_after_close(get_times(make_schedule(), symbol)) for symbol in SYMBOLS}
    assert len(drawn) == 1
    assert 2.5 <= drawn.pop() <= 3.0
    schedule, days = make_schedule(), [MONDAY + timedelta(n) for n in range(4)]
    assert len({round(compute_hours_after_close(get_times(schedule, day=day), MONDAY) % 24, 3) for day in days}) == 4


def test_early_close_does_not_make_publication_earlier() -> None:
    found = get_times(make_schedule(), day=EARLY)
    assert 2.5 <= compute_hours_after_close(found, EARLY) <= 3.0
    assert found.first_at - find_session(EARLY).close.timestamp() > 5.4 * 3600


def test_1m_appears_two_hours_after_5m() -> None:
    assert compute_hours_after_close(get_times(make_schedule(), interval="1m")) == pytest.approx(
        compute_hours_after_close(get_times(make_schedule())) + 2
    )
    assert compute_hours_after_close(
        get_times(make_schedule(one_minute_delay_hours=0.0), interval="1m")
    ) == compute_hours_after_close(get_times(make_schedule()))


def test_delay_can_differ_by_minutes_or_be_drawn_per_ticker() -> None:
    minutes = [
        compute_hours_after_close(get_times(make_schedule(ticker_delay_minutes=60.0), symbol)) for symbol in SYMBOLS
    ]
    assert 0.8 < max(minutes) - min(minutes) < 1.0
    drawn = [
        compute_hours_after_close(get_times(make_schedule(draw_per_ticker=True, hours_after_close=(2.0, 10.0)), symbol))
        for symbol in SYMBOLS
    ]
    assert 7 < max(drawn) - min(drawn) <= 8


def test_ticker_can_be_published_sessions_late() -> None:
    late = get_times(make_schedule(sessions_late={"AAPL": 2}))
    wednesday = find_session(date(2026, 6, 3)).regular_close.timestamp()
    assert 2.5 <= (late.first_at - wednesday) / 3600 <= 3.0
    assert get_times(make_schedule(sessions_late={"AAPL": 2}), "MSFT").first_at < wednesday - 86400


def test_never_published_session_has_no_stage() -> None:
    schedule = make_schedule(never_published=frozenset({("AAPL", MONDAY)}))
    assert get_times(schedule).get_stage(inf) is None or get_times(schedule).first_at == inf
    assert get_times(schedule).get_stage(4e9) is None
    assert get_times(schedule, "MSFT").get_stage(4e9) == FINAL_STAGE


def test_session_goes_from_partial_to_complete_revised_and_repaired() -> None:
    quirks = DataQuirks(partial_publication=1.0, revisions=1.0, cumulative_volume_months=1.0)
    found = get_times(make_schedule(quirks))
    assert found.get_stage(found.first_at - 1) is None
    first = found.get_stage(found.first_at)
    assert first is not None
    assert 0.35 <= first.share <= 0.95
    assert (first.revised, first.repaired) == (False, False)
    assert 3600 <= found.complete_at - found.first_at <= 6 * 3600
    assert 1 <= (found.revised_at - found.complete_at) / 86400 <= 9
    assert found.repaired_at == found.first_at + 12 * 86400
    assert found.get_stage(found.repaired_at) == FINAL_STAGE


def test_running_totals_can_stay_uncorrected() -> None:
    stage = get_times(make_schedule(DataQuirks(repaired_after_days=None))).get_stage(4e9)
    assert stage is not None
    assert not stage.repaired


def test_vendor_gaps_last_weeks_and_are_rare() -> None:
    schedule = make_schedule(DataQuirks(vendor_gaps=0.2))
    days = [date(2024, 1, 1) + timedelta(n) for n in range(366 * 2)]
    lengths = []
    for symbol in SYMBOLS[:60]:
        absent = [schedule.is_never_published(symbol, symbol, day, "5m") for day in days]
        starts = [n for n in range(1, len(days)) if absent[n] and not absent[n - 1]]
        lengths += [next((m for m in range(n, len(days)) if not absent[m]), n) - n for n in starts]
    assert 15 < len(lengths) < 90
    assert 14 <= sorted(lengths)[len(lengths) // 2] <= 45


def test_vendor_gaps_differ_between_5m_and_1m() -> None:
    schedule = make_schedule(DataQuirks(vendor_gaps=0.5))
    day = datetime(2024, 6, 10, tzinfo=UTC).date()
    five = [s for s in SYMBOLS if schedule.is_never_published(s, s, day, "5m")]
    one = [s for s in SYMBOLS if schedule.is_never_published(s, s, day, "1m")]
    assert five
    assert one
    assert five != one
