"""What traces and log messages say of runs and requests: a span for each, an event for each attempt at a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from backfill_assets.backfill.planner import Plan, PlannedRequest
from backfill_assets.config.log_format import bind_log_fields
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.tracing import REQUEST, RUN, Span, get_current_span, trace


@contextmanager
def trace_run(run_id: UUID, *, exchange: str, interval: str, window: str) -> Iterator[Span]:
    """A span around a run; log messages within it name the run and its exchange."""
    with (
        bind_log_fields(run=run_id, exchange=exchange),
        trace(RUN, exchange=exchange, interval=interval, window=window) as span,
    ):
        yield span


@contextmanager
def trace_request(request: PlannedRequest, plan: Plan) -> Iterator[Span]:
    """A span around a request; the days are those of its first and last session, overlap included.

    Log messages within it name the ticker and the last session.
    """
    first, last = (plan.grid.sessions[position].day for position in (request.first_session, request.last_session))
    ticker = str(request.symbol.ticker)
    days = {"first_session": first.isoformat(), "last_session": last.isoformat()}
    with bind_log_fields(ticker=ticker, session=last), trace(REQUEST, ticker=ticker, **days) as span:
        yield span


def trace_attempt(record: RequestRecord) -> None:
    """Add an attempt to the span around the caller. A record has no token, URL or text of an answer but the message."""
    get_current_span().add_attempt(
        status=record.status,
        calls=record.calls,
        endpoint=record.endpoint,
        purpose=record.purpose,
        ticker=record.ticker,
        rows=record.rows,
        seconds=record.seconds,
        error=record.error,
    )
