"""The asset ``market_symbols``: what it adds from the vendor's list, and the names that it does not use."""

from collections.abc import Callable

import dagster as dg

from backfill_assets.orchestration.universe_asset import UNIVERSE_KEY, market_symbols
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets_tests.conftest import StartSandbox
from backfill_assets_tests.orchestration.conftest import Deployment


def test_the_universe_asset_says_what_it_left_out(
    deploy: Callable[..., Deployment], start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(symbols=4, quirks=DataQuirks(unusual_listings=True))
    deployment = deploy(sandbox, ("AAPL", "MSFT")).with_settings(sync_exchange="US", sync_listing="NASDAQ")
    with deployment.engine.database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol, exchange) VALUES ('AAPL', 'XYZ')")
    result = dg.materialize(
        [market_symbols], instance=deployment.instance, resources={"backfill_engine": deployment.engine}
    )
    (event,) = result.asset_materializations_for_node("market_symbols")
    metadata = {name: value.value for name, value in event.metadata.items()}
    assert event.asset_key == UNIVERSE_KEY
    assert (metadata["active"], metadata["new"], metadata["listed by the vendor"]) == (5, 3, 15)
    assert (metadata["left out"], metadata["unusable"]) == (10, 1)
    assert "test issue (ZVZZT, NTEST-A)" in str(metadata["notes"])
    assert "'XYZ' (1)" in str(metadata["names not used"])
