"""Which figures end a benchmark with exit code 1."""

import pytest

from bench.figures import Figure


@pytest.mark.parametrize(
    ("figure", "verdict", "misses_mark"),
    [
        (Figure("faster", "×", [9, 10, 30], at_least=10), "reached", False),
        (Figure("faster", "×", [9.9], at_least=10), "missed", False),
        (Figure("faster", "×", [8.0], at_least=10), "missed", False),
        (Figure("faster", "×", [7.9], at_least=10), "missed", True),
        (Figure("more expensive", "×", [1.5], at_most=1.5), "reached", False),
        (Figure("more expensive", "×", [1.87], at_most=1.5), "missed", False),
        (Figure("more expensive", "×", [1.88], at_most=1.5), "missed", True),
        (Figure("whole process", "s", [100.0], at_most=8), "missed", False),  # seconds depend on the machine
        (Figure("without a mark", "×", [0.1]), "", False),
    ],
)
def test_ratio_may_miss_its_mark_by_a_fifth(figure: Figure, verdict: str, *, misses_mark: bool) -> None:
    assert (figure.verdict, figure.misses_mark) == (verdict, misses_mark)
