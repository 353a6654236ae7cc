"""What requests for symbols of a market around the clock cost a day, as ``markets show``, ``plan`` and others print it.

Elsewhere a symbol costs one request a day, and nothing is said. When symbols are requested is in
``market.gaps.ask_times``.
"""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.exchanges.profile import MarketProfile

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AskCosts:
    """Requests a day of a market that never closes.

    Attributes:
        exchange: the vendor's code.
        requests: for each symbol.
        calls: of these, for each symbol.
        probe_calls: of the one symbol that is requested every half hour, beyond its turns.
    """

    exchange: str
    requests: int
    calls: int
    probe_calls: int

    def describe(self, symbols: int) -> str:
        """The costs in one line, for so many symbols."""
        one = (
            f"{self.exchange}: {format_count(self.requests, 'request')} a symbol and day"
            f" ({format_count(self.calls, 'call')}), plus the probe: {format_count(self.probe_calls, 'call')} a day"
        )
        if not symbols:
            return one
        total = format_count(self.calls * symbols + self.probe_calls, "call")
        return f"{one}; with {format_count(symbols, 'symbol')} up to {total} a day"

    def as_dict(self, symbols: int) -> dict[str, Any]:
        """The costs as a JSON object."""
        return {
            "requests_per_symbol_and_day": self.requests,
            "calls_per_symbol_and_day": self.calls,
            "probe_calls_a_day": self.probe_calls,
            "calls_a_day": self.calls * symbols + self.probe_calls if symbols else 0,
        }


def compute_ask_costs(engine: Engine, market: MarketProfile) -> AskCosts | None:
    """The costs of a market around the clock, None for others; each interval of BACKFILL_INTERVALS has requests."""
    if not market.is_around_the_clock:
        return None
    settings = engine.settings
    price = engine.prices.intraday * len(settings.intervals)
    rules = settings.build_gap_rules(market, settings.choose_source(market, INTERVALS[settings.intervals[0]]))
    requests = ceil(_DAY / rules.ask_every)
    return AskCosts(market.exchange, requests, requests * price, ceil(_DAY / rules.probe_every) * price)
