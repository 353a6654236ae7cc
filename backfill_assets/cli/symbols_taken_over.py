"""``symbols add --listed-from``: a ticker whose listing has ended, and which another company took over."""

from datetime import date
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.caller import describe_caller
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backfill_assets.backfill.engine import Engine
    from backfill_assets.market.calendar.tickers import Ticker


def require_one_ticker(tickers: "Sequence[str]", *, is_alone: bool) -> None:
    """Make sure that ``--listed-from`` is about one named ticker.

    Raises:
        UsageError: it is not, or another option says something else.
    """
    if len(tickers) != 1 or not is_alone:
        raise UsageError("--listed-from is about one ticker; name it, without --file, --skip-bad and --delisted")


def add_taken_over(engine: "Engine", ticker: "Ticker", first_day: date) -> None:
    """Record that a ticker is another company's from a session on, and activate it.

    Raises:
        UsageError: the day is no session, is yet to come or does not lie after the ticker's last listing, or the ticker
            has none that has ended; nothing was changed.
    """
    from backfill_assets.backfill.decisions.inbox import decide_at_once
    from backfill_assets.backfill.decisions.recycled_tickers import accept_taken_over, build_taken_over_proposal
    from backfill_assets.backfill.identity.taken_over import find_taken_over

    _require_past_session(engine, ticker, first_day)
    with engine.database.transaction() as connection:
        found = find_taken_over(connection, ticker, first_day)
    decision = decide_at_once(
        engine.database,
        build_taken_over_proposal(found),
        lambda context: accept_taken_over(context, found),
        by=describe_caller(),
        note=None,
        now=engine.settings.now(),
    )
    click.echo(f"{found}: an instrument of its own, active")
    click.echo(
        f"recorded as decision {decision.decision_id}; to take it back: backfill-assets decisions undo"
        f" {decision.decision_id}"
    )


def _require_past_session(engine: "Engine", ticker: "Ticker", first_day: date) -> None:
    from backfill_assets.backfill.identity.rename_evidence import find_sessions_around

    market = engine.settings.get_market(ticker.exchange)
    today = engine.settings.now().astimezone(market.zone).date()
    if first_day > today:
        raise UsageError(f"--listed-from {first_day} is yet to come (today is {today}); record it from that day on")
    try:
        find_sessions_around(market, first_day)
    except UsageError as error:
        raise UsageError(f"--listed-from: {error}") from None
