"""Odd values about exchanges that the families share: codes, tickers, moments, and what files of markets say."""

from random import Random

from backfill_assets.config.market_fields import CORRECTIONS
from backfill_assets.market.exchanges.refused import REFUSED
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.odd_values import draw_text

SEVERAL = '["US", "LSE", "AU"]'  # BACKFILL_EXCHANGES of a store with symbols of three exchanges
_SUPPORTED, _REFUSED = tuple(PROFILES), tuple(REFUSED)
CODES = (
    *_SUPPORTED, *_REFUSED, "lse", " LSE ", "Lse", "XLON", "LONDON", "L", "NASDAQ", "ＬＳＥ", "LſE", "US,LSE", "US LSE",
    "", "*", "all", "none", "X" * 21, "LSE/US", "VOD.LSE", "LSE\n", "-", "0", "%", "../LSE", "ΑU", "AU\u200b",
)  # fmt: skip
ENABLED = (
    SEVERAL, '["LSE"]', '["AU", "US"]', "US LSE AU", "lse", '["US", "US"]', "[]", '["US", "XLON"]', '["US", "IL"]',
    '["us", "LSE"]', '["LSE", "KO", "SA"]', '["US", null]', '["US", 1]', '[["US"]]', '{"US": 1}', "US,LSE", "US;LSE",
    '[" LSE "]', '["ＬＳＥ"]', '["US", "' + "X" * 5000 + '"]', '["CC"]', str(list(_SUPPORTED)).replace("'", '"'),
    *(f'["US", "{code}"]' for code in _SUPPORTED[1:]),
)  # fmt: skip
MOMENTS = (  # clocks change, days are short, a day begins in Sydney and ends in New York, calendars end
    "2026-03-08T06:59:59Z", "2026-03-08T07:00:00Z", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z",
    "2026-10-25T01:30:00Z", "2026-11-01T05:30:00Z", "2026-04-04T16:00:00Z", "2026-10-03T16:00:00Z",
    "2026-06-02T00:00:00Z", "2026-06-02T23:30:00Z", "2025-12-24T12:30:00Z", "2025-12-24T13:05:00Z",
    "2025-11-28T18:00:00Z", "2025-12-24T03:10:00Z", "2025-12-31T12:31:00Z", "2050-12-31T06:30:00Z",
    "2050-12-31T23:59:59Z", "2051-01-01T00:00:00Z", "2050-11-05T00:00:00Z", "2099-12-31T16:30:00Z",
    "2004-01-01T00:00:00Z", "2004-01-02T08:00:00Z", "2016-02-29T12:00:00Z", "2026-06-02T17:00:00+14:00",
)  # fmt: skip


def draw_ticker(random: Random) -> str:
    """A ticker with a suffix of any exchange, in some spelling."""
    symbol = random.choice(
        ("VOD", "BHP", "BP", "0A0A", "NOVO-B", "005930", "vod", "BRK.B", "ABC_old", "A" * 16, "TRUE", "É")
    )
    code = random.choice((*CODES, "LSE", "AU", "L", "AX", "PA", "DE", "KS", "CN", "UK"))
    form = random.choice(
        ("{}.{}", "{}.{}", "{}.{}", "{1}:{0}", "{}:{}", " {}.{} ", "{}..{}", "{}.{}.US", "{}-{}", "{} {}", "{}.{},AAPL")
    )
    return form.format(symbol, code.lower() if random.random() < 0.2 else code)


# --- files of markets -----------------------------------------------------------------------------------------------

