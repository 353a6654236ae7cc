"""Machines for one test; see ``machines`` and ``services``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backfill_assets_tests.deployment.machines import Network, open_network, skip_without_machines
from backfill_assets_tests.deployment.services import Site, build_environment


@pytest.fixture
def network(home: Path) -> Iterator[Network]:
    skip_without_machines()
    with open_network(home / "machines") as opened:
        yield opened


@pytest.fixture
def site(network: Network, tmp_path: Path, cache_home: Path) -> Iterator[Site]:
    """PostgreSQL on a machine of its own; the rest is started by the test."""
    opened = Site(network, tmp_path, build_environment(cache_home))
    try:
        opened.start_postgres()
        yield opened
    finally:
        opened.close()
