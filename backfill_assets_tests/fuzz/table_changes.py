"""Draws the changes of a user's own two tables, their rows, and the database around them."""

from collections.abc import Callable
from random import Random

from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.table_columns import (
    draw_absent_column,
    draw_column_order,
    draw_extra_column,
    draw_type,
)
from backfill_assets_tests.fuzz.table_keys import draw_key, draw_large_keys, draw_storage
from backfill_assets_tests.fuzz.table_statements import draw_role, draw_statement
from backfill_assets_tests.fuzz.table_values import draw_database, draw_setting, draw_value

_DRAWS: dict[Callable[[Random], Change], int] = {
    draw_type: 5,
    draw_absent_column: 1,
    draw_extra_column: 3,
    draw_column_order: 1,
    draw_key: 3,
    draw_storage: 2,
    draw_large_keys: 1,
    draw_statement: 7,
    draw_role: 2,
    draw_value: 6,
    draw_database: 2,
    draw_setting: 4,
}


def draw_changes(random: Random) -> tuple[Change, ...]:
    """One to five changes."""
    kinds = random.choices(tuple(_DRAWS), tuple(_DRAWS.values()), k=random.choice((1, 1, 2, 2, 3, 5)))
    return tuple(kind(random) for kind in kinds)
