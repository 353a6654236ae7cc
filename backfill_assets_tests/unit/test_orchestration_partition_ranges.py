"""Partition ranges: they contain every gap, are as few as possible, and are never too large."""

from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.orchestration.partition_ranges import PartitionRange, cover_spans, parse_partition_range

SYMBOLS = [f"S{n:02}.US" for n in range(30)]
ORDER = {symbol: at for at, symbol in enumerate(SYMBOLS)}
DAYS = [f"2026-06-{n:02}" for n in range(1, 21)]


def make_range(first_symbol: int, last_symbol: int, first_day: int, last_day: int) -> PartitionRange:
    return PartitionRange(DAYS[first_day], DAYS[last_day], SYMBOLS[first_symbol], SYMBOLS[last_symbol])


def test_one_range_covers_several_gaps_if_it_is_small_enough() -> None:
    assert cover_spans([(7, 3, 3), (2, 1, 1), (4, 0, 5)], SYMBOLS, DAYS, 36) == [make_range(2, 7, 0, 5)]


def test_large_ranges_are_split_between_symbols() -> None:
    assert cover_spans([(2, 1, 1), (4, 0, 5), (7, 3, 3)], SYMBOLS, DAYS, 35) == [
        make_range(2, 4, 0, 5),
        make_range(7, 7, 3, 3),
    ]


def test_days_of_one_ticker_are_never_split() -> None:
    assert cover_spans([(5, 0, 19)], SYMBOLS, DAYS, 10) == [make_range(5, 5, 0, 19)]


def test_no_spans_give_no_ranges() -> None:
    assert cover_spans([], SYMBOLS, DAYS, 10) == []


SPANS = st.lists(
    st.tuples(st.integers(0, 29), st.integers(0, 19), st.integers(0, 19)).map(lambda s: (s[0], *sorted(s[1:]))),
    max_size=30,
    unique_by=lambda span: span[0],
)


@given(SPANS, st.integers(1, 600))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_every_gap_is_covered_once_and_ranges_do_not_overlap(
    spans: list[tuple[int, int, int]], max_partitions: int
) -> None:
    rectangles = cover_spans(spans, SYMBOLS, DAYS, max_partitions)
    for at, first, last in spans:
        single = make_range(at, at, first, last)
        assert sum(single.overlaps(r, ORDER) for r in rectangles) == 1
    for number, partition_range in enumerate(rectangles):
        assert not any(partition_range.overlaps(other, ORDER) for other in rectangles[:number])
        height = ORDER[partition_range.last_symbol] - ORDER[partition_range.first_symbol] + 1
        width = DAYS.index(partition_range.last_day) - DAYS.index(partition_range.first_day) + 1
        assert height == 1 or height * width <= max_partitions


def test_ranges_overlap_if_they_share_a_partition() -> None:
    partition_range = make_range(2, 5, 3, 6)
    assert partition_range.overlaps(make_range(5, 9, 6, 9), ORDER)
    assert not partition_range.overlaps(make_range(6, 9, 3, 6), ORDER)
    assert not partition_range.overlaps(make_range(2, 5, 7, 9), ORDER)
    gone = PartitionRange(DAYS[3], DAYS[3], "GONE.US", "GONE.US")
    assert not partition_range.overlaps(gone, ORDER)
    assert gone.overlaps(PartitionRange(DAYS[0], DAYS[9], "GONE.US", SYMBOLS[1]), ORDER)


def test_partition_range_is_parsed_from_run_tags() -> None:
    partition_range = make_range(2, 5, 3, 6)
    assert parse_partition_range(partition_range.tags) == partition_range
    assert parse_partition_range({"dagster/partition": f"{DAYS[1]}|{SYMBOLS[4]}"}) == make_range(4, 4, 1, 1)
    assert parse_partition_range({"dagster/sensor_name": "x"}) is None
