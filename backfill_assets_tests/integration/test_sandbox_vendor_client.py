"""The Python client of the vendor gets the documented responses from the sandbox."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pandas as pd
import pytest
from eodhd import APIClient
from eodhd.APIs.BaseAPI import BaseAPI
from rich.console import Console

from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox

# The client and exchange_calendars use features that pandas 4 removes.
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")

KEY = "0123456789abcdef"  # the client requires 16 to 32 characters
NOON = datetime(2026, 6, 3, 16, tzinfo=UTC)
MONDAY = 1780272000


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    config = SandboxConfig(
        now=NOON,
        clock_rate=0.0,
        tokens=frozenset({KEY}),
        delisted={"DEAD": date(2026, 5, 20)},
        renamed={"FB": ("FBM", date(2026, 5, 4))},
    )
    with Sandbox(config) as shared_sandbox:
        yield shared_sandbox


@pytest.fixture
def client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> APIClient:
    """A client whose base class has the URL of the sandbox; the original sets the URL for every call."""

    def set_base_url(self: BaseAPI) -> None:
        self._api_url = sandbox.base_url
        self.console = Console()

    monkeypatch.setattr(BaseAPI, "__init__", set_base_url)
    client = APIClient(KEY)
    client._api_url = sandbox.base_url
    return client


def test_client_reads_intraday(client: APIClient) -> None:
    rows = client.get_intraday_historical_data(
        symbol="AAPL.US", interval="5m", from_unix_time=str(MONDAY), to_unix_time=str(MONDAY + 86400)
    )
    assert len(rows) == 79
    assert rows[0]["datetime"] == "2026-06-01 13:30:00"
    minutes = client.get_intraday_historical_data("AAPL.US", "1m", str(MONDAY), str(MONDAY + 86400))
    assert len(minutes) == 960


def test_client_reads_intraday_as_a_table(client: APIClient) -> None:
    table = client.get_historical_data("AAPL.US", "5m", "2026-06-01", "2026-06-02")
    assert isinstance(table, pd.DataFrame)
    assert {"open", "high", "low", "close", "volume"} <= set(table.columns)
    assert len(table) == 79


def test_client_reads_live_quotes(client: APIClient) -> None:
    assert client.get_live_stock_prices(ticker="AAPL.US")["code"] == "AAPL.US"
    batch = client.get_live_stock_prices(ticker="AAPL.US", s="VTI,EUR.FOREX,DEAD.US")
    assert [quote["code"] for quote in batch] == ["AAPL.US", "VTI.US", "EUR.FOREX", "DEAD.US"]
    assert [quote["close"] == "NA" for quote in batch] == [False, False, True, True]


def test_client_reads_symbols(client: APIClient) -> None:
    assert {"AAPL", "FBM"} <= {row["Code"] for row in client.get_list_of_tickers("US")}
    assert [row["Code"] for row in client.get_list_of_tickers("US", delisted=1)] == ["DEAD"]
    assert "AAPL" in set(client.get_exchange_symbols("US").Code)


def test_client_reads_user(client: APIClient) -> None:
    data = BaseAPI()._rest_get_method(api_key=KEY, endpoint="user")
    assert (data["dailyRateLimit"], data["subscriptionMode"]) == (100_000, "paid")


def test_client_reads_eod_bulk_details_and_symbol_changes(client: APIClient) -> None:
    history = client.get_eod_historical_stock_market_data("AAPL.US", from_date="2026-06-01", to_date="2026-06-02")
    assert [row["date"] for row in history] == ["2026-06-01", "2026-06-02"]
    assert len(client.get_historical_data("AAPL.US", "d", "2026-05-01", "2026-05-31")) == 20
    bulk = client.get_eod_splits_dividends_data(country="US", date="2026-06-02", symbols="AAPL")
    assert [row["code"] for row in bulk] == ["AAPL"]
    assert client.get_details_trading_hours_stock_market_holidays("US")["Timezone"] == "America/New_York"
    assert client.symbol_change_history("2026-05-01", "2026-05-31")[0]["new_symbol"] == "FBM"
