"""Symbols of the vendor's list, and names in existing tables that are not used: what the command line says."""

from collections.abc import Callable

from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]


def test_sync_leaves_out_what_has_no_intraday_data_and_says_so(
    make_user: MakeUser, start_sandbox: StartSandbox
) -> None:
    user = make_user(start_sandbox(symbols=4, quirks=DataQuirks(unusual_listings=True)))
    user.run_cli("symbols add ZVZZT MSFT")
    user.run_cli("symbols deactivate MSFT")
    synced = user.run_cli("symbols sync")
    assert synced.out.splitlines() == [
        "15 listed by the vendor, 5 added, 9 left out",
        "  2 left out: test issue (ZVZZT, NTEST-A)",
        "  1 left out: code of a former company (ABC_old1)",
        "  1 left out: fund without intraday data (0P0000A0T3)",
        "  1 left out: listed on OTCQX, without intraday data (HENKY)",
        "  1 left out: listed on PINK, without intraday data (TCEHY)",
        "  1 left out: not usable as a ticker (BC/PA)",
        "  1 left out: type BOND (ACCD1)",
        "  1 left out: type Mutual Fund (VFIAX)",
        "  1 of them stays active, because it is in the universe already (ZVZZT); symbols deactivate removes them",
        "  1 stays inactive; symbols add activates it",
    ]
    listed = "AAPL.US AEHR.US AMZN.US GAB.US TSLA.US ZVZZT.US"
    assert user.run_cli("symbols list").out.split() == listed.split()
    filtered = user.run_cli(["symbols", "sync", "--listing", "pink,OTCQX", "--type", "common stock"])
    assert filtered.out.startswith("15 listed by the vendor, 2 added, 13 left out\n"), filtered
    assert set(user.run_cli("symbols list").out.split()) == {*listed.split(), "HENKY.US", "TCEHY.US"}


def test_names_that_are_not_used_are_named_instead_of_an_empty_universe(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    user = make_user(start_sandbox())
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol, exchange) VALUES ('AAPL', 'XYZ'), ('AAPL Inc', 'US')")
    result = user.run_cli("run")
    assert result.code == 2
    assert "there are no active symbols (1 active row of market_symbols not used" in result.err
    assert "'XYZ' (1)" in result.err
    assert "'AAPL Inc' (symbol_id 2)" in result.err
    added = user.run_cli("symbols add AAPL")
    assert (added.code, "on other exchanges: 'XYZ' (1)" in added.err) == (0, True)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) VALUES (3, 'half-hourly', '2026-06-01 13:30+00', 1, 1, 1, 1, 1)"
        )
    status = user.run_cli("status")
    assert "not used" in status.out
    assert "interval_type is no known spelling of 1m, 5m, 15m, 30m, 1h: 'half-hourly'" in status.out
    assert len(user.run_cli("status --format json").json["names_not_used"]) == 3
    for command in ("run --quiet", "verify", "report --format json", "symbols list"):
        assert "'half-hourly'" in user.run_cli(command).err, command
