"""The vendor's Python client in a loop, pandas for the bars, ``to_sql`` for the table."""

from collections.abc import Sequence

import pandas as pd
import psycopg
from eodhd import APIClient
from eodhd.APIs.BaseAPI import BaseAPI
from rich.console import Console
from sqlalchemy import create_engine

KEY = "0123456789abcdef"  # the client insists on 16 to 32 characters


def fill(base_url: str, database_url: str, symbols: Sequence[str], start: int, end: int) -> None:
    """Ask for each symbol from ``start`` to ``end`` (epoch seconds) and append its 30-minute bars to a table."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url))
    client = _client(base_url)
    for symbol in symbols:
        rows = client.get_intraday_historical_data(f"{symbol}.US", "5m", str(start), str(end))
        bars_of(rows).assign(symbol=symbol).to_sql("bars_of_vendor_client", engine, if_exists="append")
    engine.dispose()


def bars_of(rows: list[dict[str, object]]) -> pd.DataFrame:
    """5-minute rows as 30-minute bars."""
    table = pd.DataFrame(rows).dropna()
    table.index = pd.to_datetime(table["timestamp"], unit="s", utc=True)
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return table.resample("30min").agg(how).dropna()


def _client(base_url: str) -> APIClient:
    """The client builds its address anew in every call, so its base class is told the stand-in's."""

    def here(self: BaseAPI) -> None:
        self._api_url = base_url
        self.console = Console()

    BaseAPI.__init__ = here
    return APIClient(KEY)
