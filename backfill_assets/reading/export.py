"""Exports bars as a folder of Parquet files, one a session, and brings an older export up to date.

What a session's file must hold is read anew each time and compared with the file itself, so nothing is trusted: no
time of change, no note of the last export. The files are in ``export_folder``.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.membership import Memberships
from backfill_assets.errors import UsageError
from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, parse_interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.reading.bars import read_bars
from backfill_assets.reading.errors import IncompleteBars, PendingSessions, ReadRefused
from backfill_assets.reading.export_certificates import describe_certificate
from backfill_assets.reading.export_folder import BARS, ExportFolder, describe_table
from backfill_assets.reading.export_result import ExportOptions, ExportResult
from backfill_assets.reading.export_sessions import choose_sessions
from backfill_assets.reading.health import ReadHealth
from backfill_assets.reading.opening import EngineOrSettings, open_source
from backfill_assets.reading.problems import Problem
from backfill_assets.reading.request import OnIncomplete, Require, parse_choice, require_exchange
from backfill_assets.reading.results import BarsResult
from backfill_assets.store.bars.source_host import read_source_host
from backfill_assets.store.certificate_values import Certificate
from backfill_assets.store.certificates import list_newest_certificates
from backfill_assets.store.universes import find_universe

FORMAT_VERSION = 1
_SHORT = ("certificate_id", "sha256", "kind", "is_about_these_bars")
_ABSENT = {"missing", "pending", "provisional"}  # no row, and no reason why not
_WAITING = {"pending", "provisional"}  # by themselves they are no fault
_ORDER = [("symbol", "ascending"), ("timestamp", "ascending")]
_STAMP = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        *(pa.field("symbol", pa.string()), pa.field("timestamp", _STAMP), pa.field("slot_end", _STAMP)),
        pa.field("session", pa.date32()),
        *(pa.field(name, pa.float64()) for name in ("open", "high", "low", "close")),
        pa.field("volume", pa.int64()),  # double precision in an adjusted export
        *(pa.field(name, pa.string()) for name in ("state", "source", "source_interval")),
        *(pa.field(name, _STAMP) for name in ("first_known", "revised")),
    ]
)


def export_bars(
    folder: Path | str,
    *,
    universe: str = "all",
    exchange: str = DEFAULT_EXCHANGE,
    interval: str = DEFAULT_INTERVAL,
    start: date | None = None,
    end: date | None = None,
    adjustment: str = "none",
    require: str = "complete",
    on_incomplete: str = "raise",
    unverified: bool = False,
    settings: EngineOrSettings = None,
) -> ExportResult:
    """Write the sessions of a window as Parquet files, replace those that differ, and remove those that must not be.

    Args:
        folder: is made if need be; the folder ``bars`` in it is the data set.
        universe: of which symbols.
        exchange: the vendor's code.
        interval: of the bars.
        start: first session date, included. None: the oldest that is stored.
        end: last session date, included. None: the newest that has closed.
        adjustment: as of ``read_bars``, like all that follow.
        require: what every session must be to have a file.
        on_incomplete: "drop" leaves incomplete symbols out of a session's file and names them.
        unverified: bars of other programs are complete, too.
        settings: an open engine; or settings, None being those of the environment, whose database is opened.

    Raises:
        UsageError: an option is wrong; the folder belongs to something else, holds an export with other options, or
            cannot be written; another export is writing to it.
    """
    require_exchange(exchange)
    for choices, value, name in (
        (Adjustment, adjustment, "adjustment"),
        (Require, require, "require"),
        (OnIncomplete, on_incomplete, "on_incomplete"),
    ):
        parse_choice(choices, value, name)
    target = ExportFolder(Path(folder), exchange, parse_interval(interval).name)
    options = ExportOptions(universe, adjustment, require, on_incomplete, unverified)
    with target.lock(), open_source(settings) as engine:
        export = _Export(engine, target, options, ExportResult(target.path / BARS))
        host = export.require_same_kind()
        sessions = choose_sessions(engine, target, options, start, end)
        export.bring_up_to_date(sessions, start, end)
        export.write_manifest(host)
    return export.result


@dataclass(frozen=True, slots=True)
class _Export:
    engine: Engine
    target: ExportFolder
    options: ExportOptions
    result: ExportResult

    def require_same_kind(self) -> str | None:
        """Refuse a folder whose files were read in another way, or are of another vendor: half would be of one kind.

        Returns the host whose bars the database holds.
        """
        before = self.target.read_manifest()
        with self.engine.database.transaction() as connection:
            host = read_source_host(connection)
        if before.get("source_host") not in (None, host):
            raise UsageError(
                f"{self.target.path} holds bars of {before['source_host']}, and this database holds"
                f" {f'those of {host}' if host else 'none of them'}; choose another folder, or the database"
                " (DATABASE_URL or BACKFILL_HOME) that it was exported from"
            )
        for name, value in asdict(self.options).items():
            if before and before.get(name) != value:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{self.target.path} holds an export with {option} {before.get(name)}, not {value};"
                    " give the same option, or choose another folder"
                )
        if not before:  # before the first file, so that a folder with files always says what they are
            self.write_manifest(host)
        return host

    def bring_up_to_date(self, sessions: Sequence[Session], start: date | None, end: date | None) -> None:
        """The files of some sessions, and remove other ones of the window, or all other ones of adjusted bars."""
        for _, month in groupby(sessions, key=lambda session: (session.day.year, session.day.month)):
            of_month = tuple(month)
            certificates = self._read_certificates(of_month)
            for members, some in self._group_by_members(of_month):
                for day, read in self._read_sessions(members, some):
                    self._export_session(day, read, certificates.get(day))
        kept = {*self.result.written, *self.result.unchanged}
        for day in self.target.list_days():
            is_inside = (start is None or start <= day) and (end is None or day <= end)
            if (is_inside or self.options.is_adjusted) and day not in kept and self.target.remove_session(day):
                self.result.removed.append(day)

    def _group_by_members(self, sessions: Sequence[Session]) -> list[tuple[tuple[Ticker, ...], tuple[Session, ...]]]:
        """Sessions one after the other to which the same symbols belong, as for certificates; none without symbols."""
        with self.engine.database.transaction() as connection:
            universe = find_universe(connection, self.target.exchange, self.options.universe)
            memberships = Memberships(connection, sessions, [universe])
        members = [
            tuple(symbol.ticker for symbol in memberships.list_members(universe, session).symbols)
            for session in sessions
        ]
        grouped = groupby(zip(members, sessions, strict=True), key=lambda pair: pair[0])
        return [(tickers, tuple(session for _, session in pairs)) for tickers, pairs in grouped if tickers]

    def _read_sessions(
        self, tickers: tuple[Ticker, ...], sessions: tuple[Session, ...]
    ) -> Iterator[tuple[date, BarsResult | ReadRefused]]:
        """Each session with its bars or why there are none: one read if all is well, else one for each session."""
        whole = self._read(tickers, sessions[0], sessions[-1], "raise")
        known = _split_refusal(whole) if self.options.on_incomplete == "raise" else {}
        for session in sessions:
            if isinstance(whole, BarsResult):
                own = whole.frame.filter(pc.equal(whole.frame["session"], pa.scalar(session.day)))
                yield session.day, BarsResult(own, whole.health)
            elif refused := known.get(session.day):
                yield session.day, refused
            else:
                yield session.day, self._read(tickers, session, session, self.options.on_incomplete)

    def _read(
        self, tickers: tuple[Ticker, ...], first: Session, last: Session, on_incomplete: str
    ) -> BarsResult | ReadRefused:
        options = self.options
        try:
            return read_bars(
                tickers,
                first.rows_from,
                last.close,
                self.target.interval,
                exchange=self.target.exchange,
                adjustment=options.adjustment,
                require=options.require,
                on_incomplete=on_incomplete,
                unverified=options.unverified,
                columns=SCHEMA.names,
                format="arrow",
                settings=self.engine,
            )
        except ReadRefused as refused:
            return refused

    def _export_session(self, day: date, read: BarsResult | ReadRefused, certificate: Certificate | None) -> None:
        if isinstance(read, PendingSessions):
            self.result.pending.append(day)
        elif isinstance(read, ReadRefused):
            more = len(read.problems) - 1
            self.result.incomplete[day] = f"{read.problems[0]}{f', and {more:,} more' if more else ''}"
        elif read.frame.num_rows:
            self._write_session(day, read, certificate)

    def _write_session(self, day: date, read: BarsResult, certificate: Certificate | None) -> None:
        if read.health.dropped:
            self.result.dropped[day] = read.health.dropped
        slots = count_slots(read.health, day)
        if not _ABSENT.isdisjoint(slots):
            self.result.partial.append(day)
        rows = read.frame.cast(_get_schema(self.options.adjustment)).sort_by(_ORDER)
        described = None
        if certificate is not None:
            described = describe_certificate(certificate, rows, self.options.adjustment)
            if described["is_about_these_bars"] is False and not read.health.dropped:
                self.result.differing.append(day)
        description = {
            **{"exchange": self.target.exchange, "interval": self.target.interval, "session": str(day)},
            **asdict(self.options),
            "dropped": list(read.health.dropped),
            "slots": slots,
            "certificate": described and {name: described[name] for name in _SHORT},
            "format_version": FORMAT_VERSION,
        }
        table = describe_table(rows, description)
        if self.target.is_same(day, table):
            self.result.unchanged.append(day)
        else:
            self.target.write_bars(day, table)
            self.result.written.append(day)
        self.result.certificates += self.target.write_certificate(day, described)

    def _read_certificates(self, sessions: Sequence[Session]) -> dict[date, Certificate]:
        target, days = self.target, [session.day for session in sessions]
        with self.engine.database.transaction() as connection:
            newest = list_newest_certificates(connection, target.exchange, target.interval, days, self.options.universe)
        return {certificate.session_day: certificate for certificate in newest}

    def write_manifest(self, source_host: str | None) -> None:
        """What the whole folder holds."""
        days = self.target.list_days()
        self.target.write_manifest(
            {
                "format_version": FORMAT_VERSION,
                **asdict(self.options),
                "source_host": source_host,
                "sessions": len(days),
                "first_session": str(days[0]) if days else None,
                "last_session": str(days[-1]) if days else None,
            }
        )


def _split_refusal(read: BarsResult | ReadRefused) -> dict[date, ReadRefused]:
    """The sessions that are surely incomplete by a read of several; others may be pending, or as required."""
    problems: dict[date, list[Problem]] = defaultdict(list)
    for problem in read.problems if isinstance(read, IncompleteBars) else ():
        problems[problem.session].append(problem)
    return {
        day: IncompleteBars(str(read), some, read.health)
        for day, some in problems.items()
        if any(problem.state not in _WAITING for problem in some)
    }


def count_slots(health: ReadHealth, day: date) -> dict[str, int]:
    """The expected slots of one session of a read, by state; without states that none is in."""
    counts = health.counts[:, health.sessions.index(day)].sum(axis=0).tolist()
    return {state.name.lower(): counts[state] for state in SlotState if counts[state]}


def _get_schema(adjustment: str) -> pa.Schema:
    """Adjusted volumes are no whole numbers."""
    if adjustment == "none":
        return SCHEMA
    position = SCHEMA.get_field_index("volume")
    return SCHEMA.set(position, pa.field("volume", pa.float64()))
