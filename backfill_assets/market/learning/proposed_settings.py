"""What was seen of the attributes that an experimental exchange's profile assumes, and the settings that follow. Pure.

The settings are a passage of BACKFILL_MARKETS_FILE. Nothing is set by itself: a person decides.
"""

import calendar
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from backfill_assets.market.exchanges.learned import MIN_SESSIONS, DailyComparison, DailyFigure
from backfill_assets.market.exchanges.profile import (
    DailyEvidence,
    MarketProfile,
    NullVolume,
    VolumeKind,
)
from backfill_assets.market.learning.learned_rows import ClosingRows, LearnedRows, SeenPublication

MIN_CLOSING_SHARE = 0.2  # of the symbols' sessions; rarer rows are single trades, not the exchange's auction
ROW_SECONDS = 300  # a row of 5m lasts as long
MIN_MOVING_SHARE = 0.01  # of all rows; quotes of a market maker stand still
USUAL_SHARE = 0.9  # of the sessions: the other ones were late
MAX_CLOSING_TIMES = 8  # shown


@dataclass(frozen=True, slots=True)
class SeenAttribute:
    """One attribute of a profile.

    Attributes:
        name: of the attribute.
        assumed: what the profile has, in words.
        seen: what was seen, in words; empty: nothing.
        proposed: its value in BACKFILL_MARKETS_FILE as TOML; None: fewer than 20 sessions, or nothing that shows it.
        setting: its name there; None: the same.
    """

    name: str
    assumed: str
    seen: str
    proposed: str | None = None
    setting: str | None = None


@dataclass(frozen=True, slots=True)
class SeenMarket:
    """What was seen of an exchange.

    Attributes:
        rows: of its rows.
        daily: of its daily data.
        publications: when sessions were published.
        min_sessions: of how many sessions rows must have been seen before anything is proposed.
    """

    rows: LearnedRows
    daily: DailyComparison
    publications: Sequence[SeenPublication] = ()
    min_sessions: int = MIN_SESSIONS


def list_seen(market: MarketProfile, seen: SeenMarket) -> list[SeenAttribute]:
    """The attributes that are learned, whether they are assumed still or a user has set them.

    Without those that mean nothing on the exchange: of a close that it does not have, of volumes that say nothing, and
    of daily data that are known to say nothing about absence.
    """
    says_nothing = not market.daily_volume_tells and market.volume_kind is not VolumeKind.SHARES
    return [
        *([_see_closing(market, seen.rows, seen.min_sessions)] if market.has_closing_rows else []),
        *(
            [_see_null_volume(market, seen.rows, seen.min_sessions)]
            if market.volume_kind is not VolumeKind.NONE
            else []
        ),
        _see_publication(market, seen.publications),
        *([] if says_nothing else [_see_daily_volume(market, seen.daily)]),
    ]


def describe_uncounted(market: MarketProfile, name: str) -> str:
    """What an attribute that is assumed, and that rows do not show, means on an exchange, in words."""
    if name == "overdue_after" and market.overdue_after is not None:
        after = "its slot's end" if market.is_around_the_clock else "the regular close"
        return f"an absent bar is missing {format_hours(market.overdue_after)} after {after}"
    if name == "source_interval":
        return f"the vendor has rows of {market.source_interval or '5m'}"
    if name == "weekday_hours":
        hours = {
            calendar.day_name[day]: " and ".join(f"{start:%H:%M} to {end:%H:%M}" for start, end in parts)
            for day, parts in market.weekday_hours.items()
        }
        return "hours of their own: " + ", ".join(f"{day} {text}" for day, text in hours.items())
    if name == "grid_anchor":
        return f"slots begin as if the session opened at {market.grid_anchor:%H:%M}"
    if name == "data_from":
        return f"there are no rows before {market.data_from}"
    return str(getattr(market, name))


def format_settings(market: MarketProfile, attributes: Sequence[SeenAttribute]) -> str:
    """The proposed settings as a passage of BACKFILL_MARKETS_FILE; empty without any."""
    lines = [f"{item.setting or item.name} = {item.proposed}" for item in attributes if item.proposed is not None]
    return "\n".join([f"[{market.exchange}]", *lines]) + "\n" if lines else ""


def _see_closing(market: MarketProfile, rows: LearnedRows, min_sessions: int) -> SeenAttribute:
    name, assumed = "closing_seconds", f"rows up to {market.closing_seconds} s after the close belong to it"
    if not rows.symbol_sessions:
        return SeenAttribute(name, assumed, "")
    usual = [row for row in rows.closing if row.prints + row.auctions >= MIN_CLOSING_SHARE * rows.symbol_sessions]
    of = f"of {rows.symbol_sessions:,} sessions of symbols since {rows.first_day}"
    shown = "; ".join(_describe_closing(row) for row in rows.closing[:MAX_CLOSING_TIMES])
    more = len(rows.closing) - MAX_CLOSING_TIMES
    seen = f"{shown or 'no row after the close'}{f'; and {more} later times' if more > 0 else ''} ({of})"
    if rows.sessions < min_sessions or not rows.closing:
        return SeenAttribute(name, assumed, seen)
    needed = max([row.seconds + ROW_SECONDS for row in usual], default=market.closing_seconds)
    return SeenAttribute(name, assumed, seen, str(max(ROW_SECONDS, needed)))


