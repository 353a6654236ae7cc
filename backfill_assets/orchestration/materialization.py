"""A run over a range of partitions: its backfill job, its complete partitions, and the figures for people."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import dagster as dg

from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.results import ProgressListener, RunResult, list_told_errors
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.skip_reasons import count_skipped
from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.orchestration.catalog import PARTITION_ROW_COUNT
from backfill_assets.orchestration.exchange_names import DAY_DIMENSION, build_symbol_dimension
from backfill_assets.quality.session_counts import count_by_session
from backfill_assets.store.bars.bar_stats import Provenance, read_provenance
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.job_universe import read_job_universe

Partition = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class MaterializedRun:
    """A finished run.

    Attributes:
        result: what the run did; it may also have filled other open sessions of its tickers.
        before: coverage of the selected partitions before the run.
        after: coverage of the same partitions after the run.
        started_at: by the database server's clock, UTC.
    """

    result: RunResult
    before: Coverage
    after: Coverage
    started_at: datetime


def build_partition_job(
    engine: Engine,
    market: MarketProfile,
    interval_name: str,
    partitions: Sequence[str | dg.MultiPartitionKey],
    *,
    explicit: bool,
) -> BackfillJob:
    """The backfill job over these partitions: their symbols, active or ended, and their sessions that have opened.

    Args:
        engine: the engine.
        market: the exchange of the asset.
        interval_name: of the bars.
        partitions: keys of symbol × day.
        explicit: whether a person selected them; then each gap is requested once, regardless of the retry schedule.
    """
    keys = [key.keys_by_dimension for key in partitions if isinstance(key, dg.MultiPartitionKey)]
    dimension = build_symbol_dimension(market.exchange)
    tickers, days = {key[dimension] for key in keys}, sorted({key[DAY_DIMENSION] for key in keys})
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    job = build_span_job(engine, market, interval_name, tickers, first, last)
    sessions = tuple(session for session in job.window.sessions if session.day.isoformat() in days)
    return replace(job, window=replace(job.window, sessions=sessions), user_selected=explicit)


def build_span_job(
    engine: Engine, market: MarketProfile, interval_name: str, tickers: Collection[str], first: date, last: date
) -> BackfillJob:
    """The backfill job over the tickers, active or ended, and the sessions from ``first`` to ``last`` that have opened.

    They need not be partitions.
    """
    settings = engine.settings
    with engine.database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [parse_interval(interval_name)])
        universe = read_job_universe(connection, market.exchange, settings.as_of)
    description = f"{format_count(len(tickers), 'symbol')} × {first} to {last}"
    names = frozenset(tickers)
    return BackfillJob(
        window=Window(market, _list_opened_sessions(settings, market, first, last), description),
        symbols=tuple(symbol for symbol in universe.list_since(first) if str(symbol.ticker) in names),
        interval=interval,
        source_interval=settings.choose_source(market, interval),
    )


def _list_opened_sessions(settings: Settings, market: MarketProfile, first: date, last: date) -> tuple[Session, ...]:
    return tuple(s for s in list_sessions(market, first, last) if s.open <= settings.now())


def run_and_measure(engine: Engine, job: BackfillJob, listener: ProgressListener) -> MaterializedRun:
    """Run the job and measure the coverage again.

    A request for a ticker also returns its other open sessions at the same price, so the run fills these, too. Dagster
    splits a backfill started in the UI into one run for each day; the first of them then fills the days of all.
    """
    before = engine.measure(job, trust_census=False)
    with engine.database.transaction() as connection:
        started_at = read_server_time(connection)
    days = frozenset(session.day for session in job.window.sessions)
    retained_sessions = build_retained_sessions_job(engine, job.market, job.interval.name).window.sessions
    reach = {*days, *(session.day for session in retained_sessions)}  # none is retained before the vendor's first data
    window = Window(
        job.market,
        _list_opened_sessions(engine.settings, job.market, min(reach), max(reach)),
        job.window.description,
    )
    result = run_backfill(engine, replace(job, window=window, trigger_sessions=days), listener)
    return MaterializedRun(result, before, engine.measure(job, trust_census=False), started_at)


def find_complete_partitions(engine: Engine, materialized: MaterializedRun) -> Iterator[tuple[Partition, bool]]:
    """Every settled partition of a run with its metadata, and whether the run wrote bars in it."""
    coverage = materialized.after
    figures = count_by_session(coverage)
    with engine.database.transaction() as connection:
        origins = read_provenance(connection, coverage.symbols, coverage.grid)
    unknown_origin = Provenance(None, None, None)
    for row, session in zip(*(axis.tolist() for axis in figures.is_complete.nonzero()), strict=True):
        symbol, day = coverage.symbols[row], coverage.grid.sessions[session].day.isoformat()
        origin = origins.get((symbol.symbol_id, session), unknown_origin)
        bars = int(figures.bars[row, session])
        metadata = {
            "bars": bars,
            PARTITION_ROW_COUNT: bars,
            "expected": int(figures.expected[row, session]),
            "no_trade": int(figures.no_trade[row, session]),
            "source": _describe_source(origin, bars),
            **({"fetched_at": dg.TimestampMetadataValue(origin.fetched_at.timestamp())} if origin.fetched_at else {}),
        }
        written = origin.fetched_at is not None and origin.fetched_at >= materialized.started_at
        yield (str(symbol.ticker), day, metadata), written


def _describe_source(origin: Provenance, bars: int) -> str:
    if origin.source:
        return f"{origin.source} {origin.source_interval}"
    return "external" if bars else "none"


def build_run_metadata(materialized: MaterializedRun, recorded: int) -> dict[str, Any]:
    """The metadata of a run: requests and calls, bars written, and slots still missing."""
    result = materialized.result
    written = result.written
    worst = [f"{o.ticker}: {o}" for o in list_told_errors(result.outcomes, result.stopped)[:20]]
    return {
        "requests": result.requests,
        "calls": result.calls,
        "seconds": round(result.seconds, 2),
        "inserted": written.inserted,
        "updated": written.updated,
        "unchanged": written.unchanged,
        "revised": written.revised,
        "rejected": result.rejected,
        **({"refused": written.refused} if written.refused else {}),
        "missing before": int(materialized.before.missing.sum()),
        "missing after": int(materialized.after.missing.sum()),
        "partitions recorded": recorded,
        "leftovers": dg.JsonMetadataValue(dict(result.absent)),
        "errors": dg.JsonMetadataValue(worst),
        "tickers at another run": result.claimed_elsewhere,
        "tickers skipped": dg.JsonMetadataValue(count_skipped(result.skipped)),
    }


def summarize_run(materialized: MaterializedRun) -> str:
    """One line about a run, for its log."""
    result, w = materialized.result, materialized.result.written
    left = ", ".join(f"{count} {reason}" for reason, count in result.absent.items()) or "none"
    return (
        f"{result.requests} requests · {result.calls} calls · {result.seconds:.1f} s · {w.inserted} inserted · "
        f"{w.updated} updated · {w.revised} revised · {w.unchanged} unchanged · {result.rejected} rejected · "
        f"missing {materialized.before.missing.sum()} before, {materialized.after.missing.sum()} after · "
        f"still absent: {left}"
        + "".join(
            f" · {format_count(n, 'ticker')} skipped: {reason}" for reason, n in count_skipped(result.skipped).items()
        )
        + "".join(f" · {warning}" for warning in result.describe_warnings())
    )
