"""Log records as JSON: one line each, with what is known of the run, and never a secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from backfill_assets.config.log_format import (
    TEXT_FORMAT,
    JsonFormatter,
    bind_log_fields,
    configure_logging,
    list_secrets,
)
from backfill_assets.config.settings import load_settings

TOKEN, PASSWORD = "tok/en=4711", "pass word"
SETTINGS = load_settings(
    token=SecretStr(TOKEN),
    database_url=SecretStr(f"postgresql://u:{quote(PASSWORD)}@h/db"),
    alert_urls=(SecretStr("json://127.0.0.1/hush"),),
    log_format="json",
)


@pytest.fixture(autouse=True)
def _restore_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "dagster")]
    before = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    loggers[0].handlers = []
    yield
    for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def log_and_read(*, level: int = logging.WARNING, message: str = "m", **options: Any) -> dict[str, Any]:
    stream = io.StringIO()
    logging.getLogger().handlers = []
    configure_logging(SETTINGS, stream)
    logging.getLogger("backfill_assets.x").log(level, message, **options)
    (line,) = stream.getvalue().splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


def test_record_names_what_is_known() -> None:
    with bind_log_fields(run="r1", exchange="US"), bind_log_fields(run="inner", ticker="AAPL.US", session=None):
        record = log_and_read(message="two\nlines", extra={"session": "2026-06-02"})
    moment = record.pop("time")
    assert (moment[-6:], moment[10]) == ("+00:00", "T")
    known = {"run": "r1", "exchange": "US", "ticker": "AAPL.US", "session": "2026-06-02"}
    assert record == {"level": "WARNING", "logger": "backfill_assets.x", "message": "two\nlines", **known}
    assert not {"run", "ticker", "session", "exchange"} & log_and_read().keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", SecretStr("postgresql://u@h/db?sslmode=require&password=pass%20word")),
        ("database_url", SecretStr("host=h password=hidden user=u")),
        ("alert_owners", (SecretStr("LSE/model=json://ann:hidden@h/path"),)),
        ("heartbeat_url", SecretStr("https://u:hidden@h/beat")),
    ],
)
def test_passwords_are_found_in_every_form_of_an_address(name: str, value: Any) -> None:
    secrets = list_secrets(SETTINGS.model_copy(update={name: value}))
    assert {"hidden", PASSWORD} & set(secrets[-2:])


def test_no_secret_of_the_settings_is_logged() -> None:
    assert {TOKEN, PASSWORD, "json://127.0.0.1/hush"} <= set(list_secrets(SETTINGS))
    said = f"{TOKEN} {quote(TOKEN, safe='')} {PASSWORD} {quote(PASSWORD)} json://127.0.0.1/hush ?api_token=x"
    try:
        raise ValueError(said)  # noqa: TRY301 - there is nothing else to log
    except ValueError:
        record = log_and_read(message=said, exc_info=True)
    assert record["message"] == "*** *** *** *** *** ?api_token=***"
    assert record["exception"].splitlines()[-1] == f"ValueError: {record['message']}"
    assert record["exception"].startswith("Traceback")


def test_loggers_of_dagster_keep_their_stream_and_level() -> None:
    stream, logger = io.StringIO(), logging.getLogger("dagster")
    handler = logging.StreamHandler(stream)
    logger.handlers = [handler]
    handler.setLevel(logging.ERROR)
    configure_logging(SETTINGS, io.StringIO())
    logger.error("of the code server")
    logger.warning("not shown")
    assert json.loads(stream.getvalue())["logger"] == "dagster"


def test_text_stays_as_it_was() -> None:
    stream = io.StringIO()
    logging.getLogger().handlers = []  # those of pytest
    configure_logging(SETTINGS.model_copy(update={"log_format": "text"}), stream)
    logging.getLogger("a.b").warning("c")
    assert (stream.getvalue(), TEXT_FORMAT) == ("WARNING a.b: c\n", "%(levelname)s %(name)s: %(message)s")


def test_record_of_a_dagster_run_has_its_run_and_the_error_of_its_event() -> None:
    record = logging.LogRecord("dagster", logging.ERROR, "", 0, "job - run - said", (), None)
    record.dagster_meta = {"orig_message": "said", "run_id": "r2", "job_name": "j", "step_key": None}
    assert {"message": "said", "run": "r2", "job": "j"}.items() <= json.loads(JsonFormatter().format(record)).items()
