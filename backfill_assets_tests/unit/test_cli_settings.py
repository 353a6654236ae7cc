"""The settings: their documentation, what ``settings`` shows, and the examples in error messages."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from backfill_assets.cli.main import cli
from backfill_assets.cli.options import DateType, InstantType, MillisecondRangeType
from backfill_assets.cli.settings import build_configuration_page
from backfill_assets.config.formatting import format_value
from backfill_assets.config.settings import (
    SECRET_VARIABLES,
    Settings,
    build_child_environment,
    list_groups,
    load_settings,
)
from backfill_assets.errors import UsageError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
FIELDS = {str(field.alias): field for field in Settings.model_fields.values()}


@pytest.fixture(autouse=True)
def _unset_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in FIELDS:
        monkeypatch.delenv(variable, raising=False)


def run_settings(*options: str) -> str:
    result = CliRunner().invoke(cli, ["settings", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def find_error(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> str:
    with monkeypatch.context() as patch:
        patch.setenv(variable, value)
        with pytest.raises(UsageError) as refused:
            load_settings()
    return str(refused.value)


def test_the_configuration_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == build_configuration_page(), "run: make docs"


def test_every_setting_is_described_and_every_secret_named() -> None:
    fields = Settings.model_fields.values()
    assert not [field.alias for field in fields if not field.description]
    secrets = {str(field.alias) for field in fields if "SecretStr" in str(field.annotation)}
    assert secrets <= SECRET_VARIABLES


def test_every_setting_belongs_to_one_group() -> None:
    grouped = [name for group in list_groups() for name in group.model_fields]
    assert sorted(grouped) == sorted(Settings.model_fields)
    headings = [group.heading for group in list_groups()]
    assert len(set(headings)) == len(headings)


def test_settings_reach_a_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = (SecretStr("json://127.0.0.1/hush"), SecretStr("mailto://a?to=b,c"))
    given = load_settings(alert_urls=urls, token=SecretStr("t"), backoff_seconds=(1, 2), minute_share=1 / 3, auto=False)
    for name, value in build_child_environment(given).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == given


def test_a_given_secret_wins_over_the_environment_in_either_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("of the file")
    for given, inherited, token in (
        ({"token": "given"}, {"EODHD_API_TOKEN_FILE": str(file)}, "given"),
        ({"token_file": str(file)}, {"EODHD_API_TOKEN": "inherited"}, "of the file"),
    ):
        with monkeypatch.context() as environment:
            for name, value in inherited.items():
                environment.setenv(name, value)
            settings = load_settings(**given)
            child = build_child_environment(settings)
        assert settings.token == SecretStr(token)
        assert child["EODHD_API_TOKEN"] == token
        assert ("EODHD_API_TOKEN_FILE" in child) == ("token_file" in given)


def test_settings_shows_what_differs_from_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_settings() == f"0 of {len(FIELDS)} settings differ from their defaults (--all shows all)\n"
    monkeypatch.setenv("EODHD_API_TOKEN", "hush")
    monkeypatch.setenv("BACKFILL_INTERVALS", '["30m", "1h"]')
    monkeypatch.setenv("BACKFILL_ATTEMPTS", str(FIELDS["BACKFILL_ATTEMPTS"].default))
    lines = run_settings().splitlines()
    assert [line.split()[0] for line in lines] == ["variable", "EODHD_API_TOKEN", "BACKFILL_INTERVALS", "2"]
    assert '["30m", "1h"]' in lines[2]
    assert "***" in lines[1]
    assert "hush" not in "".join(lines)


def test_settings_all_shows_every_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_ALERT_URLS", "json://x/hush json://y/hush")
    shown = run_settings("--all")
    assert {line.split()[0] for line in shown.splitlines()} == {"variable", *FIELDS}
    assert '["***", "***"]' in shown
    assert "hush" not in shown


def test_settings_as_json_or_markdown_lists_every_setting() -> None:
    assert {row["variable"] for row in json.loads(run_settings("--format", "json"))} == set(FIELDS)
    assert run_settings("--format", "markdown") == build_configuration_page()


DEFAULTS = {variable: field for variable, field in FIELDS.items() if field.default not in (None, ())}


@pytest.mark.parametrize("variable", DEFAULTS)
def test_a_default_as_it_is_shown_is_accepted(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    field = DEFAULTS[variable]
    monkeypatch.setenv(variable, format_value(field.default))
    name = next(name for name, known in Settings.model_fields.items() if known.alias == variable)
    assert getattr(load_settings(), name) == field.default


INVALID = {
    **{variable: ["maybe"] for variable, field in FIELDS.items() if field.annotation is bool},
    "EODHD_BASE_URL": ["eodhd.com/api", "http://h:0/", "https://user:hush@h/"],
    "EODHD_SOURCE_HOST": ["https://eodhd.com"],
    "BACKFILL_BACKOFF_SECONDS": ["1, 2", "[1]", "[2, 1]", '["a", 1]', "7"],
    "BACKFILL_LADDER_HOURS": ["1, 3", "[]", "[0]", '["a"]', "3"],
    "BACKFILL_LIVE_SECONDS": ["77"],
    "BACKFILL_INTERVALS": ["[30m]", "30m", "['30m']", '["2h"]', "[30]", '"30m"'],
    "BACKFILL_EXCHANGES": ["US", "[]", '["us"]', '["XLON"]', '["US", "US"]', "[3]"],
    "BACKFILL_SYNC_EXCHANGE": ["LSE", "us", "XLON"],
    "BACKFILL_UNIVERSES": ["model", '["a", "a"]', '["a b"]', '["a/b"]'],
    "BACKFILL_OWNERS": ["team:data", '["data"]', '["team:"]', '["a@b"]'],
    "BACKFILL_CODE_URL": ["example.com/tree/main", "https://user:hush@h/"],
    "BACKFILL_CHECKS_CRON": ["hourly", "@daily"],
    "BACKFILL_ALERT_URLS": ["hush", "[hush", '[1, "hush"]', "//hush"],
    "BACKFILL_ALERT_OWNERS": ["hush", "=json://hush", "model=hush"],
    "BACKFILL_HISTORY_FROM": ["x", "2020-02-30", "1990-01-01"],
    "BACKFILL_AS_OF": ["2026-06-03", "2026-06-03T12:00", "yesterday", "1999-01-01T00:00:00Z"],
}


def test_an_example_is_tested_for_every_setting_that_has_one() -> None:
    with_example = {
        variable
        for variable, field in FIELDS.items()
        if field.annotation is bool or field.examples or isinstance(field.default, tuple)
    }
    assert with_example == INVALID.keys()


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_the_example_of_an_error_message_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    message = find_error(monkeypatch, variable, value)
    assert message.startswith(f"{variable} ")
    assert "hush" not in message
    monkeypatch.setenv(variable, message.rpartition("; example: ")[2])
    load_settings()


LIMITS = [variable for variable, field in FIELDS.items() if field.annotation in (int, float)]


@pytest.mark.parametrize("variable", LIMITS)
@pytest.mark.parametrize("value", ["-1", "1e18"])
def test_an_inclusive_bound_of_an_error_message_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(variable, value if FIELDS[variable].annotation is float else str(int(float(value))))
        try:
            load_settings()
        except UsageError as error:
            bound = re.search(r"(?:greater|less) than or equal to ([0-9.]+)", str(error))
        else:
            bound = None
    if bound:
        monkeypatch.setenv(variable, bound[1])
        load_settings()


@pytest.mark.parametrize("text", ["no", "[]", '{"closed": []}', '{"closures": ["soon"]}'])
def test_the_example_of_an_invalid_calendar_file_is_accepted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "calendar.json"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        load_settings(calendar_file=file).get_market("US")
    file.write_text(str(refused.value).rpartition("; example: ")[2])
    assert load_settings(calendar_file=file).get_market("US").overrides.closures


@pytest.mark.parametrize(
    ("option_type", "value"),
    [
        *((InstantType(), text) for text in ("2026-06-03", "2026-06-03T10:00", "2026-06-03 10:00:00", "noon")),
        *((DateType(), text) for text in ("2026-6-3", "yesterday")),
        *((MillisecondRangeType(), text) for text in ("9-1", "a-b")),
    ],
)
def test_the_example_of_an_invalid_option_is_accepted(option_type: Any, value: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        option_type.convert(value, None, None)
    example = re.split(r"; (?:example|for UTC): ", str(refused.value))[1]
    accepted = option_type.convert(example, None, None)
    assert not isinstance(accepted, datetime) or accepted.tzinfo is not None


def test_a_command_accepts_the_corrected_time_of_its_error_message() -> None:
    refused = CliRunner().invoke(cli, ["settings", "--as-of", "2026-06-03"])
    hint = re.search(r"for UTC: (\S+)", refused.output)
    assert (refused.exit_code, hint and hint[1]) == (2, "2026-06-03T00:00:00Z")
    assert "2026-06-03T00:00:00+00:00" in run_settings("--as-of", "2026-06-03T00:00:00Z")
