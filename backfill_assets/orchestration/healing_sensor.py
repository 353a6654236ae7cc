"""The sensors that heal what is no partition, one for each exchange and interval, by runs of the job ``heal_sessions``.

Three things are no partitions: sessions that the code server does not know yet, symbols that have not become partition
keys, and sessions older than those that are partitions, which BACKFILL_HEAL_SESSIONS asks for. Where there is none of
them, a tick reads the symbols and nothing else. Gaps of partitions are found in ``sensors``.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date

import dagster as dg

from backfill_assets.backfill.due_work import (
    DueRange,
    DueWork,
    build_watched_partitions_job,
    find_due_work_of_job,
)
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.older_sessions import OlderSessions, find_older_sessions, find_older_work
from backfill_assets.backfill.watched_sessions import find_common_day
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import TokenRefused
from backfill_assets.orchestration.exchange_names import (
    add_exchange,
    build_bars_key,
    build_symbol_dimension,
    describe_market,
)
from backfill_assets.orchestration.heal_job import HealConfig, fill_sessions, heal_sessions
from backfill_assets.orchestration.heal_ranges import HealRange, find_active_heals, parse_heal_range
from backfill_assets.orchestration.partition_ranges import (
    find_active_ranges,
    list_unfinished_runs,
    parse_partition_range,
)
from backfill_assets.orchestration.partitions import list_day_keys
from backfill_assets.orchestration.sensors import get_default_sensor_status
from backfill_assets.store.certification_looks import read_hashed_sessions

PATIENCE_TICKS = 5  # for symbols to become partitions: their sensor ticks as often as this one
_AFTER_OTHERS = {"dagster/priority": "-1"}  # in the queue of runs


@dataclass(frozen=True, slots=True)
class HealCursor:
    """What a tick leaves to the next one.

    Attributes:
        attempt: how many ticks have requested runs; part of run keys, which Dagster remembers for ever.
        after: the ticker after which the next block of older sessions begins.
        waited: for how many ticks some symbols have been no partitions.
        certified: the first older session of which certificates were requested; empty before.
    """

    attempt: int = 0
    after: str = ""
    waited: int = 0
    certified: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "HealCursor":
        """The cursor as it was stored; what another version added to it is ignored."""
        stored = json.loads(text) if text else {}
        return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})

    def __str__(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class HealRequest:
    """A run to start: what its tags say, and the symbols to request; without any it only writes certificates."""

    heal_range: HealRange
    symbols: tuple[str, ...]
    only_spare_calls: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether it comes with the runs for partitions, not after them."""
        return bool(self.symbols) and not self.only_spare_calls


