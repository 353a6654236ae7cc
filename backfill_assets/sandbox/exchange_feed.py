"""What the vendor's data of one exchange mean, where that differs between exchanges or is unknown. Values only.

No raw intraday answer of an exchange outside the US was seen (docs/vendor.md §8.2). So each unknown is a switch here,
and the program must be right either way.
"""

from dataclasses import dataclass
from enum import StrEnum

from backfill_assets.sandbox.around_the_clock import AroundTheClock


class AuctionRows(StrEnum):
    """Whether ``/intraday`` has a flat row of the closing auction, some minutes after the close."""

    NONE = "none"
    WITH_VOLUME = "with volume"
    WITHOUT_VOLUME = "without volume"  # volume null


class NullVolumeRows(StrEnum):
    """What 5m rows with moving prices and a null volume are, if there are any."""

    NONE = "none"
    QUOTES = "quotes"  # nothing traded; the true bars lack them
    TRADES = "trades"  # the true bars have their prices


class BreakRows(StrEnum):
    """Whether ``/intraday`` has flat rows, at the price before it, in a session's break."""

    NONE = "none"
    WITH_VOLUME = "with volume"
    WITHOUT_VOLUME = "without volume"  # volume null


class DailyVolumes(StrEnum):
    """What volumes of ``/eod`` and of the market's file say."""

    TRADED = "traded"  # what was traded on the exchange; 0: nothing
    MEANINGLESS = "meaningless"  # those of market makers: also 0 on days with trades, and not on days without


@dataclass(frozen=True)
class ExchangeFeed:
    """The data of one exchange.

    Attributes:
        currency: of most prices, as the symbol list has it: GBX is pence.
        price_level: drawn prices are multiplied by it.
        has_extended_hours: 1m has rows before the open and after the close, with the auction.
        auction: the row of the closing auction in 5m and 1m; not where there are extended hours.
        auction_minutes: from the close to the stamp of that row.
        break_rows: the rows of a session's break in 5m and 1m.
        null_volume: what 5m rows with prices and a null volume are.
        null_volume_share: of the 5m rows.
        daily_volumes: what daily volumes say.
        daily_delay_minutes: from the close to the daily row.
        carries_forward: a day without a trade has a flat daily row at the last close, with volume 0.
        fractional_volumes: share of daily rows with a fractional volume.
        clock: the rows of a market that never closes at night; None: rows come by session, as all above says.
    """

    currency: str = "USD"
    price_level: float = 1.0
    has_extended_hours: bool = False
    auction: AuctionRows = AuctionRows.NONE
    auction_minutes: int = 5
    break_rows: BreakRows = BreakRows.NONE
    null_volume: NullVolumeRows = NullVolumeRows.NONE
    null_volume_share: float = 0.1
    daily_volumes: DailyVolumes = DailyVolumes.TRADED
    daily_delay_minutes: int = 150
    carries_forward: bool = True
    fractional_volumes: float = 0.005
    clock: AroundTheClock | None = None


US_FEED = ExchangeFeed(has_extended_hours=True, daily_delay_minutes=20, carries_forward=False, fractional_volumes=0.0)
