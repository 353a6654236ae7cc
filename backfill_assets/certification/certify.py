"""Writes certificates: those that are due after something changed, and one on request.

Called after runs, reviews and verifications, never by a read. What is read comes from one snapshot; what is written is
written under a lock, so that of two processes at once one writes each certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.drafts import Draft, build_drafts, get_longest_session, split_evaluated
from backfill_assets.certification.evaluation import EvaluatedSession, EvaluationRequest, evaluate_sessions
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval, parse_interval
from backfill_assets.market.calendar.sessions import Session, list_overlapping_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.bars.certified_bars import read_bars_seen
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.certificate_values import Certificate
from backfill_assets.store.certificates import lock_certificates, read_newest_ids, write_certificate
from backfill_assets.store.certification_looks import (
    may_write_certificates,
    read_hashed_sessions,
    read_look,
    record_hashed_sessions,
    record_look,
)
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbol_counts import count_active_rows
from backfill_assets.store.universes import list_universes

MAX_NAMED = 5  # certificates in a line
CHUNK_SESSIONS = 90  # of a long history, evaluated at once
_NEVER = timedelta(days=14)  # the longest time without a look; the calendar has no such pause


@dataclass(frozen=True, slots=True)
class CertificationResult:
    """What a look at certificates did.

    Attributes:
        written: new certificates, in the order of their ids.
        broken: standing certificates whose bars something else than this program changed; nothing replaces them.
        is_idle: whether nothing had changed since the last look, so that nothing was compared.
    """

    written: tuple[Certificate, ...] = ()
    broken: tuple[Certificate, ...] = ()
    is_idle: bool = False

    def describe(self) -> list[str]:
        """What a person should know, a line each; nothing if nothing was written and nothing is broken."""
        lines = []
        if self.written:
            names = [f"{c.label} {c.session_day}" for c in self.written[-MAX_NAMED:]]
            more = f" and {len(self.written) - MAX_NAMED:,} earlier ones" if len(self.written) > MAX_NAMED else ""
            count = format_count(len(self.written), "certificate")
            lines.append(f"{count} written: {', '.join(names)}{more}")
        lines += [
            f"certificate {c.certificate_id} ({c.label} {c.session_day}) is broken: something else than this program"
            f" changed its bars; see: backfill-assets verify-certificate {c.certificate_id}"
            for c in self.broken[:MAX_NAMED]
        ]
        if len(self.broken) > MAX_NAMED:
            lines.append(
                f"and {len(self.broken) - MAX_NAMED:,} more are broken; see: backfill-assets verify-certificate"
            )
        return lines


def certify_due(
    engine: Engine,
    interval_name: str = DEFAULT_INTERVAL,
    *,
    exchange: str = DEFAULT_EXCHANGE,
    sessions: Sequence[Session] = (),
) -> CertificationResult:
    """Write the certificates that are due: of sessions that became complete, or whose bars were revised.

    Two statements if nothing changed since the last look. A standby server, or a role that may only read, writes none;
    nor does a clock ahead of the database server's, because what the vendor will publish is not known.

    Args:
        engine: the parts to work with.
        interval_name: of the bars.
        exchange: the vendor's code.
        sessions: to look at besides the retained ones, such as those of a run over an older history; of this exchange.
    """
    if any(session.exchange != exchange for session in sessions):
        raise ValueError(f"sessions of another exchange than {exchange}")
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        symbols = count_active_rows(connection, exchange)
    kept = limit_partition_sessions(engine.settings.partition_days, symbols)
    retained = build_session_window(engine.settings.get_market(exchange), now, kept).sessions
    older = tuple(s for s in sessions if not retained or s.day < retained[0].day)
    if not retained and not older:
        return CertificationResult()
    with engine.database.transaction() as connection:
        look = read_look(connection, exchange, interval_name, (retained or older)[0].day)
        if look.is_idle_at(now) and not older:
            return CertificationResult(is_idle=True)
        if not may_write_certificates(connection) or is_ahead(connection, engine):
            return CertificationResult()
        (interval,) = adopt_spellings(connection, [parse_interval(interval_name)])
    closed = [s for s in (*older, *retained) if s.close <= now]
    certifier = _Certifier(engine, exchange, interval, now)
    for begin in range(0, len(closed), CHUNK_SESSIONS):
        certifier.certify(tuple(closed[begin : begin + CHUNK_SESSIONS]))
    moments = [*certifier.moments, *_list_next_closes(engine.settings.get_market(exchange), retained, now)]
    if certifier.is_overtaken:
        moments.append(now)
    with engine.database.transaction() as connection:
        record_look(connection, exchange, interval.name, look.fingerprint, min(moments, default=now + _NEVER))
    return CertificationResult(tuple(certifier.written), tuple(certifier.broken))


def is_ahead(connection: Connection, engine: Engine) -> bool:
    """Whether the clock of the settings was set ahead of the server's, for bars of the vendor itself."""
    as_of = engine.settings.as_of
    return as_of is not None and engine.settings.is_vendor and as_of > read_server_time(connection)


