"""Judges sessions of universes: who belongs to each, what they lack, and which kind of certificate that allows.

Reads the store and writes nothing. Whether a certificate is then due, and its hash, is decided in ``drafts``.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.completeness import INCOMPLETE_STATES, Completeness, judge_completeness
from backfill_assets.certification.membership import Memberships
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import ABSENT_STATES, SlotState
from backfill_assets.store.bars.external_bars import read_external_bars
from backfill_assets.store.certificate_values import Certificate, CertificateKind
from backfill_assets.store.certificates import list_newest_certificates, read_certified_symbols
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.evidence.doubts import list_open_slots
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.universes import NamedUniverse

_LACKING = (*(state.name.lower() for state in INCOMPLETE_STATES), "suspect")  # what a symbol may lack


@dataclass(frozen=True, slots=True)
class IncompleteSymbol:
    """A symbol that lacks slots of a session; ``counts`` are the slots that nothing explains, by state."""

    symbol: Symbol
    counts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class EvaluatedSession:
    """What one session of one universe allows.

    Attributes:
        universe: the universe.
        session: the session.
        members: who belongs to it, ordered by ticker; those that the vendor does not serve included.
        is_assumed: whether today's universe stands for the one of then.
        standing: its newest certificate.
        kind: of the certificate that it allows; None for none.
        incomplete_symbols: those that lack slots.
        lacking_slots: how many that nothing explains, shape (incomplete symbols, states of ``_LACKING``).
        counts: slots of the members by state.
        unserved: the members that the vendor does not serve.
        gate: what allows a certificate although symbols lack slots: ``max_incomplete`` or ``deadline``.
        next_gate_at: when time alone may allow one; None: no time does.
    """

    universe: NamedUniverse
    session: Session
    members: tuple[Symbol, ...]
    is_assumed: bool
    standing: Certificate | None
    kind: CertificateKind | None
    incomplete_symbols: tuple[Symbol, ...]
    lacking_slots: Int64
    counts: Mapping[str, int]
    unserved: tuple[str, ...] = ()
    gate: str | None = None
    next_gate_at: datetime | None = None

    @property
    def incomplete_names(self) -> tuple[str, ...]:
        """The tickers that lack slots."""
        return tuple(str(symbol.ticker) for symbol in self.incomplete_symbols)

    @property
    def incomplete(self) -> tuple[IncompleteSymbol, ...]:
        """What each of them lacks; made when asked for, because most sessions of a look lack all and nobody asks."""
        lacking = (
            {n: count for n, count in zip(_LACKING, row, strict=True) if count} for row in self.lacking_slots.tolist()
        )
        return tuple(map(IncompleteSymbol, self.incomplete_symbols, lacking))


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is judged: sessions (oldest first) of universes of one exchange, as of ``now``.

    With ``current_members`` who belongs to a session is asked anew, although a certificate has settled it.
    """

    universes: Sequence[NamedUniverse]
    sessions: tuple[Session, ...]
    interval: Interval
    now: datetime
    current_members: bool = False


def evaluate_sessions(connection: Connection, engine: Engine, request: EvaluationRequest) -> list[EvaluatedSession]:
    """Judge every session of every universe; sessions that nobody belongs to are left out.

    Args:
        connection: with a transaction open; settings of the transaction's query planner change.
        engine: gives the settings.
        request: what to judge. The sessions must have closed.
    """
    if not request.sessions or not request.universes:
        return []
    bodies = list(_read_members(connection, request))
    # A symbol may have had another ticker when it was certified, or have been active then.
    by_id = {symbol.symbol_id: symbol for body in bodies for symbol in body.members}
    symbols = tuple(sorted(by_id.values(), key=lambda symbol: (symbol.ticker, symbol.symbol_id)))
    if not symbols:
        return []
    market = request.sessions[0].market
    source = engine.settings.choose_source(market, request.interval)
    rules = engine.settings.build_gap_rules(market, source)
    grid = build_slot_grid(request.sessions, request.interval)
    coverage = measure_coverage(connection, symbols, grid, source, rules, request.now, trust_census=False)
    coverage = replace(coverage, external_bars=read_external_bars(connection, symbols, grid))
    days = [session.day for session in request.sessions]
    open_doubts = list_open_slots(connection, request.interval, days[0], days[-1])
    judge = _Judge(coverage, judge_completeness(coverage, open_doubts, rules), request.now)
    judged = (judge.judge(body) for body in bodies)
    return [evaluated for evaluated in judged if evaluated.members]


@dataclass(frozen=True, eq=False)
class _SessionBody:
    """A session of a universe, and who may belong to it; ``standing`` settles it if there is one."""

    universe: NamedUniverse
    position: int
    session: Session
    members: tuple[Symbol, ...]
    is_assumed: bool
    standing: Certificate | None
    is_settled: bool


