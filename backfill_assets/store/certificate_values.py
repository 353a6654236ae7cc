"""What a certificate says, as values. The tables are read and written in ``certificates``."""

from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Int64
from backfill_assets.market.exchanges.labels import format_universe


class CertificateKind(StrEnum):
    """What a certificate says of its session."""

    COMPLETE = "complete"  # every slot has a bar of this program, or is explained
    UNVERIFIED = "unverified"  # the same, with bars of other programs
    COMPLETE_BUT_FOR = "complete but for"  # as the universe's gates allow, but for the symbols that it names


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """What a session of a universe held when it was found complete.

    Attributes:
        exchange: the vendor's code.
        universe: its name.
        session_day: the session.
        interval: this program's name of the interval.
        kind: what it says.
        previous_id: the certificate of the same session before it; None for the first.
        symbols: how many symbols belong to the session, incomplete ones included.
        incomplete: the tickers that lack slots, for instance AAPL.US; empty unless the kind names some.
        bars: how many bars the hash is of.
        sha256: of the canonical bytes of the bars (``market.bars.canonical_rows``).
        counts: slots by state, by the names of ``SlotState`` in small letters.
        evidence: what it rests on besides the bars.
        code_version: of this package.
        as_of: the moment that the states refer to, UTC.
        revised_bars: how many bars differ from the certificate before: added, changed or gone.
        max_price_bps: the largest change of a price among bars of both, basis points; None: not known.
        max_volume_percent: the same of a volume.
        is_material: whether what was computed from the bars before should be computed again; True of the first.
    """

    exchange: str
    universe: str
    session_day: date
    interval: str
    kind: CertificateKind
    previous_id: int | None
    symbols: int
    incomplete: tuple[str, ...]
    bars: int
    sha256: str
    counts: dict[str, int]
    evidence: dict[str, Any]
    code_version: str
    as_of: datetime
    revised_bars: int
    max_price_bps: float | None
    max_volume_percent: float | None
    is_material: bool

    @property
    def label(self) -> str:
        """The universe as people read it: with its exchange, unless that is the default one."""
        return format_universe(self.exchange, self.universe)


@dataclass(frozen=True, slots=True)
class Certificate(NewCertificate):
    """A certificate as it was written.

    Attributes:
        certificate_id: ascending in the order of commit.
        schema_version: the newest migration.
        created_at: by the database server's clock, UTC.
    """

    certificate_id: int
    schema_version: int
    created_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types, as the commands and Dagster's metadata have them."""
        described = {field.name: getattr(self, field.name) for field in fields(self)}
        return (
            {"certificate_id": self.certificate_id}
            | described
            | {
                "session_day": self.session_day.isoformat(),
                "kind": str(self.kind),
                "incomplete": list(self.incomplete),
                "as_of": self.as_of.isoformat(),
                "created_at": self.created_at.isoformat(),
            }
        )


@dataclass(frozen=True, eq=False)
class CertifiedBars:
    """The bars of a certificate: which symbols it is about, and a digest of each bar, by ticker and time.

    Attributes:
        symbol_ids: of the symbols, in the order of ``tickers``, shape (symbols,).
        tickers: as in the canonical bytes.
        bar_counts: how many bars each symbol has, shape (symbols,).
        starts: epoch seconds of each bar's slot, shape (bars,).
        digests: the first four bytes of SHA-256 of each bar's canonical row, shape (bars,).
        writes: a hash of when this program wrote each bar, 0 for another program's; shape (bars,).
    """

    symbol_ids: Int64
    tickers: tuple[str, ...]
    bar_counts: Int64
    starts: NDArray[np.uint32]
    digests: NDArray[np.uint32]
    writes: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class FoundCertificate:
    """The newest certificate of a universe and session, as a read rests on it.

    ``covered`` are those of the symbols asked for that it is about and that it does not call incomplete.
    """

    certificate_id: int
    universe: str
    session_day: date
    kind: CertificateKind
    sha256: str
    created_at: datetime
    covered: frozenset[int]
