"""``symbols show``: whether a ticker is active, and which instruments it named."""

from datetime import datetime

import click

from backfill_assets.cli.options import add_common_options, load_command_settings
from backfill_assets.errors import UsageError


@click.command("show")
@click.argument("tickers", nargs=-1, required=True)
@add_common_options
def symbols_show(tickers: tuple[str, ...], as_of: datetime | None, debug: bool) -> None:
    """Show whether tickers are active, which instruments they named when, and who recorded that."""
    from backfill_assets.backfill.identity.lives import describe_ends, list_lives
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.market.calendar.tickers import parse_tickers
    from backfill_assets.store.listings import read_listing_records
    from backfill_assets.store.symbols import list_symbols

    chosen = parse_tickers(tickers)
    exchange = chosen[0].exchange
    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        symbols = {s.ticker: s for s in list_symbols(connection, exchange, only_active=False)}
        ends = describe_ends(connection, exchange)
        if unknown := [str(ticker) for ticker in chosen if ticker not in symbols]:
            raise UsageError(f"not in the universe: {', '.join(unknown[:5])}; see: backfill-assets symbols list --all")
        for symbol in (symbols[ticker] for ticker in chosen):
            state = "active" if symbol.is_active else ends.get(symbol.symbol_id, "inactive")
            click.echo(f"{symbol.ticker}  {state}")
            lives = list_lives(connection, symbol)
            records = read_listing_records(connection, [life.listing.listing_id for life in lives])
            for life in lives:
                record = records[life.listing.listing_id]
                click.echo(f"  {life}")
                click.echo(f"    {record.source} ({record.recorded_by}, {record.recorded_at:%Y-%m-%d %H:%M} UTC)")
            if not lives:
                click.echo("  one instrument on all days")
