"""``symbols show``: whether a ticker is active, and which instruments it named."""

from datetime import datetime

import click

from backfill_assets.cli.options import add_common_options, load_command_settings
from backfill_assets.errors import UsageError


@click.command("show")
@click.argument("tickers", nargs=-1, required=True)
@add_common_options
def symbols_show(tickers: tuple[str, ...], as_of: datetime | None, debug: bool) -> None:
    """Show whether tickers are active, their own first day, which instruments they named when, and who said so."""
    from backfill_assets.backfill.identity.lives import describe_ends, list_lives
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.market.calendar.tickers import parse_tickers
    from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
    from backfill_assets.store.history import read_goals
    from backfill_assets.store.listings import read_listing_records
    from backfill_assets.store.price_units import read_price_units
    from backfill_assets.store.symbols import list_symbols

    chosen = parse_tickers(tickers)
    exchanges = sorted({ticker.exchange for ticker in chosen})
    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        symbols = {s.ticker: s for code in exchanges for s in list_symbols(connection, code, only_active=False)}
        ends = {key: text for code in exchanges for key, text in describe_ends(connection, code).items()}
        elsewhere = [
            s.symbol_id for s in symbols.values() if s.ticker in chosen and s.ticker.exchange != DEFAULT_EXCHANGE
        ]
        units = read_price_units(connection, elsewhere) if elsewhere else {}
        if unknown := [str(ticker) for ticker in chosen if ticker not in symbols]:
            raise UsageError(f"not in the universe: {', '.join(unknown[:5])}; see: backfill-assets symbols list --all")
        first_days = read_goals(connection, [symbols[ticker].symbol_id for ticker in chosen])
        for symbol in (symbols[ticker] for ticker in chosen):
            state = "active" if symbol.is_active else ends.get(symbol.symbol_id, "inactive")
            click.echo(f"{symbol.ticker}  {state}")
            if unit := units.get(symbol.symbol_id):
                click.echo(f"  prices in {unit}")
            if first := first_days.get(symbol.symbol_id):
                click.echo(f"  to be complete from {first} on (symbols add --history-from)")
            lives = list_lives(connection, symbol)
            records = read_listing_records(connection, [life.listing.listing_id for life in lives])
            for life in lives:
                record = records[life.listing.listing_id]
                click.echo(f"  {life}")
                click.echo(f"    {record.source} ({record.recorded_by}, {record.recorded_at:%Y-%m-%d %H:%M} UTC)")
            if not lives:
                click.echo("  one instrument on all days")
