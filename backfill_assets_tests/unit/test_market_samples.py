"""Which live quotes are samples of the session, and the kinds of those that are not."""

from math import nan

import pytest

from backfill_assets.market.live.samples import SampleKind, classify_samples, merge_samples
from backfill_assets_tests.unit.live_builders import DAY, Sample, convert_stamps, make_sample, make_sample_table
from backfill_assets_tests.unit.market_builders import find_sessions, parse_new_york

(SESSION,) = find_sessions(DAY)
NOW = parse_new_york(f"{DAY} 10:16")
KNOWN = convert_stamps(make_sample_table([make_sample("09:55", 10.2, 500)]))


def classify_quote(quote: Sample) -> SampleKind:
    return SampleKind(classify_samples(make_sample_table([quote]), KNOWN, SESSION, NOW)[0])


@pytest.mark.parametrize(
    ("quote", "kind"),
    [
        (make_sample("10:00", 10.3, 700), SampleKind.FRESH),
        (make_sample("09:55", 10.2, 500), SampleKind.REPEAT),
        (make_sample("09:55", 10.25, 520), SampleKind.FRESH),
        (make_sample("09:55", 10.25, 480), SampleKind.REPEAT),
        (make_sample("09:55", 10.2, 500, symbol_id=1), SampleKind.FRESH),
        (make_sample("09:50", 10.1, 400), SampleKind.FRESH),
        (make_sample("09:30", 10.0, 100), SampleKind.OTHER_SESSION),
        ((0, parse_new_york("2026-05-29 16:29").timestamp(), 10, 11, 9, 10, 9e6), SampleKind.OTHER_SESSION),
        ((0, nan, nan, nan, nan, nan, nan), SampleKind.ABSENT),
        (make_sample("10:00", 10.3, nan), SampleKind.ABSENT),
        (make_sample("10:00", 10.3, 700, low=None), SampleKind.ABSENT),
        (make_sample("10:00", 10.3, 700, high=9.0, low=11.0), SampleKind.BROKEN),
        (make_sample("10:00", 0.0, 700), SampleKind.BROKEN),
        (make_sample("10:00", 10.3, -1), SampleKind.BROKEN),
        (make_sample("10:00", 10.3, 700.5), SampleKind.BROKEN),
        (make_sample("10:00", 10.3, 1e17), SampleKind.BROKEN),
        (make_sample("10:30", 10.3, 700), SampleKind.BROKEN),
    ],
    ids=[
        *("new", "repeated", "same minute, higher volume", "same minute, lower volume", "another ticker"),
        *("older, but new", "stamped at the open", "previous session", "NA", "no volume", "no low", "high below low"),
        *("price zero", "negative volume", "fractional volume", "volume too large", "stamp in the future"),
    ],
)
def test_a_quote_is_classified(quote: Sample, kind: SampleKind) -> None:
    assert classify_quote(quote) is kind


def test_samples_after_the_close_belong_to_the_session() -> None:
    evening = parse_new_york(f"{DAY} 16:46")
    assert classify_samples(make_sample_table([make_sample("16:29", 10, 900)]), KNOWN, SESSION, evening).tolist() == [
        SampleKind.FRESH
    ]


def test_empty_tables_are_accepted() -> None:
    nothing = make_sample_table([])
    assert classify_samples(nothing, convert_stamps(nothing), SESSION, NOW).tolist() == []
    assert classify_samples(
        make_sample_table([make_sample("10:00", 10.3, 700)]), convert_stamps(nothing), SESSION, NOW
    ).tolist() == [0]
    assert len(merge_samples(convert_stamps(nothing), convert_stamps(nothing))) == 0


def test_merge_prefers_the_newer_sample_of_each_stamp() -> None:
    fresh = convert_stamps(make_sample_table([make_sample("09:55", 10.25, 520), make_sample("09:50", 10.1, 400)]))
    both = merge_samples(KNOWN, fresh)
    assert both["volume"].tolist() == [400, 520]
    assert both["stamp"].is_monotonic_increasing