def _describe_closing(row: ClosingRows) -> str:
    minutes, seconds = divmod(row.seconds, 60)
    parts = [f"{count:,} {kind}" for count, kind in ((row.prints, "without volume"), (row.auctions, "with")) if count]
    volume = f", {row.volume:,.0f} in all" if row.volume else ""
    return f"+{minutes}:{seconds:02}: {', '.join(parts)}{volume}"


def _see_null_volume(market: MarketProfile, rows: LearnedRows, min_sessions: int) -> SeenAttribute:
    assumed = "a row without volume is a quote" if market.null_volume is NullVolume.QUOTE else "its prices are trades"
    name, null = "null_volume", rows.null_flat + rows.null_moving
    if not rows.source_rows:
        return SeenAttribute(name, assumed, "")
    of_a_share = " of a share" if market.volume_kind is VolumeKind.SHARES else ""
    seen = (
        f"{null:,} of {rows.source_rows:,} rows have no volume, {rows.null_moving:,} of them at moving prices;"
        f" {rows.off_grid:,} off the grid, {rows.fractional:,} with a fraction{of_a_share}"
    )
    # Counts alone cannot tell quotes that move from trades, so what a person has set is not disputed.
    if rows.sessions < min_sessions or not null or name not in market.assumed:
        return SeenAttribute(name, assumed, seen)
    is_trade = rows.null_moving > MIN_MOVING_SHARE * rows.source_rows
    if is_trade:
        seen += "; compare some with the exchange's own prices before you set it"
    return SeenAttribute(name, assumed, seen, f'"{NullVolume.TRADE if is_trade else NullVolume.QUOTE}"')


def _see_publication(market: MarketProfile, publications: Sequence[SeenPublication]) -> SeenAttribute:
    set_to = market.askable_after
    setting = f"BACKFILL_ASKABLE_HOURS_{(market.source_interval or '5m').upper()}"
    usual = f"as long after the close as in the US ({setting})"
    from_slot = market.is_around_the_clock
    of, then = ("a slot's end", "the day's last slot") if from_slot else ("the close", "the close")
    assumed = f"requested {f'{format_hours(set_to)} after {of}' if set_to else usual}"
    if not publications:
        return SeenAttribute("askable_after", assumed, "")
    first = sorted(item.first_after for item in publications)
    half = sorted(item.half_after for item in publications)
    seen_by = first[math.ceil(USUAL_SHARE * len(first)) - 1]
    seen = (
        f"first seen published {format_hours(first[0])} to {format_hours(first[-1])} after {then}, half of the"
        f" symbols by {format_hours(half[0])} to {format_hours(half[-1])}"
        f" ({_count_sessions(len(first))} since {publications[0].day}; earlier requests may have shown more)"
    )
    if len(publications) < MIN_SESSIONS:
        return SeenAttribute("askable_after", assumed, seen)
    hours, half_hours = divmod(math.ceil(seen_by / timedelta(minutes=30)), 2)
    return SeenAttribute("askable_after", assumed, seen, f'"{hours}h{"30m" if half_hours else ""}"')


def _see_daily_volume(market: MarketProfile, daily: DailyComparison) -> SeenAttribute:
    name = "daily_volume_tells"
    tells = "proves" if market.daily_volume_tells else "does not prove"
    is_carried_forward = market.daily_evidence is DailyEvidence.CARRIED_FORWARD
    untraded_day = "a daily volume of 0" if is_carried_forward else "a daily volume of 0, or no daily row,"
    assumed = f"{untraded_day} {tells} that nothing traded"
    if not daily.sessions:
        return SeenAttribute(name, assumed, "")
    seen = (
        f"{daily.untraded_with_bars:,} of {daily.untraded:,} days without a daily volume have bars with volume;"
        f" {daily.exceeding_volume:,} of {daily.days:,} days have bars with more volume than the day;"
        f" {daily.outside_range:,} of {daily.ranged:,} days have bars outside the daily range;"
        f" {daily.closes_equal:,} of {daily.closes:,} closes equal the daily close"
        f" ({_count_sessions(daily.sessions)}, {daily.days:,} days of symbols)"
    )
    if daily.sessions < MIN_SESSIONS or not daily.untraded:
        return SeenAttribute(name, assumed, seen)
    proposed = str(daily.is_borne_out(DailyFigure.TRADING)).lower()
    if is_carried_forward and proposed == "true":  # the older form would say that an absent row tells, too
        return SeenAttribute(name, assumed, seen, f'"{market.daily_evidence}"', setting="daily_evidence")
    return SeenAttribute(name, assumed, seen, proposed)


def _count_sessions(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'}"


def format_hours(span: timedelta) -> str:
    """A span as ``6:30 h``."""
    minutes = round(span.total_seconds() / 60)
    return f"{minutes // 60}:{minutes % 60:02} h"
