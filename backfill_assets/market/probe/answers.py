"""What the vendor answered to a probe's requests, parsed. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.vendor import DailyRows, ExchangeHours, IntradayRows


@dataclass(frozen=True, eq=False)
class AnsweredRows:
    """Rows of one symbol at one interval.

    Attributes:
        symbol: without its exchange.
        interval: of the rows.
        first: the first moment that was asked for (aware).
        last: the last one.
        asked_at: when (aware).
        rows: what came, in the vendor's order.
    """

    symbol: str
    interval: str
    first: datetime
    last: datetime
    asked_at: datetime
    rows: IntradayRows


@dataclass(frozen=True, eq=False)
class ProbeAnswers:
    """Everything that was answered about one exchange.

    Attributes:
        market: its profile, with a user's corrections.
        now: when the probe began (aware).
        exchanges: the codes of the vendor's list; None: no answer.
        hours: what the vendor's second version of hours says; None: no answer.
        hours_calls: what that request cost by the account's own count; None: unknown.
        rows: of symbols.
        daily: daily rows by symbol.
        refusals: what the vendor refused, in words, by what was asked.
    """

    market: MarketProfile
    now: datetime
    exchanges: frozenset[str] | None = None
    hours: ExchangeHours | None = None
    hours_calls: int | None = None
    rows: Sequence[AnsweredRows] = ()
    daily: Sequence[tuple[str, DailyRows]] = ()
    refusals: Sequence[tuple[str, str]] = ()
