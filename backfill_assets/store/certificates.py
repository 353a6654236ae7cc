"""Certificates in the database: written once, read by the reader, the sensor and the commands; never changed.

What makes a session certifiable is decided in ``certification``. One lock is held while certificates are written: two
processes write one of each, and ids ascend in the order of commit, so that a reader can go on from the newest it saw.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import UTC, date
from typing import Any

import numpy as np

from backfill_assets.store.certificate_values import (
    Certificate,
    CertificateKind,
    CertifiedBars,
    FoundCertificate,
    NewCertificate,
)
from backfill_assets.store.postgres.connection import Connection

_LOCK = 0x63657274  # "cert" in ASCII
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
_MAX_READ = 1000


# In the order of the fields of ``Certificate``.
_COLUMNS = """
    c.exchange, c.universe, c.session_day, c.interval_type, c.kind, c.previous_id, c.symbols, c.incomplete, c.bars,
    c.sha256, c.counts, c.evidence, c.code_version, c.as_of, c.revised_bars, c.max_price_bps, c.max_volume_percent,
    c.is_material, c.certificate_id, c.schema_version, c.created_at
"""
_SELECT_BY_ID = f"SELECT {_COLUMNS} FROM backfill.certificates c WHERE c.certificate_id = %(id)s"  # noqa: S608
_SELECT_AFTER = f"""
SELECT {_COLUMNS} FROM backfill.certificates c
WHERE c.certificate_id > %(after)s AND (%(exchange)s::text IS NULL OR c.exchange = %(exchange)s)
ORDER BY c.certificate_id LIMIT %(limit)s
"""  # noqa: S608 - constants are inserted
_SELECT_NEWEST = f"""
SELECT DISTINCT ON (c.session_day, c.universe) {_COLUMNS} FROM backfill.certificates c
WHERE c.exchange = %(exchange)s AND c.interval_type = %(interval)s
  AND (%(days)s::date[] IS NULL OR c.session_day = ANY (%(days)s::date[]))
  AND (%(universe)s::text IS NULL OR c.universe = %(universe)s)
ORDER BY c.session_day, c.universe, c.certificate_id DESC
"""  # noqa: S608 - constants are inserted
_SELECT_NEWEST_IDS = """
SELECT universe, session_day, max(certificate_id) FROM backfill.certificates
WHERE exchange = %(exchange)s AND interval_type = %(interval)s AND session_day = ANY (%(days)s::date[])
GROUP BY universe, session_day
"""
_SELECT_COVERING = """
SELECT c.certificate_id, c.universe, c.session_day, c.kind, c.sha256, c.created_at, c.incomplete, b.symbol_ids,
       CASE WHEN c.incomplete <> '{}' THEN b.tickers END
FROM (SELECT DISTINCT ON (session_day, universe) * FROM backfill.certificates
      WHERE exchange = %(exchange)s AND interval_type = %(interval)s AND session_day = ANY (%(days)s::date[])
      ORDER BY session_day, universe, certificate_id DESC) c
JOIN backfill.certificate_bars b USING (certificate_id) ORDER BY c.session_day, c.universe
"""
_SELECT_NEWEST_ID = "SELECT coalesce(max(certificate_id), 0) FROM backfill.certificates"
_SELECT_BARS = """
SELECT symbol_ids, tickers, bar_counts, starts, digests, writes FROM backfill.certificate_bars
WHERE certificate_id = %(id)s
"""
_SELECT_SYMBOLS = """
SELECT certificate_id, symbol_ids, tickers FROM backfill.certificate_bars WHERE certificate_id = ANY (%(ids)s::bigint[])
"""
_INSERT = """
INSERT INTO backfill.certificates (
    exchange, universe, session_day, interval_type, kind, previous_id, symbols, incomplete, bars, sha256, counts,
    evidence, code_version, schema_version, as_of, created_at, revised_bars, max_price_bps, max_volume_percent,
    is_material
) SELECT %(exchange)s, %(universe)s, %(session_day)s, %(interval)s, %(kind)s, %(previous_id)s, %(symbols)s,
         %(incomplete)s::text[], %(bars)s, %(sha256)s, %(counts)s::jsonb, %(evidence)s::jsonb, %(code_version)s,
         (SELECT max(number) FROM (SELECT number FROM backfill.migrations UNION ALL
                                   SELECT number FROM backfill.additive_migrations) AS m),
         %(as_of)s, now(), %(revised_bars)s,
         %(max_price_bps)s::float8, %(max_volume_percent)s::float8, %(is_material)s
