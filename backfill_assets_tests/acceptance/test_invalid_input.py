"""Invalid settings, options and arguments: one line that names the setting or option and the fault, exit code 2.

The tables are complete: a test fails for a new setting or option that is in none of them. Settings and tickers are
checked where they are read; a few of each go through the command line as well.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from backfill_assets.cli.main import cli
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import parse_ticker
from backfill_assets_tests.acceptance.conftest import User

UserOf = Callable[..., User]
ADDRESS = ["ftp://x/api", "eodhd.com/api", "http://", "http://[bad", "http://a b/", "http://h:99999/", "http://h:0/"]
ADDRESS += ["http://h/\n", "http://ünï.de/", "http://-h/", f"http://{'a' * 300}/", "//h/api", "javascript:alert(1)"]


def out_of(least: float | None, most: float, *, whole: bool = False, above: bool = False) -> dict[str, str]:
    """Values below, above and outside a range, and what the error says of each."""
    odd = {"many": "valid", "1,5": "valid", "nan": "", "inf": "", "-inf": "", "9" * 400: ""}
    beyond = {str(most + 1): f"less than or equal to {most}"}
    if least is not None:
        beyond |= {str(least if above else least - 1): f"greater than {'' if above else 'or equal to '}{least}"}
    return {**odd, **beyond, **({"1.5": "valid integer"} if whole else {})}


NO_FILE = {"/nonexistent/secret": "cannot be read: No such file", "/": "cannot be read", "/dev/zero": "only line"}
NO_JSON = dict.fromkeys(["[nan]", "1,2", "{"], "is not valid JSON; example: [")
SETTINGS: dict[str, dict[str, str]] = {
    "DATABASE_URL_FILE": NO_FILE,
    "BACKFILL_DATABASE_PATIENCE_SECONDS": out_of(0, 3600),
    "EODHD_API_TOKEN": {" ": "is blank", "a\nb": "cannot be printed", "tok\x1ben": "cannot be printed"},
    "EODHD_API_TOKEN_FILE": NO_FILE,
    "EODHD_BASE_URL": {
        **dict.fromkeys(ADDRESS, ""),
        "https://user:hush@h/": "without credentials",
        "https://h/?api_token=hush": "without credentials, query",
        "https://h/#hush": "without credentials, query or fragment",
    },
    "EODHD_SOURCE_HOST": dict.fromkeys(["a b", "https://eodhd.com", "-", "eodhd.com/api", "ü"], "must be a host name"),
    "EODHD_REQUESTS_PER_MINUTE": out_of(1, 100_000, whole=True),
    "BACKFILL_MINUTE_SHARE": out_of(0, 1, above=True),
    "EODHD_DAILY_CALLS": out_of(1, 1_000_000_000, whole=True),
    "BACKFILL_COLLECTOR_RESERVE": {**out_of(0, 1), "2": "less than 1", "1": "less than 1"},
    "BACKFILL_SPEND_EXTRA_LIMIT": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_RATE_WINDOW_SECONDS": out_of(0, 3600, above=True),
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": out_of(0, 600, above=True),
    "BACKFILL_ATTEMPTS": out_of(1, 20, whole=True),
    "BACKFILL_BACKOFF_SECONDS": {
        **NO_JSON,
        **dict.fromkeys(["[2, 1]", "[-1, 1]", "[0, 601]", "[0, NaN]"], "two numbers of seconds, the smaller first"),
        **dict.fromkeys(["[1]", "[1, 2, 3]", "[1, []]", '["a", 1]', "7", '{"a": 1}'], ""),
    },
    "BACKFILL_IN_FLIGHT_START": out_of(1, 1000, whole=True),
    "BACKFILL_IN_FLIGHT_MAX": out_of(1, 1000, whole=True),
    "BACKFILL_SOURCE_INTERVAL": dict.fromkeys(["15m", "5", "5M"], "'1m' or '5m'"),
    "BACKFILL_ASKABLE_HOURS_5M": out_of(0, 72),
    "BACKFILL_ASKABLE_HOURS_1M": out_of(0, 72),
    "BACKFILL_OVERDUE_HOURS": out_of(0, 240),
    "BACKFILL_OVERDUE_AFTER_HALF_HOURS": out_of(0, 240),
    "BACKFILL_LADDER_HOURS": {
        **NO_JSON,
        **dict.fromkeys(["[]", "[0]", "[169]", "[1, -1]", "[NaN]", "[Infinity]"], "one or more numbers of hours"),
        **dict.fromkeys(['["a"]', "3", '{"a": 1}'], ""),
    },
    "BACKFILL_DAILY_FILE_SYMBOLS": {"0": "greater than or equal to 1", "many": "valid integer"},
    "BACKFILL_BULK_DAILY": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_OVERLAP_SESSIONS": out_of(0, 60, whole=True),
    "BACKFILL_MAX_SPAN_DAYS": out_of(1, 600, whole=True),
    "BACKFILL_LIVE": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_LIVE_BUDGET": out_of(0, 1_000_000, whole=True),
    "BACKFILL_LIVE_SECONDS": {**out_of(60, 1800, whole=True), "77": ""},
    "BACKFILL_REVIEW_SESSIONS": out_of(1, 250, whole=True),
    "BACKFILL_REVIEW_DAYS": out_of(0, 365),
    "BACKFILL_INTERVALS": {
        **NO_JSON,
        **dict.fromkeys(["[]", '["2h"]', '["30m", "30m"]', '["30min"]'], "one or more of 1m, 5m, 15m, 30m, 1h"),
        **dict.fromkeys(["[30]", '"30m"', "3"], ""),
    },
    "BACKFILL_PARTITION_DAYS": out_of(2, 2500, whole=True),
    "BACKFILL_PARTITIONS_PER_RUN": out_of(1, 100_000, whole=True),
    "BACKFILL_AUTO": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_SENSOR_SECONDS": out_of(1, 86_400, whole=True),
    "BACKFILL_CHECKS_CRON": {
        # five fields with invalid values are refused when Dagster loads the schedule: orchestration/test_schedules
        **dict.fromkeys(["hourly", "* * * *", "* * * * * *", "@daily", "; * * * *"], "cron expression of five fields"),
    },
    "BACKFILL_MISSING_TOLERANCE": out_of(0, 10_000, whole=True),
    "BACKFILL_SYNC_EXCHANGE": dict.fromkeys(["LSE", "us"], "'US'"),
    "DAGSTER_POSTGRES_URL_FILE": NO_FILE,
    "BACKFILL_BATCH_PLANNED_EVENTS": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_CALENDAR_FILE": {"/nonexistent/calendar": "cannot be used", "/": "cannot be used"},
    "BACKFILL_EOD_TOLERANCE_BPS": out_of(0, 1000),
    "BACKFILL_ALERT_URLS": {
        **dict.fromkeys(["hush", "mailto://a@b hush", '["hush"]', "//hush"], "must be one or more Apprise URLs"),
        **dict.fromkeys(["[hush", '[1, "hush"]', '[["hush"]]'], ""),
    },
    "BACKFILL_ALERT_REPEAT_HOURS": out_of(1, 720),
    "BACKFILL_AS_OF": {
        "yesterday": "valid datetime",
        "2026-06-03T12:00:00": "needs a time zone",
        "0001-01-01T00:00:00Z": "between 2004 and 2099",
        "2150-01-01T00:00:00Z": "between 2004 and 2099",
        "2026-02-30T00:00:00Z": "valid datetime",
    },
    "BACKFILL_LOG_LEVEL": dict.fromkeys(["loud", "debug", "30"], "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
}
ELSEWHERE = {
    *("DATABASE_URL", "BACKFILL_HOME"),  # exit code 5: test_invalid_environment
    "DAGSTER_POSTGRES_URL",  # Dagster's storage
    "BACKFILL_SYNC_TYPE",  # the vendor decides what is valid: symbols sync --type is the same
}


def test_every_setting_is_in_a_table() -> None:
    assert SETTINGS.keys() | ELSEWHERE == {field.alias for field in Settings.model_fields.values()}


@pytest.mark.parametrize("variable", SETTINGS)
def test_an_invalid_setting_is_named_and_its_secret_is_not(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, said in SETTINGS[variable].items():
        monkeypatch.setenv(variable, value)
        with pytest.raises(UsageError) as caught:
            load_settings().load_calendar_overrides()
        error = str(caught.value)
        assert error.startswith(f"{variable} "), value
        assert said in error, value
        assert len(error.splitlines()) == 1, value
        assert len(error) < 250, value
        assert "hush" not in error, value


@pytest.mark.parametrize(
    "variable", ["BACKFILL_ATTEMPTS", "BACKFILL_INTERVALS", "BACKFILL_CALENDAR_FILE", "EODHD_BASE_URL"]
)
def test_a_command_refuses_an_invalid_setting(user_of: UserOf, variable: str) -> None:
    user = user_of()
    user.types("symbols add AAPL")
    for value, said in SETTINGS[variable].items():
        answer = user.types("report", **{variable: value})
        assert (answer.code, value) == (2, value), answer
        assert answer.error.startswith(f"{variable} "), answer
        assert said in answer.error, answer
        assert "hush" not in answer.error, answer


def test_two_different_values_of_a_secret_are_refused(user_of: UserOf, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file")
    answer = user_of().types("report", EODHD_API_TOKEN_FILE=str(tmp_path / "token"))
    assert answer.code == 2
    assert answer.error == "EODHD_API_TOKEN and EODHD_API_TOKEN_FILE are both set and differ; set one of them"


CALENDARS = {"not JSON": "no", "a list": "[]", "unknown": '{"closed": []}', "no date": '{"closures": ["soon"]}'}


@pytest.mark.parametrize("text", CALENDARS.values(), ids=CALENDARS)
def test_an_invalid_calendar_file_is_named(user_of: UserOf, tmp_path: Path, text: str) -> None:
    (tmp_path / "calendar").write_text(text)
    user = user_of(BACKFILL_CALENDAR_FILE=str(tmp_path / "calendar"))
    user.types("symbols add AAPL")
    answer = user.types("report")
    assert (answer.code, f"BACKFILL_CALENDAR_FILE {tmp_path}/calendar cannot be used" in answer.error) == (2, True)


WINDOWED = ("report", "plan", "run", "verify")
DATES = ["yesterday", "2026-02-30", "2026-6-1", "06/01/2026", "99999-01-01", "२०२६-०६-०१"]
TIMES = ["noon", "2026-06-02T10:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-06-02T25:00:00Z"]
NOT_A_NUMBER = ["many", "1,5", "", "--"]
OPTIONS: dict[tuple[str, str], list[str]] = {
    **{(c, "--interval"): ["2h", "", "30M", "1d", "30m;", "5" * 300] for c in (*WINDOWED, "why", "review")},
    **{(c, "--hours-back"): [*NOT_A_NUMBER, "0", "-4", "nan", "inf", "1e9"] for c in WINDOWED},
    **{(c, "--start"): DATES for c in WINDOWED},
    **{(c, "--end"): DATES for c in WINDOWED},
    **{(c, "--symbols"): ["", ",", " , ", "AA/PL", "AAPL,BRK.B", "A" * 300, "NOSUCH"] for c in (*WINDOWED, "review")},
    **{
        (c, "--format"): ["xml", "", "JSON"]
        for c in (*WINDOWED, "why", "status", "settings", "alerts list", "review", "live")
    },
    ("report", "--output"): ["/nonexistent/r.txt", "/", "/proc/nowhere"],
    ("review", "--calls"): [*NOT_A_NUMBER, "-1", "1.5"],
    ("run", "--strategy"): ["best", ""],
    ("run", "--batch-size"): [*NOT_A_NUMBER, "0", "-1", "1.5"],
    ("run", "--delay"): [*NOT_A_NUMBER, "-1", "3601", "5"],
    ("symbols add", "--file"): ["/nonexistent/symbols", "/", "/dev/null", "/dev/zero"],
    ("symbols sync", "--exchange"): ["LSE", "", "U/S", "'; DROP TABLE market_data; --"],
    ("symbols sync", "--type"): ["no such type"],
    ("sandbox", "--port"): [*NOT_A_NUMBER, "-1", "65536"],
    ("sandbox", "--symbols"): [*NOT_A_NUMBER, "0", "10001"],
    ("sandbox", "--now"): TIMES,
    ("sandbox", "--latency-ms"): ["9-1", "-1", "a-b", "1-2-3", "nan", "0-9999999"],
    ("sandbox", "--per-minute"): [*NOT_A_NUMBER, "0"],
    ("sandbox", "--daily"): [*NOT_A_NUMBER, "0"],
    ("dev", "--port"): [*NOT_A_NUMBER, "0", "65536"],
    ("sandbox", "--replay"): ["/nonexistent", "/dev/null"],
}
NEEDED = {"why": ("AAPL", "2026-06-02"), "symbols add": ("AAPL",), "symbols deactivate": ("AAPL",)}


def commands(group: click.Group = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


FLAGGED = [
    (name, option.opts[0])
    for name, command in commands()
    for option in command.params
    if isinstance(option, click.Option) and option.is_flag
]
EVERYWHERE = [name for name, _ in commands()]
OPTIONS |= {(name, "--as-of"): TIMES for name in EVERYWHERE}


def test_every_option_is_in_a_table() -> None:
    every = {
        (name, option.opts[0])
        for name, command in commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag
    }
    assert OPTIONS.keys() == every


@pytest.mark.parametrize("command", EVERYWHERE)
def test_an_invalid_option_is_named(user_of: UserOf, sandboxed: Callable[..., object], command: str) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    for option, values in ((o, v) for (c, o), v in OPTIONS.items() if c == command):
        for value in values:
            answer = user.types([*command.split(), *NEEDED.get(command, ()), f"{option}={value}"])
            assert (answer.code, option, value) == (2, option, value), answer
            # some options are named by their meaning
            words = (option, "interval", "symbol", "ticker", "exchange", "lists no", "replay")
            assert any(word in answer.error for word in words), answer
            assert len(answer.error) < 300, answer


def test_an_option_without_value_a_flag_with_a_value_and_an_unknown_option_are_refused(user_of: UserOf) -> None:
    user = user_of()
    for command, option in OPTIONS:
        answer = user.types([*command.split(), *NEEDED.get(command, ()), option])
        assert (answer.code, option in answer.error) == (2, True), answer
    for command, flag in FLAGGED:
        answer = user.types([*command.split(), *NEEDED.get(command, ()), f"{flag}=yes"])
        assert (answer.code, flag in answer.error) == (2, True), answer
    for command in EVERYWHERE:
        answer = user.types([*command.split(), *NEEDED.get(command, ()), "--no-such-option"])
        assert (answer.code, f"see backfill-assets {command} --help" in answer.error) == (2, True), answer


TICKERS = {
    "slash": "AA/PL",
    "path": "../../etc/passwd",
    "dot": "BRK.B",
    "only a dot": ".",
    "dots": "A.B.US",
    "space": "AA PL",
    "empty": "",
    "blank": "  ",
    "no symbol": ".US",
    "Greek": "ΑΑΠΛ",
    "grows when upper": "ßIG",
    "becomes another when upper": "ıbm",
    "full width": "ＡＡＰＬ",
    "right to left": "\u202eLPAA",
    "zero width": "AA\u200bPL",
    "emoji": "🚀",
    "new line": "AAPL\nMSFT",
    "bell": "AAPL\x07",
    "SQL": "A'; DROP TABLE market_data; --",
    "SQL comment": "A--/*",
    "parameter": "%s%(name)s",
    "format": "{0.__class__}",
    "shell": "$(reboot)",
    "shell quotes": "`id`;&|",
    "query": "AAPL?api_token=x&fmt=csv#",
    "percent": "AA%2FPL",
    "eleven": "A" * 11,
    "300": "A" * 300,
    "300 of exchange": "A." + "S" * 300,
    "exchange": "AAPL.LSE",
    "dash first": "-AAPL",
}


@pytest.mark.parametrize("ticker", TICKERS.values(), ids=TICKERS)
def test_an_invalid_ticker_is_named(ticker: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ticker(ticker)
    assert "ticker " in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", ["slash", "blank", "new line", "SQL", "300", "dash first"])
def test_every_command_names_an_invalid_ticker(user_of: UserOf, kind: str) -> None:
    ticker = TICKERS[kind]
    user = user_of()
    user.types("symbols add MSFT")
    for words in (
        ["symbols", "add", "--", ticker],
        ["symbols", "deactivate", "--", "MSFT", ticker],
        ["report", f"--symbols=MSFT,{ticker}"],
        ["why", "--", ticker, "2026-06-02"],
    ):
        answer = user.types(words)
        if words[0] == "report" and not ticker.strip():
            assert answer.code == 0  # MSFT and nothing
            continue
        assert answer.code == 2, answer
        assert "ticker " in answer.error, answer
        assert len(answer.error) < 200, answer
    assert user.types("symbols list --all").out == "MSFT.US\n"


def test_invalid_ticker_in_a_symbols_file_is_named(user_of: UserOf, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_text("AAPL\n$(reboot)\n")
    answer = user_of().types(f"symbols add --file {tmp_path / 'symbols'}")
    assert (answer.code, "'$(reboot)'" in answer.error) == (2, True)


def test_symbols_file_from_a_spreadsheet_with_repeats_is_read(user_of: UserOf, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_bytes("\ufeffAAPL\r\nMSFT\r\naapl.us\r\nAAPL\r\n".encode())
    user = user_of()
    assert (
        user.types(f"symbols add --file {tmp_path / 'symbols'}").out
        == "2 added or reactivated, 0 were active already\n"
    )
    assert user.types("symbols list").out.split() == ["AAPL.US", "MSFT.US"]


RANGES = {
    "reversed": ("2026-06-02", "2026-06-01", "is after --end"),
    "before the first": ("2003-12-31", "2026-06-01", "before the vendor's first data"),
    "long before": ("0001-01-01", "2026-06-01", "before the vendor's first data"),
    "reversed at the end of time": ("9999-12-31", "9999-12-30", "is after --end"),
}


@pytest.mark.parametrize("command", WINDOWED)
@pytest.mark.parametrize(("start", "end", "said"), RANGES.values(), ids=RANGES)
def test_an_invalid_range_is_named(user_of: UserOf, command: str, start: str, end: str, said: str) -> None:
    user = user_of()
    user.types("symbols add AAPL")
    answer = user.types(f"{command} --start {start} --end {end}")
    assert (answer.code, said in answer.error) == (2, True), answer


@pytest.mark.parametrize("command", WINDOWED)
def test_a_range_in_the_future_has_no_session_due(user_of: UserOf, command: str) -> None:
    user = user_of()
    user.types("symbols add AAPL")
    answer = user.types(f"{command} --start 9999-01-01 --end 9999-12-31")
    assert (answer.code, "no session due" in answer.out) == (0, True), answer
    assert user.types("why AAPL 9999-12-31").code == 0