MARKETS = """LSE.closing_seconds = 900
AU.late_opens.2026-03-02 = "11:30"
"""
_DAYS = (
    "2026-06-01", "2026-06-02", "2026-06-02", "2026-06-06", "2026-03-29", "2026-12-24", "2026-12-25", "2026-01-01",
    "2025-12-31", "2100-01-01", "2100-01-02", "2004-01-01", "2003-12-31", "2051-01-03", "2026-02-30", "26-1-1",
    "2026-06-02T00:00:00Z", "x", '""',
)  # fmt: skip
_CLOCKS = (
    '"00:00"', '"09:30"', '"10:00"', '"16:30"', '"23:59"', '"01:30"', '"02:15"', '"24:00"', '"9:30"', '"16:00Z"',
    '""', "1", "09:30:00", "10:00:00.5", "23:59:59.999999", "10:00:60", "2026-06-01", "true", "inf", "[]", "{}",
    '"١٢:٠٠"', '"12:00\\u0000"',
)  # fmt: skip
_VALUES = (
    "0", "-1", "900", "14_401", "1e3", "1e400", "nan", "-inf", "9" * 30, "9" * 5000, "true", "false", '""', '"x"',
    "[]", "{}", '"3h"', '"168h"', '"169h"', '"0m"', '"-1h"', '"3H"', '"2h30"', '"999999h"', '"1m"', '"5m"', '"trade"',
    '"Quote"', '"verified"', '"USD"', '"GBp"', '"XXXX"', '"24/7"', '"XLON"', '"XTKS"', '"CMES"', '"XNYS"', '"XSAU"',
    '"NYSE"', '"us_futures"', '"Europe/London"', '"Australia/Lord_Howe"', '"Pacific/Apia"', '"GMT+3"',
    '"../../etc/passwd"', '"/etc/passwd"', '"localtime"', '"EST5EDT"', '"é🚀[red]"', '"%s{0}"', '"' + "x" * 3000 + '"',
    "'''a\nb'''", "0x10", "0o7", "+1", "1979-05-27T07:32:00Z", "07:32:00", '[["12:00", "13:00"]]',
    '[["13:00", "12:00"]]', '[["12:01", "12:02"]]', '[["00:00", "23:59"]]', '["12:00", "13:00"]', '[[]]',
    '[["08:00", "12:00"], ["12:00", "16:30"]]', "[[" * 400 + "]]" * 400, "[" * 3000, '["2026-06-02", 2026-06-01]',
    "[2026-06-02, 1]", f"[{', '.join(f'2026-{m:02}-{d:02}' for m in range(1, 13) for d in range(1, 29))}]",
    "[2026-06-01T00:00:00]", '"09:35"', '"09:33"',
)  # fmt: skip
_TEXTS = (
    "", "LSE = 1", "LSE = []", "[LSE]", "[[LSE]]", "[lse]", "[XLON]", "[HK]", '["LSE"]', "[LSE.x.y.z]", "[US]", "= 1",
    "LSE.", '"" = 1', "[LSE]\nclosing_seconds = 1\nclosing_seconds = 2", "LSE.a.b = 1\nLSE.a = 2", "[AU]\n[AU]",
    "\ufeffLSE.name = 'x'", "# é", "\x00", "LSE = {closing_seconds = 1,\n}", "a." * 2000 + "b = 1",
    "LSE.closures = [2026-06-01,", "LSE.name = 'a", "[LSE]\r\nname='a'\r\n",
    "\n".join(f"AU.extra_sessions.2026-{m:02}-{d:02} = ['10:00', '16:00']" for m in range(1, 13) for d in range(1, 29)),
    "\n".join(f"[{code}]\nclosures = [2026-06-01, 2026-06-02]" for code in _SUPPORTED),
)  # fmt: skip


def draw_markets_change(random: Random) -> Change:
    """One more line in a file of markets: a correction that may be right, or a text that may be none."""
    code = random.choice(("LSE", "AU", "US", "US", "LSE", *CODES))
    day, (opens, closes) = random.choice(_DAYS), random.choices(_CLOCKS, k=2)
    field = random.choice((*CORRECTIONS, *CORRECTIONS, "assumed", "exchange", "names", "overrides", "Zone", "closes"))
    line = random.choice(
        (
            *(f"{code}.extra_sessions.{day} = [{opens}, {closes}]", f"{code}.early_closes.{day} = {opens}"),
            *(
                f"{code}.late_opens.{day} = {opens}",
                f"{code}.closures = [{day}]",
                f"{code}.{CORRECTIONS.get(field, field)}",
            ),
            *(f"{code}.{field} = {random.choice(_VALUES)}", f"{code}.{field} = {random.choice(_VALUES)}"),
            *(random.choice(_TEXTS), draw_text(random)),
        )
    ).encode("utf-8", "surrogateescape")
    return Change(f"line {line[:200]!r}", lambda content: content + b"\n" + line)
