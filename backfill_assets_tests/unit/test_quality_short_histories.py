"""Symbols that lack sessions which others have: added later, active again, or filled by another program."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import Symbol, parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.short_histories import (
    ShortHistory,
    build_command,
    describe_short_histories,
    select_short_histories,
)
from backfill_assets.store.evidence.requested_days import RequestedDays

NAMES = ("AAPL", "MSFT", "TSLA", "LATE")
SYMBOLS = [Symbol(n, ticker, is_active=True) for n, ticker in enumerate(parse_tickers(NAMES))]
SESSIONS = list_sessions(US, date(2026, 6, 1), date(2026, 6, 5))


def select(of_late: str, first_bar: int | None, listed: str = "11111", others: str = "11111") -> list[ShortHistory]:
    """Short histories where LATE has these days: ``1`` requested, ``e`` and empty, ``r`` and refused, ``0`` not."""
    requested = np.array([[c != "0" for c in text] for text in (others, others, others, of_late)])
    empty = np.array([[c == "e" for c in text] for text in (others, others, others, of_late)])
    is_listed = np.array([[True] * 5] * 3 + [[c == "1" for c in listed]])
    opened = SESSIONS[0].open.timestamp() if "1" in others else np.nan
    late = np.nan if first_bar is None else SESSIONS[first_bar].open.timestamp()
    refused = np.array([[c == "r" for c in text] for text in (others, others, others, of_late)])
    known = RequestedDays(requested, empty, refused, is_listed, np.array([opened, opened, opened, late]))
    return select_short_histories(SYMBOLS, SESSIONS, known, parse_interval("30m"), date(2026, 6, 6))


@pytest.mark.parametrize(
    ("of_late", "first_bar", "expected"),
    [
        ("11111", 0, None),
        ("00011", 3, ("2026-06-04", "2026-06-01", "2026-06-03", 39)),  # added later
        ("00000", None, (None, "2026-06-01", "2026-06-05", 65)),  # added, no run yet
        ("01111", 2, ("2026-06-03", "2026-06-01", "2026-06-02", 26)),  # read before the window, no bar of it kept
        ("ee011", 3, ("2026-06-04", "2026-06-03", "2026-06-03", 13)),  # the vendor has nothing of the first days
        ("rr011", 3, ("2026-06-04", "2026-06-03", "2026-06-03", 13)),  # the table refuses bars of the first days
        ("10001", 0, ("2026-06-01", "2026-06-02", "2026-06-04", 39)),  # inactive for three days
        ("000ee", None, None),  # the vendor has nothing of it, though it has of the others
        ("00011", 0, None),  # another program wrote the first bars
    ],
)
def test_history_lacks_sessions_that_were_never_fetched(
    of_late: str, first_bar: int | None, expected: tuple[str | None, str, str, int] | None
) -> None:
    histories = select(of_late, first_bar)
    found = [(h.begins and str(h.begins), str(h.first_day), str(h.last_day), h.bars) for h in histories]
    assert found == ([expected] if expected else [])


def test_sessions_before_the_listing_are_not_lacking() -> None:
    assert select("00011", 3, listed="00011") == []


def test_sessions_of_the_window_are_missing_and_not_lacking() -> None:
    known = RequestedDays(
        requested=np.array([[True] * 5] * 3 + [[False] * 5]),
        empty=np.zeros((4, 5), bool),
        refused=np.zeros((4, 5), bool),
        listed=np.ones((4, 5), bool),
        first_bar_at=np.array([SESSIONS[0].open.timestamp()] * 3 + [np.nan]),
    )
    interval = parse_interval("30m")
    (history,) = select_short_histories(SYMBOLS, SESSIONS, known, interval, date(2026, 6, 4))
    assert (str(history.first_day), str(history.last_day), history.bars) == ("2026-06-01", "2026-06-03", 39)
    assert select_short_histories(SYMBOLS, SESSIONS, known, interval, date(2026, 6, 1)) == []


def test_sessions_of_which_the_vendor_had_nothing_are_not_lacking_in_others() -> None:
    """The run that finds a dead name also asks for sessions before the window, of which nobody has bars."""
    known = RequestedDays(
        requested=np.array([[False, False, True]] * 3 + [[True, True, True]]),
        empty=np.array([[False] * 3] * 3 + [[True] * 3]),
        refused=np.zeros((4, 3), bool),
        listed=np.ones((4, 3), bool),
        first_bar_at=np.array([SESSIONS[2].open.timestamp()] * 3 + [np.nan]),
    )
    assert select_short_histories(SYMBOLS, SESSIONS[:3], known, parse_interval("30m"), date(2026, 6, 6)) == []


def test_symbol_without_bars_begins_on_no_day_though_its_newest_session_was_requested() -> None:
    requested = np.array([[True] * 5] * 3 + [[False] * 4 + [True]])
    empty = np.array([[False] * 4 + [True]] * 3 + [[False] * 4 + [True]])
    opened = SESSIONS[0].open.timestamp()
    known = RequestedDays(
        requested, empty, np.zeros((4, 5), bool), np.ones((4, 5), bool), np.array([opened] * 3 + [np.nan])
    )
    (history,) = select_short_histories(SYMBOLS, SESSIONS, known, parse_interval("30m"), date(2026, 6, 6))
    assert (history.begins, str(history.last_day)) == (None, "2026-06-04")


def test_sessions_that_hardly_any_symbol_has_are_not_lacking() -> None:
    assert select("11111", 0, others="00000") != []  # a quarter of the symbols has them
    five = [*SYMBOLS, Symbol(9, parse_tickers(["ONE"])[0], is_active=True)]
    requested = np.zeros((5, 5), bool)
    requested[4] = True
    opened = np.array([np.nan] * 4 + [SESSIONS[0].open.timestamp()])
    known = RequestedDays(requested, *[np.zeros((5, 5), bool)] * 2, np.ones((5, 5), bool), opened)
    assert select_short_histories(five, SESSIONS, known, parse_interval("30m"), date(2026, 6, 6)) == []


def test_command_names_up_to_twenty_symbols() -> None:
    history = ShortHistory(parse_tickers(["LATE"])[0], None, date(2026, 6, 1), date(2026, 6, 3), 39)
    assert build_command([history] * 2) == "backfill-assets run --symbols LATE,LATE --start 2026-06-01 --end 2026-06-03"
    assert build_command([history] * 21) == "backfill-assets run --start 2026-06-01 --end 2026-06-03"
    assert "LATE.US has no bars yet: 39 bars" in describe_short_histories([history])
    assert "4 symbols are shorter than the others (LATE.US, LATE.US, LATE.US, …): 156 bars" in (
        describe_short_histories([history] * 4)
    )
    assert describe_short_histories([]) == ""
    assert SESSIONS[0].open == datetime(2026, 6, 1, 13, 30, tzinfo=UTC)
