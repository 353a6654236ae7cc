"""Baseline: the vendor's Python client in a loop, pandas for the bars, ``to_sql`` for the table."""

from collections.abc import Sequence

import pandas as pd
import psycopg
from eodhd import APIClient
from eodhd.APIs.BaseAPI import BaseAPI
from rich.console import Console
from sqlalchemy import create_engine

TOKEN = "0123456789abcdef"  # noqa: S105 - the client requires 16 to 32 characters


def run(base_url: str, database_url: str, symbols: Sequence[str], start: int, end: int) -> None:
    """Request each symbol from ``start`` to ``end`` (epoch seconds) and append its 30-minute bars to a table."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url))
    client = _make_client(base_url)
    for symbol in symbols:
        rows = client.get_intraday_historical_data(f"{symbol}.US", "5m", str(start), str(end))
        build_bars(rows).assign(symbol=symbol).to_sql("bars_of_vendor_client", engine, if_exists="append")
    engine.dispose()


def build_bars(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Build 30-minute bars from 5-minute rows."""
    table = pd.DataFrame(rows).dropna()
    table.index = pd.to_datetime(table["timestamp"], unit="s", utc=True)
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return table.resample("30min").agg(how).dropna()


def _make_client(base_url: str) -> APIClient:
    """Make a client of the sandbox. The base class sets the URL again in every call, so its constructor is replaced."""

    def set_base_url(self: BaseAPI) -> None:
        self._api_url = base_url
        self.console = Console()

    BaseAPI.__init__ = set_base_url
    return APIClient(TOKEN)
