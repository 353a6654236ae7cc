"""Log messages of a process: lines for people, or one JSON object a line (BACKFILL_LOG_FORMAT).

A JSON record has time (UTC, ISO 8601), level, logger and message; run, ticker, session and exchange where they are
known; exception with its traceback as text. No secret of the settings is in it. What people read of a command is no log
message and stays as it is, but for its errors.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any

from pydantic import SecretStr

from backfill_assets.config.settings import Settings

FIELDS = ("run", "ticker", "session", "exchange")
TEXT_FORMAT = "%(levelname)s %(name)s: %(message)s"
# Of Dagster's processes; their handlers are Dagster's, made before our code is loaded.
_DAGSTER_LOGGERS = ("dagster", "dagster-webserver")
_MIN_SECRET_LENGTH = 4  # a shorter one would blacken words
_fields: ContextVar[dict[str, str]] = ContextVar("_fields", default={})  # noqa: B039 - replaced, never changed


@contextmanager
def bind_log_fields(**fields: object) -> Iterator[None]:
    """Add ``fields``, some of ``FIELDS``, to every message that is logged in this context; None adds nothing."""
    given = {name: str(value) for name, value in fields.items() if value is not None}
    outer = _fields.get()
    run = {"run": outer["run"]} if "run" in outer else {}  # a run of Dagster's has runs of ours, and its id is known
    token = _fields.set({**outer, **given, **run})
    try:
        yield
    finally:
        _fields.reset(token)


def set_log_fields(**fields: object) -> None:
    """Add ``fields`` to every later message of this context, such as one run's process; None takes one away."""
    given = {**_fields.get(), **fields}
    _fields.set({name: str(value) for name, value in given.items() if value is not None})


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; understands the records that Dagster's runs pass to their loggers.

    Args:
        secrets: texts that are replaced by ``***``, in any encoding of URLs.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        from backfill_assets.eodhd.redaction import TokenRedactor  # loads httpx, for which text need not wait

        super().__init__()
        texts = sorted({text for text in secrets if len(text) >= _MIN_SECRET_LENGTH}, key=len, reverse=True)
        self._redactors = [TokenRedactor(SecretStr(text)) for text in texts]

    def format(self, record: logging.LogRecord) -> str:
        """The record as a JSON object without line breaks."""
        dagster = getattr(record, "dagster_meta", None) or {}
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(dagster.get("orig_message") or record.getMessage()),
            **_read_dagster_fields(dagster),
            **_fields.get(),
            **{name: str(getattr(record, name)) for name in FIELDS if getattr(record, name, None) is not None},
        }
        if exception := self._format_exception(record, dagster):
            values["exception"] = self._redact(exception)
        return json.dumps(values, ensure_ascii=False)

    def _format_exception(self, record: logging.LogRecord, dagster: dict[str, Any]) -> str:
        if record.exc_info and record.exc_info[0] is not None:
            return self.formatException(record.exc_info)
        data = getattr(dagster.get("dagster_event"), "event_specific_data", None)
        error = getattr(data, "error", None)
        return str(error.to_string()) if error is not None and hasattr(error, "to_string") else ""

    def _redact(self, text: str) -> str:
        for redactor in self._redactors:
            text = redactor.redact(text)
        return text


def configure_logging(settings: Settings, stream: IO[str] | None = None) -> None:
    """Log to standard error in the form of the settings; also what Dagster's own loggers of this process say.

    Handlers that there are keep their streams and levels; only JSON changes their form.
    """
    root = logging.getLogger()
    if settings.log_format == "text":
        logging.basicConfig(level=settings.log_level, stream=stream or sys.stderr, format=TEXT_FORMAT)
        return
    formatter = JsonFormatter(list_secrets(settings))
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setLevel(settings.log_level)
        handler.setFormatter(formatter)
        root.addHandler(handler)
        root.setLevel(min(root.level, logging.getLevelNamesMapping()[settings.log_level]))
    for name in _DAGSTER_LOGGERS:
        for existing in logging.getLogger(name).handlers:
            existing.setFormatter(formatter)
            logging.getLogger(name).propagate = False  # the handler of the root logger would repeat the message


def is_json_configured() -> bool:
    """Whether this process logs JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def list_secrets(settings: Settings) -> list[str]:
    """The secrets of the settings, and the passwords in those that are addresses."""
    values = [value for _, value in settings if isinstance(value, (SecretStr, tuple))]
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    secrets = [part.get_secret_value() for part in flat if isinstance(part, SecretStr)]
    return [*secrets, *(password for secret in secrets for password in _find_passwords(secret))]


def _find_passwords(address: str) -> list[str]:
    """The passwords in an address, in the address of an owner (UNIVERSE=URL), or in a connection string of libpq."""
    from urllib.parse import unquote, urlsplit

    passwords = re.findall(r"\bpassword=([^&\s]+)", address)
    if found := re.search(r"[\w.+-]+://\S+", address):
        with suppress(ValueError):
            passwords.append(urlsplit(found[0]).password)
    return [unquote(password) for password in passwords if password]


def _read_dagster_fields(dagster: dict[str, Any]) -> dict[str, str]:
    """What Dagster knows of a message of a run: the run, and its job and step."""
    names = {"run": "run_id", "job": "job_name", "step": "step_key"}
    return {field: str(dagster[name]) for field, name in names.items() if dagster.get(name)}