ON CONFLICT DO NOTHING RETURNING certificate_id
"""
_INSERT_BARS = """
INSERT INTO backfill.certificate_bars (certificate_id, symbol_ids, tickers, bar_counts, starts, digests, writes)
VALUES (%(id)s, %(symbol_ids)s::int[], %(tickers)s::text[], %(bar_counts)s::int[], %(starts)s, %(digests)s, %(writes)s)
"""


def lock_certificates(connection: Connection) -> None:
    """Let no other process write certificates until the transaction ends; before what they rest on is read."""
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})


def write_certificate(connection: Connection, new: NewCertificate, bars: CertifiedBars) -> Certificate | None:
    """Write a certificate; None if another process wrote the one after the same predecessor.

    Args:
        connection: with a transaction open, in which ``lock_certificates`` was called and the bars were read.
        new: what it says.
        bars: the bars that it is about.
    """
    values = {field.name: getattr(new, field.name) for field in fields(new)}
    values |= {"kind": str(new.kind), "incomplete": list(new.incomplete)}
    values |= {"counts": json.dumps(new.counts), "evidence": json.dumps(new.evidence)}
    written = connection.execute(_INSERT, values).fetchone()
    if written is None:
        return None
    connection.execute(
        _INSERT_BARS,
        {
            "id": written[0],
            "symbol_ids": bars.symbol_ids.tolist(),
            "tickers": list(bars.tickers),
            "bar_counts": bars.bar_counts.tolist(),
            **{name: getattr(bars, name).astype("<u4").tobytes() for name in ("starts", "digests", "writes")},
        },
    )
    return read_certificate(connection, written[0])


def read_certificate(connection: Connection, certificate_id: int) -> Certificate | None:
    """The certificate with this id; None if there is none."""
    row = connection.execute(_SELECT_BY_ID.encode(), {"id": certificate_id}).fetchone()
    return None if row is None else _to_certificate(row)


def read_certified_bars(connection: Connection, certificate_id: int) -> CertifiedBars:
    """The bars that a certificate is about."""
    row = connection.cursor(binary=True).execute(_SELECT_BARS, {"id": certificate_id}).fetchall()[0]
    symbol_ids, tickers, bar_counts, *columns = row
    starts, digests, writes = (np.frombuffer(column, "<u4").astype(np.uint32) for column in columns)
    return CertifiedBars(
        np.array(symbol_ids, np.int64), tuple(tickers), np.array(bar_counts, np.int64), starts, digests, writes
    )


def read_certified_symbols(
    connection: Connection, certificate_ids: Collection[int]
) -> dict[int, tuple[tuple[int, str], ...]]:
    """certificate_id → the symbol_id and ticker of each symbol that it is about, by ticker."""
    rows = connection.cursor(binary=True).execute(_SELECT_SYMBOLS, {"ids": sorted(certificate_ids)})
    return {key: tuple(zip(symbol_ids, tickers, strict=True)) for key, symbol_ids, tickers in rows}


def read_certificates_after(
    connection: Connection, certificate_id: int, exchange: str | None = None, limit: int = _MAX_READ
) -> list[Certificate]:
    """Certificates with a larger id, ascending, at most ``limit``. Ids ascend in the order of commit."""
    values = {"after": certificate_id, "exchange": exchange, "limit": limit}
    return [_to_certificate(row) for row in connection.execute(_SELECT_AFTER.encode(), values)]


def read_newest_certificate_id(connection: Connection) -> int:
    """The largest id; 0 without certificates."""
    newest: int = connection.execute(_SELECT_NEWEST_ID).fetchall()[0][0]
    return newest


def list_newest_certificates(
    connection: Connection,
    exchange: str,
    interval: str,
    days: Collection[date] | None = None,
    universe: str | None = None,
) -> list[Certificate]:
    """The newest certificate of each session and universe, by session and universe; of some or (None) of all."""
    values = {
        **{"exchange": exchange, "interval": interval, "universe": universe},
        "days": None if days is None else sorted(days),
    }
    return [_to_certificate(row) for row in connection.execute(_SELECT_NEWEST.encode(), values)]


def read_newest_ids(
    connection: Connection, exchange: str, interval: str, days: Collection[date]
) -> dict[tuple[str, date], int]:
    """(universe, session) → the id of its newest certificate."""
    values = {"exchange": exchange, "interval": interval, "days": sorted(days)}
    return {(name, day): newest for name, day, newest in connection.execute(_SELECT_NEWEST_IDS, values)}


def find_certificates(
    connection: Connection, exchange: str, interval: str, days: Collection[date], symbol_ids: Collection[int]
) -> list[FoundCertificate]:
    """The newest certificates of sessions that are about at least one of some symbols, by session and universe.

    One statement; no lock. A certificate covers the symbols that belong to its session and that it does not name as
    incomplete.
    """
    wanted = frozenset(symbol_ids)
    values = {"exchange": exchange, "interval": interval, "days": sorted(days)}
    found = []
    for row in connection.cursor(binary=True).execute(_SELECT_COVERING, values):
        certificate_id, universe, day, kind, sha256, created_at, incomplete, members, tickers = row
        covered = wanted.intersection(members)
        if incomplete:
            names = set(incomplete)
            covered -= {key for key, ticker in zip(members, tickers, strict=True) if ticker in names}
        if covered:
            moment = created_at.astimezone(UTC)
            found.append(
                FoundCertificate(certificate_id, universe, day, CertificateKind(kind), sha256, moment, covered)
            )
    return found


def _to_certificate(row: Sequence[Any]) -> Certificate:
    values = dict(zip((field.name for field in fields(Certificate)), row, strict=True))
    return Certificate(
        **values
        | {
            "kind": CertificateKind(values["kind"]),
            "incomplete": tuple(values["incomplete"]),
            "as_of": values["as_of"].astimezone(UTC),
            "created_at": values["created_at"].astimezone(UTC),
        }
    )
