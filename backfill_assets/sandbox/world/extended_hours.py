"""The consolidated tape outside regular hours: early and late minutes, and the closing auction (1m).

The auction's volume stands in the 16:00 row, now and then in the 16:03 or 16:04 one (EODHD.md §2).
"""

import numpy as np

from backfill_assets.sandbox.wire.rows import ABSENT, Rows, flat_row, in_order, joined
from backfill_assets.sandbox.world.data_quirks import Scene
from backfill_assets.sandbox.world.minute_paths import MINUTE, Day, extended_minutes
from backfill_assets.sandbox.world.random_draws import Bools, between
from backfill_assets.sandbox.world.session_index import AFTER_HOURS, PREMARKET

REGULAR_SHARE = 0.97  # of the official volume, auction included
_EARLY_SHARE, _LATE_SHARE = 0.015, 0.01
_AUCTION_SHARES = (0.08, 0.35)


def auction_volume(scene: Scene, day: Day) -> int:
    """Shares that changed hands in the closing auction."""
    return int(day.volume * between(_AUCTION_SHARES, scene.seed, "auction", scene.root, scene.day))


def premarket(scene: Scene, day: Day) -> Rows:
    """04:00 to 09:29, with gaps, and null-volume quote rows in some of them."""
    rng = scene.stream("premarket")
    start = int(scene.session.open.timestamp()) - PREMARKET
    first = round(day.open * (1 + 0.002 * rng.standard_normal()), 2)
    volume = int(day.volume * _EARLY_SHARE)
    rows = extended_minutes(rng, start, PREMARKET // MINUTE, (first, day.open), volume)
    if not scene.traits.extended_gaps:
        return rows
    traded = _traded(rng, day, len(rows))
    quoted = ~traded & (rng.random(len(rows)) < scene.traits.quote_rows)
    rows.volumes[quoted] = ABSENT
    return rows.where(traded | quoted)


def after_hours(scene: Scene, day: Day) -> Rows:
    """From the close for four hours; the auction is in its first minutes."""
    rng = scene.stream("after hours")
    start = int(scene.session.close.timestamp())
    last = round(day.close * (1 + 0.001 * rng.standard_normal()), 2)
    volume = int(day.volume * _LATE_SHARE)
    rows = extended_minutes(rng, start, AFTER_HOURS // MINUTE, (day.close, last), volume)
    at = int(rng.integers(3, 5)) if scene.struck("late auction", scene.traits.late_auction) else 0
    rows.prices[:, at] = _auction_prices(rows, at, day.close)
    rows.volumes[at] += auction_volume(scene, day)
    if scene.traits.extended_gaps:
        traded = _traded(rng, day, len(rows))
        traded[at] = True
        rows = rows.where(traded)
    return _with_trailing_row(scene, rows, start + AFTER_HOURS - MINUTE)


def _auction_prices(rows: Rows, at: int, price: float) -> list[float]:
    _, high, low, _ = rows.prices[:, at]
    return [price, max(float(high), price), min(float(low), price), price]


def _traded(rng: np.random.Generator, day: Day, minutes: int) -> Bools:
    share = min(0.98, max(0.03, (np.log10(day.volume + 1.0) - 4.0) / 3.6))
    traded: Bools = rng.random(minutes) < share
    return traded


def _with_trailing_row(scene: Scene, rows: Rows, stamp: int) -> Rows:
    if not scene.struck("trailing", scene.traits.trailing_row):
        return rows
    kept = rows.where(rows.stamps != stamp)
    return in_order(joined(kept, flat_row(stamp, float(kept.prices[3, -1]))))
