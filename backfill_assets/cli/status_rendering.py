"""The status in a terminal, one line an item: first what all exchanges share, then each exchange.

With the US alone there is one block. The values are those of ``quality.status``.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console

from backfill_assets.cli.decision_rendering import format_open_decisions
from backfill_assets.cli.finding_rendering import format_findings, format_resolved
from backfill_assets.cli.named_lines import show_named_lines
from backfill_assets.cli.spending_rendering import format_budget, format_spending
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.moment_style import MomentStyle
from backfill_assets.market.exchanges.registry import get_profile


def _format_partitions(partitions: dict[str, int]) -> str:
    text = f"{partitions['of_an_asset']:,} an asset: the last {partitions['sessions']:,} sessions × symbols"
    if partitions["sessions"] < partitions["sessions_wanted"]:
        text += (
            f" (reduced from {partitions['sessions_wanted']:,} sessions: at most {partitions['at_most']:,} an asset)"
        )
    return f"{text}; updated when Dagster loads the definitions"


def show_status(console: Console, status: dict[str, Any], *, show_all: bool = False) -> None:
    """Print the status, one line an item; with ``show_all`` every finding, and those resolved in the past week."""
    exchanges = status.get("exchanges", {})
    running = ", ".join(
        f"{format_count(r['tickers'], 'ticker')} since {r['started_at']} ({r['window']})" for r in status["running"]
    )
    lines = {
        "as of": status["as_of"],
        "database": status["database"],
        "vendor": status["vendor"],
        "token": status["token"] or "not set",
        "symbols": f"{status['symbols']['active']:,} active · {status['symbols']['inactive']:,} inactive",
        **({"not used": "; ".join(status["names_not_used"])} if status["names_not_used"] else {}),
        **({} if exchanges else _format_bars(status, status["newest_bar"])),
        "live": _format_live(status["live"]),
        **({} if exchanges else {"other collector": _format_unverified(status["unverified"])}),
        "running": running or "no backfill",
        "budget left": format_budget(status["budget"]),
        **format_spending(status["calls_by_purpose"], status["spending_pause"]),
        **format_open_decisions(status["decisions"]),
    }
    if (mixed := status["mixed_feeds"]) and not exchanges:
        lines["mixed feeds"] = _format_mixed_feeds(mixed)
    for whole in status["whole_store"]:
        lines[f"store {whole['exchange']}"] = f"{whole['summary']} (without this month)"
    if "history" in status:
        lines["history requests"] = status["history"]["summary"]
    if status["short_histories_summary"]:
        lines["history"] = status["short_histories_summary"]
    resolved = format_resolved(status["resolved"]) if show_all else ()
    seen = () if exchanges else _format_publications(status["published"], None)
    findings = format_findings(status["findings"], show_all=show_all)
    table = (("your table", warning) for warning in status["table_warnings"])
    show_named_lines(console, [*lines.items(), *table, *findings, *resolved, *seen])
    for code, exchange in exchanges.items():
        console.print()
        show_named_lines(console, list(_list_exchange_lines(code, exchange, status["as_of"])))


def _list_exchange_lines(code: str, exchange: Mapping[str, Any], as_of: str) -> Iterator[tuple[str, str]]:
    """The lines of one exchange, with moments in its zone."""
    style = MomentStyle(get_profile(code))
    unit = f" · prices in {exchange['price_unit']}" if exchange["price_unit"] else ""
    now = style.format_minute(datetime.fromisoformat(as_of))
    yield code, f"{exchange['name']}{unit} · {now}{_format_session(exchange['next_session'], style, as_of)}"
    unknown = exchange.get("sessions_unknown")
    if unknown:
        yield "sessions", unknown
    if exchange["notice"]:
        yield "notice", exchange["notice"]
    symbols = exchange["symbols"]
    yield "symbols", f"{symbols['active']:,} active · {symbols['inactive']:,} inactive"
    newest = exchange["newest_bar"]
    bars = _format_bars(exchange, style.format_moment(datetime.fromisoformat(newest)) if newest else None)
    # Without sessions 0 says nothing.
    yield from (line for line in bars.items() if not unknown or line[0] == "newest bar")
    if special := _format_special_days(exchange):
        yield "special days", special
    yield "other collector", _format_unverified(exchange["unverified"])
    if mixed := exchange["mixed_feeds"]:
        yield "mixed feeds", _format_mixed_feeds(mixed)
    yield from _format_publications(exchange["published"], style)


def _format_session(session: Mapping[str, str] | None, style: MomentStyle, as_of: str) -> str:
    """Whether the exchange is open, and until or from when."""
    if session is None:
        return ""
    if style.market is not None and style.market.is_around_the_clock:
        return " · open around the clock"
    opens, closes = (datetime.fromisoformat(session[name]) for name in ("open", "close"))
    if opens <= datetime.fromisoformat(as_of):
        return f" · open until {style.format_without_zone(closes)}"
    return f" · opens {style.format_without_zone(opens)}"


def _format_special_days(exchange: Mapping[str, Any]) -> str:
    early, closed = exchange["early_closes"], exchange["closed"]
    parts = [f"early close {', '.join(early)}"] if early else []
    return " · ".join([*parts, f"closed {', '.join(closed)}"] if closed else parts)


def _format_bars(values: Mapping[str, Any], newest_bar: str | None) -> dict[str, str]:
    return {
        "newest bar": newest_bar or "none",
        "missing": f"{format_count(values['missing'], 'bar')} of "
        f"{format_count(values['symbols_with_missing'], 'symbol')}"
        f" (sessions {', '.join(values['window']) or 'none'})",
        "partitions": _format_partitions(values["partitions"]),
        **({"older sessions": _format_healing(values["healing"])} if "healing" in values else {}),
    }


def _format_healing(healing: Mapping[str, int]) -> str:
    return (
        f"{format_count(healing['sessions'], 'session')} before the partitions are healed, too: watched of"
        f" {healing['symbols_watched']:,} of {format_count(healing['symbols'], 'symbol')},"
        f" {format_count(healing['missing'], 'bar')} missing there"
    )


def _format_unverified(external: Mapping[str, int]) -> str:
    bars, symbols = format_count(external["bars"], "bar"), format_count(external["symbols"], "symbol")
    return f"{bars} of {symbols} (unverified)"


def _format_mixed_feeds(mixed: Mapping[str, Any]) -> str:
    return (
        f"{format_count(mixed['sessions'], 'session')} of {format_count(mixed['tickers'], 'symbol')}"
        f" {'mixes' if mixed['sessions'] == 1 else 'mix'} bars of {' and '.join(mixed['feeds'])}"
        " rows (run --force replaces them)"
    )


def _format_publications(
    published: Mapping[str, Mapping[str, Any]], style: MomentStyle | None
) -> Iterator[tuple[str, str]]:
    """A line for each day; moments as in the JSON without a style."""
    for day, of_day in published.items():
        first, last = (
            of_day[name] if style is None else style.format_without_zone(datetime.fromisoformat(of_day[name]))
            for name in ("first", "last")
        )
        yield f"seen {day}", f"{format_count(of_day['tickers'], 'ticker')} published, first {first}, last {last}"


def _format_live(live: dict[str, Any]) -> str:
    bars = format_count(live["provisional_bars"], "provisional bar")
    bars += f" of {format_count(live['provisional_symbols'], 'symbol')}"
    if not live["on"]:
        return f"off (BACKFILL_LIVE) · {bars}" if live["provisional_bars"] else "off (BACKFILL_LIVE)"
    delay = f", {live['delay_seconds'] / 60:.0f} min behind" if live["delay_seconds"] is not None else ""
    rounds = (
        f"{format_count(live['rounds'], 'round')} of {live['session']}{delay}" if live["rounds"] else "no round yet"
    )
    spent = f" · {live['calls_spent_today']:,} of {live['budget']:,} calls today"
    return f"{bars} · {rounds}{spent}" + (f" · last: {live['error']}" if live["error"] else "")
