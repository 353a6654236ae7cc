"""Which symbols' daily rows are read again: a changed close, a step beyond the splits, a small split; each once."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from backfill_assets.market.actions.listed_actions import ListedSplit
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.daily_prices import DailyPrices
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.actions.splits import record_symbol_splits
from backfill_assets.store.evidence.daily_prices import record_daily_rows
from backfill_assets.store.evidence.daily_reads import claim_daily_requests, record_daily_answer
from backfill_assets.store.evidence.rows_to_read_again import find_symbols_to_read_again
from backfill_assets.store.postgres.connection import Database

SESSIONS = list_sessions(US, date(2026, 5, 4), date(2026, 5, 29))
EX = 12
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def find_morning(at: int) -> datetime:
    """When the row of a session is read: on the next morning, in New York before the open."""
    return SESSIONS[at].close + timedelta(hours=14)


def record(database: Database, symbol_id: int, at: int, close: float, read_at: datetime, opened: float = 0.0) -> None:
    prices = np.array([close])
    row = DailyPrices(
        symbol_id=np.array([symbol_id]),
        day=np.array([SESSIONS[at].day], "datetime64[D]"),
        open=np.array([opened or close]),
        high=prices,
        low=prices,
        close=prices,
        adjusted_close=prices,
        volume=np.array([1e6]),
        traded_volume=np.array([1_000_000]),
    )
    with database.transaction() as connection:
        record_daily_rows(connection, row, read_at)


def read_mornings(
    database: Database, symbol_id: int, factor: float = 1.0, *, again: bool, changed: float = 1.0
) -> None:
    """A row each morning; ``again``: with that of the session before, as a symbol's own request has it."""
    for at in range(EX + 3):
        level = 100.0 * (factor if at >= EX else 1)
        if again and at:
            before = 100.0 * (factor if at > EX else changed if at == EX else 1)
            record(database, symbol_id, at - 1, before, find_morning(at))
        record(database, symbol_id, at, level, find_morning(at))
        if again:
            with database.transaction() as connection:
                record_daily_answer(connection, symbol_id, SESSIONS[at].day, find_morning(at))
        if at == EX:
            return


def find(database: Database, before: datetime = LONG_AGO, sessions: tuple[Session, ...] = SESSIONS) -> list[int]:
    with database.transaction() as connection:
        return find_symbols_to_read_again(connection, [1, 2, 3], sessions[: EX + 1], before)


def answer(database: Database, symbol_id: int) -> None:
    with database.transaction() as connection:
        record_daily_answer(connection, symbol_id, SESSIONS[0].day, find_morning(EX) + timedelta(minutes=5))


def test_a_close_that_a_reading_changed(database: Database) -> None:
    read_mornings(database, 1, 1 / 2.39, again=True, changed=1 / 2.39)
    read_mornings(database, 2, again=True)
    assert find(database) == [1]
    with database.transaction() as connection:
        claim_daily_requests(connection, [1], find_morning(EX) + timedelta(minutes=1), LONG_AGO)
    assert find(database) == []  # requested, and not answered yet
    assert find(database, find_morning(EX) + timedelta(hours=20)) == [1]  # the request failed
    answer(database, 1)
    assert find(database) == []


@pytest.mark.parametrize(
    ("factor", "split", "found"),
    [
        (0.85, None, [1]), (0.95, None, []), (1.3, None, []), (10, None, [1]),
        (0.5, 2, []), (0.25, 4, []), (0.25, 5, [1]), (0.2, 4, [1]), (10, 0.1, []), (15, 0.1, [1]),
    ],
)  # fmt: skip
def test_a_step_of_the_price_in_rows_that_were_read_once(
    database: Database, factor: float, split: float | None, found: list[int]
) -> None:
    read_mornings(database, 1, factor, again=False)
    read_mornings(database, 2, again=False)
    if split:
        add_split(database, 1, split)
    assert find(database) == found
    answer(database, 1)
    assert find(database) == []


def test_a_small_split_in_rows_that_were_read_once(database: Database) -> None:
    for symbol_id, again in ((1, False), (2, True), (3, False)):
        read_mornings(database, symbol_id, 1 / 1.05, again=again, changed=1.0)
        if symbol_id < 3:
            add_split(database, symbol_id, 1.05)
    assert find(database) == [1]
    answer(database, 1)
    assert find(database) == []


def add_split(database: Database, symbol_id: int, ratio: float) -> None:
    with database.transaction() as connection:
        record_symbol_splits(
            connection,
            symbol_id,
            [ListedSplit(SESSIONS[EX].day, Decimal(str(ratio)), Decimal(1))],
            "splits",
            find_morning(EX),
            known_after=date(1900, 1, 1),
            known_until=SESSIONS[EX].day,
        )
