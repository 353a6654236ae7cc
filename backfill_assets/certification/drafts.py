"""Decides which certificates are due: hashes the bars of sessions, and compares them with the newest certificate.

``evaluation`` says which kind a session allows. Nothing weaker replaces a certificate by itself, and none rests on bars
that something else changed: then the certificate stays as it is, broken, until a person looks (``certify``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from backfill_assets import __version__
from backfill_assets.certification.comparison import (
    BarChange,
    ChangeKind,
    HashedBars,
    add_former_values,
    compare_bars,
    hash_bars,
)
from backfill_assets.certification.evaluation import EvaluatedSession, EvaluationRequest
from backfill_assets.config.settings import Settings
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.store.bars.certified_bars import StoredBars, read_certified_sessions
from backfill_assets.store.certificate_values import Certificate, CertificateKind, CertifiedBars, NewCertificate
from backfill_assets.store.certificates import read_certified_bars
from backfill_assets.store.evidence.evidence_summary import SessionEvidence, read_session_evidence
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols

MAX_BARS = 250_000  # hashed at once: some 60 MB
_BASIS_POINTS, _PERCENT = 10_000, 100
_STRENGTH = {CertificateKind.COMPLETE_BUT_FOR: 0, CertificateKind.UNVERIFIED: 1, CertificateKind.COMPLETE: 2}


@dataclass(frozen=True, eq=False)
class Draft:
    """A certificate that could be written.

    Attributes:
        new: what it says.
        bars: the bars that it is about.
        changes: how they differ from the certificate before.
        standing: that one.
    """

    new: NewCertificate
    bars: CertifiedBars
    changes: Sequence[BarChange]
    standing: Certificate | None

    @property
    def is_news(self) -> bool:
        """Whether it says something else than the certificate before."""
        if self.standing is None:
            return True
        said = (self.standing.kind, self.standing.sha256, self.standing.incomplete)
        return said != (self.new.kind, self.new.sha256, self.new.incomplete)

    @property
    def is_weaker(self) -> bool:
        """Whether the certificate before said more."""
        return self.standing is not None and _STRENGTH[self.new.kind] < _STRENGTH[self.standing.kind]

    @property
    def foreign_changes(self) -> tuple[BarChange, ...]:
        """Certified bars that something else than this program changed."""
        return tuple(change for change in self.changes if not change.is_revision)


def build_drafts(
    connection: Connection, settings: Settings, request: EvaluationRequest, evaluated: Sequence[EvaluatedSession]
) -> list[Draft]:
    """Hash the bars of sessions that allow a certificate, and say what it would be.

    Args:
        connection: with the transaction open in which they were evaluated.
        settings: what is material.
        request: what was evaluated.
        evaluated: sessions that allow one; their bars must fit into memory (see ``split_evaluated``).
    """
    if not evaluated:
        return []
    days = {one.session.day: one.session for one in evaluated}
    grid = build_slot_grid([days[day] for day in sorted(days)], request.interval)
    tickers = {s.symbol_id: str(s.ticker) for one in evaluated for s in one.members}
    stored = read_certified_sessions(connection, tickers, grid)
    session = grid.session_index[grid.find_ordinals(stored.values.start)]
    exchange = evaluated[0].universe.exchange
    ids = None  # on a day, the only exchange's evidence is all there is
    if list(settings.exchanges) != [exchange]:
        ids = [symbol.symbol_id for symbol in list_symbols(connection, exchange, only_active=False)]
    evidence = read_session_evidence(connection, request.interval, sorted(days), ids)
    position = {day: index for index, day in enumerate(sorted(days))}
    drafts = []
    for one in evaluated:
        bars = _select_members(stored, session == position[one.session.day], one)
        drafts.append(_build_draft(connection, settings, request, one, hash_bars(bars), evidence))
    return drafts


def split_evaluated(evaluated: Sequence[EvaluatedSession], slots: int) -> list[list[EvaluatedSession]]:
    """Blocks of sessions whose bars fit into memory, and in which no symbol has two tickers.

    ``slots`` is the number of slots of the longest session.
    """
    blocks: list[list[EvaluatedSession]] = []
    size, tickers = MAX_BARS, dict[int, Ticker]()
    for one in sorted(evaluated, key=lambda e: e.session.day):
        bars = len(one.members) * slots
        has_other = any(tickers.get(symbol.symbol_id, symbol.ticker) != symbol.ticker for symbol in one.members)
        if size + bars > MAX_BARS or has_other:
            blocks.append([])
            size, tickers = 0, {}
        blocks[-1].append(one)
        size += bars
        tickers |= {symbol.symbol_id: symbol.ticker for symbol in one.members}
    return blocks


def get_longest_session(grid: SlotGrid) -> int:
    """How many slots the longest session of a grid has."""
    return int(grid.session_sizes.max(initial=1))


def _select_members(stored: StoredBars, is_of_session: Bools, one: EvaluatedSession) -> StoredBars:
    """The bars of a session's members; symbols in the order of their tickers, without the others."""
    members = {symbol.symbol_id for symbol in one.members}
    is_member = np.isin(stored.symbol_ids, list(members))
    chosen = stored.select(is_of_session & is_member[stored.values.ticker])
    position: Int64 = np.cumsum(is_member) - 1
    names = [name for name, is_chosen in zip(stored.values.tickers, is_member.tolist(), strict=True) if is_chosen]
    values = replace(chosen.values, ticker=position[chosen.values.ticker], tickers=names)
    return StoredBars(stored.symbol_ids[is_member], values, chosen.writes)


