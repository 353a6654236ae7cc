"""``BarsResource`` in an asset: the database from an environment variable, the symbols from the certificate."""

from collections.abc import Callable

import dagster as dg
import pytest

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.reading import IncompleteBars, UsageError
from backfill_assets.reading.dagster import BarsResource
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.certificates import read_certificates_after
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.orchestration.conftest import Deployment
from backfill_assets_tests.orchestration.test_complete_sessions import MONDAY, TUESDAY

pytestmark = pytest.mark.filterwarnings("ignore")


def test_an_asset_reads_the_symbols_of_the_certificate_from_the_database_that_it_is_given(
    start_sandbox: Callable[..., Sandbox],
    deploy: Callable[..., Deployment],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",))
    ends = {"start": "2026-06-01|AAPL.US", "end": "2026-06-02|AAPL.US"}
    assert deployment.materialize({f"dagster/asset_partition_range_{end}": key for end, key in ends.items()}).success
    with deployment.engine.database.transaction() as connection:
        certified = read_certificates_after(connection, 0)
        assert [one.session_day for one in certified] == [MONDAY, TUESDAY]  # by the run itself
        add_symbols(connection, parse_tickers(["MSFT"]))  # listed all along, but nobody asked for its bars
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("BARS_DATABASE", database_url)

    @dg.asset
    def rows(bars: BarsResource) -> dict[str, list[str]]:
        with pytest.raises(IncompleteBars, match=r"MSFT\.US 2026-06-01"):
            bars.read(start="2026-06-01", end="2026-06-03")
        session = bars.read_session("2026-06-01")
        both = bars.read("AAPL", start="2026-06-01", end="2026-06-03", columns=["symbol", "close"])
        return {
            "session": session.frame["symbol"].unique().tolist(),
            "certificates": [str(number) for number in session.certificates],
            "both": [str(len(both.frame)), *both.frame.columns],
        }

    result = dg.materialize([rows], resources={"bars": BarsResource(database_url=dg.EnvVar("BARS_DATABASE"))})
    assert result.output_for_node("rows") == {
        "session": ["AAPL.US"],
        "certificates": ["1"],
        "both": ["26", "symbol", "close"],
    }


def test_arguments_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(UsageError, match="'June' is not a date such as"):
        BarsResource().read_session("June")
