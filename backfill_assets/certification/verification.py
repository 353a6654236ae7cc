"""Recomputes certificates from the stored bars: which bars differ, and by whom they were changed.

Writes nothing. ``verify-certificate`` shows the result, and an audit counts the newest certificates that fail.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.comparison import BarChange, add_former_values, compare_bars, hash_bars
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import Interval, parse_interval
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.store.bars.certified_bars import read_certified_sessions
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.certificate_values import Certificate
from backfill_assets.store.certificates import (
    list_newest_certificates,
    read_certificate,
    read_certified_bars,
    read_certified_symbols,
)
from backfill_assets.store.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class VerifiedCertificate:
    """What the table says of a certificate.

    Attributes:
        certificate: the certificate.
        sha256: of the stored bars.
        changes: the bars that differ.
        newer_id: the certificate of the same session that stands instead; None if this one stands.
    """

    certificate: Certificate
    sha256: str
    changes: tuple[BarChange, ...]
    newer_id: int | None

    @property
    def holds(self) -> bool:
        """Whether the stored bars are those that were certified."""
        return self.sha256 == self.certificate.sha256

    def as_dict(self) -> dict[str, Any]:
        """The result in JSON's types."""
        return {
            "certificate_id": self.certificate.certificate_id,
            "universe": self.certificate.universe,
            "session_day": self.certificate.session_day.isoformat(),
            "interval": self.certificate.interval,
            "holds": self.holds,
            "newer_id": self.newer_id,
            "sha256_certified": self.certificate.sha256,
            "sha256_stored": self.sha256,
            "differing": [change.as_dict() for change in self.changes],
        }


def verify_certificate(engine: Engine, certificate_id: int) -> VerifiedCertificate:
    """Recompute one certificate.

    Raises:
        UsageError: there is none with this id.
    """
    with engine.database.snapshot() as connection:
        certificate = read_certificate(connection, certificate_id)
        if certificate is None:
            raise UsageError(f"there is no certificate {certificate_id}; see: backfill-assets certificates list")
        (interval,) = adopt_spellings(connection, [parse_interval(certificate.interval)])
        return _verify(connection, engine, certificate, interval)


def verify_newest(
    engine: Engine,
    exchange: str,
    interval: Interval,
    days: Collection[date] | None = None,
    universe: str | None = None,
) -> list[VerifiedCertificate]:
    """Recompute the newest certificate of each session and universe; of some days, or (None) of all."""
    with engine.database.snapshot() as connection:
        newest = list_newest_certificates(connection, exchange, interval.name, days, universe)
    verified = []
    for certificate in newest:  # a snapshot each: a long history does not hold one open
        with engine.database.snapshot() as connection:
            verified.append(_verify(connection, engine, certificate, interval))
    return verified


def _verify(
    connection: Connection, engine: Engine, certificate: Certificate, interval: Interval
) -> VerifiedCertificate:
    (symbols,) = read_certified_symbols(connection, [certificate.certificate_id]).values()
    grid = _build_grid(engine, certificate, interval)
    hashed = hash_bars(read_certified_sessions(connection, dict(symbols), grid))
    changes: list[BarChange] = []
    if hashed.sha256 != certificate.sha256:
        changes = compare_bars(read_certified_bars(connection, certificate.certificate_id), hashed)
        changes = add_former_values(connection, interval, changes)
        outside = (grid.find_ordinals(np.array([change.start for change in changes], np.int64)) < 0).tolist()
        changes = [replace(change, is_outside_session=is_out) for change, is_out in zip(changes, outside, strict=True)]
    day = [certificate.session_day]
    (newest,) = list_newest_certificates(
        connection, certificate.exchange, certificate.interval, day, certificate.universe
    )
    newer_id = newest.certificate_id if newest.certificate_id != certificate.certificate_id else None
    return VerifiedCertificate(certificate, hashed.sha256, tuple(changes), newer_id)


def _build_grid(engine: Engine, certificate: Certificate, interval: Interval) -> SlotGrid:
    """The slots of the certificate's session; none if the calendar has no such session any more."""
    day = certificate.session_day
    return build_slot_grid(list_sessions(engine.settings.get_market(certificate.exchange), day, day), interval)
