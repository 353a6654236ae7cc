"""Intraday bodies: recorded ones, every form of an absent value, and random mutations."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.eodhd.eod import parse_bulk_eod, parse_eod
from backfill_assets.eodhd.parsing import (
    MAX_TIMESTAMP,
    MIN_TIMESTAMP,
    _parse_intraday_leniently,
    concatenate_intraday,
    parse_intraday,
)
from backfill_assets.eodhd.quotes import parse_quotes
from backfill_assets.eodhd.reference import (
    parse_account,
    parse_symbol_changes,
    parse_symbols,
)
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    PlanRefused,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UnreadableRows,
    VendorError,
)
from backfill_assets_tests.conftest import read_recorded_rows

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
GOOD = {"timestamp": 1780343700, "open": 1, "high": 2.5, "low": 0.5, "close": 2, "volume": 10}


def make_body(*rows: object) -> bytes:
    return json.dumps(rows).encode()


def list_columns(rows: IntradayRows) -> list[list[float | None]]:
    """Every column, with None for NaN so that lists can be compared."""
    return [[None if np.isnan(value) else float(value) for value in getattr(rows, name)] for name in COLUMNS]


def test_a_recorded_5m_session() -> None:
    rows = parse_intraday(make_body(*read_recorded_rows("AAPL_5m_2026-06-01")))
    assert len(rows) == 79
    assert rows.timestamp[0] == 1780320600
    assert rows.open[0] == 309.535003
    assert rows.volume[0] == 3861073
    assert np.isnan(rows.volume[-1])
    assert rows.close[-1] == 306.309997
    assert rows.warning is None


def test_a_recorded_1m_day() -> None:
    raw = make_body(*read_recorded_rows("AAPL_1m_2025-01-15"))
    rows = parse_intraday(raw)
    assert len(rows) == len(json.loads(raw)) == 953
    assert (np.diff(rows.timestamp) > 0).all()


@pytest.mark.parametrize("absent", [None, "NA", "", "n/a", "nan", "inf", " - "])
def test_absent_values_become_nan(absent: object) -> None:
    rows = parse_intraday(make_body({**GOOD, "volume": absent, "open": absent}))
    assert np.isnan(rows.volume[0])
    assert np.isnan(rows.open[0])
    assert rows.close[0] == 2


@pytest.mark.parametrize(
    "value", ["1,234", "1.234,5", "12 shares", "soon", True, [], [5], {}, 10**400], ids=lambda value: str(value)[:9]
)
@pytest.mark.parametrize("name", ["volume", "open"])
def test_a_single_value_that_is_no_number_and_not_absent_breaks_the_answer(name: str, value: object) -> None:
    with pytest.raises(UnreadableRows, match=r"^1 of 3 rows cannot be read \(prices and volume must be numbers\)"):
        parse_intraday(make_body(GOOD, {**GOOD, name: value}, GOOD))


def test_a_missing_key_is_absent() -> None:
    rows = parse_intraday(make_body({"timestamp": 1780343700}, GOOD))
    assert [np.isnan(getattr(rows, name)[0]) for name in COLUMNS[1:]] == [True] * 5


def test_numbers_may_be_strings() -> None:
    written = {name: str(value) for name, value in GOOD.items()}
    assert list_columns(parse_intraday(make_body(written))) == list_columns(parse_intraday(make_body(GOOD)))


UNREADABLE_STAMPS = [None, "NA", "soon", -1, 0, 1.5, True, 1780343700123, 29672395, "2026-06-01 19:55:00", 10**30, []]


@pytest.mark.parametrize("stamp", [*UNREADABLE_STAMPS, "9" * 400], ids=lambda stamp: str(stamp)[:20])
def test_a_single_row_without_a_usable_stamp_breaks_the_answer(stamp: object) -> None:
    with pytest.raises(BrokenAnswer, match=r"^1 of 3 rows cannot be read \('timestamp' must be epoch seconds\)"):
        parse_intraday(make_body(GOOD, {**GOOD, "timestamp": stamp}, GOOD))


def test_half_of_the_rows_in_milliseconds_break_the_answer_which_quotes_one() -> None:
    rows = [{**GOOD, "timestamp": 1780343700000 + 300_000 * n if n % 2 else 1780343700 + 300 * n} for n in range(316)]
    with pytest.raises(BrokenAnswer, match=r'^158 of 316 rows .*, for example {"timestamp":1780344000000,"open":1,'):
        parse_intraday(make_body(*rows))


def test_elements_that_are_not_objects_break_the_answer() -> None:
    with pytest.raises(BrokenAnswer, match=r"^2 of 3 rows cannot be read .*, for example null"):
        parse_intraday(make_body(GOOD, None, 5))


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        (
            {name.capitalize(): value for name, value in GOOD.items()},
            'none of 2 rows has timestamp, open, high, low, close, volume, for example {"Timestamp":1780343700,',
        ),
        ({"timestamp": 1780343700, "Open": 1, "Close": 2}, "none of 2 rows has open, high, low, close, volume"),
        ({**{k: v for k, v in GOOD.items() if k != "volume"}, "Volume": 10}, "none of 2 rows has volume, for example"),
    ],
    ids=["all", "prices", "volume"],
)
def test_columns_of_another_name_break_the_answer(renamed: dict[str, object], message: str) -> None:
    with pytest.raises(BrokenAnswer, match=message):
        parse_intraday(make_body(renamed, renamed))


def test_a_column_of_nulls_is_absent_and_not_of_another_name() -> None:
    rows = parse_intraday(make_body({**GOOD, "volume": None}, {**GOOD, "volume": None}))
    assert (len(rows), np.isnan(rows.volume).all(), rows.close.tolist()) == (2, True, [2, 2])


@pytest.mark.parametrize("stamp", [1780343700, "1780343700"])
def test_warning_on_the_last_row_is_returned(stamp: object) -> None:
    warning = "Data is limited by one year as you have free subscription."
    rows = parse_intraday(make_body(GOOD, {**GOOD, "timestamp": stamp, "warning": warning}))
    assert (len(rows), rows.warning) == (2, warning)


@pytest.mark.parametrize("form", [b'[{"warning":"limited"}]', b'{"warning":"limited"}'])
def test_element_with_only_a_warning_is_not_a_row(form: bytes) -> None:
    rows = parse_intraday(form)
    assert (len(rows), rows.warning) == (0, "limited")


def test_empty_list_is_a_valid_response() -> None:
    rows = parse_intraday(b"[]")
    assert len(rows) == 0
    assert rows.timestamp.dtype == np.int64
    assert rows.open.dtype == np.float64


def test_map_with_number_keys_is_a_list() -> None:
    assert len(parse_intraday(json.dumps({"0": GOOD, "1": GOOD}).encode())) == 2


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"  ",
        b"<html></html>",
        b"Unauthenticated",
        b'[{"timestamp":17',
        b"null",
        b"5",
        b'"x"',
        b"{}",
        b"[1]",
        b'{"a":1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"[NaN]",
        b"[]]",
    ],
    ids=repr,
)
def test_invalid_body_is_a_broken_answer(broken: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parse_intraday(broken)


@pytest.mark.parametrize("value", ["1,234", True])
def test_daily_values_that_are_no_numbers_break_the_answer(value: object) -> None:
    """A volume that is not understood would say that nothing traded on that day."""
    row = {"code": "MSFT", "date": "2026-06-01", "close": 10, "volume": 5}
    for parse in (parse_eod, parse_bulk_eod):
        with pytest.raises(UnreadableRows, match=r"^1 of 2 rows cannot be read"):
            parse(make_body(row, {**row, "volume": value}))
    assert parse_bulk_eod(make_body(*[row] * 99, {**row, "volume": value})).unparsable_rows == 1


QUOTA = "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
PER_MINUTE = "You exceeded your API requests limit per minute. Please slow down."
FREE_PLAN = "Only EOD data allowed for free users. Please, contact our support team"
NOT_IN_PLAN = "This endpoint is not available with your current subscription. Please upgrade"


@pytest.mark.parametrize(
    ("words", "kind"),
    [(QUOTA, QuotaExhausted), (PER_MINUTE, RateLimited), ("Too Many Requests", RateLimited), (FREE_PLAN, PlanRefused)],
)
@pytest.mark.parametrize(
    "form", ["text", "string", "list", "error", "message", "other field", "row with error", "row with message", "page"]
)
def test_a_limit_named_in_words_is_recognized_in_every_form(form: str, words: str, kind: type[VendorError]) -> None:
    forms: dict[str, str] = {
        "text": words,
        "string": json.dumps(words),
        "list": json.dumps([words]),
        "error": json.dumps({"error": words}),
        "message": json.dumps({"message": words}),
        "other field": json.dumps({"status": "error", "Detail": words}),
        "row with error": json.dumps([{"error": words}]),
        "row with message": json.dumps([{"message": words}]),
        "page": f"<html><body><h1>{words}</h1></body></html>",
    }
    with pytest.raises(kind) as raised:
        parse_intraday(forms[form].encode())
    assert type(raised.value) is kind
    assert words.split(".")[0] in str(raised.value)


@pytest.mark.parametrize("form", ["[%s]", "%s"])
@pytest.mark.parametrize(("words", "kind"), [(QUOTA, QuotaExhausted), (PER_MINUTE, RateLimited)])
def test_a_limit_as_the_only_warning_is_no_answer_without_rows(form: str, words: str, kind: type[VendorError]) -> None:
    with pytest.raises(kind):
        parse_intraday((form % json.dumps({"warning": words})).encode())
    assert parse_intraday(make_body(GOOD, {"warning": words})).warning == words  # the rows are there


def test_a_plan_that_lacks_the_endpoint_is_told_from_a_web_site_that_sells_plans() -> None:
    for body in (NOT_IN_PLAN, json.dumps({"error": NOT_IN_PLAN})):
        with pytest.raises(PlanRefused):
            parse_intraday(body.encode())
    with pytest.raises(BrokenAnswer, match="HTML page"):
        parse_intraday(f"<html><body>{NOT_IN_PLAN}</body></html>".encode())


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        (b"Sorry, we are moving house", "Sorry, we are moving house"),
        (b'{"message":"Sorry"}', "Sorry"),
        (b"<p>Daily maintenance, with limited service today</p>", "Daily maintenance, with limited service today"),
        (b"Charts per minute are not available", "Charts per minute are not available"),
        (b'{"foo":1}', '{"foo":1}'),
        (b'{"error":"mystery"}', "mystery"),
        (b"<html><head><style>h1 {}</style></head><h1>Be right back</h1></html>", "Be right back"),
        (b"<br />\n<b>Warning</b>: Undefined key in /app/x.php\n[]", "Warning : Undefined key in /app/x.php"),
        (b'[{"timestamp":17', '[{"timestamp":17'),
        (b"[]]", "[]]"),
        (b"\x1f\x8b\x08\x00\xff", "not text"),
        (b"timestamp,open\n1780343700,1", "timestamp,open 1780343700,1"),
    ],
)
def test_a_body_without_data_is_quoted(body: bytes, quoted: str) -> None:
    with pytest.raises(BrokenAnswer) as raised:
        parse_intraday(body)
    assert quoted in str(raised.value)


def test_words_within_data_are_no_refusal() -> None:
    with pytest.raises(BrokenAnswer):
        parse_intraday(b'[{"timestamp":1780343700,"note":"daily limit, too many requests"')


def test_error_envelope_with_status_200_is_raised() -> None:
    with pytest.raises(RequestRefused, match="interval: unknown"):
        parse_intraday(b'{"errors":{"interval":["unknown"]}}')


def test_concatenation_has_order_and_first_warning_of_its_parts() -> None:
    first = parse_intraday(make_body(GOOD))
    second = parse_intraday(make_body({**GOOD, "timestamp": 1780344000, "warning": "w"}))
    both = concatenate_intraday([first, second])
    assert both.timestamp.tolist() == [1780343700, 1780344000]
    assert both.warning == "w"


def are_valid(rows: IntradayRows) -> bool:
    lengths = {len(getattr(rows, name)) for name in COLUMNS}
    stamps = rows.timestamp
    inside = bool(((stamps >= MIN_TIMESTAMP) & (stamps <= MAX_TIMESTAMP)).all())
    return len(lengths) == 1 and inside and not any(np.isinf(getattr(rows, name)).any() for name in COLUMNS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("NA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)
KEYS = st.sampled_from([*COLUMNS, "warning", "error", "errors", "code", "message", "gmtoffset"])


@st.composite
def draw_mutated_body(draw: st.DrawFn) -> bytes:
    """A few recorded rows with values replaced, keys dropped, rows exchanged, and bytes damaged."""
    rows: list[Any] = [*read_recorded_rows("AAPL_5m_2026-06-01")][-4:]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(rows) - 1))
        if not isinstance(rows[at], dict) or draw(st.booleans()):
            rows[at] = draw(JSON)
        elif draw(st.booleans()):
            rows[at].pop(draw(KEYS), None)
        else:
            rows[at] = {**rows[at], draw(KEYS): draw(JSON)}
    shape = draw(st.sampled_from(["list", "list", "map", "row"]))
    whole = {"list": rows, "map": {str(n): row for n, row in enumerate(rows)}, "row": rows[0]}[shape]
    raw = bytearray(json.dumps(whole).encode())
    for _ in range(draw(st.integers(0, 2))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 4)) == 0 else raw)


@pytest.mark.no_cover
@given(raw=draw_mutated_body())
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
def test_mutated_responses_parse_or_raise_vendor_errors(raw: bytes) -> None:
    try:
        rows = parse_intraday(raw)
    except VendorError:
        return
    assert are_valid(rows)
    if raw.isascii():  # the fast path does not validate texts that it skips
        assert list_columns(rows) == list_columns(_parse_intraday_leniently(raw))


PARSERS = [
    parse_eod,
    parse_bulk_eod,
    parse_quotes,
    parse_account,
    parse_symbols,
    parse_symbol_changes,
]
NAMES = st.sampled_from(
    [
        "code",
        "Code",
        "date",
        "Date",
        "timestamp",
        "close",
        "Open",
        "apiRequests",
        "apiRequestsDate",
        "dailyRateLimit",
        "old_symbol",
        "new_symbol",
        "effective",
        "0",
        "1",
    ]
)
VALUES = (
    JSON | st.dates().map(str) | st.times().map(str) | st.dictionaries(NAMES, JSON | st.dates().map(str), max_size=3)
)


@given(payload=st.lists(st.dictionaries(NAMES, VALUES, max_size=6), max_size=3), alone=st.booleans())
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_other_parsers_raise_only_vendor_errors(payload: list[dict[str, Any]], alone: bool) -> None:
    raw = json.dumps(payload[0] if alone and payload else payload).encode()
    for read in PARSERS:
        try:
            read(raw)
        except VendorError:
            continue
