"""Invalid settings, options and arguments: exit code 2 and one line that names the setting or option and the error.

The tables are complete: a test fails for a new setting or option that is in none of them. Most settings and tickers
are tested with the function that reads them, and a few of each with the command line.
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

MakeUser = Callable[..., User]
INVALID_URLS = [
    "ftp://x/api",
    "eodhd.com/api",
    "http://",
    "http://[bad",
    "http://a b/",
    "http://h:99999/",
    "http://h:0/",
]
INVALID_URLS += [
    "http://h/\n",
    "http://ünï.de/",
    "http://-h/",
    f"http://{'a' * 300}/",
    "//h/api",
    "javascript:alert(1)",
]


def build_range_errors(
    minimum: float | None, maximum: float, *, whole: bool = False, exclusive: bool = False
) -> dict[str, str]:
    """Invalid values of a setting with a range, each with the expected part of the error."""
    not_numbers = {"many": "valid", "1,5": "valid", "nan": "", "inf": "", "-inf": "", "9" * 400: ""}
    outside = {str(maximum + 1): f"less than or equal to {maximum}"}
    if minimum is not None:
        outside |= {
            str(minimum if exclusive else minimum - 1): f"greater than {'' if exclusive else 'or equal to '}{minimum}"
        }
    return {**not_numbers, **outside, **({"1.5": "valid integer"} if whole else {})}


FILE_ERRORS = {
    **{"/nonexistent/secret": "cannot be read: No such file", "/": "cannot be read: Is a directory; Docker makes"},
    **{"/dev/zero": "only line", "/dev/null": "is empty; write the secret into it"},
    "/nonexistent/\udcff": "/nonexistent/\\udcff cannot be read: No such file",  # a byte that is not UTF-8
}
JSON_ERRORS = {
    **dict.fromkeys(["[nan]", "1,2", "{"], "is not valid JSON; example: ["),
    "[" * 5000: "is nested too deeply; example: [",
}
INVALID_SETTINGS: dict[str, dict[str, str]] = {
    "DATABASE_URL_FILE": FILE_ERRORS,
    "BACKFILL_DATABASE_PATIENCE_SECONDS": build_range_errors(0, 3600),
    "EODHD_API_TOKEN": {" ": "is blank", "a\nb": "cannot be printed", "tok\x1ben": "cannot be printed"},
    "EODHD_API_TOKEN_FILE": FILE_ERRORS,
    "EODHD_BASE_URL": {
        **dict.fromkeys(INVALID_URLS, ""),
        "https://user:hush@h/": "without credentials",
        "https://h/?api_token=hush": "without credentials, query",
        "https://h/#hush": "without credentials, query or fragment",
    },
    "EODHD_SOURCE_HOST": dict.fromkeys(["a b", "https://eodhd.com", "-", "eodhd.com/api", "ü"], "must be a host name"),
    "EODHD_REQUESTS_PER_MINUTE": build_range_errors(1, 100_000, whole=True),
    "BACKFILL_MINUTE_SHARE": build_range_errors(0, 1, exclusive=True),
    "EODHD_DAILY_CALLS": build_range_errors(1, 1_000_000_000, whole=True),
    "BACKFILL_COLLECTOR_RESERVE": {**build_range_errors(0, 1), "2": "less than 1", "1": "less than 1"},
    "BACKFILL_SPEND_EXTRA_LIMIT": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_RATE_WINDOW_SECONDS": build_range_errors(0, 3600, exclusive=True),
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": build_range_errors(0, 600, exclusive=True),
    "BACKFILL_ATTEMPTS": build_range_errors(1, 20, whole=True),
    "BACKFILL_BACKOFF_SECONDS": {
        **JSON_ERRORS,
        **dict.fromkeys(["[2, 1]", "[-1, 1]", "[0, 601]", "[0, NaN]"], "two numbers of seconds, the smaller first"),
        **dict.fromkeys(["[1]", "[1, 2, 3]", "[1, []]", '["a", 1]', "7", '{"a": 1}'], ""),
    },
    "BACKFILL_IN_FLIGHT_START": build_range_errors(1, 1000, whole=True),
    "BACKFILL_IN_FLIGHT_MAX": build_range_errors(1, 1000, whole=True),
    "BACKFILL_SOURCE_INTERVAL": dict.fromkeys(["15m", "5", "5M"], "'1m' or '5m'"),
    "BACKFILL_ASKABLE_HOURS_5M": build_range_errors(0, 72),
    "BACKFILL_ASKABLE_HOURS_1M": build_range_errors(0, 72),
    "BACKFILL_OVERDUE_HOURS": build_range_errors(0, 240),
    "BACKFILL_AROUND_THE_CLOCK_ASK_HOURS": build_range_errors(0.5, 12),
    "BACKFILL_OVERDUE_AFTER_HALF_HOURS": build_range_errors(0, 240),
    "BACKFILL_LADDER_HOURS": {
        **JSON_ERRORS,
        **dict.fromkeys(["[]", "[0]", "[169]", "[1, -1]", "[NaN]", "[Infinity]"], "one or more numbers of hours"),
        **dict.fromkeys(['["a"]', "3", '{"a": 1}'], ""),
    },
    "BACKFILL_DAILY_FILE_SYMBOLS": {"0": "greater than or equal to 1", "many": "valid integer"},
    "BACKFILL_BULK_DAILY": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_DAILY_DATA": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_ACTION_CALLS": build_range_errors(1, 1_000_000_000, whole=True),
    "BACKFILL_CROSS_FEED_CALLS": build_range_errors(0, 1_000_000_000, whole=True),
    "BACKFILL_OVERLAP_SESSIONS": build_range_errors(0, 60, whole=True),
    "BACKFILL_MAX_SPAN_DAYS": build_range_errors(1, 600, whole=True),
    "BACKFILL_LIVE": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_LIVE_BUDGET": build_range_errors(0, 1_000_000, whole=True),
    "BACKFILL_LIVE_SECONDS": {**build_range_errors(60, 1800, whole=True), "77": ""},
    "BACKFILL_REVIEW_SESSIONS": build_range_errors(1, 250, whole=True),
    "BACKFILL_REVIEW_DAYS": build_range_errors(0, 365),
    "BACKFILL_HISTORY_FROM": {
        **dict.fromkeys(["x", "2020-02-30", "12/10/2020"], "valid date"),
        **dict.fromkeys(["1990-01-01", "2150-01-01"], "between 2004 and 2099"),
    },
    "BACKFILL_INTERVALS": {
        **JSON_ERRORS,
        **dict.fromkeys(["[]", '["2h"]', '["30m", "30m"]', '["30min"]'], "one or more of 1m, 5m, 15m, 30m, 1h"),
        **dict.fromkeys(["[30]", '"30m"', "3"], ""),
    },
    "BACKFILL_OWNERS": {
        **JSON_ERRORS,
        **dict.fromkeys(['["x"]', '["team:"]', '["a b@c"]', '[""]'], "e-mail addresses and names of teams"),
        **dict.fromkeys(["3", "[3]", '{"a": 1}'], ""),
    },
    "BACKFILL_CODE_URL": {**dict.fromkeys(INVALID_URLS, ""), "x": "must be an http or https URL"},
    "BACKFILL_UNIVERSES": {
        **JSON_ERRORS,
        **dict.fromkeys(
            ['["a", "a"]', '["a b"]', '[""]', '["ü"]', '["LSE/A"]', '["LSE/"]', '["A"]'],
            "names of small letters, digits, - and _",
        ),
        '["a/b"]': "exchange 'a' is not supported",
        **dict.fromkeys(["3", "[3]", '"all"'], ""),
    },
    "BACKFILL_SESSIONS_START": {
        **dict.fromkeys(["x", "2020-02-30", "01/10/2020"], "valid date"),
        **dict.fromkeys(["1990-01-01", "2150-01-01"], "between 2004 and 2099"),
    },
    "BACKFILL_EVENT_SESSIONS": build_range_errors(1, 250, whole=True),
    "BACKFILL_MATERIAL_PRICE_BPS": build_range_errors(0, 10_000),
    "BACKFILL_MATERIAL_VOLUME_PERCENT": build_range_errors(0, 1000),
    "BACKFILL_PARTITION_DAYS": build_range_errors(2, 2500, whole=True),
    "BACKFILL_HEAL_SESSIONS": build_range_errors(2, 2500, whole=True),
    "BACKFILL_PARTITIONS_PER_RUN": build_range_errors(1, 100_000, whole=True),
    "BACKFILL_PURGE_DAYS": build_range_errors(7, 3650, whole=True),
    "BACKFILL_RENEW_DEFINITIONS": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_AUTO": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_SENSOR_SECONDS": build_range_errors(1, 86_400, whole=True),
    "BACKFILL_CHECKS_CRON": {
        # orchestration/test_schedules tests values of the fields, which Dagster checks
        **dict.fromkeys(["hourly", "* * * *", "* * * * * *", "@daily", "; * * * *"], "cron expression of five fields"),
    },
    "BACKFILL_MISSING_TOLERANCE": build_range_errors(0, 10_000, whole=True),
    "BACKFILL_EXCHANGES": {
        **JSON_ERRORS,
        **dict.fromkeys(["[]", '["US", "US"]'], "one or more exchanges, each once"),
        **dict.fromkeys(['["us"]', '["XNYS"]'], "is not supported"),
        **dict.fromkeys(['"US"', "3", "[3]"], ""),
    },
    "BACKFILL_EXCHANGE_ORDER": dict.fromkeys(["FAIR", "random"], "'fair' or 'listed'"),
    "BACKFILL_SYNC_EXCHANGE": dict.fromkeys(["LSE", "us"], "one of BACKFILL_EXCHANGES (US)"),
    "DAGSTER_POSTGRES_URL_FILE": FILE_ERRORS,
    "BACKFILL_BATCH_PLANNED_EVENTS": dict.fromkeys(["maybe", "2"], "valid boolean"),
    "BACKFILL_CALENDAR_FILE": {
        **dict.fromkeys(["/nonexistent/calendar", "/"], "cannot be used"),
        "/dev/zero": "it has more than 1,000,000 bytes",
    },
    "BACKFILL_MARKETS_FILE": {
        **dict.fromkeys(["/nonexistent/markets", "/"], "cannot be used"),
        "/dev/zero": "it has more than 1,000,000 bytes",
    },
    "BACKFILL_EOD_TOLERANCE_BPS": build_range_errors(0, 1000),
    "BACKFILL_ALERT_URLS": {
        **dict.fromkeys(["hush", "mailto://a@b hush", '["hush"]', "//hush"], "must be one or more Apprise URLs"),
        **dict.fromkeys(["[hush", '[1, "hush"]', '[["hush"]]', "[" * 5000], ""),
        "json://hush/\udc80": "contains bytes that are not UTF-8",
    },
    "BACKFILL_ALERT_URLS_FILE": {**FILE_ERRORS, "/dev/zero": "must contain addresses only, one a line"},
    "BACKFILL_ALERT_OWNERS": {
        **dict.fromkeys(["hush", "model", "model=hush", "json://hush/x"], "must be one or more UNIVERSE=URL"),
        **{
            "A B=json://hush": "must be",
            "M=json://hush/": "names of small letters",
            "NO/m=json://hush/": "not supported",
        },
    },
    "BACKFILL_ALERT_OWNERS_FILE": {**FILE_ERRORS, "/dev/zero": "must contain addresses only, one a line"},
    "BACKFILL_HEARTBEAT_URL": dict.fromkeys(
        ["hush", "ftp://hush/", "http://", "http://[hush", "http://a hush"], "must be"
    ),
    "BACKFILL_HEARTBEAT_URL_FILE": FILE_ERRORS,
    "BACKFILL_ALERT_REPEAT_HOURS": build_range_errors(1, 720),
    "BACKFILL_AS_OF": {
        "yesterday": "valid datetime",
        "2026-06-03T12:00:00": "needs a time zone",
        "0001-01-01T00:00:00Z": "between 2004 and 2099",
        "2150-01-01T00:00:00Z": "between 2004 and 2099",
        "2026-02-30T00:00:00Z": "valid datetime",
    },
    "BACKFILL_LOG_FORMAT": dict.fromkeys(["JSON", "logfmt"], "'text' or 'json'"),
    "BACKFILL_STOP_SECONDS": build_range_errors(0, 600),
    "BACKFILL_LOG_LEVEL": dict.fromkeys(["loud", "debug", "30"], "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
}
TESTED_ELSEWHERE = {
    *("DATABASE_URL", "BACKFILL_HOME"),  # exit code 5: test_invalid_environment
    "DAGSTER_POSTGRES_URL",  # Dagster's storage
    *("BACKFILL_SYNC_TYPE", "BACKFILL_SYNC_LISTING"),  # the vendor's list decides: symbols sync --type and --listing
}


def test_every_setting_has_invalid_examples() -> None:
    assert INVALID_SETTINGS.keys() | TESTED_ELSEWHERE == {field.alias for field in Settings.model_fields.values()}


@pytest.mark.parametrize("variable", INVALID_SETTINGS)
def test_invalid_setting_is_named_without_its_secret(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, message in INVALID_SETTINGS[variable].items():
        monkeypatch.setenv(variable, value)
        with pytest.raises(UsageError) as caught:
            load_settings().get_market("US")
        error = str(caught.value)
        assert error.startswith(f"{variable} "), value
        assert message in error, value
        assert len(error.splitlines()) == 1, value
        assert len(error) < 250, value
        assert "hush" not in error, value


@pytest.mark.parametrize(
    "variable", ["BACKFILL_ATTEMPTS", "BACKFILL_INTERVALS", "BACKFILL_CALENDAR_FILE", "EODHD_BASE_URL"]
)
def test_command_with_an_invalid_setting_exits_with_2(make_user: MakeUser, variable: str) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    for value, message in INVALID_SETTINGS[variable].items():
        result = user.run_cli("report", **{variable: value})
        assert (result.code, value) == (2, value), result
        assert result.error.startswith(f"{variable} "), result
        assert message in result.error, result
        assert "hush" not in result.error, result


def test_two_different_values_of_a_secret_are_refused(make_user: MakeUser, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file")
    result = make_user().run_cli("report", EODHD_API_TOKEN_FILE=str(tmp_path / "token"))
    assert result.code == 2
    assert result.error == "EODHD_API_TOKEN and EODHD_API_TOKEN_FILE are both set and differ; set one of them"


def test_secret_file_that_is_no_text_is_named(make_user: MakeUser, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"PK\x03\x04\x14\x00")
    result = make_user(EODHD_API_TOKEN="", EODHD_API_TOKEN_FILE=str(tmp_path / "token")).run_cli("report")
    expected = f"EODHD_API_TOKEN_FILE {tmp_path / 'token'} must contain the secret as its only line"
    assert (result.code, result.error) == (2, expected)


INVALID_CALENDARS = {"not JSON": "no", "a list": "[]", "unknown": '{"closed": []}', "no date": '{"closures": ["soon"]}'}


@pytest.mark.parametrize("text", INVALID_CALENDARS.values(), ids=INVALID_CALENDARS)
def test_invalid_calendar_file_is_named(make_user: MakeUser, tmp_path: Path, text: str) -> None:
    (tmp_path / "calendar").write_text(text)
    user = make_user(BACKFILL_CALENDAR_FILE=str(tmp_path / "calendar"))
    user.run_cli("symbols add AAPL")
    result = user.run_cli("report")
    assert (result.code, f"BACKFILL_CALENDAR_FILE {tmp_path}/calendar cannot be used" in result.error) == (2, True)


CERTIFICATE_COMMANDS = ("certify", "verify-certificate", "certificates list")
READ_COMMANDS = ("bars", "export")
WINDOW_COMMANDS = ("report", "plan", "run", "verify", "audit")
ANSWERS = ("decisions accept", "decisions reject")
INVALID_DATES = ["yesterday", "2026-02-30", "2026-6-1", "06/01/2026", "99999-01-01", "२०२६-०६-०१"]
INVALID_TIMES = ["noon", "2026-06-02T10:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-06-02T25:00:00Z"]
INVALID_NUMBERS = ["many", "1,5", "", "--"]
INVALID_OPTIONS: dict[tuple[str, str], list[str]] = {
    **{
        (c, "--interval"): ["2h", "", "30M", "1d", "30m;", "5" * 300]
        for c in (*WINDOW_COMMANDS, "why", "review", "census")
    },
    **{(c, "--exchange"): ["LSE", "", "XNYS", "U/S", "A" * 300] for c in (*WINDOW_COMMANDS, "review")},
    **{(c, "--hours-back"): [*INVALID_NUMBERS, "0", "-4", "nan", "inf", "1e9"] for c in WINDOW_COMMANDS},
    **{(c, "--start"): INVALID_DATES for c in (*WINDOW_COMMANDS, "actions list")},
    **{(c, "--end"): INVALID_DATES for c in (*WINDOW_COMMANDS, "actions list")},
    **{
        (c, "--symbols"): ["", ",", " , ", "AA/PL", "AAPL,BRK.B", "A" * 300, "NOSUCH"]
        for c in (*WINDOW_COMMANDS, "review")
    },
    **{
        (c, "--format"): ["xml", "", "JSON"]
        for c in (
            *WINDOW_COMMANDS,
            "why",
            "status",
            "settings",
            "alerts list",
            "review",
            "live",
            "migrate",
            "partition-table",
        )
    },
    **{(c, "--format"): ["xml", "", "JSON"] for c in ("decisions list", "decisions show", "actions list", "census")},
    ("actions list", "--kind"): ["", "splits", "SPLIT", "split,dividend", "spin-off"],
    **{(c, "--kind"): ["", "doubts", "DOUBT", "doubt,halt"] for c in ("decisions list", *ANSWERS)},
    **{(c, "--rule"): ["", "spike", "PRICE_SPIKE", "price_spike,frozen"] for c in ("decisions list", *ANSWERS)},
    **{(c, "--ticker"): ["", ",", "AA/PL", "AAPL,MSFT", "A" * 300] for c in ("decisions list", *ANSWERS)},
    **{(c, "--note"): ["", "  ", "x" * 201, "\x07", "\udcff"] for c in (*ANSWERS, "decisions undo", "symbols rename")},
    ("symbols rename", "--on"): INVALID_DATES,
    **{(c, "--interval"): ["2h", "", "30M", "1d"] for c in (*CERTIFICATE_COMMANDS, *READ_COMMANDS)},
    **{(c, "--universe"): ["", "nosuch", "a b", "A" * 300] for c in (*CERTIFICATE_COMMANDS, *READ_COMMANDS)},
    **{
        (c, "--format"): ["xml", "", "JSON"]
        for c in (*CERTIFICATE_COMMANDS, *READ_COMMANDS, "universes list", "universes show")
    },
    **{(c, "--start"): INVALID_DATES for c in ("certificates list", *READ_COMMANDS)},
    **{(c, "--end"): INVALID_DATES for c in ("certificates list", *READ_COMMANDS)},
    ("certificates list", "--limit"): [*INVALID_NUMBERS, "0", "-1", "1.5"],
    ("verify-certificate", "--session"): INVALID_DATES,
    **{(c, "--adjustment"): ["", "split", "SPLITS", "dividends"] for c in READ_COMMANDS},
    **{(c, "--require"): ["", "all", "COMPLETE"] for c in READ_COMMANDS},
    **{(c, "--on-incomplete"): ["", "skip", "DROP"] for c in READ_COMMANDS},
    **{("bars", option): INVALID_TIMES[:3] for option in ("--known-at", "--point-in-time")},
    ("bars", "--columns"): ["", ",", "price", "close,close", "Close"],
    ("bars", "--output"): ["/nonexistent/bars.csv", "/", "/proc/nowhere"],
    ("export", "--dir"): ["/dev/null", "/proc/nowhere"],
    **{
        (command, "--exchange"): ["NOWHERE", "", "U/S", "XLON"]
        for command in (
            *CERTIFICATE_COMMANDS,
            *READ_COMMANDS,
            *(f"universes {c}" for c in ("list", "show", "set", "remove")),
            "census",
        )
    },
    **{
        (c, "--file"): ["/nonexistent/symbols", "/", "/dev/null", "/dev/zero"]
        for c in ("universes add", "universes remove")
    },
    **{(c, "--max-incomplete"): [*INVALID_NUMBERS, "-1", "1.5", "1000001"] for c in ("universes add", "universes set")},
    **{(c, "--deadline"): [*INVALID_NUMBERS, "0h", "2", "-2h", "367d"] for c in ("universes add", "universes set")},
    ("report", "--output"): ["/nonexistent/r.txt", "/", "/proc/nowhere"],
    ("pause", "--until"): [*INVALID_TIMES, "2020-01-01T00:00:00Z"],
    **{(c, "--note"): ["", "  ", "x" * 201, "\x07"] for c in ("alerts ack", "alerts snooze")},
    **{(c, "--format"): ["xml", "", "JSON"] for c in ("alerts ack", "alerts snooze")},
    ("alerts snooze", "--until"): [*INVALID_TIMES, "2020-01-01T00:00:00Z"],
    ("alerts snooze", "--for"): [*INVALID_NUMBERS, "0h", "2", "-2h", "1.5h", "367d"],
    ("pause", "--for"): [*INVALID_NUMBERS, "0h", "2", "-2h", "1.5h", "2 h", "367d", "30s", "999999d"],
    **{(c, "--reason"): ["", "  ", "x" * 201, "\x07", "\udcff"] for c in ("pause", "history pause")},
    ("history start", "--requests"): [*INVALID_NUMBERS, "0", "-1", "1.5"],
    **{(f"history {name}", "--format"): ["xml", "", "JSON"] for name in ("start", "status", "estimate")},
    ("symbols add", "--history-from"): [*INVALID_DATES, "2020-10-09"],
    ("review", "--calls"): [*INVALID_NUMBERS, "-1", "1.5"],
    ("run", "--strategy"): ["best", ""],
    ("run", "--batch-size"): [*INVALID_NUMBERS, "0", "-1", "1.5"],
    ("run", "--delay"): [*INVALID_NUMBERS, "-1", "3601", "5"],
    ("symbols add", "--file"): ["/nonexistent/symbols", "/", "/dev/null", "/dev/zero"],
    ("symbols add", "--listed-from"): [
        *INVALID_DATES,
        "2026-06-02",
        "2026-05-30",
        "2026-06-04",
        "0001-01-01",
        "9999-12-31",
    ],
    **{(c, "--format"): ["xml", "", "JSON"] for c in ("markets list", "markets show", "markets probe")},
    ("markets probe", "--symbols"): ["", ",", "AA/PL", "AAPL.US", "A" * 300],
    ("markets probe", "--output"): ["/nonexistent/probe.json", "/"],
    ("markets probe", "--from"): ["/nonexistent/probe.json", "/", "/dev/null", "/proc/version"],
    ("symbols list", "--exchange"): ["NOWHERE", "", "U/S", "XLON"],
    ("symbols sync", "--exchange"): ["LSE", "", "U/S", "'; DROP TABLE market_data; --"],
    ("symbols sync", "--type"): ["no such type", "etf,no such type"],
    ("symbols sync", "--listing"): ["no such market", "NYSE,no such market"],
    ("sandbox", "--host"): ["", " ", "no such host", "256.1.1.1", "203.0.113.1", "http://h", "a" * 99, "ü" * 70],
    ("metrics", "--host"): ["", " ", "no such host", "256.1.1.1", "203.0.113.1", "http://h", "a" * 99, "ü" * 70],
    ("metrics", "--port"): [*INVALID_NUMBERS, "-1", "65536"],
    ("sandbox", "--port"): [*INVALID_NUMBERS, "-1", "65536"],
    ("sandbox", "--symbols"): [*INVALID_NUMBERS, "0", "10001"],
    ("sandbox", "--exchanges"): ["XLON", "LSE,NOPE", "../LSE"],
    ("sandbox", "--now"): INVALID_TIMES,
    ("sandbox", "--latency-ms"): ["9-1", "-1", "a-b", "1-2-3", "nan", "0-9999999"],
    ("sandbox", "--per-minute"): [*INVALID_NUMBERS, "0"],
    ("sandbox", "--daily"): [*INVALID_NUMBERS, "0"],
    ("dev", "--port"): [*INVALID_NUMBERS, "0", "65536"],
    ("sandbox", "--replay"): ["/nonexistent", "/dev/null"],
}
REQUIRED_ARGUMENTS = {
    **{"why": ("AAPL", "2026-06-02"), "symbols add": ("AAPL",), "symbols deactivate": ("AAPL",)},
    **{
        "markets show": ("LSE",),
        "markets probe": ("LSE",),
        "metrics": ("--serve",),
        "symbols rename": ("AAPL", "NEW"),
        "symbols show": ("AAPL",),
    },
    **{
        "bars": ("AAPL", "--start=2026-06-01", "--end=2026-06-01"),
        "export": ("--dir=/tmp",),
        "certify": ("2026-06-01",),
    },
    "alerts ack": ("--all",),
    "alerts snooze": ("--all", "--for=1h"),
    **{"universes show": ("all",), "universes add": ("model", "AAPL"), "universes set": ("all",)},
    **{"universes remove": ("model",)},
    **dict.fromkeys((*ANSWERS, "decisions show", "decisions undo"), ("1",)),
}


def iterate_commands(group: click.Group = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from iterate_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


FLAGS = [
    (name, option.opts[0])
    for name, command in iterate_commands()
    for option in command.params
    if isinstance(option, click.Option) and option.is_flag
]
COMMAND_NAMES = [name for name, _ in iterate_commands()]
INVALID_OPTIONS |= {(name, "--as-of"): INVALID_TIMES for name in COMMAND_NAMES if not name.endswith("pause")}


def test_every_option_has_invalid_examples() -> None:
    options = {
        (name, option.opts[0])
        for name, command in iterate_commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag
    }
    assert INVALID_OPTIONS.keys() == options


@pytest.mark.parametrize("command", COMMAND_NAMES)
def test_invalid_option_is_named(make_user: MakeUser, start_sandbox: Callable[..., object], command: str) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    for option, values in ((o, v) for (c, o), v in INVALID_OPTIONS.items() if c == command):
        for value in values:
            result = user.run_cli([*command.split(), *REQUIRED_ARGUMENTS.get(command, ()), f"{option}={value}"])
            assert (result.code, option, value) == (2, option, value), result
            # some errors name the kind of value, not the option
            words = ("interval", "symbol", "ticker", "exchange", "lists no", "replay", "kind", "rule", "columns")
            words = (option, *words, "universe", "certificate of", "cannot be written", "recording")
            assert any(word in result.error for word in words), result
            assert len(result.error) < 300, result


def test_missing_value_flag_with_a_value_and_unknown_option_are_refused(make_user: MakeUser) -> None:
    user = make_user()
    for command, option in INVALID_OPTIONS:
        result = user.run_cli([*command.split(), *REQUIRED_ARGUMENTS.get(command, ()), option])
        assert (result.code, option in result.error) == (2, True), result
    for command, flag in FLAGS:
        result = user.run_cli([*command.split(), *REQUIRED_ARGUMENTS.get(command, ()), f"{flag}=yes"])
        assert (result.code, flag in result.error) == (2, True), result
    for command in COMMAND_NAMES:
        result = user.run_cli([*command.split(), *REQUIRED_ARGUMENTS.get(command, ()), "--no-such-option"])
        assert (result.code, f"see backfill-assets {command} --help" in result.error) == (2, True), result


@pytest.mark.parametrize("group", ["", *sorted({name.split()[0] for name in COMMAND_NAMES if " " in name})])
def test_a_group_without_a_command_prints_its_help(make_user: MakeUser, group: str) -> None:
    user = make_user()
    result, asked = user.run_cli(group.split()), user.run_cli([*group.split(), "--help"])
    assert (result.code, result.out, result.err.strip()) == (2, "", asked.out.strip())


INVALID_TICKERS = {
    "slash": "AA/PL",
    "path": "../../etc/passwd",
    "dot": "BRK.B",
    "only a dot": ".",
    "dots": "A.B.US",
    "space": "AA PL",
    "empty": "",
    "blank": "  ",
    "only an exchange": ".US",
    "Greek": "ΑΑΠΛ",
    "longer in upper case": "ßIG",
    "another letter in upper case": "ıbm",
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
    "300 in the exchange": "A." + "S" * 300,
    "exchange": "AAPL.XLON",
    "dash first": "-AAPL",
}


@pytest.mark.parametrize("ticker", INVALID_TICKERS.values(), ids=INVALID_TICKERS)
def test_invalid_ticker_is_named(ticker: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ticker(ticker)
    assert "ticker " in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", ["slash", "blank", "new line", "SQL", "300", "dash first"])
def test_every_command_names_an_invalid_ticker(make_user: MakeUser, kind: str) -> None:
    ticker = INVALID_TICKERS[kind]
    user = make_user()
    user.run_cli("symbols add MSFT")
    for arguments in (
        ["symbols", "add", "--", ticker],
        ["symbols", "deactivate", "--", "MSFT", ticker],
        ["report", f"--symbols=MSFT,{ticker}"],
        ["why", "--", ticker, "2026-06-02"],
    ):
        result = user.run_cli(arguments)
        if arguments[0] == "report" and not ticker.strip():
            assert result.code == 0  # a blank ticker is ignored
            continue
        assert result.code == 2, result
        assert "ticker " in result.error, result
        assert len(result.error) < 200, result
    assert user.run_cli("symbols list --all").out == "MSFT.US\n"


def test_invalid_ticker_in_a_symbols_file_is_named(make_user: MakeUser, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_text("AAPL\n$(reboot)\n")
    result = make_user().run_cli(f"symbols add --file {tmp_path / 'symbols'}")
    assert (result.code, "\n  line 2: '$(reboot)' is not" in result.err) == (2, True)


def test_all_faults_of_a_symbols_file_are_named_and_nothing_is_added(make_user: MakeUser, tmp_path: Path) -> None:
    lines = ["AAPL", "F,FORD", *(f"A/{number}" for number in range(12)), "MSFT", "A B"]
    (tmp_path / "symbols").write_text("\n".join(lines))
    user = make_user()
    result = user.run_cli(f"symbols add --file {tmp_path / 'symbols'}")
    assert result.code == 2
    first, *faults = result.err.splitlines()
    assert "nothing added, 14 of 16 lines cannot be read; correct them, or add the symbols of" in first
    assert faults[0].startswith("  line 2: may be symbols")
    assert faults[1:] == [*(f"  line {n + 3}: 'A/{n}' is not a symbol" for n in range(9)), "  and lines 12-14, 16"]
    listed = user.run_cli("symbols list --all")
    assert (listed.code, listed.out) == (0, "")
    assert listed.err == "no symbols; add some: backfill-assets symbols add AAPL MSFT\n"


def test_good_lines_of_a_symbols_file_are_added_with_skip_bad(make_user: MakeUser, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_text("Symbol,Name\nAAPL,Apple Inc\nA/B,Bad\nMSFT,Microsoft\naapl,Apple again\n")
    user = make_user()
    result = user.run_cli(f"symbols add --file {tmp_path / 'symbols'} --skip-bad")
    assert (result.code, result.out) == (0, "2 added or reactivated, 0 were active already\n")
    assert result.err.splitlines() == [
        "1 line skipped:",
        "  line 3: 'A/B' is not a symbol",
        "read as a table: the symbols are those of the first column",
        "1 symbol stands in the file more than once",
    ]
    assert user.run_cli("symbols list").out.split() == ["AAPL.US", "MSFT.US"]


@pytest.mark.parametrize("options", [["--file", "FILE"], ["--skip-bad", "AAPL"]])
def test_skip_bad_needs_a_file_with_a_good_line(make_user: MakeUser, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "symbols").write_text("A/B\n")
    arguments = [str(tmp_path / "symbols") if option == "FILE" else option for option in options]
    result = make_user().run_cli(["symbols", "add", "--skip-bad", *arguments])
    assert (result.code, "--file" in result.err.splitlines()[0]) == (2, True)


def test_symbols_file_with_byte_order_mark_and_duplicates_is_read(make_user: MakeUser, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_bytes("\ufeffAAPL\r\nMSFT\r\naapl.us\r\nAAPL\r\n".encode())
    user = make_user()
    assert (
        user.run_cli(f"symbols add --file {tmp_path / 'symbols'}").out
        == "2 added or reactivated, 0 were active already\n"
    )
    assert user.run_cli("symbols list").out.split() == ["AAPL.US", "MSFT.US"]


INVALID_RANGES = {
    "reversed": ("2026-06-02", "2026-06-01", "is after --end"),
    "before the first": ("2003-12-31", "2026-06-01", "before the vendor's first data"),
    "long before": ("0001-01-01", "2026-06-01", "before the vendor's first data"),
    "reversed at the end of time": ("9999-12-31", "9999-12-30", "is after --end"),
}


@pytest.mark.parametrize("command", WINDOW_COMMANDS)
@pytest.mark.parametrize(("start", "end", "message"), INVALID_RANGES.values(), ids=INVALID_RANGES)
def test_invalid_date_range_is_named(make_user: MakeUser, command: str, start: str, end: str, message: str) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    result = user.run_cli(f"{command} --start {start} --end {end}")
    assert (result.code, message in result.error) == (2, True), result


def test_bars_from_before_the_feed_are_not_requested_and_may_be_looked_at(make_user: MakeUser) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    for command in ("run", "plan"):
        result = user.run_cli(f"{command} --start 2020-10-09 --end 2020-10-14")
        wanted = "--start 2020-10-09 is before the vendor's first 5m rows of US; give 2020-10-12 or a later day"
        assert (result.code, wanted in result.error) == (2, True), result
    assert user.run_cli("report --start 2020-10-09 --end 2020-10-14").code == 0


@pytest.mark.parametrize("command", WINDOW_COMMANDS)
def test_future_date_range_has_no_session_due(make_user: MakeUser, command: str) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    result = user.run_cli(f"{command} --start 9999-01-01 --end 9999-12-31")
    assert (result.code, "no session due" in result.out) == (0, True), result
    assert user.run_cli("why AAPL 9999-12-31").code == 0
