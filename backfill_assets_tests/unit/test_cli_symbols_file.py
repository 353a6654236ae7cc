"""Symbols files: the first column of a table, or a list; names never become symbols, and faults have line numbers."""

import hypothesis
import pytest
from hypothesis import strategies as st

from backfill_assets.cli.symbols_file import parse_symbols_file

TABLES = {
    "title": ("Symbol\nAAPL\nMSFT\n", ["AAPL", "MSFT"]),
    "two titles": ("ticker,name\nAAPL,Apple Inc\nF,FORD\n", ["AAPL", "F"]),
    "name": ("AAPL,Apple Inc\nMSFT,Microsoft Corp\n", ["AAPL", "MSFT"]),
    "name in capitals": ("AAPL,APPLE INC\nF,FORD\n", ["AAPL", "F"]),
    "name with a comma": ('BRK-B,"Berkshire Hathaway, Inc."\nAAPL,Apple, Inc.\n', ["BRK-B", "AAPL"]),
    "quotes": ('"AAPL","Apple Inc"\n"F","Ford"\n', ["AAPL", "F"]),
    "quoted symbols": ('"AAPL"\n"MSFT"\n', ["AAPL", "MSFT"]),
    "tabs": ("AAPL\tApple Inc\nMSFT\tMicrosoft\n", ["AAPL", "MSFT"]),
    "semicolons": ("sep=;\nSymbol;Name\nAAPL;Apple\n", ["AAPL"]),
    "bars": ("Symbol|Security Name\nA|Agilent\n", ["A"]),
    "market": ("AAPL,NASDAQ\nIBM,NYSE\n", ["AAPL", "IBM"]),
    "positions": ("AAPL,100,150.25\nMSFT,3,-0.5%\n", ["AAPL", "MSFT"]),
    "empty columns": ("AAPL,,,\nMSFT,,,\n", ["AAPL", "MSFT"]),
    "text to Excel": ('="AAPL",Apple\n', ["AAPL"]),
    "ampersand": ("T,AT&T\n", ["T"]),
    "number sign in a name": ("AAPL,C# Corp\n", ["AAPL"]),
    "the vendor's export": (
        "Code,Name,Country,Exchange,Currency,Type,Isin\nAAPL,Apple Inc,USA,NASDAQ,USD,Common Stock,US0378331005\n",
        ["AAPL"],
    ),
    "a broker's export": ('"Symbol","Description","Quantity"\n"AAPL","APPLE INC","10"\n', ["AAPL"]),
}
LISTS = {
    "lines": ("AAPL\nmsft\n\n  TSLA  \n", ["AAPL", "MSFT", "TSLA"]),
    "comments": ("# mine\naapl  # Apple\nMSFT#x\n", ["AAPL", "MSFT"]),
    "commas": ("AAPL, MSFT, NVDA\n", ["AAPL", "MSFT", "NVDA"]),
    "title above a list": ("Symbols\nAAPL, MSFT, NVDA\n", ["AAPL", "MSFT", "NVDA"]),
    "small letters": ("aapl,msft,nvda", ["AAPL", "MSFT", "NVDA"]),
    "two that are no names": ("MSFT, BRK-B\nAAPL,MSFT.US\n", ["MSFT", "BRK-B", "AAPL"]),
    "lines of several lengths": ("AAPL,MSFT,NVDA,TSLA\nIBM,GE,T\n", ["AAPL", "MSFT", "NVDA", "TSLA", "IBM", "GE", "T"]),
    "charting site": ("NASDAQ:AAPL,NYSE:IBM,AMEX:SPY", ["AAPL", "IBM", "SPY"]),
    "sections of a charting site": ("###Tech,NASDAQ:AAPL,###More,NYSE:IBM", ["AAPL", "IBM"]),
    "byte order mark and line ends": ("\ufeffAAPL\r\nMSFT\rTSLA\n", ["AAPL", "MSFT", "TSLA"]),
}


@pytest.mark.parametrize(("text", "symbols"), TABLES.values(), ids=TABLES)
def test_a_table_gives_its_first_column(text: str, symbols: list[str]) -> None:
    file = parse_symbols_file(text)
    assert ([t.symbol for t in file.tickers], file.faults) == (symbols, ())


@pytest.mark.parametrize(("text", "symbols"), LISTS.values(), ids=LISTS)
def test_a_list_gives_all_its_symbols(text: str, symbols: list[str]) -> None:
    file = parse_symbols_file(text)
    assert ([t.symbol for t in file.tickers], file.faults, file.is_table) == (symbols, (), False)


