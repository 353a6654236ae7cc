"""Whose bars the certificate of a session is about: what a read of that session is to cover."""

from datetime import date

from backfill_assets.store.certificates import list_newest_certificates, read_certified_symbols
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols


def list_certified_tickers(connection: Connection, exchange: str, interval: str, day: date, universe: str) -> list[str]:
    """The tickers of the symbols that a session's newest certificate is about; empty if there is no certificate.

    A symbol that was renamed since has its present ticker; one whose row is gone is left out.
    """
    newest = list_newest_certificates(connection, exchange, interval, [day], universe)
    certified = read_certified_symbols(connection, [certificate.certificate_id for certificate in newest])
    names = {s.symbol_id: str(s.ticker) for s in list_symbols(connection, exchange, only_active=False)}
    members = [symbol_id for symbols in certified.values() for symbol_id, _ in symbols]
    return sorted(names[symbol_id] for symbol_id in members if symbol_id in names)
