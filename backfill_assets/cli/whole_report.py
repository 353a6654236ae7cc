"""``report --all``: the whole history of each exchange by symbol, from the census, in every format of the report."""

import json
from typing import TYPE_CHECKING, Any

from backfill_assets.cli.exchange_choice import list_chosen
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import Engine
    from backfill_assets.quality.census.report import WholeHistory

_WINDOW_OPTIONS = {"start": "--start", "end": "--end", "hours_back": "--hours-back", "symbols": "--symbols"}


def read_whole_report(engine: "Engine", window: dict[str, Any]) -> "list[WholeHistory]":
    """The whole history of the exchanges that the options of the window name.

    Raises:
        UsageError: they also choose sessions or symbols.
    """
    from backfill_assets.quality.census.report import read_whole_histories

    if given := [option for name, option in _WINDOW_OPTIONS.items() if window[name] is not None]:
        raise UsageError(f"--all is about the whole history of all symbols; leave out {', '.join(given)}")
    settings = engine.settings
    markets = [settings.get_market(code) for code in list_chosen(settings, window["exchange"])]
    return read_whole_histories(engine.database, settings, markets, window["interval"])


def format_whole_report(histories: "list[WholeHistory]", output_format: str) -> str:
    """The report as text; that of a terminal is in ``census_rendering``."""
    from backfill_assets.quality.census import report
    from backfill_assets.quality.history_page import to_html

    if output_format == "html":
        return to_html(histories)
    rows = report.list_symbol_rows(histories)
    if output_format == "json":
        return json.dumps(rows, indent=1)
    to_text = {"csv": report.to_csv, "markdown": report.to_markdown}[output_format]
    return to_text(rows, report.SYMBOL_COLUMNS).rstrip("\n")
