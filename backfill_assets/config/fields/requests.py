"""Settings of the requests that fill gaps: how much one covers, and when the daily file is read.

When a gap is requested is in ``gaps``, how a request is sent in ``vendor``.
"""

from typing import ClassVar

from pydantic import Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.eodhd.pricing import CALL_PRICES, REQUEST_LIMITS, format_calls


class RequestFields(SettingsGroup):
    """What requests cover."""

    heading: ClassVar[str] = "Requests"

    bulk_daily: bool = Field(
        True,
        alias="BACKFILL_BULK_DAILY",
        description=f"Whether the exchange's daily file ({format_calls(CALL_PRICES.bulk_daily)}) may be read if more"
        f" than {CALL_PRICES.bulk_daily // CALL_PRICES.daily} symbols have gaps, or for a day that a symbol's own daily"
        " data lack.",
    )
    daily_data: bool = Field(
        True,
        alias="BACKFILL_DAILY_DATA",
        description="Whether each session's daily data are read in the morning after it, so that bars can be compared"
        f" with them: {format_calls(CALL_PRICES.daily)} a symbol, or the daily file.",
    )
    action_calls: int = Field(
        CALL_PRICES.bulk_dividends,
        alias="BACKFILL_ACTION_CALLS",
        ge=1,
        le=1_000_000_000,
        description="Calls a day for each kind of corporate action, splits and dividends, and never more than there are"
        " active symbols and inactive ones with bars. They are read with the morning's daily data. More of them fill"
        " the history of a large universe sooner.",
    )
    daily_file_symbols: int = Field(
        CALL_PRICES.bulk_daily // CALL_PRICES.daily + 1,
        alias="BACKFILL_DAILY_FILE_SYMBOLS",
        ge=1,
        description=f"Number of active symbols from which the daily file ({format_calls(CALL_PRICES.bulk_daily)}) is"
        " read in the morning instead of a request for each symbol.",
    )
    cross_feed_calls: int | None = Field(
        None,
        alias="BACKFILL_CROSS_FEED_CALLS",
        ge=0,
        le=1_000_000_000,
        description="Calls a day for asking the vendor's other feed about doubtful and absent bars; unset: 1 % of the"
        " day's calls, at most 500; 0: off.",
    )
    overlap_sessions: int = Field(
        2,
        alias="BACKFILL_OVERLAP_SESSIONS",
        ge=0,
        le=60,
        description="Earlier sessions that each request reads again, to notice corrections.",
    )
    max_span_days: int = Field(
        REQUEST_LIMITS.get_max_span("5m").days,
        alias="BACKFILL_MAX_SPAN_DAYS",
        ge=1,
        le=REQUEST_LIMITS.get_max_span("5m").days,
        description="Longest time span of one request, days; requests of 1m are never longer than"
        f" {REQUEST_LIMITS.get_max_span('1m').days}. A request is as short as its gaps, and longer than"
        " 120 days only where that saves another one.",
    )
