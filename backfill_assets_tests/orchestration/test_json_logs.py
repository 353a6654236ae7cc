"""What a run of Dagster's writes with BACKFILL_LOG_FORMAT=json."""

import json
import logging
from collections.abc import Iterator

import dagster as dg
import pytest

from backfill_assets.config.log_format import set_log_fields
from backfill_assets.config.settings import load_settings
from backfill_assets.orchestration.json_logs import configure_json_logs

TOKEN = "tok-4711"  # noqa: S105 - made up


@pytest.fixture(autouse=True)
def _restore_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    set_log_fields(run=None)
    logging.setLoggerClass(logging.Logger)
    root.handlers = handlers
    root.setLevel(level)


@dg.op
def fail(context: dg.OpExecutionContext) -> None:
    set_log_fields(run=context.run_id)
    context.log.info("with %s", TOKEN)
    logging.getLogger("backfill_assets.x").warning("of a module")
    raise ValueError(TOKEN)


def test_each_line_of_a_run_is_a_record_with_its_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_json_logs(load_settings())
    assert logging.getLoggerClass() is logging.Logger, "text stays Dagster's"
    monkeypatch.setenv("BACKFILL_LOG_FORMAT", "json")
    monkeypatch.setenv("EODHD_API_TOKEN", TOKEN)
    configure_json_logs(load_settings())

    @dg.job
    def job() -> None:
        fail()

    result = job.execute_in_process(raise_on_error=False)
    err = capfd.readouterr().err
    records = [json.loads(line) for line in err.splitlines()]
    assert {record["run"] for record in records} == {result.run_id}
    assert TOKEN not in err
    said = [record for record in records if record["message"] in ("with ***", "of a module")]
    assert [(r["level"], r["logger"]) for r in said] == [("INFO", "dagster"), ("WARNING", "backfill_assets.x")]
    failure = next(record for record in records if record.get("step") == "fail" and "exception" in record)
    assert "ValueError: ***" in failure["exception"]
