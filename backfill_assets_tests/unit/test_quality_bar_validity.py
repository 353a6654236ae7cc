"""Official closes compared with daily data: deviations, spin-offs, and closes without daily data."""

from datetime import date

import pytest

from backfill_assets.quality.bar_validity import check_sessions_agree_with_eod
from backfill_assets.store.bars.bar_checks import CloseComparison


def make_closes(*pairs: tuple[float, float | None], ticker: str = "DD.US") -> list[CloseComparison]:
    return [CloseComparison(ticker, date(2026, 6, day), *pair) for day, pair in enumerate(pairs, 1)]


@pytest.mark.parametrize(
    ("stored", "off"),
    [
        pytest.param(make_closes((306.309997, 306.31), (316.22, 316.22)), 0, id="float noise"),
        pytest.param(make_closes((100.118, 100)), 0, id="close print of an early close"),
        pytest.param(make_closes((100.16, 100)), 1, id="above the tolerance"),
        pytest.param(make_closes((99.84, 100)), 1, id="below the tolerance"),
        pytest.param(make_closes((239, 100), (241.39, 101), (102, 102)), 0, id="before a spin-off"),
        pytest.param(make_closes((239, 100), (102, 102)), 1, id="one session is not enough for a spin-off"),
        pytest.param(make_closes((239, 100), (300, 101), (102, 102)), 2, id="two factors are not a spin-off"),
        pytest.param(make_closes((102, 102), (239, 100), (241.39, 101)), 2, id="not at the beginning"),
        pytest.param(make_closes((100.2, 100), (100.2, 100)), 2, id="a factor close to 1 is not a spin-off"),
        pytest.param(make_closes((100, None), (50, None)), 0, id="no daily data"),
    ],
)
def test_closes_beyond_the_tolerance_are_offenders(stored: list[CloseComparison], off: int) -> None:
    criterion = check_sessions_agree_with_eod(stored, tolerance_bps=15)
    assert (criterion.figure, criterion.passed, len(criterion.offenders)) == (off, off == 0, off)


def test_meaning_has_the_number_compared_and_offenders_are_worst_first() -> None:
    stored = make_closes((100.2, 100), (90, 100), (1, None)) + make_closes((239, 100), (241.39, 101), ticker="SPUN.US")
    criterion = check_sessions_agree_with_eod(stored, tolerance_bps=15)
    assert criterion.meaning == (
        "2 of 4 compared closes differ from the daily data by more than 15 basis points (5 closes are stored);"
        " 2 more differ by one common factor, as before a spin-off"
    )
    assert criterion.offenders == (
        "DD.US 2026-06-02: 90 stored, 100 daily (-1000.0 bp)",
        "DD.US 2026-06-01: 100.2 stored, 100 daily (+20.0 bp)",
    )
