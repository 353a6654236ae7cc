"""A run over a rectangle of partitions: which job it is, and which partitions are complete after it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine, Job
from backfill_assets.backfill.outcome import RunResult
from backfill_assets.backfill.plan import Strategy
from backfill_assets.market.intervals import interval_named, source_of
from backfill_assets.market.sessions import sessions_between
from backfill_assets.market.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.windows import Window
from backfill_assets.orchestration.partitions import DAY, SYMBOL
from backfill_assets.quality.settled import session_figures
from backfill_assets.store.bars import database_now
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.overview import Provenance, provenance
from backfill_assets.store.symbols import list_symbols

Partition = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Filled:
    """A run that was carried out: its result, the state after it, and when it began (the server's clock)."""

    result: RunResult
    coverage: Coverage
    began: datetime


def job_over(
    engine: Engine,
    interval_name: str,
    partitions: Sequence[str | dg.MultiPartitionKey],
    *,
    explicit: bool,
    strategy: Strategy = Strategy.HYBRID,
    force: bool = False,
) -> Job:
    """The job over a rectangle: its active symbols, and its sessions that have opened by now."""
    keys = [key.keys_by_dimension for key in partitions if isinstance(key, dg.MultiPartitionKey)]
    tickers, days = {key[SYMBOL] for key in keys}, sorted({key[DAY] for key in keys})
    settings = engine.settings
    interval = interval_named(interval_name)
    with engine.database.transaction() as connection:
        symbols = tuple(s for s in list_symbols(connection, DEFAULT_EXCHANGE) if str(s.ticker) in tickers)
    first, last = datetime.fromisoformat(days[0]).date(), datetime.fromisoformat(days[-1]).date()
    held = settings.calendar_exceptions().applied_to(sessions_between(DEFAULT_EXCHANGE, first, last))
    opened = tuple(s for s in held if s.open <= settings.now() and s.day.isoformat() in days)
    return Job(
        window=Window(opened, f"{len(tickers)} symbols × {days[0]} to {days[-1]}"),
        symbols=symbols,
        interval=interval,
        source=source_of(interval, settings.source_interval),
        strategy=strategy,
        force=force,
        explicit=explicit,
    )


def fill(engine: Engine, job: Job, listen: Any) -> Filled:
    """Carry the job out and measure again."""
    with engine.database.transaction() as connection:
        began = database_now(connection)
    result = engine.run(job, listen)
    return Filled(result, engine.survey(job), began)


def complete_partitions(engine: Engine, filled: Filled) -> Iterator[tuple[Partition, bool]]:
    """Every settled partition of a run with its metadata, and whether the run wrote bars of it."""
    coverage = filled.coverage
    figures = session_figures(coverage)
    with engine.database.transaction() as connection:
        origins = provenance(connection, coverage.symbols, coverage.grid)
    nobody = Provenance(None, None, None)
    for row, session in zip(*(axis.tolist() for axis in (figures.unsettled == 0).nonzero()), strict=True):
        symbol, day = coverage.symbols[row], coverage.grid.sessions[session].day.isoformat()
        origin = origins.get((symbol.symbol_id, session), nobody)
        metadata = {
            "bars": int(figures.bars[row, session]),
            "expected": int(figures.expected[row, session]),
            "no_trade": int(figures.no_trade[row, session]),
            "source": f"{origin.source} {origin.source_interval}" if origin.source else "somebody else",
            **({"fetched_at": dg.TimestampMetadataValue(origin.fetched_at.timestamp())} if origin.fetched_at else {}),
        }
        written = origin.fetched_at is not None and origin.fetched_at >= filled.began
        yield (str(symbol.ticker), day, metadata), written


def run_metadata(result: RunResult, recorded: int) -> dict[str, Any]:
    """The figures of a run, for people: what it spent, what it wrote and what is left."""
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
        "missing before": result.before.missing,
        "missing after": result.after.missing,
        "partitions recorded": recorded,
        "leftovers": dg.JsonMetadataValue(dict(result.absent)),
        "errors": dg.JsonMetadataValue(worst),
        "tickers at another run": result.elsewhere,
    }


def told(result: RunResult) -> str:
    """One line about a run for its log."""
    w = result.written
    left = ", ".join(f"{count} {reason}" for reason, count in result.absent.items()) or "none"
    return (
        f"{result.requests} requests · {result.calls} calls · {result.seconds:.1f} s · {w.inserted} inserted · "
        f"{w.updated} updated · {w.revised} revised · {w.unchanged} unchanged · {result.rejected} rejected · "
        f"missing {result.before.missing} before, {result.after.missing} after · left: {left}"
    )