def _read_members(connection: Connection, request: EvaluationRequest) -> Iterator[_SessionBody]:
    days = [session.day for session in request.sessions]
    exchange = request.sessions[0].exchange
    standing = {
        (certificate.universe, certificate.session_day): certificate
        for certificate in list_newest_certificates(connection, exchange, request.interval.name, days)
    }
    settled = _read_settled(connection, standing.values()) if not request.current_members else {}
    memberships = Memberships(connection, request.sessions, request.universes)
    for universe in request.universes:
        for position, session in enumerate(request.sessions):
            certificate = standing.get((universe.name, session.day))
            found = memberships.list_members(universe, session)
            # One of a universe that was removed says nothing of its successor with the same name.
            is_settled = certificate is not None and universe.existed_at(certificate.created_at)
            members = settled.get(certificate.certificate_id) if certificate and is_settled else None
            yield _SessionBody(
                universe,
                position,
                session,
                found.symbols if members is None else members,
                found.is_assumed
                if certificate is None or members is None
                else bool(certificate.evidence.get("universe_assumed")),
                certificate,
                members is not None,
            )


def _read_settled(connection: Connection, certificates: Collection[Certificate]) -> dict[int, tuple[Symbol, ...]]:
    """certificate_id → the symbols that it is about; their rows may be gone since."""
    known: dict[tuple[int, str], Symbol] = {}
    settled = {}
    for certificate_id, pairs in read_certified_symbols(connection, [c.certificate_id for c in certificates]).items():
        for pair in pairs:
            if pair not in known:
                # Not as users type them: another program's table may have longer ones.
                name, _, exchange = pair[1].rpartition(".")
                known[pair] = Symbol(pair[0], Ticker(name, exchange), is_active=True)
        settled[certificate_id] = tuple(known[pair] for pair in pairs)
    return settled


class _Judge:
    """Decides what each session allows, by one coverage of all symbols and sessions."""

    def __init__(self, coverage: Coverage, completeness: Completeness, now: datetime) -> None:
        self._coverage, self._completeness, self._now = coverage, completeness, now
        self._rows = {symbol.symbol_id: row for row, symbol in enumerate(coverage.symbols)}
        self._is_listed, self._is_incomplete = completeness.is_listed, completeness.is_incomplete

    def judge(self, body: _SessionBody) -> EvaluatedSession:
        """What one session of one universe allows."""
        rows = np.array([self._rows[symbol.symbol_id] for symbol in body.members], np.int64)
        if not body.is_settled:
            rows = rows[self._is_listed[rows, body.position]]
        lacking = rows[self._is_incomplete[rows, body.position]]
        totals = self._completeness.counts[rows, body.position].sum(axis=0)
        by_row = {self._rows[symbol.symbol_id]: symbol for symbol in body.members}
        kind, gate, next_gate_at = self._choose_kind(body, totals, len(lacking))
        is_unserved: Bools = self._completeness.is_unserved
        return EvaluatedSession(
            universe=body.universe,
            session=body.session,
            members=tuple(by_row[row] for row in rows.tolist()),
            is_assumed=body.is_assumed,
            standing=body.standing,
            kind=kind,
            incomplete_symbols=tuple(by_row[row] for row in lacking.tolist()),
            lacking_slots=self._count_lacking(lacking, body.position),
            counts={state.name.lower(): int(totals[state]) for state in SlotState},
            unserved=tuple(str(by_row[row].ticker) for row in rows[is_unserved[rows]].tolist()),
            gate=gate,
            next_gate_at=next_gate_at,
        )

    def _count_lacking(self, rows: Int64, position: int) -> Int64:
        counts = self._completeness.counts[rows, position][:, list(INCOMPLETE_STATES)]
        return np.column_stack([counts, self._completeness.unexplained[rows, position]])

    def _choose_kind(
        self, body: _SessionBody, totals: Int64, lacking: int
    ) -> tuple[CertificateKind | None, str | None, datetime | None]:
        """The kind that a session allows, the gate that allows it, and when the next gate opens."""
        if not lacking:
            is_unverified = totals[SlotState.UNVERIFIED] > 0
            return (CertificateKind.UNVERIFIED if is_unverified else CertificateKind.COMPLETE), None, None
        gates = {}
        if lacking <= body.universe.max_incomplete:
            gates["max_incomplete"] = self._coverage.overdue_at[body.position]
        has_bars = totals.sum() > totals[list(ABSENT_STATES)].sum()
        if body.universe.deadline is not None and has_bars:
            gates["deadline"] = body.session.close + body.universe.deadline
        open_gates = [name for name, opens_at in gates.items() if opens_at <= self._now]
        if open_gates:
            return CertificateKind.COMPLETE_BUT_FOR, open_gates[0], None
        # Absence counts from a session's overdue time on; until then states may change without a write.
        moments = [*gates.values(), self._coverage.overdue_at[body.position]]
        return None, None, min((at for at in moments if at > self._now), default=None)
