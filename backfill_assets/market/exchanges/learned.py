"""What an experimental exchange has shown, and whether rules may rest on the vendor's daily data there. Pure.

The one place that decides it. What was counted is in ``store.learning``; which exchange is experimental is in its
profile. On a verified exchange nothing is counted and every rule applies.
"""

from dataclasses import dataclass
from enum import StrEnum

from backfill_assets.market.exchanges.profile import MarketProfile, VolumeKind

MIN_SESSIONS = 20  # four weeks: a month's end, a holiday and an early close are likely among them
MAX_CONTRADICTED_SHARE = 0.01  # of the days of symbols; more is no chance, and what is unknown stays unknown
MAX_LONE_DAYS = 3  # that contradict: bars are wrong now and then, and a small universe has few days


class DailyFigure(StrEnum):
    """What of the vendor's daily data a rule rests on."""

    TRADING = "trading"  # a volume of 0, or the absence of a row, says that nothing traded
    VOLUME = "volume"  # the day's volume is at least that of the bars
    PRICES = "prices"  # the day's range and close are those of the bars


@dataclass(frozen=True, slots=True)
class DailyComparison:
    """How the vendor's daily data compare with the bars of one exchange; counts of days of symbols but ``sessions``.

    Attributes:
        sessions: how many sessions were compared.
        days: with bars and with daily data that are settled.
        untraded: of all, those of which the daily data say that nothing traded.
        untraded_with_bars: those of them with bars that have a volume.
        exceeding_volume: with more volume in the bars than in the daily data.
        ranged: with bars, and a range in the daily data.
        outside_range: those of them with a bar outside the range.
        closes: with a row after the close and a close in the daily data.
        closes_equal: those of them with the same close.
    """

    sessions: int = 0
    days: int = 0
    untraded: int = 0
    untraded_with_bars: int = 0
    exceeding_volume: int = 0
    ranged: int = 0
    outside_range: int = 0
    closes: int = 0
    closes_equal: int = 0

    def is_borne_out(self, figure: DailyFigure) -> bool:
        """Whether the bars bear the daily data out, as far as they were compared."""
        trades = self.untraded_with_bars <= MAX_CONTRADICTED_SHARE * self.days
        if figure is DailyFigure.TRADING:
            return trades
        if figure is DailyFigure.VOLUME:
            return trades and self.exceeding_volume <= max(MAX_LONE_DAYS, MAX_CONTRADICTED_SHARE * self.days)
        return self.outside_range <= max(MAX_LONE_DAYS, MAX_CONTRADICTED_SHARE * self.ranged)


NOTHING_COMPARED = DailyComparison()


def needs_learning(market: MarketProfile) -> bool:
    """Whether something about the exchange is assumed, so that it is counted."""
    return market.is_experimental


def may_judge_by_daily_data(
    market: MarketProfile, seen: DailyComparison = NOTHING_COMPARED, figure: DailyFigure = DailyFigure.PRICES
) -> bool:
    """Whether a rule may judge bars or their absence by the vendor's daily data.

    On an experimental exchange not before 20 sessions were compared, and only if the bars bear the daily data out.
    Until then slots are what they would be without daily data. What they say about trading is decided by the profile,
    whatever was seen, once it is not assumed any more (BACKFILL_MARKETS_FILE). Daily data of other hours than the
    session's judge no bar, and no volume that does not count shares is compared with a day's.

    Args:
        market: the exchange.
        seen: what ``store.learning.read_daily_comparison`` returned for it.
        figure: what the rule rests on.
    """
    if figure is not DailyFigure.TRADING and not market.daily_covers_session:
        return False
    if figure is DailyFigure.VOLUME and market.volume_kind is not VolumeKind.SHARES:
        return False
    is_assumed = "daily_volume_tells" in market.assumed
    if figure is DailyFigure.TRADING and not (market.is_experimental and is_assumed):
        return market.daily_volume_tells
    if not market.is_experimental:
        return True
    if figure is DailyFigure.VOLUME and not market.daily_volume_tells:
        return False
    return seen.sessions >= MIN_SESSIONS and seen.is_borne_out(figure)
