"""``partition-table`` as a user runs it: a dry run, a process that is killed before the switch, and the next one."""

import json
from collections.abc import Callable

import psycopg
from psycopg.conninfo import conninfo_to_dict

from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.integration.test_backfill_table_partitioning import BARS, FILL, MADE
from backfill_assets_tests.integration.test_store_migrate import fetch
from backfill_assets_tests.waiting import wait_until

HAS_COMPARED_ALL = "SELECT stage = 'verifying' AND verified_to = 2147483647 FROM backfill.partitioning"
IS_THERE = "SELECT to_regclass('backfill.partitioning') IS NOT NULL"


def test_a_table_is_partitioned_after_a_kill_and_a_new_one_is_refused(
    make_user: Callable[..., User], create_database: Callable[..., str], plain_template_url: str
) -> None:
    url = create_database(conninfo_to_dict(plain_template_url)["dbname"])
    user = make_user(DATABASE_URL=url)
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO market_symbols (symbol) SELECT 'S' || i FROM generate_series(1, 7) i")
        connection.execute(FILL.encode())
    bars = fetch(url, BARS)
    dry = json.loads(user.run_cli("partition-table --dry-run --format json").out)
    assert dry["partitions"].startswith("the years 2019 to ")
    assert dry["free_bytes_needed"] > dry["bytes"] > 0
    assert dry["free_bytes"] > 0  # of the embedded server; a server elsewhere does not tell
    shown = user.run_cli("partition-table --dry-run").out
    assert f"size       {dry['bytes'] / 1e6:,.1f} MB; {dry['free_bytes_needed'] / 1e6:,.1f} MB must be free" in shown
    assert "no partitioning of market_data is under way" in user.run_cli("partition-table --abandon").err
    both = user.run_cli("partition-table --dry-run --abandon")
    assert (both.code, "exclude each other" in both.err) == (2, True)
    with psycopg.connect(url) as reader:  # holds the switch up
        reader.execute("SELECT FROM market_data LIMIT 1")
        process = user.start_cli("partition-table")
        wait_until(
            lambda: fetch(url, IS_THERE) == [(True,)] and fetch(url, HAS_COMPARED_ALL) == [(True,)], "all compared"
        )
        process.kill()
        process.communicate()  # closes its pipes, too
    assert fetch(url, BARS) == bars
    done = json.loads(user.run_cli("partition-table --format json").out)
    assert done["rows"] == len(bars)
    assert fetch(url, BARS) == bars
    assert fetch(url, MADE) == []
    again = user.run_cli("partition-table --dry-run")
    assert (again.code, "market_data is partitioned already" in again.err) == (2, True)
