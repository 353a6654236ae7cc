"""Traces of a run, received over OTLP/HTTP; without a receiver nothing of OpenTelemetry is loaded."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from backfill_assets import tracing
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.sandbox.config import Faults
from backfill_assets.tracing import export
from backfill_assets_tests.conftest import StartSandbox, make_monday_tuesday_job
from backfill_assets_tests.integration.otlp_receiver import OtlpReceiver, ReceivedSpan
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

MakeEngine = Callable[..., Engine]
TOKEN = b"test-token-4711"


@pytest.fixture
def trace_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Send this process's spans to an address; ``flush`` of the last provider is called at the end of the test."""
    ended: list[Callable[[], None]] = []
    at_exit = SimpleNamespace(register=lambda end, provider: ended.append(lambda: end(provider)))
    monkeypatch.setattr(export, "atexit", at_exit)

    def start(url: str) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        tracing._get_tracer.cache_clear()

    yield start
    tracing._get_tracer.cache_clear()
    for end in ended:
        end()


def end_provider() -> None:
    """Send what is left, as at the end of the process."""
    tracer = tracing._get_tracer()
    assert tracer is not None
    tracer.span_processor.force_flush()  # type: ignore[attr-defined]


def get_spans(receiver: OtlpReceiver, name: str) -> list[ReceivedSpan]:
    return [span for span in receiver.spans if span.name == name]


def test_a_run_is_a_tree_of_spans_without_the_token(
    make_engine: MakeEngine, start_sandbox: StartSandbox, trace_to: Callable[[str], None]
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT", "NOPE"))
    with OtlpReceiver() as receiver:
        trace_to(receiver.url)
        result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
        end_provider()
    (run,) = get_spans(receiver, "run")
    assert receiver.services == {"backfill-assets"}
    assert run.attributes["backfill.exchange"] == "US"
    assert run.attributes["backfill.outcome"] == "finished"
    assert run.attributes["backfill.calls"] == result.calls
    children = [span for span in receiver.spans if span.parent_id == run.span_id]
    assert {span.name for span in children} == {"plan", "request", "store", "proof"}
    assert {span.trace_id for span in receiver.spans} == {run.trace_id}
    requests = {span.attributes["backfill.ticker"]: span for span in get_spans(receiver, "request")}
    aapl, nope = requests["AAPL.US"], requests["NOPE.US"]
    assert aapl.attributes["backfill.status"] == 200
    assert aapl.attributes["backfill.calls"] == 5
    assert aapl.attributes["backfill.last_session"] == "2026-06-02"
    assert aapl.attributes["backfill.rows"] > 0
    assert [event["backfill.endpoint"] for event in aapl.events] == ["/intraday"]
    assert (nope.attributes["backfill.status"], nope.is_failed, nope.reason) == (404, True, "UnknownTicker")
    assert sum(span.attributes["backfill.bars"] for span in get_spans(receiver, "store")) == 52
    assert not any(TOKEN in body for body in receiver.bodies)


def test_repeated_attempts_are_events_of_their_request(
    make_engine: MakeEngine, start_sandbox: StartSandbox, trace_to: Callable[[str], None]
) -> None:
    sandbox = start_sandbox(faults=Faults(status_500=1.0))
    engine = make_engine(sandbox, ("AAPL",), attempts=3, backoff_seconds=(0.0, 0.0))
    with OtlpReceiver() as receiver:
        trace_to(receiver.url)
        run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
        end_provider()
    requests = get_spans(receiver, "request")
    assert requests[0].is_failed
    statuses = [event["backfill.status"] for event in requests[0].events]
    assert len(statuses) == 3
    assert min(statuses) >= 500


@pytest.mark.parametrize("status", [503, 401, None])
def test_a_receiver_that_fails_does_no_harm(
    make_engine: MakeEngine,
    start_sandbox: StartSandbox,
    trace_to: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    engine = make_engine(start_sandbox())
    with OtlpReceiver(status=status or 200) as receiver:
        trace_to(receiver.url if status else "http://127.0.0.1:9")
        result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
        end_provider()
    assert result.stored == 26
    (warning,) = [record for record in caplog.records if "cannot be delivered" in record.message]
    assert "127.0.0.1" not in warning.message


def test_nothing_is_loaded_without_a_receiver() -> None:
    code = (
        "import os, sys, backfill_assets.backfill.runner, backfill_assets.tracing as tracing\n"
        "for name in ('OTHER', 'OTEL_EXPORTER_OTLP_ENDPOINT'):\n"
        "    os.environ |= {name: 'http://x', 'OTEL_SDK_DISABLED': 'true'}\n"
        "    tracing._get_tracer.cache_clear()\n"
        "    with tracing.trace('run') as span:\n"
        "        span.set(a=1), span.fail('x'), tracing.get_current_span().add_attempt(status=1, calls=1)\n"
        "print(*[m for m in sys.modules if m.startswith(('opentelemetry', 'google.protobuf', 'requests'))])"
    )
    found = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_the_missing_extra_is_named_once(
    monkeypatch: pytest.MonkeyPatch, trace_to: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    trace_to("http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "backfill_assets.tracing.export", None)
    for _ in range(2):
        with tracing.trace("run") as span:
            span.set(calls=1)
    (record,) = caplog.records
    assert "pip install 'backfill_assets[tracing]'" in record.message
