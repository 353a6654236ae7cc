"""Compares the stored bars of a session with those of a certificate: which differ, and whether this program wrote that.

Every write of this program changes the time at which the bar was written. A certified bar with other values and the
same time of writing was changed past the triggers, one without a time by another program, and one that is gone was
deleted: this program deletes no bar.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Int64
from backfill_assets.market.bars.canonical_rows import digest_rows, format_rows, hash_rows
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.timestamps import format_timestamp, to_datetime
from backfill_assets.store.bars.certified_bars import StoredBars
from backfill_assets.store.bars.former_values import PricesAndVolume, find_former_values
from backfill_assets.store.certificate_values import CertifiedBars
from backfill_assets.store.postgres.connection import Connection

_START_BITS = 32


class ChangeKind(StrEnum):
    """How a bar differs from the certificate."""

    CHANGED = "changed"
    ADDED = "added"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class BarChange:
    """A bar that differs from the certificate.

    Attributes:
        ticker: for instance AAPL.US.
        symbol_id: its key in ``market_symbols``.
        start: epoch seconds of the slot, UTC.
        kind: how it differs.
        is_revision: whether this program wrote it, it was another program's bar before, or its symbol belongs to the
            session no more.
        old: the certified values, as far as the history has them.
        new: the stored values; None if the bar is gone.
        digest: of the certified row; None if there was none.
        is_outside_session: whether its time is no slot of the session any more: the calendar has other hours, and the
            bar may well be stored.
    """

    ticker: str
    symbol_id: int
    start: int
    kind: ChangeKind
    is_revision: bool
    old: PricesAndVolume | None = None
    new: PricesAndVolume | None = None
    digest: int | None = None
    is_outside_session: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The change in JSON's types."""
        return {
            "symbol": self.ticker,
            "slot_start": format_timestamp(to_datetime(self.start)),
            "change": str(self.kind),
            "is_revision": self.is_revision,
            "old": _to_numbers(self.old),
            "new": _to_numbers(self.new),
        }


@dataclass(frozen=True, eq=False)
class HashedBars:
    """Stored bars of a session with their canonical hash and a digest each."""

    stored: StoredBars
    sha256: str
    digests: NDArray[np.uint32]

    def to_certified(self) -> CertifiedBars:
        """The bars as a certificate keeps them."""
        values = self.stored.values
        return CertifiedBars(
            self.stored.symbol_ids,
            tuple(values.tickers),
            self.stored.bar_counts,
            values.start.astype(np.uint32),
            self.digests,
            self.stored.writes,
        )


def hash_bars(stored: StoredBars) -> HashedBars:
    """Hash the bars of one session."""
    rows = format_rows(stored.values)
    return HashedBars(stored, hash_rows(rows), digest_rows(rows))


def compare_bars(certified: CertifiedBars, hashed: HashedBars) -> list[BarChange]:
    """The bars that differ, by ticker and time; ``old`` is None of all (``add_former_values``)."""
    now = hashed.to_certified()
    symbol_ids = dict(zip(certified.tickers, certified.symbol_ids.tolist(), strict=True))
    symbol_ids |= dict(zip(now.tickers, now.symbol_ids.tolist(), strict=True))
    names = sorted(symbol_ids, key=str.encode)
    positions = {name: position for position, name in enumerate(names)}
    before_keys, now_keys = _build_keys(certified, positions), _build_keys(now, positions)
    _, before, after = np.intersect1d(before_keys, now_keys, assume_unique=True, return_indices=True)
    is_other = certified.digests[before] != now.digests[after]
    pairs = {int(before_keys[b]): (int(b), int(a)) for b, a in zip(before[is_other], after[is_other], strict=True)}
    gone = {int(before_keys[b]): (int(b), None) for b in np.flatnonzero(~np.isin(before_keys, now_keys))}
    members = frozenset(now.tickers)
    added = {int(now_keys[a]): (None, int(a)) for a in np.flatnonzero(~np.isin(now_keys, before_keys))}
    changes = []
    for key, (b, a) in sorted({**pairs, **gone, **added}.items()):
        ticker = names[key >> _START_BITS]
        changes.append(
            BarChange(
                ticker=ticker,
                symbol_id=symbol_ids[ticker],
                start=key & ((1 << _START_BITS) - 1),
                kind=ChangeKind.GONE if a is None else ChangeKind.ADDED if b is None else ChangeKind.CHANGED,
                is_revision=ticker not in members or _is_revision(certified, now, b, a),
                new=None if a is None else _get_values(hashed.stored, a),
                digest=None if b is None else int(certified.digests[b]),
            )
        )
    return changes


def add_former_values(connection: Connection, interval: Interval, changes: list[BarChange]) -> list[BarChange]:
    """The changes with the certified values that the history has."""
    wanted = {(c.symbol_id, c.start): c.digest for c in changes if c.digest is not None}
    former = find_former_values(connection, interval, {c.symbol_id: c.ticker for c in changes}, wanted)
    return [replace(change, old=former.get((change.symbol_id, change.start))) for change in changes]


def _is_revision(certified: CertifiedBars, now: CertifiedBars, before: int | None, after: int | None) -> bool:
    if before is None or not certified.writes[before]:
        return True  # a new bar, or one that was another program's
    return after is not None and now.writes[after] not in (0, certified.writes[before])


def _build_keys(bars: CertifiedBars, positions: dict[str, int]) -> Int64:
    ticker = np.repeat([positions[name] for name in bars.tickers], bars.bar_counts).astype(np.int64)
    return (ticker << _START_BITS) + bars.starts.astype(np.int64)


def _get_values(stored: StoredBars, position: int) -> PricesAndVolume:
    return PricesAndVolume(*(float(getattr(stored.values, name)[position]) for name in PricesAndVolume._fields))


def _to_numbers(values: PricesAndVolume | None) -> dict[str, float | None] | None:
    if values is None:
        return None
    return {name: None if value != value else value for name, value in values._asdict().items()}