FAULTS = {
    "capital word": ("F,FORD", "line 1: may be symbols, or a symbol and a name: 'F,FORD'"),
    "capital words on each line": ("F,FORD,AUTOS\nV,VISA,CARDS", "line 2: may be symbols, or a symbol and a name"),
    "blanks": ("AAPL Apple Inc", "line 1: several words: 'AAPL Apple Inc'"),
    "capitals and blanks": ("AAPL APPLE INC", "line 1: several words"),
    "symbols and blanks": ("AAPL MSFT", "line 1: several words"),
    "blanks below titles": ("Symbol Name\nF FORD", "line 2: several words"),
    "quoted symbols": ('"AAPL","MSFT","NVDA"', "line 1: may be symbols, or a symbol and a name"),
    "symbols and tabs": ("AAPL\tMSFT\tNVDA", "line 1: may be symbols, or a symbol and a name"),
    "name first": ("Apple Inc,AAPL", "line 1: 'Apple Inc' is not a symbol"),
    "symbols in another column": ("Name,Symbol\nApple Inc,AAPL", "line 1: the symbols must be in the first column"),
    "one is wrong": ("AAPL, MSFT, AA/PL", "line 1: 'AA/PL' is not a symbol"),
    "open quote": ('"AAPL,Apple Inc', "line 1: a quote is not closed: '\"AAPL,Apple Inc'"),
    "empty first column": ("Symbol,Name\n,Apple", "line 2: the first column is empty: ',Apple'"),
    "share class": ("BRK.B", "the vendor writes share classes with a dash: BRK-B"),
    "other exchange": ("VOD.XYZ", "line 1: 'VOD.XYZ': exchange 'XYZ' is not supported"),
    "exchange column": ("Code,Exchange\nVOD,XYZ", "line 2: 'VOD' is of exchange 'XYZ', which is not supported"),
    "test issue column": ("Symbol|Name|Test Issue\nZTEST|x|Y", "line 2: 'ZTEST' is a test issue"),
    "Cyrillic letter": ("ТSLA", "'ТSLA' is not a symbol: it contains 'Т' (U+0422), no letter from A to Z"),
    "zero byte": ("AAPL\x00", "line 1: 'AAPL\\x00' is not a symbol"),
    "names in capitals in four columns": ("F,FORD,AUTO,BIG\nV,VISA,CARD,BIG", "line 2: may be symbols, or a symbol"),
    "names with a dash": ("KO,COCA-COLA\nTMUS,T-MOBILE", "line 2: may be symbols, or a symbol and a name"),
    "a name with a digit": ("MMM,3M", "line 1: may be symbols, or a symbol and a name"),
    "names before symbols": ("COMPANY,TICKER,PRICE\nFORD,F,12", "line 1: the symbols must be in the first column"),
    "a vague title before symbols": ("Stock,Ticker\nFORD,F", "line 1: the symbols must be in the first column"),
    "titles below other lines": ("Fund: X\nName,Ticker\nFORD,F", "line 2: the symbols must be in the first column"),
    "name alone": ("Watchlist", "line 1: 'Watchlist' may be a name; write a symbol in capitals"),
    "preferred share of a broker": ("BACpL", "line 1: 'BACpL' may be a name; write a symbol in capitals"),
    "name in the first column": ("Symbol,Quantity\nCash,100", "line 2: 'Cash' may be a name"),
    "row number": ("1\tAAPL\tApple", "line 1: '1' is a number, not a symbol"),
    "long": ("A" * 500, f"line 1: '{'A' * 30}…' is not a symbol"),
    "JSON": ('["AAPL", "MSFT"]', "line 1: '[\"AAPL\"' is not a symbol"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_symbol_is_a_fault_with_its_line(text: str, message: str) -> None:
    file = parse_symbols_file(text)
    assert file.tickers == ()
    assert message in str(file.faults[-1])
    assert len(str(file.faults[-1])) < 160


@pytest.mark.parametrize(
    ("text", "title_line"),
    [
        ("SHARE;PRICE\nAAPL;190\nMSFT;3", 1),
        ("share\tname\nAAPL\tApple\nMSFT\tMicrosoft", 1),
        ("AAPL,Apple Inc\nSymbol,Name\nMSFT,Microsoft", 2),
        ("AAPL\nTicker\nMSFT", 2),
    ],
    ids=["unknown, of numbers", "unknown, of names", "of a second table", "within a list"],
)
def test_titles_never_become_symbols(text: str, title_line: int) -> None:
    file = parse_symbols_file(text)
    assert [t.symbol for t in file.tickers] == ["AAPL", "MSFT"]
    assert [fault.line for fault in file.faults] == [title_line]
    assert "may be titles" in file.faults[0].reason


WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=8).map(str.capitalize)
NAME = st.lists(WORD, min_size=1, max_size=3).map(" ".join)


@pytest.mark.parametrize("header", [[], ["Symbol,Name"]])
@hypothesis.given(st.lists(NAME, min_size=1, max_size=6), st.sampled_from(",;\t|"), st.sampled_from(["", '"']))
def test_names_beside_symbols_never_become_symbols(
    header: list[str], names: list[str], separator: str, quote: str
) -> None:
    lines = [f"{quote}S{number}X{quote}{separator}{quote}{name}{quote}" for number, name in enumerate(names)]
    file = parse_symbols_file("\r\n".join([*header, *lines]))
    assert ([t.symbol for t in file.tickers], file.faults) == ([f"S{number}X" for number in range(len(names))], ())


@hypothesis.given(st.text('AB,;\t|"#\n\r :.=-_\ufeff1éß$', max_size=60))
def test_any_text_is_read_or_refused_line_by_line(text: str) -> None:
    file = parse_symbols_file(text)
    assert len({fault.line for fault in file.faults}) == len(file.faults) <= text.count("\n") + text.count("\r") + 1
    assert bool(file.tickers or file.faults) == bool(file.lines) or "sep" in text


def test_very_long_lines_are_read_or_refused() -> None:
    assert len(parse_symbols_file(",".join(f"S{number}" for number in range(20_000))).tickers) == 20_000
    assert [fault.line for fault in parse_symbols_file(f"AAPL\nA,{'x' * 200_000}").faults] == [2]
    assert [fault.line for fault in parse_symbols_file(f"a,b{'#b' * 100_000}").faults] == [1]


def test_all_faults_are_found_beside_the_good_lines() -> None:
    file = parse_symbols_file("AAPL\nF,FORD\n\n# x\nAA PL\nMSFT\n$(reboot)\nAAPL\n")
    assert [fault.line for fault in file.faults] == [2, 5, 7]
    assert ([t.symbol for t in file.tickers], file.repeated, file.lines) == (["AAPL", "MSFT"], 1, 6)
