import numpy as np
import pytest

from backfill_assets.market.equal_runs import find_run_ends, find_run_starts, sort_distinct


@pytest.mark.parametrize(
    ("first", "second", "starts", "ends"),
    [
        ([], [], [], []),
        ([7], [1], [0], [0]),
        ([1, 1, 2, 2, 1], [0, 0, 0, 0, 0], [0, 2, 4], [1, 3, 4]),
        ([1, 1, 1, 2], [5, 6, 6, 6], [0, 1, 3], [0, 2, 3]),
    ],
)
def test_runs_begin_and_end_where_a_key_changes(first, second, starts, ends):
    keys = np.array(first, np.int64), np.array(second, np.int64)

    assert find_run_starts(*keys).tolist() == starts
    assert find_run_ends(*keys).tolist() == ends


def test_distinct_values_are_those_of_unique():
    draw = np.random.default_rng(7)
    parts = [draw.integers(0, 50, 40), draw.integers(30, 90, 25), np.zeros(0, np.int64)]

    assert sort_distinct(*parts).tolist() == sorted({*parts[0].tolist(), *parts[1].tolist()})
    assert sort_distinct(parts[2]).tolist() == []
