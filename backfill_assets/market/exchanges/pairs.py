"""Profiles of markets that trade around the clock in pairs: crypto and currencies."""

from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

from backfill_assets.market.exchanges.profile import (
    DailyEvidence,
    MarketProfile,
    MarketStatus,
    NullVolume,
    TimesCountFrom,
    VolumeKind,
)

_FIRST_DATA = date(2009, 1, 1)  # docs/vendor.md §8.2
CRYPTO = MarketProfile(
    exchange="CC",
    name="Cryptocurrencies",
    status=MarketStatus.EXPERIMENTAL,
    calendar="24/7",
    zone=ZoneInfo("UTC"),
    currency=None,  # the second half of a pair's symbol
    price_unit=None,
    grid_anchor=time(0),
    names=frozenset({"CRYP", "CRYPTO", "CRYPTOCURRENCY"}),
    closing_seconds=0,
    source_interval="5m",  # rows of 1m end weeks ago for some pairs
    times_count_from=TimesCountFrom.SLOT_END,
    askable_after=timedelta(hours=6),  # the vendor trails by 6 to 10 hours
    overdue_after=timedelta(hours=24),
    null_volume=NullVolume.TRADE,  # prices move in rows without volume
    volume_kind=VolumeKind.QUOTE_CURRENCY,
    price_step=0.0,
    daily_evidence=DailyEvidence.NOTHING,  # absence is explained by rows only
    has_thin_symbols=False,
    has_market_file=False,
    has_actions=False,
    has_other_feed=False,
    data_from=_FIRST_DATA,
    assumed=frozenset({"askable_after", "data_from", "overdue_after"}),
)
FOREX = MarketProfile(
    exchange="FOREX",
    name="Currencies",
    status=MarketStatus.EXPERIMENTAL,
    calendar="forex",  # market.calendar.forex_calendar
    zone=ZoneInfo("America/New_York"),
    currency=None,  # the second half of a pair's symbol
    price_unit=None,
    grid_anchor=time(17),
    names=frozenset({"FX", "CDSL", "CURRENCY"}),
    closing_seconds=0,
    source_interval="1m",  # rows of 5m and 1h come from another source
    is_source_fixed=True,
    null_volume=NullVolume.TRADE,
    volume_kind=VolumeKind.NONE,
    price_step=0.0,
    daily_evidence=DailyEvidence.NOTHING,
    daily_covers_session=False,  # daily data end at midnight in UTC, not with the trade date
    has_thin_symbols=False,
    has_market_file=False,
    has_actions=False,
    has_other_feed=False,
    data_from=_FIRST_DATA,
    assumed=frozenset({"askable_after", "data_from"}),
)
