"""Volumes of daily rows as an exchange's feed has them: whole or fractional, of the exchange or of market makers."""

from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.exchange_feed import DailyVolumes
from backfill_assets.sandbox.world.random_draws import draw_unit

_IDLE_SHARE = 0.25  # of market makers' days
_MOST_SHARES = 1_000_000


def report_volume(config: SandboxConfig, root: str, day: int, shares: int) -> int | float:
    """The volume of a daily row; ``shares`` were traded on the day with that ordinal."""
    feed = config.feed
    if feed.daily_volumes is DailyVolumes.MEANINGLESS:
        drawn = draw_unit(config.seed, "market maker", root, day)
        shares = 0 if drawn < _IDLE_SHARE else int(drawn * _MOST_SHARES)
    rate = feed.fractional_volumes
    if shares and rate and draw_unit(config.seed, "fractional", root, day) < rate:
        return shares + 0.53
    return shares