def build_healing_sensor(
    settings: Settings, market: MarketProfile, interval: str, partitions: dg.MultiPartitionsDefinition
) -> dg.SensorDefinition:
    """The sensor that heals what is no partition of an exchange's bars."""
    exchange = market.exchange
    name = "healing_sensor" if interval == DEFAULT_INTERVAL else f"healing_sensor_{interval}"

    @dg.sensor(
        name=add_exchange(name, exchange),
        description="Fills gaps of sessions and symbols that are no partitions: those that are not partitions yet, and"
        f" older sessions (BACKFILL_HEAL_SESSIONS).{describe_market(market)}",
        job_name=heal_sessions.name,
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def healing(
        context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request runs for what cannot be a partition yet, else one for the next block of older sessions."""
        current = backfill_engine.settings.get_market(exchange)
        retained = build_watched_partitions_job(backfill_engine, current, interval)
        tick = _Tick(context, backfill_engine, retained, list_day_keys(partitions))
        try:
            yield from tick.request_runs()
        except TokenRefused as error:
            yield dg.SkipReason(str(error))

    return healing


class _Tick:
    """One tick; call ``request_runs`` once."""

    def __init__(
        self, context: dg.SensorEvaluationContext, engine: Engine, job: BackfillJob, known_days: frozenset[str]
    ) -> None:
        self._context, self._engine, self._job, self._known_days = context, engine, job, known_days
        self._key = build_bars_key(job.interval.name, job.market.exchange)
        self._cursor = HealCursor.parse(context.cursor)
        self._order = list(context.instance.get_dynamic_partitions(build_symbol_dimension(job.market.exchange)))
        self._runs = list_unfinished_runs(context.instance)
        self._heals = find_active_heals(self._runs, self._key)

    def request_runs(self) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """The runs to start, and a reason if there are none; keeps the cursor."""
        requests = [request for request in self._find_leftovers() if not self._is_in_flight(request)]
        reason = ""
        if not requests:
            requests, reason = self._find_older()
        if requests:
            self._cursor = replace(self._cursor, attempt=self._cursor.attempt + 1)
        yield from map(self._build_run_request, requests)
        self._context.update_cursor(str(self._cursor))
        if not requests:
            yield dg.SkipReason(reason)

    def _find_leftovers(self) -> list[HealRequest]:
        """What is due of sessions that the code server does not know, and of symbols that are no partitions."""
        partitions = set(self._order)
        known = tuple(symbol for symbol in self._job.symbols if str(symbol.ticker) in partitions)
        new = tuple(symbol for symbol in self._job.symbols if str(symbol.ticker) not in partitions)
        self._cursor = replace(self._cursor, waited=self._cursor.waited + 1 if new else 0)
        unknown_days = tuple(s for s in self._job.window.sessions if s.day.isoformat() not in self._known_days)
        requests = []
        if unknown_days and known:
            requests += self._find_due(replace(self._job.window, sessions=unknown_days), known)
        if new and self._cursor.waited > PATIENCE_TICKS:
            requests += self._find_due(self._job.window, new)
        return requests

    def _find_due(self, window: Window, symbols: tuple[Symbol, ...]) -> list[HealRequest]:
        """Requests for what is due of these sessions and symbols, each of as many as a run over partitions may have."""
        due_work = find_due_work_of_job(self._engine, replace(self._job, window=window, symbols=symbols))
        size = max(1, self._engine.settings.partitions_per_run // len(window.sessions))
        ranges = due_work.ranges
        return [self._build_request(due_work, ranges[begin : begin + size]) for begin in range(0, len(ranges), size)]

    def _build_request(self, due_work: DueWork, ranges: Sequence[DueRange]) -> HealRequest:
        sessions = due_work.job.window.sessions
        first = sessions[min(due.first_session for due in ranges)].day
        last = sessions[max(due.last_session for due in ranges)].day
        return self._create(tuple(due.symbol for due in ranges), first, last)

    def _find_older(self) -> tuple[list[HealRequest], str]:
        """A request for the next block of older sessions, or the reason why there is none; one at a time."""
        older = find_older_sessions(self._engine, self._job)
        if older is None:
            return [], self._explain_nothing()
        if self._heals:
            return [], f"an unfinished run heals {', '.join(map(str, self._heals[:3]))}"
        if uncertified := self._find_uncertified(older):
            return uncertified, ""
        is_idle = not any(parse_partition_range(run.tags) or parse_heal_range(run.tags) for run in self._runs)
        work = find_older_work(self._engine, older, self._cursor.after, may_spend_spare=is_idle)
        if work.range is None:
            self._cursor = replace(self._cursor, after=work.after)
            return [], work.reason
        found = work.range
        is_spare = found.purpose is Purpose.HISTORY
        request = self._create(found.symbols, found.first_day, found.last_day, only_spare_calls=is_spare)
        if self._is_in_flight(request):
            return [], f"an unfinished run covers {request.heal_range}"
        self._cursor = replace(self._cursor, after=work.after)
        return [request], ""

    def _find_uncertified(self, older: OlderSessions) -> list[HealRequest]:
        """A request for certificates of older sessions that have become complete, before a walk over them begins.

        The run that fills a session cannot always know that no other symbol lacks anything, and what other programs
        fill is seen by a tick alone.
        """
        if self._cursor.after:
            return []
        symbols, interval = older.job.symbols, self._job.interval
        before = self._cursor.certified or older.newer.window.sessions[0].day.isoformat()
        first = find_common_day(self._engine, symbols, interval)
        days = [s.day for s in older.job.window.sessions if first and first <= s.day and s.day.isoformat() < before]
        with self._engine.database.transaction() as connection:
            seen = read_hashed_sessions(connection, self._job.market.exchange, interval.name, days)
        days = [day for day in days if day not in {certified for _, certified in seen}]
        if not days:
            return []
        self._cursor = replace(self._cursor, certified=days[0].isoformat())
        return [replace(self._create(symbols, days[0], days[-1]), symbols=())]

    def _explain_nothing(self) -> str:
        if self._cursor.waited:
            return "some symbols are not partitions yet"
        return "every session that is healed is a partition, and every symbol"

    def _create(
        self, symbols: Sequence[Symbol], first: date, last: date, *, only_spare_calls: bool = False
    ) -> HealRequest:
        names = tuple(str(symbol.ticker) for symbol in symbols)
        heal_range = HealRange.create(self._key, names, first.isoformat(), last.isoformat())
        return HealRequest(heal_range, names, only_spare_calls)

    def _is_in_flight(self, request: HealRequest) -> bool:
        """Whether an unfinished run, of the sensors or of a backfill in the UI, is about the same sessions."""
        heal_range, ranges = request.heal_range, find_active_ranges(self._runs, self._key)
        return any(heal_range.overlaps(other) for other in self._heals) or any(
            heal_range.overlaps_partitions(other, self._order) for other in ranges
        )

    def _build_run_request(self, request: HealRequest) -> dg.RunRequest:
        heal_range = request.heal_range
        config = HealConfig(
            interval=self._job.interval.name,
            exchange=self._job.market.exchange,
            symbols=list(request.symbols),
            start=heal_range.first_day,
            end=heal_range.last_day,
            only_spare_calls=request.only_spare_calls,
        )
        return dg.RunRequest(
            run_key=f"{heal_range.asset} {heal_range} #{self._cursor.attempt}",
            run_config=dg.RunConfig(ops={fill_sessions.name: config}),
            tags={**heal_range.tags, **({} if request.is_urgent else _AFTER_OTHERS)},
        )
