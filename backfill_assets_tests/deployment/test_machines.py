"""Machines behave as machines do: own processes, names and cables; and a lost one lets go of the budget."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backfill_assets.store.quota.budget import fingerprint_token
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.deployment.machines import Network
from backfill_assets_tests.deployment.records import print_seconds
from backfill_assets_tests.deployment.services import PAUSE_SECONDS, Site
from backfill_assets_tests.waiting import wait_until

MAX_STANDSTILL_SECONDS = 30  # 15 after which PostgreSQL ends an idle transaction, and as much again for a busy machine
TOKEN = "test-token-4711"  # noqa: S105 - made up
# Holds the budget as a process does that dies between two statements: its row is locked, and nobody commits.
HOLD_BUDGET = f"""
import os, time
from backfill_assets.store.postgres.connection import Database
with Database(os.environ["DATABASE_URL"]).transaction() as connection:
    connection.execute("UPDATE backfill.budget SET token = token WHERE token = '{fingerprint_token(TOKEN)}'")
    print("held", flush=True)
    time.sleep(3600)
"""
TAKE_PERMIT = f"""
import os, time
from datetime import datetime
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, QuotaLimits
limits = QuotaLimits(10, 1.0, 60, 30, 1000, 0.1)
budget = Budget(Database(os.environ["DATABASE_URL"]), "{TOKEN}", limits)
grant = budget.take_permits(1, 5, datetime.fromisoformat("{NOW.isoformat()}"))
print(len(grant.permits), time.time(), flush=True)
"""


def read_log(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_machine_has_its_own_processes_name_and_cable(network: Network) -> None:
    one, other = network.add_machine("one"), network.add_machine("other")
    assert one.run(["hostname"], {}).strip() == "one"
    assert int(other.run(["sh", "-c", "echo $$"], {})) < 20  # process ids count from 1 on each machine
    assert one.run(["getent", "hosts", "other"], {}).split() == [other.address, "other"]
    one.run(["touch", f"{network.own}/of-one"], {})
    assert other.run(["ls", str(network.own)], {}) == ""
    asleep = other.start(["sleep", "600"], {}, subprocess.DEVNULL)
    wait_until(lambda: len(other.list_processes()) == 1, "the program to start", PAUSE_SECONDS)
    other.cut_power()
    asleep.wait()
    assert other.list_processes() == []
    network.forget(other)
    replacement = network.add_machine("replacement", "other")
    assert one.run(["getent", "hosts", "other"], {}).split()[0] == replacement.address


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_machines_are_skipped_where_root_may_not_make_networks() -> None:
    """As in a container with some rights only; a test that fails there would say nothing about the product."""
    attempt = "from backfill_assets_tests.deployment.machines import skip_without_machines as s; s()"
    without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    done = subprocess.run([*without, sys.executable, "-c", attempt], capture_output=True, text=True)
    assert "Skipped: machines out of namespaces cannot be made here" in done.stderr


def test_the_death_of_the_tests_ends_their_machines(network: Network) -> None:
    """Namespaces have no names: nothing is left once their first process has ended."""
    machine = network.add_machine("one")
    namespace = os.readlink(f"/proc/{machine.namespaces.first_pid}/ns/net")
    machine.namespaces.keeper.kill()  # as the kernel does when its parent has ended
    machine.namespaces.keeper.wait()
    wait_until(lambda: namespace not in list_network_namespaces(), "the namespace to vanish", PAUSE_SECONDS)


def list_network_namespaces() -> set[str]:
    links = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:  # it has just ended
            continue
    return links


@pytest.mark.machines
def test_a_lost_host_that_holds_the_budget_stops_nobody_for_long(site: Site) -> None:
    holder, other = (site.network.add_machine(name) for name in ("holder", "other"))
    first = site.start_python(other, "first", ["-c", TAKE_PERMIT])
    wait_until(lambda: first.poll() is not None, "a permit", PAUSE_SECONDS)
    assert read_log(site.logs / "other-first.log").startswith("1 ")
    site.start_python(holder, "hold", ["-c", HOLD_BUDGET])
    wait_until(lambda: "held" in read_log(site.logs / "holder-hold.log"), "the budget to be held", PAUSE_SECONDS)
    cut_at = time.time()
    holder.cut_power()
    second = site.start_python(other, "second", ["-c", TAKE_PERMIT])
    wait_until(lambda: second.poll() is not None, "another permit", PAUSE_SECONDS)
    granted, granted_at = read_log(site.logs / "other-second.log").split()
    assert granted == "1"
    print_seconds("holder of the budget lost", granted=float(granted_at) - cut_at)
    assert float(granted_at) - cut_at < MAX_STANDSTILL_SECONDS
