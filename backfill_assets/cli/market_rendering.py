"""What stands in a terminal between the results of several exchanges; with one exchange nothing of it is printed."""

from typing import Any

from rich.console import Console

from backfill_assets.backfill.exchange_loop import MarketResults
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.quality.experimental import describe_experimental, read_comparison
from backfill_assets.store.postgres.connection import Database


def show_exchange(console: Console, database: Database, market: MarketProfile, *, is_several: bool) -> None:
    """Print which exchange the next lines are about, if there are several, and that it is experimental, if it is."""
    if is_several:
        console.print(f"[bold]{market.exchange}[/bold] · {market.name}", highlight=False)
    if notice := describe_experimental(market, read_comparison(database, market)):
        console.print(notice, style="yellow", highlight=False, markup=False)


def show_failures(console: Console, results: MarketResults[Any]) -> None:
    """Print what kept exchanges from having a result."""
    for line in results.describe_failures():
        console.print(line, style="red", highlight=False, markup=False)


def describe_markets(results: MarketResults[Any]) -> dict[str, Any]:
    """What has an ``as_dict`` as JSON: that of one exchange, or each exchange's in ``exchanges``."""
    described = [{"exchange": exchange, **result.as_dict()} for exchange, result in results.results.items()]
    if not results.is_several:
        return {name: value for name, value in described[0].items() if name != "exchange"}
    return {"exchanges": described, "failures": results.describe_errors()}