class _Certifier:
    """Certifies sessions, and remembers what was written and when time may make more due."""

    def __init__(self, engine: Engine, exchange: str, interval: Interval, now: datetime) -> None:
        self._engine, self._exchange, self._interval, self._now = engine, exchange, interval, now
        self.written: list[Certificate] = []
        self.broken: list[Certificate] = []
        self.moments: list[datetime] = []
        self.is_overtaken = False  # another process wrote certificates meanwhile

    def certify(self, sessions: tuple[Session, ...]) -> None:
        """Write what is due of some closed sessions."""
        with self._engine.database.snapshot() as connection:
            universes = list_universes(connection, self._exchange)
            request = EvaluationRequest(universes, sessions, self._interval, self._now)
            evaluated = evaluate_sessions(connection, self._engine, request)
            self.moments += [one.next_gate_at for one in evaluated if one.next_gate_at is not None]
            seen = self._read_seen(connection, request, evaluated)
            changed = self._select_changed(connection, evaluated, seen)
            slots = get_longest_session(build_slot_grid(sessions, self._interval))
            for block in split_evaluated(changed, slots):
                self._write(build_drafts(connection, self._engine.settings, request, block), seen)

    def _read_seen(
        self, connection: Connection, request: EvaluationRequest, evaluated: Sequence[EvaluatedSession]
    ) -> dict[tuple[str, date], str]:
        """(universe, session) → what its bars look like now; one query for all sessions with the same members."""
        groups: dict[frozenset[int], list[EvaluatedSession]] = {}
        for one in evaluated:
            groups.setdefault(frozenset(symbol.symbol_id for symbol in one.members), []).append(one)
        seen: dict[tuple[str, date], str] = {}
        for ids, ones in groups.items():
            sessions = {one.session.day: one.session for one in ones}
            grid = build_slot_grid([sessions[day] for day in sorted(sessions)], request.interval)
            by_day = read_bars_seen(connection, ids, grid)
            seen |= {(one.universe.name, one.session.day): by_day[one.session.day] for one in ones}
        return seen

    def _select_changed(
        self, connection: Connection, evaluated: Sequence[EvaluatedSession], seen: dict[tuple[str, date], str]
    ) -> list[EvaluatedSession]:
        """The sessions that allow a certificate and may need a new one."""
        days = {one.session.day for one in evaluated}
        hashed = read_hashed_sessions(connection, self._exchange, self._interval.name, days)
        changed = []
        for one in evaluated:
            key = (one.universe.name, one.session.day)
            said = (one.standing.kind, one.standing.incomplete) if one.standing else None
            if one.kind is not None and (said != (one.kind, one.incomplete_names) or hashed.get(key) != seen[key]):
                changed.append(one)
        return changed

    def _write(self, drafts: Sequence[Draft], seen: dict[tuple[str, date], str]) -> None:
        """Write what is due, in a transaction of its own: the snapshot's would not see what others wrote meanwhile."""
        due = [d for d in drafts if d.is_news and not d.is_weaker and not d.foreign_changes]
        self.broken += [d.standing for d in drafts if d.standing and d.foreign_changes]
        compared = [d for d in drafts if not d.foreign_changes]
        with self._engine.database.transaction() as connection:
            lock_certificates(connection)
            written = [write_certificate(connection, draft.new, draft.bars) for draft in due]
            new = [certificate for certificate in written if certificate is not None]
            stands = {(d.new.universe, d.new.session_day): d.new.previous_id for d in compared}
            stands |= {(c.universe, c.session_day): c.certificate_id for c in new}
            newest = read_newest_ids(connection, self._exchange, self._interval.name, {day for _, day in stands})
            # What another process certified meanwhile, from an earlier or later snapshot, the next look compares.
            certain = {name: seen[name] for name, number in stands.items() if newest.get(name) == number}
            record_hashed_sessions(connection, self._exchange, self._interval.name, certain)
        self.written += new
        self.is_overtaken |= len(certain) < len(stands)


def _list_next_closes(market: MarketProfile, retained: Sequence[Session], now: datetime) -> list[datetime]:
    """When the session that is open closes, or the next one."""
    following = list_overlapping_sessions(market, now, now + _NEVER)
    closes = [session.close for session in (*retained, *following) if session.close > now]
    return [min(closes)] if closes else []
