"""Stops and starts an embedded server while processes use it; only tests and benchmarks do this."""

from pathlib import Path

from backfill_assets.store.postgres.embedded import resolve_data_folder
from backfill_assets.store.postgres.embedded_server import release_server, start_database_server, stop_database_server
from backfill_assets.store.postgres.postgres_programs import choose_account


def release_embedded_server(home: Path) -> None:
    """Stop using the server under ``home``; it stops if no other process uses it."""
    release_server(resolve_data_folder(home))


def stop_embedded_server(home: Path) -> None:
    """Stop the server under ``home``, whoever uses it."""
    stop_database_server(resolve_data_folder(home))


def restart_embedded_server(home: Path) -> None:
    """Start the server under ``home`` again, for the processes that use it."""
    folder = resolve_data_folder(home)
    start_database_server(folder, choose_account(folder))
