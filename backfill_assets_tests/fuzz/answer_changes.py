"""Draws the changes of one answer of the vendor."""

from random import Random

from backfill_assets_tests.fuzz.action_rows import draw_action_change
from backfill_assets_tests.fuzz.answer_http import draw_http_change
from backfill_assets_tests.fuzz.answer_rows import draw_row_change
from backfill_assets_tests.fuzz.answer_texts import draw_text_change
from backfill_assets_tests.fuzz.inputs import Change


def draw_changes(random: Random) -> tuple[Change, ...]:
    """One to four changes: mostly of rows, now and then of the text or of the HTTP."""
    kinds = random.choices(
        (draw_row_change, draw_text_change, draw_http_change), (6, 2, 3), k=random.choice((1, 1, 1, 2, 2, 3, 4))
    )
    order = [draw_row_change, draw_text_change, draw_http_change]
    return tuple(kind(random) for kind in sorted(kinds, key=order.index))


def draw_action_changes(random: Random) -> tuple[Change, ...]:
    """The same of an answer that lists corporate actions; most changes are of their own kind."""
    own = tuple(draw_action_change(random) for _ in range(random.choice((1, 1, 2))))
    return (*own, *draw_changes(random)) if random.random() < 0.3 else own
