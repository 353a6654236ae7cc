"""Which lines of the vendor's symbol list become symbols, and why the others do not."""

import pytest

from backfill_assets.backfill.listing_filter import ListingFilter, filter_listing, parse_filter_words
from backfill_assets.errors import UsageError
from backfill_assets.market.vendor import ListedSymbol


def build_listed(
    code: str, name: str = "Some Company Inc", market: str | None = "NYSE", kind: str | None = "Common Stock"
) -> ListedSymbol:
    return ListedSymbol(code, name, "USA", market, "USD", kind, None)


PASSED = {
    "share": build_listed("AAPL", market="NASDAQ"),
    "share class": build_listed("BRK-B"),
    "exchange-traded fund": build_listed("SPY", kind="ETF", market="NYSE ARCA"),
    "closed-end fund": build_listed("GAB", kind="FUND"),
    "preferred share": build_listed("BAC-PL", kind="Preferred Stock"),
    "maker of test systems": build_listed("AEHR", "Aehr Test Systems"),
    "another maker": build_listed("INTT", "inTest Corporation"),
    "unknown listing exchange": build_listed("MSFT", market="US"),
    "no type and no exchange": build_listed("IBM", market=None, kind=None),
}
LEFT_OUT = {
    "test issue by name": (build_listed("CBX", "NYSE Listed Test Stock"), "test issue"),
    "test issue in capitals": (build_listed("ZVZZT", "NASDAQ TEST STOCK"), "test issue"),
    "test issue by code": (build_listed("ZXYZ-A", "Nasdaq Symbology"), "test issue"),
    "test issue of NYSE": (build_listed("NTEST-B", ""), "test issue"),
    "pilot": (build_listed("ATEST-C", "Tick Pilot Test Stock Class C"), "test issue"),
    "reused code": (build_listed("ABC_old1"), "code of a former company"),
    "slash": (build_listed("BC/PA"), "not usable as a ticker"),
    "small letters": (build_listed("aapl"), "not usable as a ticker"),
    "too long": (build_listed("A" * 11), "not usable as a ticker"),
    "pink": (build_listed("TCEHY", market="PINK"), "listed on PINK, without intraday data"),
    "best market": (build_listed("HENKY", market="OTCQX"), "listed on OTCQX, without intraday data"),
    "mutual fund": (build_listed("VFIAX", kind="Mutual Fund", market="NMFQS"), "type Mutual Fund"),
    "fund": (build_listed("FXAIX", kind="FUND", market="NMFQS"), "listed on NMFQS, without intraday data"),
    "fund by its code": (build_listed("0P0000A0T3", kind="FUND", market="US"), "fund without intraday data"),
    "fund somewhere": (build_listed("FXAIX", kind="FUND", market="US"), "fund of an unknown listing exchange"),
    "bond": (build_listed("ACCD1", kind="BOND"), "type BOND"),
    "unknown market": (
        build_listed("XYZ", market="MOON"),
        "listed on MOON, which is not known to have intraday data",
    ),
}


@pytest.mark.parametrize("symbol", PASSED.values(), ids=PASSED)
def test_shares_and_listed_funds_pass(symbol: ListedSymbol) -> None:
    assert [t.symbol for t in filter_listing([symbol], "US", ListingFilter()).tickers] == [symbol.code]


@pytest.mark.parametrize(("symbol", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_has_no_intraday_data_is_left_out_with_the_reason(symbol: ListedSymbol, reason: str) -> None:
    filtered = filter_listing([symbol], "US", ListingFilter())
    assert (filtered.tickers, filtered.left_out) == ((), {reason: (symbol.code,)})


LISTED = [
    build_listed("AAPL", market="NASDAQ"),
    build_listed("IBM"),
    build_listed("SPY", kind="ETF", market="NYSE ARCA"),
    build_listed("TCEHY", market="PINK"),
    build_listed("ACCD1", kind="BOND", market="PINK"),
    build_listed("ZVZZT", "NASDAQ TEST STOCK", market="NASDAQ"),
]


@pytest.mark.parametrize(
    ("markets", "types", "codes"),
    [
        ("nyse, NYSE Arca", "", ["IBM", "SPY"]),
        ("NASDAQ", "", ["AAPL"]),
        ("PINK", "", ["TCEHY"]),
        ("all", "", ["AAPL", "IBM", "SPY", "TCEHY"]),
        ("", "common_stock", ["AAPL", "IBM"]),
        ("", "etf,Common Stock", ["AAPL", "IBM", "SPY"]),
        ("all", "ALL", ["AAPL", "IBM", "SPY", "TCEHY", "ACCD1"]),
    ],
)
def test_a_filter_takes_the_vendors_words_in_any_case(markets: str, types: str, codes: list[str]) -> None:
    wanted = ListingFilter(parse_filter_words(markets), parse_filter_words(types))
    assert [t.symbol for t in filter_listing(LISTED, "US", wanted).tickers] == codes


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ListingFilter(types=("no such",)),
            "lists no symbol of type 'no such'; --type can be all or: bond, common stock",
        ),
        (ListingFilter(markets=("LSE",)), "no symbol of listing exchange 'LSE'; --listing can be all or: NASDAQ, NYSE"),
    ],
)
def test_a_word_that_no_listed_symbol_has_is_refused(wanted: ListingFilter, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        filter_listing(LISTED, "US", wanted)


def test_symbols_without_a_listing_exchange_are_counted() -> None:
    filtered = filter_listing([PASSED["unknown listing exchange"], PASSED["share"]], "US", ListingFilter())
    assert (len(filtered.tickers), filtered.unplaced) == (2, 1)


def test_pairs_pass_whatever_the_list_calls_them() -> None:
    codes = ["BTC-USD", "BABYDOGE-USD", "SAFEMOON-USD", "TEST-USD", "0P0000ABCD", "$MYRO-USD"]
    listed = [ListedSymbol(code, "Test Token", "Unknown", "CCC", "USD", "Currency", None) for code in codes]
    found = filter_listing(listed, "CC", ListingFilter())
    assert [ticker.symbol for ticker in found.tickers] == codes[:-1]
    assert found.left_out == {"not usable as a ticker": ("$MYRO-USD",)}
    gold = ListedSymbol("XAUUSD", "Gold", "Unknown", "FOREX", "USD", "currency", None)
    assert [str(ticker) for ticker in filter_listing([gold], "FOREX", ListingFilter()).tickers] == ["XAUUSD.FOREX"]
    assert filter_listing(listed, "CC", ListingFilter(types=("currency",))).left_out == found.left_out
