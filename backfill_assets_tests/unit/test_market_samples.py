"""Which readings of the live endpoint are samples of the session, and which say nothing about it."""

from math import nan

import pytest

from backfill_assets.market.live.samples import SampleKind, classify_samples, merge_samples
from backfill_assets_tests.unit.live_builders import DAY, Sample, sample, sample_table, whole_stamps
from backfill_assets_tests.unit.market_builders import new_york, sessions

(SESSION,) = sessions(DAY)
NOW = new_york(f"{DAY} 10:16")
KNOWN = whole_stamps(sample_table([sample("09:55", 10.2, 500)]))


def kind_of(reading: Sample) -> SampleKind:
    return SampleKind(classify_samples(sample_table([reading]), KNOWN, SESSION, NOW)[0])


@pytest.mark.parametrize(
    ("reading", "kind"),
    [
        (sample("10:00", 10.3, 700), SampleKind.FRESH),
        (sample("09:55", 10.2, 500), SampleKind.REPEAT),
        (sample("09:55", 10.25, 520), SampleKind.FRESH),
        (sample("09:55", 10.25, 480), SampleKind.REPEAT),
        (sample("09:55", 10.2, 500, symbol_id=1), SampleKind.FRESH),
        (sample("09:50", 10.1, 400), SampleKind.FRESH),
        (sample("09:30", 10.0, 100), SampleKind.OTHER_SESSION),
        ((0, new_york("2026-05-29 16:29").timestamp(), 10, 11, 9, 10, 9e6), SampleKind.OTHER_SESSION),
        ((0, nan, nan, nan, nan, nan, nan), SampleKind.ABSENT),
        (sample("10:00", 10.3, nan), SampleKind.ABSENT),
        (sample("10:00", 10.3, 700, low=None), SampleKind.ABSENT),
        (sample("10:00", 10.3, 700, high=9.0, low=11.0), SampleKind.BROKEN),
        (sample("10:00", 0.0, 700), SampleKind.BROKEN),
        (sample("10:00", 10.3, -1), SampleKind.BROKEN),
        (sample("10:00", 10.3, 700.5), SampleKind.BROKEN),
        (sample("10:00", 10.3, 1e17), SampleKind.BROKEN),
        (sample("10:30", 10.3, 700), SampleKind.BROKEN),
    ],
    ids=[
        *("new", "the same again", "the minute went on", "an older reading of the minute", "another ticker's"),
        *("late, but new", "stamped at the open", "the session before", "NA", "no volume", "no low", "high below low"),
        *("price zero", "negative volume", "part of a share", "volume beyond counting", "from the future"),
    ],
)
def test_a_quote_is_classified(reading: Sample, kind: SampleKind) -> None:
    assert kind_of(reading) is kind


def test_samples_after_the_close_belong_to_the_session() -> None:
    evening = new_york(f"{DAY} 16:46")
    assert classify_samples(sample_table([sample("16:29", 10, 900)]), KNOWN, SESSION, evening).tolist() == [
        SampleKind.FRESH
    ]


def test_empty_tables_are_accepted() -> None:
    nothing = sample_table([])
    assert classify_samples(nothing, whole_stamps(nothing), SESSION, NOW).tolist() == []
    assert classify_samples(
        sample_table([sample("10:00", 10.3, 700)]), whole_stamps(nothing), SESSION, NOW
    ).tolist() == [0]
    assert len(merge_samples(whole_stamps(nothing), whole_stamps(nothing))) == 0


def test_merging_keeps_the_newer_sample_of_each_stamp() -> None:
    fresh = whole_stamps(sample_table([sample("09:55", 10.25, 520), sample("09:50", 10.1, 400)]))
    both = merge_samples(KNOWN, fresh)
    assert both["volume"].tolist() == [400, 520]
    assert both["stamp"].is_monotonic_increasing
