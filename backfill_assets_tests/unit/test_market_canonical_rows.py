"""The canonical bytes of bars, against decimal arithmetic that knows nothing of how they are made."""

import hashlib
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from backfill_assets.market.bars.canonical_rows import BarValues, digest_rows, format_rows, hash_rows

PRICES = st.one_of(
    st.decimals(min_value=0, max_value=999_999, places=6, allow_nan=False),
    st.decimals(min_value=0, max_value=Decimal("0.02"), places=12, allow_nan=False),
    st.just(None),
)
VOLUMES = st.one_of(st.integers(0, 2**53), st.just(None))


def make_bars(rows: list[tuple[Decimal | None, ...]]) -> BarValues:
    columns = [np.array([np.nan if v is None else float(v) for v in column]) for column in zip(*rows, strict=True)]
    count = len(rows)
    return BarValues(np.zeros(count, np.int64), ["AAPL.US"], 1_780_320_600 + 1800 * np.arange(count), *columns)


def write_price(price: Decimal | None) -> str:
    if price is None:
        return "null"
    exact = Decimal(float(price))  # as a double has it
    if exact == 0:
        return "0.000000"
    if exact < Decimal(float("0.01")):
        rounded = Context(prec=8, rounding=ROUND_HALF_EVEN).create_decimal(exact)
        digits = str(int(rounded.scaleb(7 - rounded.adjusted())))
        return f"{digits[0]}.{digits[1:]}e{rounded.adjusted():+03d}"
    return str(exact.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN, context=Context(prec=60)))


@given(st.lists(st.tuples(PRICES, PRICES, PRICES, PRICES, VOLUMES), min_size=1, max_size=4))
@example([(Decimal("0.01"), Decimal("0.009999999999"), Decimal("0.00123456789"), Decimal("1E-8"), 0)])
@example([(Decimal("190.12"), Decimal("191"), Decimal("0.01"), Decimal("999999.999999"), 12345)])
def test_rows_are_those_of_decimal_arithmetic(rows: list[tuple[Decimal | None, ...]]) -> None:
    lines = format_rows(make_bars(rows))
    expected = [
        ",".join(
            [
                "AAPL.US",
                str(1_780_320_600 + 1800 * number),
                *map(write_price, prices),
                "null" if volume is None else str(int(volume)),
            ]
        )
        + "\n"
        for number, (*prices, volume) in enumerate(rows)
    ]
    assert lines == [line.encode() for line in expected]
    assert hash_rows(lines) == hashlib.sha256("".join(expected).encode()).hexdigest()
    heads = [int.from_bytes(hashlib.sha256(line.encode()).digest()[:4], "little") for line in expected]
    assert digest_rows(lines).tolist() == heads


def test_values_that_no_bar_should_have_are_written_all_the_same() -> None:
    odd = make_bars([(Decimal(-1), Decimal("Infinity"), Decimal("-0"), Decimal("-0.001"), Decimal("1.5"))])
    (line,) = format_rows(odd)
    assert line == b"AAPL.US,1780320600,-1.000000,inf,0.000000,-1.0000000e-03,1.500000\n"


def test_no_bars_have_the_hash_of_nothing() -> None:
    none = make_bars([(None,) * 5])
    assert hash_rows([]) == hashlib.sha256(b"").hexdigest()
    assert digest_rows([]).tolist() == []
    assert format_rows(none) == [b"AAPL.US,1780320600,null,null,null,null,null\n"]
