"""Universes with a name, and certificates as they are stored."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.store.certificate_values import Certificate, CertificateKind, CertifiedBars, NewCertificate
from backfill_assets.store.certificates import (
    find_certificates,
    list_newest_certificates,
    lock_certificates,
    read_certificates_after,
    read_certified_bars,
    read_newest_certificate_id,
    write_certificate,
)
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import add_symbols, deactivate_symbols, list_symbols
from backfill_assets.store.universes import (
    add_members,
    create_universe,
    delete_universe,
    find_symbols,
    find_universe,
    list_universe_symbols,
    list_universes,
    remove_members,
    set_gates,
)

MONDAY = date(2026, 6, 1)
NOON = datetime(2026, 6, 2, 16, tzinfo=UTC)


def name_members(connection: Connection, name: str, moment: datetime | None = None) -> list[str]:
    universe = find_universe(connection, "US", name)
    return [symbol.ticker.symbol for symbol in list_universe_symbols(connection, universe, moment)]


def test_members_of_a_universe_now_and_at_a_moment(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT", "IBM"]))
        chosen = find_symbols(connection, "US", parse_tickers(["MSFT", "AAPL"]))
        model = create_universe(connection, "US", "model", chosen, max_incomplete=1, deadline=timedelta(hours=16))
        ibm = find_symbols(connection, "US", parse_tickers(["IBM"]))
        assert add_members(connection, model, ibm, NOON) == 1
        assert add_members(connection, model, ibm, NOON) == 0
        assert remove_members(connection, model, find_symbols(connection, "US", parse_tickers(["MSFT"])), NOON) == 1
        assert name_members(connection, "model") == ["AAPL", "IBM"]
        assert name_members(connection, "model", NOON - timedelta(seconds=1)) == ["AAPL", "MSFT"]
        assert name_members(connection, "model", NOON) == ["AAPL", "IBM"]
        assert name_members(connection, "all") == ["AAPL", "IBM", "MSFT"]
        deactivate_symbols(connection, parse_tickers(["AAPL"]))
        assert name_members(connection, "all") == ["IBM", "MSFT"]
        assert name_members(connection, "model") == ["AAPL", "IBM"]
        changed = set_gates(connection, model, max_incomplete=0, deadline=None)
        assert (changed.max_incomplete, changed.deadline) == (0, None)
        assert [universe.name for universe in list_universes(connection, "US")] == ["all", "model"]


def test_what_cannot_be_done_to_universes_is_said(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL"]))
        with pytest.raises(UsageError, match=r"not in the store: MSFT\.US, IBM\.US; add them first"):
            find_symbols(connection, "US", parse_tickers(["AAPL", "MSFT", "IBM"]))
        with pytest.raises(UsageError, match="there is no universe 'modl' of exchange US, only all"):
            find_universe(connection, "US", "modl")
        with pytest.raises(UsageError, match="cannot be removed"):
            delete_universe(connection, find_universe(connection, "US", "all"))
        model = create_universe(connection, "US", "model", [])
        with pytest.raises(UsageError, match="already"):
            create_universe(connection, "US", "model", [])
        delete_universe(connection, model)
        assert [universe.name for universe in list_universes(connection, "US")] == ["all"]


def write(
    connection: Connection, ids: list[int], previous: Certificate | None = None, **changes: object
) -> Certificate:
    values = {
        **{"exchange": "US", "universe": "all", "session_day": MONDAY, "interval": "30m"},
        **{"kind": CertificateKind.COMPLETE, "previous_id": previous.certificate_id if previous else None},
        **{"symbols": 2, "incomplete": (), "bars": 2, "sha256": "0" * 64, "counts": {"present": 2}, "evidence": {}},
        **{"code_version": "0", "as_of": NOON, "revised_bars": 0, "max_price_bps": 0.0, "max_volume_percent": 0.0},
        **{"is_material": True},
    }
    one = np.array([1, 4_000_000_000], np.uint32)
    bars = CertifiedBars(np.array(ids), ("AAPL.US", "MSFT.US"), np.array([1, 1]), one, one, one)
    lock_certificates(connection)
    written = write_certificate(connection, NewCertificate(**{**values, **changes}), bars)  # type: ignore[arg-type]
    assert written is not None
    assert read_certified_bars(connection, written.certificate_id).starts.tolist() == one.tolist()
    return written


def test_a_read_finds_the_newest_certificates_that_cover_its_symbols(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT", "IBM"]))
        ids = {symbol.ticker.symbol: symbol.symbol_id for symbol in list_symbols(connection, "US")}
        first = write(connection, [ids["AAPL"], ids["MSFT"]])
        second = write(
            connection,
            [ids["AAPL"], ids["MSFT"]],
            first,
            kind=CertificateKind.COMPLETE_BUT_FOR,
            incomplete=("MSFT.US",),
            sha256="1" * 64,
        )
        assert second.previous_id == first.certificate_id
        (found,) = find_certificates(connection, "US", "30m", [MONDAY], ids.values())
        assert (found.certificate_id, found.covered) == (second.certificate_id, {ids["AAPL"]})
        assert find_certificates(connection, "US", "30m", [MONDAY], [ids["IBM"], ids["MSFT"]]) == []
        assert find_certificates(connection, "US", "5m", [MONDAY], ids.values()) == []
        assert list_newest_certificates(connection, "US", "30m") == [second]
        assert read_certificates_after(connection, 0) == [first, second]
        assert read_certificates_after(connection, first.certificate_id, "US") == [second]
        assert read_newest_certificate_id(connection) == second.certificate_id
        assert second.as_dict()["kind"] == "complete but for"
