"""``why``: each slot of one session of one symbol, explained."""

import json
from datetime import date, datetime

import click

from backfill_assets.cli.options import (
    DateType,
    add_common_options,
    add_format_option,
    add_interval_option,
    load_command_settings,
    make_console,
    show_past_universe,
)
from backfill_assets.eodhd.pricing import CALL_PRICES, format_calls


@click.command()
@click.argument("ticker")
@click.argument("day", type=DateType())
@click.option(
    "--ask",
    is_flag=True,
    help=f"Also request the session from the vendor now ({format_calls(CALL_PRICES.intraday)}); stores nothing.",
)
@add_interval_option
@add_format_option("table", "json")
@add_common_options
def why(
    ticker: str, day: date, ask: bool, interval: str, output_format: str, as_of: datetime | None, debug: bool
) -> None:
    """Explain each slot of TICKER on DAY: its state, the evidence, the day's figures and actions, the next request.

    Doubts about its bars are shown with the bars beside them, what the vendor's other feed said, and how they ended.
    """
    from backfill_assets.backfill.failed_requests import read_failing_tickers
    from backfill_assets.backfill.identity.lives import describe_ends
    from backfill_assets.backfill.job_request import JobRequest, build_job, open_engine
    from backfill_assets.backfill.vendor_check import fetch_current_bars
    from backfill_assets.cli.rendering import show_window
    from backfill_assets.cli.slot_rendering import show_doubt_explanations, show_slot_explanations, show_vendor_answer
    from backfill_assets.market.calendar.moment_style import UTC_STYLE, choose_moment_style
    from backfill_assets.quality.action_entries import explain_actions
    from backfill_assets.quality.corporate_actions_listing import list_session_actions
    from backfill_assets.quality.daily_explanation import build_daily_fields, describe_daily_price
    from backfill_assets.quality.doubt_explanation import NEIGHBOURS_WITHIN, explain_doubts
    from backfill_assets.quality.experimental import describe_experimental, read_comparison
    from backfill_assets.quality.session_explanation import describe_session
    from backfill_assets.quality.slot_explanation import explain_before_feed, explain_slots
    from backfill_assets.store.bars.rejects import read_current_rejects
    from backfill_assets.store.bars.stored_bars import read_bars
    from backfill_assets.store.evidence.daily_prices import read_daily_price, read_daily_revisions
    from backfill_assets.store.evidence.doubts import list_doubts
    from backfill_assets.store.evidence.refusals import read_refusal_messages

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        job, _ = build_job(engine, JobRequest(interval=interval, start=day, end=day, symbols=[ticker]))
        console = make_console()
        coverage = engine.measure(job)
        local = choose_moment_style(job.market, engine.settings.exchanges)
        style = UTC_STYLE if output_format == "json" else local
        if not job.window.sessions:
            show_window(console, job.window, coverage.now, local)
            return
        session = job.window.sessions[0]
        with engine.database.transaction() as connection:
            symbol_id, first, end = job.symbols[0].symbol_id, session.rows_from, session.close
            bars = read_bars(connection, symbol_id, job.interval, first - NEIGHBOURS_WITHIN, end + NEIGHBOURS_WITHIN)
            doubts = list_doubts(connection, [symbol_id], job.interval, day, day, with_ended=True)
            rejects = read_current_rejects(
                connection, symbol_id, job.market, job.interval, job.source_interval, first, end
            )
            refusals = read_refusal_messages(connection, symbol_id, job.interval, first, end)
            daily = read_daily_price(connection, symbol_id, day), read_daily_revisions(connection, symbol_id, day), end
            actions = list_session_actions(connection, coverage)
            how_ended = describe_ends(connection, job.symbols[0].ticker.exchange).get(symbol_id)
            failure = read_failing_tickers(connection, engine.vendor_access).get(str(job.symbols[0].ticker))
        unreadable_until = failure.next_request_at if failure and failure.is_unreadable else None
        explanations = explain_slots(coverage, bars, rejects, refusals, unreadable_until, doubts, style)
        explanations = explain_before_feed(explanations, session, job.source_interval)
        doubted = explain_doubts(job.market, doubts, bars, daily[0], explanations)
        evidence = [
            *describe_session(coverage, unreadable_until, style),
            *describe_daily_price(*daily, style),
            *explain_actions(actions, style),
        ]
        evidence += [f"{job.symbols[0].ticker}: {how_ended}"] if how_ended else []
        notice = describe_experimental(job.market, read_comparison(engine.database, job.market))
        evidence += [notice] if notice else []
        answer = fetch_current_bars(engine, job) if ask else None
    if output_format == "json":
        slots = [explanation.as_dict() for explanation in explanations]
        fields = {"evidence": evidence, "daily": build_daily_fields(*daily), "slots": slots}
        lists = {"doubts": [doubt.as_dict() for doubt in doubted], "actions": [action.as_dict() for action in actions]}
        show_past_universe(job)
        click.echo(json.dumps({**fields, **lists}, indent=1))
    else:
        show_past_universe(job, console)
        show_slot_explanations(console, evidence, explanations, style)
        show_doubt_explanations(console, doubted, style)
    if answer is not None:
        show_vendor_answer(make_console(stderr=output_format == "json"), answer, coverage.grid, local)
