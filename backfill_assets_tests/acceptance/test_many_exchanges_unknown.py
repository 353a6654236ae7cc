"""What nobody has seen of exchanges outside the US, one way and the other: bars are right either way.

One vendor serves several exchanges, each with another answer to what is unknown.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.config import DataQuirks, ExchangeConfig
from backfill_assets.sandbox.exchange_feed import AuctionRows, DailyVolumes, ExchangeFeed, NullVolumeRows
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.daily_volumes import report_volume
from backfill_assets.store.evidence.findings import CALENDAR_DRIFT, list_findings
from backfill_assets_tests.acceptance.many_exchanges import IN_TIME, ManyExchanges, build_sandbox_options, utc

pytestmark = pytest.mark.no_cover

FEEDS = {
    "LSE": ExchangeFeed("GBX", auction=AuctionRows.WITH_VOLUME),
    "AU": ExchangeFeed("AUD", auction=AuctionRows.WITH_VOLUME, auction_minutes=10),
    "PA": ExchangeFeed(
        "EUR", 40_000.0, auction=AuctionRows.WITHOUT_VOLUME, null_volume=NullVolumeRows.QUOTES, null_volume_share=0.4
    ),
    "AS": ExchangeFeed("EUR", null_volume=NullVolumeRows.TRADES, null_volume_share=0.4),
}


@pytest.fixture
def make_exchanges(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> Callable[..., ManyExchanges]:
    def make(exchanges: dict[str, ExchangeConfig], **settings: Any) -> ManyExchanges:
        now, codes = utc("2024-03-06 00:00"), tuple(exchanges)
        sandbox = start_sandbox(now=now, **build_sandbox_options((), 1, more=exchanges))
        chosen = {"requests_per_minute": 100_000, "exchanges": codes, "as_of": now, "partition_days": 2, **settings}
        return ManyExchanges(make_engine(sandbox, (), **chosen), sandbox, codes)

    return make


def test_bars_are_right_whatever_the_rows_mean(make_exchanges: Callable[..., ManyExchanges], tmp_path: Path) -> None:
    """Closing auctions with and without volume, a close print, quotes, trades without one, prices of millions."""
    corrections = tmp_path / "markets.toml"
    corrections.write_text('[AS]\nnull_volume = "trade"\n')
    exchanges = make_exchanges(
        {
            code: ExchangeConfig(
                symbols=2,
                feed=feed,
                publication=IN_TIME,
                quirks=DataQuirks(close_print=code == "AS"),
                history_from=date(2023, 10, 2),
            )
            for code, feed in FEEDS.items()
        },
        markets_file=corrections,
    )
    exchanges.add_tickers(2)
    for now, code in exchanges.list_rounds(date(2024, 3, 7), date(2024, 3, 8)):
        exchanges.work(now, code)
    exchanges.assert_true_bars_and_fewest_requests()
    with exchanges.engine.database.transaction() as connection:
        assert not [finding for finding in list_findings(connection) if finding.kind == CALENDAR_DRIFT]


def test_volumes_of_market_makers_prove_nothing(make_exchanges: Callable[..., ManyExchanges]) -> None:
    """A session without rows and with a daily volume of 0 had no trade in New York; in Toronto nobody knows."""
    day, symbols = date(2024, 3, 7), ("SHOP", "ENB")
    config = ExchangeConfig(
        symbols=6,
        feed=ExchangeFeed("CAD", daily_volumes=DailyVolumes.MEANINGLESS),
        publication=replace(IN_TIME, never_published=frozenset((symbol, day) for symbol in symbols)),
        history_from=date(2024, 1, 2),
    )
    exchanges = make_exchanges({"TO": config}, daily_data=True)
    own = exchanges.get_world("TO").config
    assert report_volume(own, "SHOP", day.toordinal(), 1) == 0
    exchanges.add_tickers(6)
    for text in ("2024-03-08 00:01", "2024-03-08 13:00", "2024-03-09 13:00"):
        exchanges.work(utc(text), "TO")
        engine = exchanges.move_to(utc(text))
        read_daily_data(engine, engine.settings.get_market("TO"))
    coverage = engine.measure(build_retained_sessions_job(engine, engine.settings.get_market("TO"), "30m"))
    assert coverage.count_slots(SlotState.NO_TRADE) == 0
    assert coverage.count_slots(SlotState.MISSING) == 13 * len(symbols)
