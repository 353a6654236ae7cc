"""For Dagster assets that read the store, in any code location: what to depend on, when to run, how to read.

``session_partitions`` and ``on_complete_session`` use neither the database nor the definitions of the pipeline; both
follow its settings in the environment. The gate itself, the asset ``complete_sessions``, is in ``orchestration``.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster import AutomationCondition
from pydantic import Field, SecretStr

from backfill_assets.config.calendar_cache import use_calendar_cache
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.calendar_tables import read_calendar_table
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.sessions import find_calendar_end, list_sessions
from backfill_assets.market.calendar.windows import list_newest_known_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.reading.bars import read_bars
from backfill_assets.reading.certified_symbols import list_certified_tickers
from backfill_assets.reading.moments import Moment
from backfill_assets.reading.opening import open_source
from backfill_assets.reading.results import BarsResult

GATE = "complete_sessions"
_WEEKDAYS = (5, 6, 0, 1, 2, 3, 4)  # of Python, Monday is 0; the order of the exclusions, which Dagster compares


class BarsResource(dg.ConfigurableResource[Any]):
    """Reads bars in an asset: ``read_bars`` with the database and the defaults of a deployment.

    Every field can be a ``dg.EnvVar``. What is not set here is read from the settings in the environment.
    """

    database_url: str | None = Field(None, description="PostgreSQL database of the bars; unset: DATABASE_URL.")
    universe: str = Field("all", description="The named universe that is read if no symbols are given.")
    exchange: str = Field(
        DEFAULT_EXCHANGE,
        description="The vendor's code of the exchange: of the universe, and of tickers without suffix.",
    )
    require: str = Field(
        "complete",
        description="What every slot must be: complete (a bar, or no trade), explained (also vendor gaps and doubts"
        " that stand, as in a certificate), or any.",
    )

    def read(
        self, symbols: str | Iterable[str] | None = None, *, start: Moment, end: Moment, **options: Any
    ) -> BarsResult:
        """Read bars; the arguments are those of ``read_bars``.

        Args:
            symbols: a ticker or several; None: the universe's.
            start: the first moment: an aware datetime, an ISO text with a zone, or a date, which is midnight in the
                exchange's time zone.
            end: the first moment that is not included.
            **options: any other argument of ``read_bars``.

        Raises:
            IncompleteBars: the bars are not as ``require`` demands.
            PendingSessions: they are not there yet.
            UsageError: an argument that cannot be used.
            DatabaseUnavailable: the database cannot be reached or used.
        """
        defaults: dict[str, Any] = {"universe": self.universe if symbols is None else None}
        defaults |= {"exchange": self.exchange, "require": self.require, "settings": self._load_settings()}
        return read_bars(symbols, start, end, **{**defaults, **options})

    def read_session(self, day: date | str, symbols: str | Iterable[str] | None = None, **options: Any) -> BarsResult:
        """Read the bars of one session, such as ``context.partition_key``; otherwise like ``read``.

        Without ``symbols`` those of the session's newest certificate are read, so that a symbol that joined the
        universe later is not missed in it. A session without a certificate is read for the universe's members of now.
        """
        first = _to_date(day)
        if symbols is None:
            interval = options.get("interval", DEFAULT_INTERVAL)
            symbols = self._list_certified_tickers(first, interval) or None
        return self.read(symbols, start=first, end=first + timedelta(days=1), **options)

    def _load_settings(self) -> Settings:
        return load_settings(database_url=SecretStr(self.database_url) if self.database_url else None)

    def _list_certified_tickers(self, day: date, interval: str) -> list[str]:
        with open_source(self._load_settings()) as engine, engine.database.transaction() as connection:
            return list_certified_tickers(connection, self.exchange, interval, day, self.universe)


def build_gate_key(universe: str = "all", exchange: str = DEFAULT_EXCHANGE) -> dg.AssetKey:
    """The key of the asset whose partitions are the complete sessions of a universe: what others depend on."""
    return dg.AssetKey([GATE, exchange, universe])


def session_partitions(
    universe: str = "all",  # noqa: ARG001 - a universe may begin later than its exchange one day
    exchange: str = DEFAULT_EXCHANGE,
    start: date | str | None = None,
) -> dg.DailyPartitionsDefinition:
    """The sessions of an exchange as partitions: without ``start`` those of ``complete_sessions``, one to one.

    Keys are the dates of the sessions in the exchange's time zone. Days off and holidays are no partitions, nor are the
    closures of BACKFILL_CALENDAR_FILE if the environment names it. The present day is one from midnight on; where
    sessions open on the day before their date, as those of FOREX do, the next one, too.

    Args:
        universe: as in the asset's key; all universes of an exchange have the same sessions.
        exchange: the vendor's code.
        start: the first day, a date or its ISO text; default BACKFILL_SESSIONS_START. Sessions before that setting have
            no partition upstream, so do not start earlier.

    Raises:
        UsageError: unknown exchange, or a setting or ``start`` that cannot be used.
    """
    settings = load_settings()
    use_calendar_cache(settings)
    return build_session_days(settings, exchange, settings.sessions_start if start is None else _to_date(start))


def build_session_days(settings: Settings, exchange: str, first: date) -> dg.DailyPartitionsDefinition:
    """The sessions from ``first`` on. With BACKFILL_AS_OF they end with that moment's newest session.

    Holidays are excluded until the end of next year; a code server that runs longer must be reloaded. The list depends
    on nothing but the year and the settings, so that two code locations have equal partitions.
    """
    market = settings.get_market(exchange)
    last = list_newest_known_sessions(market, settings.now(), 1)[-1].day
    today = datetime.now(market.zone).date()
    end = last + timedelta(days=1) if settings.as_of else None
    begun = 2 if opens_on_day_before(market, last.year) else 1  # the session of today, and one that opens today
    first = min(first, last)
    return dg.DailyPartitionsDefinition(
        start_date=first.isoformat(),
        end_date=end.isoformat() if end else None,
        end_offset=max(0, (end - today).days + 1) if end else begun,
        timezone=str(market.zone),
        exclusions=list_closed_days(market, first, date(max(last, today).year + 1, 12, 31)),
    )


def opens_on_day_before(market: MarketProfile, year: int) -> bool:
    """Whether sessions open on the day before their date, by the clock of the exchange: a partition must exist then.

    The calendar decides, not a user's corrections of some days: partitions would be others on these.
    """
    table = read_calendar_table(market.calendar, year)
    opens = [datetime.fromtimestamp(moment, market.zone).date() for moment in table.opens[:1]]
    return any(opened < day for opened, day in zip(opens, table.days, strict=False))


def list_closed_days(market: MarketProfile, first: date, last: date) -> list[str | datetime]:
    """The days without a session, as Dagster excludes them: weekdays that never have one by their cron, others by date.

    An excluded weekday cannot be taken back for one date. So a single session on a Saturday, which a user's corrections
    may add, makes every other Saturday a date.
    """
    last = find_calendar_end(market, last) or last  # what comes after it is not known, and no holiday
    session_days = {session.day for session in list_sessions(market, first, last)}
    trading = {day.weekday() for day in session_days}
    crons = [f"0 0 * * {(weekday + 1) % 7}" for weekday in _WEEKDAYS if weekday not in trading]  # of cron, Sunday is 0
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [
        *crons,
        *(
            datetime(day.year, day.month, day.day, tzinfo=market.zone)
            for day in days
            if day.weekday() in trading and day not in session_days
        ),
    ]


def on_complete_session(
    *, universe: str = "all", exchange: str = DEFAULT_EXCHANGE, start: date | str | None = None
) -> dg.AutomationCondition[dg.AssetKey]:
    """Run an asset once for each session that becomes complete, and again after a material revision of it.

    The asset depends on ``complete_sessions`` and has the same partitions (``session_partitions``), or depends on one
    that does. Any session counts, not the latest alone. A session that is revised while its run is in progress is run
    again after it. An asset without partitions runs once for all sessions that became complete since its last run.
    What was complete before Dagster looked at the condition for the first time does not count.

    Args:
        universe: name of the universe whose sessions count.
        exchange: the vendor's code.
        start: the first session that counts, a date or its ISO text; None: every one. Needs partitions that end as
            those of ``session_partitions`` do.

    Raises:
        UsageError: unknown exchange, or a setting or ``start`` that cannot be used.
    """
    gate = dg.AssetSelection.assets(build_gate_key(universe, exchange))
    # ``since_last_handled`` would forget a revision that comes while the run of the session is in progress, because the
    # end of that run counts as its handling. Only a request does here. Dagster compares the moments of the update and
    # of the request only if neither is part of an AND or OR, so nothing may be added to either.
    updated = (
        AutomationCondition.any_deps_match(AutomationCondition.newly_updated())
        .allow(gate)
        .since(AutomationCondition.newly_requested())
        .with_label("session complete or revised")
    )
    others_updated = AutomationCondition.any_deps_updated().ignore(gate).since_last_handled()
    condition = (
        (updated | others_updated)
        & ~AutomationCondition.any_deps_missing().ignore(gate)
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    )
    if start is not None:
        condition = _begins_at(_to_date(start), universe, exchange) & condition
    return condition.with_label("on_complete_session")


def _begins_at(start: date, universe: str, exchange: str) -> dg.AutomationCondition[Any]:
    """True of sessions from ``start`` on.

    A condition that Dagster's daemon can evaluate knows no dates, only how far back from the newest partition it looks.
    That is counted from the newest partition when the definitions are loaded, and what was in reach once stays so.
    """
    partitions = session_partitions(universe, exchange)
    newest, zone = partitions.get_last_partition_window(), ZoneInfo(partitions.timezone)
    last = datetime.fromtimestamp(newest.end.timestamp(), zone).date() if newest else date.min  # day after newest
    if last <= start:
        raise UsageError(
            f"on_complete_session(start={start}): no session from then on has begun yet; give the newest session or an"
            " earlier day"
        )
    first = AutomationCondition.initial_evaluation()
    reach = last - start  # whole days: Dagster subtracts it from local time, whatever summer time has added in between
    return AutomationCondition.in_latest_time_window(reach).since(first & ~first).with_label(f"session since {start}")


def _to_date(day: date | str) -> date:
    try:
        return day if isinstance(day, date) else date.fromisoformat(day)
    except ValueError:
        raise UsageError(f"{day!r} is not a date such as '2026-06-01'") from None
