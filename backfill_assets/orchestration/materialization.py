"""A run over a rectangle of partitions: which job it is, and which partitions are complete after it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import dagster as dg

from backfill_assets.backfill.due_work import kept_job
from backfill_assets.backfill.engine import Engine, Job
from backfill_assets.backfill.results import Listener, RunResult
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import interval_named, source_of
from backfill_assets.market.calendar.sessions import Session, sessions_between
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import Window
from backfill_assets.orchestration.partitions import DAY, SYMBOL
from backfill_assets.quality.session_counts import session_figures
from backfill_assets.store.bars.bar_stats import Provenance, provenance
from backfill_assets.store.bars.bar_writer import database_now
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.symbols import list_symbols

Partition = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Filled:
    """A run that was carried out.

    Attributes:
        result: what it did; it may have filled other open sessions of its tickers too.
        before: the chosen partitions before it.
        after: and after it.
        began: when it began, by the server's clock.
    """

    result: RunResult
    before: Coverage
    after: Coverage
    began: datetime


def job_over(
    engine: Engine, interval_name: str, partitions: Sequence[str | dg.MultiPartitionKey], *, explicit: bool
) -> Job:
    """The job over a rectangle: its active symbols, and its sessions that have opened by now."""
    keys = [key.keys_by_dimension for key in partitions if isinstance(key, dg.MultiPartitionKey)]
    tickers, days = {key[SYMBOL] for key in keys}, sorted({key[DAY] for key in keys})
    settings = engine.settings
    interval = interval_named(interval_name)
    with engine.database.transaction() as connection:
        symbols = tuple(s for s in list_symbols(connection, DEFAULT_EXCHANGE) if str(s.ticker) in tickers)
    sessions = _sessions(settings, date.fromisoformat(days[0]), date.fromisoformat(days[-1]))
    return Job(
        window=Window(
            tuple(s for s in sessions if s.day.isoformat() in days),
            f"{len(tickers)} symbols × {days[0]} to {days[-1]}",
        ),
        symbols=symbols,
        interval=interval,
        source=source_of(interval, settings.source_interval),
        explicit=explicit,
    )


def _sessions(settings: Settings, first: date, last: date) -> tuple[Session, ...]:
    held = settings.calendar_exceptions().applied_to(sessions_between(DEFAULT_EXCHANGE, first, last))
    return tuple(s for s in held if s.open <= settings.now())


def fill(engine: Engine, job: Job, listen: Listener) -> Filled:
    """Carry the job out and measure again.

    Where a ticker is asked, its other open sessions come along at the same price: Dagster cuts a
    backfill from the UI into one run a day, and the first of them then serves all.
    """
    before = engine.survey(job)
    with engine.database.transaction() as connection:
        began = database_now(connection)
    days = frozenset(session.day for session in job.window.sessions)
    kept = kept_job(engine, job.interval.name).window.sessions
    first = min(min(days), kept[0].day)
    window = Window(_sessions(engine.settings, first, kept[-1].day), job.window.described)
    result = engine.run(replace(job, window=window, only=days), listen)
    return Filled(result, before, engine.survey(job), began)


def complete_partitions(engine: Engine, filled: Filled) -> Iterator[tuple[Partition, bool]]:
    """Every settled partition of a run with its metadata, and whether the run wrote bars of it."""
    coverage = filled.after
    figures = session_figures(coverage)
    with engine.database.transaction() as connection:
        origins = provenance(connection, coverage.symbols, coverage.grid)
    nobody = Provenance(None, None, None)
    for row, session in zip(*(axis.tolist() for axis in (figures.unsettled == 0).nonzero()), strict=True):
        symbol, day = coverage.symbols[row], coverage.grid.sessions[session].day.isoformat()
        origin = origins.get((symbol.symbol_id, session), nobody)
        bars = int(figures.bars[row, session])
        metadata = {
            "bars": bars,
            "expected": int(figures.expected[row, session]),
            "no_trade": int(figures.no_trade[row, session]),
            "source": _source(origin, bars),
            **({"fetched_at": dg.TimestampMetadataValue(origin.fetched_at.timestamp())} if origin.fetched_at else {}),
        }
        written = origin.fetched_at is not None and origin.fetched_at >= filled.began
        yield (str(symbol.ticker), day, metadata), written


def _source(origin: Provenance, bars: int) -> str:
    if origin.source:
        return f"{origin.source} {origin.source_interval}"
    return "somebody else" if bars else "none"


def run_metadata(filled: Filled, recorded: int) -> dict[str, Any]:
    """The figures of a run, for people: what it spent, what it wrote and what is left."""
    result = filled.result
    written = result.written
    worst = [f"{o.ticker}: {o}" for o in result.errors[:20]]
    return {
        "requests": result.requests,
        "calls": result.calls,
        "seconds": round(result.seconds, 2),
        "inserted": written.inserted,
        "updated": written.updated,
        "unchanged": written.unchanged,
        "revised": written.revised,
        "rejected": result.rejected,
        "missing before": int(filled.before.missing.sum()),
        "missing after": int(filled.after.missing.sum()),
        "partitions recorded": recorded,
        "leftovers": dg.JsonMetadataValue(dict(result.absent)),
        "errors": dg.JsonMetadataValue(worst),
        "tickers at another run": result.elsewhere,
    }


def told(filled: Filled) -> str:
    """One line about a run for its log."""
    result, w = filled.result, filled.result.written
    left = ", ".join(f"{count} {reason}" for reason, count in result.absent.items()) or "none"
    return (
        f"{result.requests} requests · {result.calls} calls · {result.seconds:.1f} s · {w.inserted} inserted · "
        f"{w.updated} updated · {w.revised} revised · {w.unchanged} unchanged · {result.rejected} rejected · "
        f"missing {filled.before.missing.sum()} before, {filled.after.missing.sum()} after · left: {left}"
    )