def _build_draft(
    connection: Connection,
    settings: Settings,
    request: EvaluationRequest,
    one: EvaluatedSession,
    hashed: HashedBars,
    evidence: Mapping[date, SessionEvidence],
) -> Draft:
    if one.kind is None:
        raise ValueError(f"session {one.session.day} of {one.universe.name} allows no certificate")
    standing, changes = one.standing, []
    if standing is not None and standing.sha256 != hashed.sha256:
        changes = compare_bars(read_certified_bars(connection, standing.certificate_id), hashed)
        changes = add_former_values(connection, request.interval, changes)
    price, volume = _measure_changes(changes)
    new = NewCertificate(
        exchange=one.universe.exchange,
        universe=one.universe.name,
        session_day=one.session.day,
        interval=request.interval.name,
        kind=one.kind,
        previous_id=standing.certificate_id if standing else None,
        symbols=len(one.members),
        incomplete=one.incomplete_names,
        bars=len(hashed.stored.values),
        sha256=hashed.sha256,
        counts=dict(one.counts),
        evidence=_describe_evidence(one, evidence.get(one.session.day)),
        code_version=__version__,
        as_of=request.now,
        revised_bars=len(changes),
        max_price_bps=price,
        max_volume_percent=volume,
        is_material=standing is None or _says_more(one, standing) or _is_material(settings, changes, price, volume),
    )
    return Draft(new, hashed.to_certified(), changes, standing)


def _describe_evidence(one: EvaluatedSession, found: SessionEvidence | None) -> dict[str, object]:
    described: dict[str, object] = {"universe_assumed": one.is_assumed, "unserved": list(one.unserved)}
    if found is not None:
        described |= found.as_dict()
    return described | ({"gate": one.gate} if one.gate else {})


def _measure_changes(changes: Sequence[BarChange]) -> tuple[float | None, float | None]:
    """The largest change of a price (basis points) and a volume (percent); None where a former value is not known."""
    pairs = [(c.old, c.new) for c in changes if c.kind is ChangeKind.CHANGED]
    known = [(old, new) for old, new in pairs if old is not None and new is not None]
    if len(known) < len(pairs):
        return None, None
    price = max((_compute_change(o, n) for old, new in known for o, n in zip(old[:4], new[:4], strict=True)), default=0)
    volume = max((_compute_change(old.volume, new.volume) for old, new in known), default=0)
    return price * _BASIS_POINTS, volume * _PERCENT


def _compute_change(old: float, new: float) -> float:
    """The relative change of a value; 1 from or to none."""
    if old == new or (np.isnan(old) and np.isnan(new)):
        return 0.0
    if np.isnan(old) or np.isnan(new) or old == 0:
        return 1.0
    return abs(new - old) / abs(old)


def _says_more(one: EvaluatedSession, standing: Certificate) -> bool:
    """Whether bars may be read now that the certificate before did not vouch for, although none need have changed."""
    if one.kind is None or _STRENGTH[one.kind] < _STRENGTH[standing.kind]:
        return False
    return one.kind is not standing.kind or set(one.incomplete_names) < set(standing.incomplete)


def _is_material(settings: Settings, changes: Sequence[BarChange], price: float | None, volume: float | None) -> bool:
    if not changes:
        return False
    if price is None or volume is None or any(change.kind is not ChangeKind.CHANGED for change in changes):
        return True
    return price > settings.material_price_bps or volume > settings.material_volume_percent
