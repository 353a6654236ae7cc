"""Certifies one session on request, or says what it lacks: ``backfill-assets certify``.

Unlike ``certify``, a request may write something weaker than the certificate before, and with ``accept_changes`` also
one that rests on bars that something else than this program changed.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.certify import is_ahead
from backfill_assets.certification.drafts import Draft, build_drafts
from backfill_assets.certification.evaluation import EvaluatedSession, EvaluationRequest, evaluate_sessions
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval, parse_interval
from backfill_assets.market.calendar.moment_style import choose_moment_style
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.tickers import shorten_ticker
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.certificate_values import Certificate
from backfill_assets.store.certificates import lock_certificates, write_certificate
from backfill_assets.store.universes import NamedUniverse, find_universe

MAX_NAMED = 20  # symbols with what each lacks


@dataclass(frozen=True, slots=True)
class CertifyRequest:
    """A session to certify.

    Attributes:
        day: the session.
        universe: its name.
        interval: name of the interval.
        exchange: the vendor's code.
        accept_changes: also if something else than this program changed certified bars.
        current_members: ask anew who belongs to the session, although a certificate has settled it.
    """

    day: date
    universe: str
    interval: str
    exchange: str = DEFAULT_EXCHANGE
    accept_changes: bool = False
    current_members: bool = False


@dataclass(frozen=True, slots=True)
class CertifiedSession:
    """The answer to a request.

    Attributes:
        certificate: that stands now; None if the session cannot be certified and never was.
        is_new: whether it was written now.
        is_certifiable: whether the session allows what stands; else ``reasons`` say why not.
        reasons: one line each, with the command that says more.
        lacking: the symbols that lack slots, by ticker, with the slots by state.
    """

    certificate: Certificate | None
    is_new: bool
    is_certifiable: bool
    reasons: tuple[str, ...] = ()
    lacking: tuple[tuple[str, dict[str, int]], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The answer in JSON's types."""
        return {
            "certifiable": self.is_certifiable,
            "new": self.is_new,
            "certificate": self.certificate.as_dict() if self.certificate else None,
            "reasons": list(self.reasons),
            "incomplete": [{"symbol": name, **counts} for name, counts in self.lacking],
        }


def certify_session(engine: Engine, request: CertifyRequest) -> CertifiedSession:
    """Certify a session if it allows that; otherwise say what it lacks.

    Raises:
        UsageError: no session, universe or interval of that name, nobody belongs to it, or the clock is set ahead of
            the database server's.
    """
    session = _find_session(engine, request)
    now = engine.settings.now()
    if now < session.close:
        closes = choose_moment_style(session.market, engine.settings.exchanges).format_minute(session.close)
        return CertifiedSession(None, False, False, (f"the session is not over: it closes at {closes}",))
    with engine.database.transaction() as connection:
        if is_ahead(connection, engine):
            raise UsageError("--as-of is ahead of the database server's clock; nothing can be certified for then")
        universe = find_universe(connection, request.exchange, request.universe)
        (interval,) = adopt_spellings(connection, [parse_interval(request.interval)])
    return _certify(engine, request, universe, session, interval)


def _certify(
    engine: Engine, request: CertifyRequest, universe: NamedUniverse, session: Session, interval: Interval
) -> CertifiedSession:
    judged = EvaluationRequest(
        [universe], (session,), interval, engine.settings.now(), current_members=request.current_members
    )
    with engine.database.snapshot() as connection:
        evaluated = evaluate_sessions(connection, engine, judged)
        if not evaluated:
            raise UsageError(f"no symbol of universe {universe.name} was active and listed on {session.day}")
        if evaluated[0].kind is None:
            return _explain_lack(evaluated[0], interval, engine)
        (draft,) = build_drafts(connection, engine.settings, judged, evaluated)
    if not draft.is_news:
        return CertifiedSession(draft.standing, False, True)
    if draft.foreign_changes and not request.accept_changes:
        return CertifiedSession(draft.standing, False, False, (_explain_changes(draft),))
    with engine.database.transaction() as connection:
        lock_certificates(connection)
        written = write_certificate(connection, draft.new, draft.bars)
    return CertifiedSession(written, True, True) if written else _certify(engine, request, universe, session, interval)


def _find_session(engine: Engine, request: CertifyRequest) -> Session:
    sessions = list_sessions(engine.settings.get_market(request.exchange), request.day, request.day)
    if not sessions:
        raise UsageError(f"{request.day} is no session of exchange {request.exchange}")
    return sessions[0]


def _explain_lack(one: EvaluatedSession, interval: Interval, engine: Engine) -> CertifiedSession:
    lacking = tuple((str(i.symbol.ticker), dict(i.counts)) for i in one.incomplete)
    option = "" if interval.name == DEFAULT_INTERVAL else f" --interval {interval.name}"
    day = one.session.day
    reasons = [
        f"{_describe_slots(name, counts)}; see: backfill-assets why {shorten_ticker(name)} {day}{option}"
        for name, counts in lacking[:MAX_NAMED]
    ]
    if len(lacking) > MAX_NAMED:
        reasons.append(f"and {len(lacking) - MAX_NAMED:,} more symbols")
    if one.next_gate_at is not None:
        style = choose_moment_style(one.session.market, engine.settings.exchanges)
        reasons.append(f"look again at {style.format_minute(one.next_gate_at)}")
    return CertifiedSession(one.standing, False, False, tuple(reasons), lacking)


def _describe_slots(name: str, counts: dict[str, int]) -> str:
    return f"{name}: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def _explain_changes(draft: Draft) -> str:
    count, standing = len(draft.foreign_changes), draft.standing.certificate_id if draft.standing else 0
    bars = "1 certified bar was" if count == 1 else f"{count:,} certified bars were"
    return (
        f"{bars} changed by something else than this program; see: backfill-assets verify-certificate {standing};"
        " with --accept-changes the session is certified as it is"
    )
