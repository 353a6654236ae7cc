"""Profiles with the rules of the US and the hours of others: breaks, opens beside the clock, no close at all."""

from dataclasses import replace
from datetime import date, time
from typing import Any
from zoneinfo import ZoneInfo

from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.exchanges.profile import CalendarOverrides, MarketProfile
from backfill_assets.market.exchanges.registry import US, get_profile


def make_profile(exchange: str, calendar: str, zone: str, anchor: str, **fields: Any) -> MarketProfile:
    return replace(
        US,
        exchange=exchange,
        calendar=calendar,
        zone=ZoneInfo(zone),
        grid_anchor=time.fromisoformat(anchor),
        **fields,
    )


TOKYO = make_profile("TSE", "XTKS", "Asia/Tokyo", "09:00")
HONG_KONG = make_profile("HK", "XHKG", "Asia/Hong_Kong", "09:30")
SHANGHAI = make_profile("SHG", "XSHG", "Asia/Shanghai", "09:30")
KARACHI = make_profile("KAR", "XKAR", "Asia/Karachi", "09:30")
SANTIAGO = make_profile("SN", "XSGO", "America/Santiago", "09:30")
BANGKOK = make_profile("BK", "XBKK", "Asia/Bangkok", "10:00", breaks=((time(12, 30), time(14)),))
ROUND_THE_CLOCK = make_profile("CC", "24/7", "UTC", "00:00", closing_seconds=0)


def correct(exchange: str, **corrections: Any) -> MarketProfile:
    return replace(get_profile(exchange), overrides=CalendarOverrides(**corrections))


def find_session(market: MarketProfile, day: str) -> Session:
    (session,) = list_sessions(market, date.fromisoformat(day), date.fromisoformat(day))
    return session


def list_local_segments(session: Session) -> list[str]:
    zone = session.market.zone
    return [f"{a.astimezone(zone):%H:%M}-{b.astimezone(zone):%H:%M}" for a, b in session.segments]


def read_regular_close(session: Session) -> str:
    return f"{session.regular_close.astimezone(session.market.zone):%d %H:%M}"
