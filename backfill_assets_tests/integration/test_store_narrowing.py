"""Doubts about several bars: narrowed to the bars that still have the values in doubt."""

from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.evidence.doubt_answers import find_changed
from backfill_assets.store.evidence.doubts import Outcome, end_doubts
from backfill_assets.store.evidence.narrowing import narrow_doubts
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.test_store_doubts import AAPL, NOW, grid, read, record, store_bar

__all__ = ["grid"]  # a fixture


@pytest.fixture
def frozen(database: Database, grid: SlotGrid) -> Database:
    """A store with a doubt about five bars, from 1 to 5."""
    for ordinal in range(7):
        store_bar(database, grid, ordinal, 10.0)
    doubt = Doubt(Rule.FROZEN, AAPL, 0, int(grid.starts[1]), int(grid.starts[5]), {"price": 10.0})
    assert record(database, grid, [doubt], from_rows=False) == 1
    return database


def narrow(
    database: Database,
    grid: SlotGrid,
    found: Collection[tuple[int, int]] = (),
    found_again: Collection[int] = (),
) -> set[int]:
    """Narrow what has changed; ``found`` are the ordinals where the rule finds bars now."""
    ids = [doubt.doubt_id for doubt in read(database, grid)]
    stretches = [tuple(datetime.fromtimestamp(int(grid.starts[at]), UTC) for at in pair) for pair in found]
    with database.transaction() as connection:
        changed = find_changed(connection, ids, grid.interval)
        return narrow_doubts(connection, dict.fromkeys(changed, stretches), grid.interval, found_again)  # type: ignore[arg-type]


def list_ordinals(database: Database, grid: SlotGrid) -> list[tuple[int, int]]:
    stamps = [(doubt.first_slot.timestamp(), doubt.last_slot.timestamp()) for doubt in read(database, grid)]
    return [tuple(grid.starts.searchsorted(pair).tolist()) for pair in stamps]  # type: ignore[misc]


def test_the_bars_that_have_not_changed_stay_in_doubt(frozen: Database, grid: SlotGrid) -> None:
    (doubt,) = read(frozen, grid)
    store_bar(frozen, grid, 3, 11.0)
    assert narrow(frozen, grid) == set()
    assert list_ordinals(frozen, grid) == [(1, 2), (4, 5)]
    first, second = read(frozen, grid)
    assert (first.doubt_id, first.opened_at, first.figures) == (
        doubt.doubt_id,
        doubt.opened_at,
        {"price": 10.0, "changed_bars": 1},
    )
    assert (second.opened_at, second.figures, second.is_narrowed) == (first.opened_at, first.figures, True)

    assert narrow(frozen, grid) == set()  # nothing changed since
    for ordinal in (1, 2, 4):
        store_bar(frozen, grid, ordinal, 11.0)
    assert narrow(frozen, grid) == {first.doubt_id}
    assert list_ordinals(frozen, grid)[-1] == (5, 5)
    assert read(frozen, grid)[-1].figures["changed_bars"] == 2


def test_a_doubt_is_gone_when_all_its_bars_have_changed(frozen: Database, grid: SlotGrid) -> None:
    for ordinal in range(1, 6):
        store_bar(frozen, grid, ordinal, 11.0)
    assert narrow(frozen, grid) == {read(frozen, grid)[0].doubt_id}


def test_what_the_rule_finds_now_is_left_to_its_own_doubt(frozen: Database, grid: SlotGrid) -> None:
    (doubt,) = read(frozen, grid)
    store_bar(frozen, grid, 3, 11.0)
    assert narrow(frozen, grid, [(1, 2)], [doubt.doubt_id]) == set()
    assert list_ordinals(frozen, grid) == [(1, 5), (4, 5)]  # the first is about to be recorded anew
    shorter = Doubt(Rule.FROZEN, AAPL, 0, int(grid.starts[1]), int(grid.starts[2]), {"price": 10.0})
    assert record(frozen, grid, [shorter], from_rows=False) == 0
    assert list_ordinals(frozen, grid) == [(1, 2), (4, 5)]


def test_what_stands_or_was_decided_does_so_for_the_rest(frozen: Database, grid: SlotGrid) -> None:
    (doubt,) = read(frozen, grid)
    with frozen.transaction() as connection:
        end_doubts(connection, [doubt.doubt_id], Outcome.DECIDED, "wrong", NOW, marks_bar=True)
    store_bar(frozen, grid, 1, 11.0)
    store_bar(frozen, grid, 3, 11.0)
    narrow(frozen, grid)
    assert list_ordinals(frozen, grid) == [(2, 2), (4, 5)]
    assert {(d.outcome, d.outcome_reason) for d in read(frozen, grid)} == {(Outcome.DECIDED, "wrong")}
