"""Numbers in sentences agree with their nouns."""

import pytest

from backfill_assets.config.counts import format_count


@pytest.mark.parametrize(
    ("count", "nouns", "text"),
    [
        (0, ("bar",), "0 bars"),
        (1, ("bar",), "1 bar"),
        (1_040, ("bar",), "1,040 bars"),
        (1, ("bar is", "bars are"), "1 bar is"),
        (2, ("bar is", "bars are"), "2 bars are"),
    ],
)
def test_a_count_agrees_with_its_noun(count: int, nouns: tuple[str, ...], text: str) -> None:
    assert format_count(count, *nouns) == text
