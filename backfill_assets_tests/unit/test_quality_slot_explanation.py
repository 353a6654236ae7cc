"""The explanation of slots and of a session, for one symbol and one session."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.session_explanation import describe_session
from backfill_assets.quality.slot_explanation import SlotExplanation, explain_slots
from backfill_assets.store.bars.bar_writer import LIVE_SOURCE_INTERVAL
from backfill_assets.store.bars.rejects import Reject
from backfill_assets.store.bars.stored_bars import StoredBar
from backfill_assets_tests.unit.classified_coverage import build_classified_coverage
from backfill_assets_tests.unit.gap_builders import HOUR, Entry

GRID = build_slot_grid(list_sessions(US, date(2026, 6, 1), date(2026, 6, 1)), INTERVALS["30m"])
NOW = datetime(2026, 6, 2, 14, tzinfo=UTC)  # Tuesday 10:00 in New York: Monday is overdue
EVENING = datetime(2026, 6, 1, 23, 30, tzinfo=UTC)  # 19:30 in New York: Monday is askable, but not overdue
REQUESTED_AT = int(NOW.timestamp()) - HOUR // 2
MISSING_FIRST_SLOT = [(0, 0, SlotState.MISSING)]
BAR = StoredBar(
    timestamp=to_datetime(int(GRID.starts[0])),
    close=10.5,
    volume=1234,
    source="eodhd.com",
    source_interval="5m",
    source_rows=6,
    is_final=True,
    fetched_at=datetime(2026, 6, 2, 1, tzinfo=UTC),
)
EXTERNAL_BAR = replace(BAR, source=None, source_interval=None, source_rows=None, is_final=None, fetched_at=None)
LIVE_BAR = replace(BAR, source_interval=LIVE_SOURCE_INTERVAL, source_rows=2, is_final=False)


def build_coverage(
    slots: Sequence[tuple[int, int, SlotState]] = (), entries: Sequence[Entry] = (), now: datetime = NOW, **known: Any
) -> Coverage:
    return build_classified_coverage(["AAPL"], GRID, now, slots, entries, **known)


def explain_first(coverage: Coverage, *bars: StoredBar) -> SlotExplanation:
    explanations = explain_slots(coverage, bars)
    assert len(explanations) == GRID.size
    assert explanations[0].slot == "2026-06-01T13:30:00Z"
    return explanations[0]


@pytest.mark.parametrize(
    ("bar", "state", "evidence"),
    [
        (BAR, "present", "close 10.5, volume 1,234; 6 rows of 5m, 2026-06-02T01:00:00Z"),
        (EXTERNAL_BAR, "unverified", "close 10.5, volume 1,234; written by an external writer"),
    ],
)
def test_trusted_bar_is_explained_by_its_source_and_not_requested_again(
    bar: StoredBar, state: str, evidence: str
) -> None:
    explanation = explain_first(build_coverage(), bar)
    assert (explanation.state, explanation.evidence, explanation.ask_again) == (state, evidence, None)


def test_slot_without_bar_that_is_not_open_is_not_expected() -> None:
    explanation = explain_first(build_coverage())
    assert (explanation.state, explanation.evidence, explanation.ask_again) == ("not expected", "", None)


def test_slot_that_was_never_requested_is_requested_now() -> None:
    explanation = explain_first(build_coverage(MISSING_FIRST_SLOT))
    assert (explanation.state, explanation.evidence, explanation.ask_again) == ("missing", "never requested", "now")


@pytest.mark.parametrize(
    ("data_until", "evidence"),
    [(0, "the vendor's rows end before it"), (int(GRID.ends[3]), "the vendor has later rows")],
)
def test_slot_that_was_not_returned_is_explained_by_the_rows_around_it(data_until: int, evidence: str) -> None:
    entry = Entry(requested_at=REQUESTED_AT, not_returned=[0], data_until=data_until)
    explanation = explain_first(build_coverage(MISSING_FIRST_SLOT, [entry]))
    assert (explanation.state, explanation.evidence) == ("missing", evidence)
    assert explanation.ask_again == "2026-06-02T14:30:00Z"  # an hour after a request without new data


def test_deleted_bar_was_returned_before_and_is_requested_now() -> None:
    explanation = explain_first(build_coverage(MISSING_FIRST_SLOT, [Entry(requested_at=REQUESTED_AT)]))
    assert explanation.evidence == "returned before, but no longer in the table"
    assert explanation.ask_again == "now"


def test_provisional_bar_is_explained_by_its_samples() -> None:
    explanation = explain_first(build_coverage([(0, 0, SlotState.PROVISIONAL)], now=EVENING), LIVE_BAR)
    assert (explanation.state, explanation.ask_again) == ("provisional", "now")
    assert explanation.evidence == "close 10.5, volume 1,234; 2 live samples, 2026-06-02T01:00:00Z"


FIRST_SUSPECT = [(0, 0, SlotState.SUSPECT)]
SUSPECT_ENTRY = Entry(requested_at=REQUESTED_AT, data_until=int(GRID.ends[-1]), published=True)


def make_reject(minutes: int, reason: str) -> Reject:
    return Reject(to_datetime(int(GRID.starts[0]) + 60 * minutes), reason)


@pytest.mark.parametrize(
    ("source_rows", "entry", "rejects", "doubts"),
    [
        (
            5,
            SUSPECT_ENTRY,
            [make_reject(5, "price_not_positive")],
            "5 rows of 5m, 2026-06-02T01:00:00Z; 1 row rejected: a price is zero or negative (2026-06-01T13:35:00Z)",
        ),
        (
            3,
            SUSPECT_ENTRY,
            [make_reject(5, "volume_negative"), make_reject(10, "volume_negative"), make_reject(15, "refused")],
            "3 rows of 5m, 2026-06-02T01:00:00Z; only 3 of 6 rows;"
            " 2 rows rejected: the volume is negative (2026-06-01T13:35:00Z);"
            " 1 row rejected: refused (2026-06-01T13:45:00Z)",
        ),
        (
            5,
            replace(SUSPECT_ENTRY, data_until=int(GRID.ends[0]) - 300),
            [],
            "5 rows of 5m, 2026-06-02T01:00:00Z; the vendor's rows end at 2026-06-01T13:55:00Z, before the close",
        ),
    ],
    ids=["a rejected row", "few rows, several rejected", "cut"],
)
def test_suspect_bar_is_explained_by_what_is_doubtful(
    source_rows: int, entry: Entry, rejects: list[Reject], doubts: str
) -> None:
    coverage = build_coverage(FIRST_SUSPECT, [entry])
    explanation = explain_slots(coverage, [replace(BAR, source_rows=source_rows)], rejects)[0]
    assert (explanation.state, explanation.ask_again) == ("suspect", "2026-06-03T13:30:00Z")
    assert explanation.evidence == f"close 10.5, volume 1,234; {doubts}"


def test_absent_slot_is_explained_by_the_rows_that_were_rejected() -> None:
    entry = replace(SUSPECT_ENTRY, not_returned=[0])
    rejects = [make_reject(minutes, "price_absent") for minutes in range(0, 30, 5)]
    explanation = explain_slots(build_coverage(MISSING_FIRST_SLOT, [entry]), [], rejects)[0]
    assert explanation.evidence == (
        "the vendor has later rows; 6 rows rejected: a price is absent (2026-06-01T13:30:00Z)"
    )


def test_trusted_bar_is_explained_without_rejected_rows() -> None:
    explanation = explain_slots(build_coverage(), [BAR], [make_reject(5, "off_grid")])[0]
    assert (explanation.state, "rejected" in explanation.evidence) == ("present", False)


def test_slot_without_trades_is_not_requested_again() -> None:
    explanation = explain_first(build_coverage([(0, n, SlotState.MISSING) for n in range(GRID.size)], traded=[[0]]))
    assert (explanation.state, explanation.ask_again) == ("no_trade", None)


def test_session_that_was_never_requested_is_described_by_its_times() -> None:
    assert describe_session(build_coverage()) == [
        "never requested",
        "requested from 2026-06-01T23:00:00Z on, overdue from 2026-06-02T12:00:00Z at the latest",
    ]


def test_requested_session_is_described_by_its_history() -> None:
    since = REQUESTED_AT - 2 * HOUR
    entry = Entry(
        requested_at=REQUESTED_AT,
        request_count=3,
        no_new_data_since=since,
        not_returned=[0],
        data_until=int(GRID.ends[-1]),
        published=True,
    )
    known: dict[str, Any] = {"incomplete_sessions": [4], "published_sessions": [20], "traded": [[1]]}
    assert describe_session(build_coverage(MISSING_FIRST_SLOT, [entry], **known))[:-1] == [
        "requested 3 times, last 2026-06-02T13:30:00Z: rows until 2026-06-01T20:00:00Z; published completely",
        "requests have returned no new data since 2026-06-02T11:30:00Z",
        "4 of its last 20 published sessions had gaps",
        "daily data: traded on that day",
    ]


@pytest.mark.parametrize(
    ("traded", "sentence"),
    [
        (0, "daily data: not traded on that day"),
        (-1, "daily data: not read, or without a row of that day"),
        (2, "daily data: no row of that day, neither of its own nor in the daily file of the market"),
        (3, "daily data: no row of that day, as on many of its last 250 sessions"),
    ],
)
def test_daily_data_are_described_if_a_slot_is_open(traded: int, sentence: str) -> None:
    assert sentence in describe_session(build_coverage(MISSING_FIRST_SLOT, traded=[[traded]]))
    assert sentence not in describe_session(build_coverage(traded=[[traded]]))


def test_gaps_of_published_sessions_are_counted_only_if_there_are_such_sessions() -> None:
    known = {"incomplete_sessions": [0], "published_sessions": [0]}
    assert not any(
        "published sessions" in line for line in describe_session(build_coverage(MISSING_FIRST_SLOT, **known))
    )
    known["published_sessions"] = [3]
    sentence = "0 of its last 3 published sessions had gaps"
    assert sentence in describe_session(build_coverage(MISSING_FIRST_SLOT, **known))


def test_closed_market_and_unlisted_ticker_are_named() -> None:
    coverage = build_coverage(closed=[True])
    assert "the market was closed, although the calendar has this session" in describe_session(coverage)
    unlisted = replace(coverage, expected=np.zeros(1, np.int64))
    assert "the ticker was not listed: no bars are expected" in describe_session(unlisted)


def test_request_without_rows_is_described() -> None:
    coverage = build_coverage(entries=[Entry(requested_at=int((NOW - timedelta(hours=1)).timestamp()))])
    assert describe_session(coverage)[0] == (
        "requested 1 time, last 2026-06-02T13:00:00Z: no rows; not known to be published completely"
    )


def test_why_says_how_often_the_same_time_of_day_was_absent() -> None:
    """Only of a symbol that often lacks some slot; the others have nothing to compare."""
    entry = Entry(requested_at=REQUESTED_AT, published=True, data_until=int(GRID.ends[-1]), not_returned=[0])
    habit = {"incomplete_sessions": [4], "published_sessions": [9]}
    explanation = explain_first(build_coverage(MISSING_FIRST_SLOT, [entry], **habit))
    counted = "in 4 of its 9 other published sessions with this time of day it was absent"
    assert (explanation.state, explanation.evidence) == ("no_trade", f"the vendor has later rows; {counted}")
    explanation = explain_first(build_coverage(MISSING_FIRST_SLOT, [entry], **habit, holes=[0]))
    hole = "none of at least 10 tickers has it: no habit explains it (see the findings)"
    assert (explanation.state, explanation.evidence) == ("missing", f"the vendor has later rows; {hole}")
    suspect = explain_first(build_coverage([(0, 0, SlotState.SUSPECT)], [entry], **habit), replace(BAR, source_rows=2))
    assert suspect.state == "present"
    assert suspect.evidence.endswith(f"; {counted}, or lacked rows")
    assert explain_first(build_coverage(MISSING_FIRST_SLOT, [entry])).evidence == "the vendor has later rows"
