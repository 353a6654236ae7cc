"""Twelve exchanges in one database and under one token, through changes of clocks, holidays and short sessions.

The weeks hold America's change of clocks (10 March 2024), Good Friday, Europe's (31 March) and Sydney's (7 April), and
the days around Christmas, which only some exchanges hold: Paris closes at 14:05 then, so that its last slot has five
minutes.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.many_exchanges import (
    MINUTE,
    OVERDUE_AFTER_HALF,
    ManyExchanges,
    build_sandbox_options,
    read_bars,
    utc,
)

pytestmark = pytest.mark.no_cover

TWELVE = ("US", "LSE", "XETRA", "PA", "OL", "IR", "SW", "TO", "AU", "KO", "SA", "JSE")
THREE = ("US", "PA", "AU")
MakeExchanges = Callable[..., ManyExchanges]


@pytest.fixture
def make_exchanges(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeExchanges:
    """Make exchanges of ``symbols`` tickers each; ``days`` sessions are kept, ``options`` are those of the vendor."""

    def make(
        codes: tuple[str, ...], symbols: int, *, days: int, vendor: dict[str, Any] | None = None, **options: Any
    ) -> ManyExchanges:
        now = utc("2024-03-06 00:00")
        sandbox = start_sandbox(now=now, **build_sandbox_options(codes, symbols, **options), **(vendor or {}))
        settings = {"requests_per_minute": 100_000, "exchanges": codes, "as_of": now, "partition_days": days}
        return ManyExchanges(make_engine(sandbox, (), **settings), sandbox, codes)

    return make


def work_through(
    exchanges: ManyExchanges,
    first: date,
    last: date,
    *,
    late: Sequence[str] = (),
    looks: Sequence[str] = (),
    not_earlier: Sequence[str] = (),
    alarms: Sequence[str] = (),
) -> list[str]:
    """Work on every session as soon as it can be asked for; returns which exchange, and when: ``AU 28 08:01``.

    Args:
        exchanges: what is worked on.
        first: the first day.
        last: the last day, included.
        late: exchanges with a late publication.
        looks: UTC times at which every exchange's slots are as they must be, and no criterion fails.
        not_earlier: UTC days on which nothing is due two minutes before the first round of an exchange.
        alarms: exchanges with a bar of the last session that never comes. That is an alarm six hours after half of
            the exchange was seen, and not a minute earlier.
    """
    rounds = exchanges.list_rounds(first, last, late)
    events: list[tuple[datetime, str, str]] = [(now, "work", code) for now, code in rounds]
    events += [(utc(look), "look", "") for look in looks]
    for code in alarms:
        overdue_at = max(now for now, worked in rounds if worked == code) + OVERDUE_AFTER_HALF
        events += [(overdue_at - MINUTE, "silent", code), (overdue_at + MINUTE, "alarm", code)]
    for now, event, code in sorted(events):
        if event == "look":
            assert not any(exchanges.look(now).values()), now
        elif event == "silent":
            assert exchanges.look(now, [code]) == {code: set()}, now
        elif event == "alarm":
            assert "no_missing_bars" in exchanges.look(now, [code])[code], (now, code)
        else:
            if f"{now:%Y-%m-%d}" in not_earlier and code not in late:
                assert not exchanges.find_due(now - 2 * MINUTE, code).ranges, (now, code)
            exchanges.work(now, code)
    return [f"{code} {now:%d %H:%M}" for now, code in rounds]


def test_three_exchanges_through_easter(make_exchanges: MakeExchanges) -> None:
    """Paris and Sydney hold Easter Monday, New York does not; Europe's clocks change in between."""
    never = {"US": frozenset({("AAPL", date(2024, 4, 2))})}
    exchanges = make_exchanges(THREE, 3, days=3, never=never)
    exchanges.add_tickers(3)
    rounds = work_through(
        exchanges,
        date(2024, 3, 28),
        date(2024, 4, 2),
        looks=["2024-03-29 15:00", "2024-04-01 15:00", "2024-04-02 20:30"],
        not_earlier=["2024-04-02"],
        alarms=["US"],
    )
    assert rounds[:4] == ["AU 28 08:01", "PA 28 19:31", "US 28 23:01", "US 01 23:01"]
    assert rounds[4:] == ["AU 02 08:01", "PA 02 18:31", "US 02 23:01"]  # Paris has summer time
    exchanges.assert_true_bars_and_fewest_requests()


def test_three_exchanges_around_christmas(make_exchanges: MakeExchanges) -> None:
    """On the 24th Paris closes at 14:05, Sydney at 14:10; they hold the 26th, which New York does not."""
    exchanges = make_exchanges(THREE, 3, days=3)
    exchanges.add_tickers(3)
    work_through(exchanges, date(2024, 12, 24), date(2024, 12, 26), looks=["2024-12-25 18:00", "2024-12-27 05:00"])
    exchanges.assert_true_bars_and_fewest_requests()
    paris = read_bars(exchanges.engine, "PA", exchanges.list_tickers("PA"))
    assert utc("2024-12-24 13:00").timestamp() in paris[:, 1]  # the slot of five minutes, from 14:00 on


def test_one_command_heals_sydney_and_new_york(
    make_exchanges: MakeExchanges, make_user: Callable[..., User], database_url: str
) -> None:
    """BHP of both is one instrument each: what is lost of either comes back from its own exchange."""
    exchanges = make_exchanges(("US", "AU"), 2, days=2)
    exchanges.add_tickers(1)
    user = make_user(
        exchanges.sandbox,
        utc("2024-03-12 12:00"),
        DATABASE_URL=database_url,
        BACKFILL_EXCHANGES='["US", "AU"]',
        EODHD_REQUESTS_PER_MINUTE="100000",
    )
    exchanges.move_to(utc("2024-03-12 12:00"))
    assert user.run_cli("run --quiet").code == 0
    before = {code: read_bars(exchanges.engine, code, [f"BHP.{code}"]) for code in exchanges.codes}
    assert {code: len(bars) for code, bars in before.items()} == {"US": 26, "AU": 24}
    with exchanges.engine.database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE timestamp >= '2024-03-11 12:00'")
    assert user.run_cli("verify").code == 3
    assert user.run_cli("run --quiet").code == 0
    for code, bars in before.items():
        assert np.array_equal(read_bars(exchanges.engine, code, [f"BHP.{code}"]), bars), code
    assert not np.isin(before["US"][:, 2:6], before["AU"][:, 2:6]).all()


@pytest.mark.long
def test_twelve_exchanges_through_spring(make_exchanges: MakeExchanges) -> None:
    never = {code: frozenset({("MRK" if code == "US" else "S0030", date(2024, 4, 9))}) for code in TWELVE}
    exchanges = make_exchanges(TWELVE, 40, days=24, never=never, late=["LSE"])
    exchanges.add_tickers(2)
    in_march = work_through(
        exchanges,
        date(2024, 3, 8),
        date(2024, 3, 12),
        late=["LSE"],
        looks=["2024-03-10 12:00", "2024-03-12 06:00"],
        not_earlier=["2024-03-11"],
    )
    assert [text for text in in_march if text.startswith(("AU", "US"))] == [
        *("AU 08 08:01", "US 09 00:01", "AU 11 08:01", "US 11 23:01", "AU 12 08:01", "US 12 23:01"),
    ]
    at_easter = work_through(
        exchanges,
        date(2024, 3, 27),
        date(2024, 4, 2),
        late=["LSE"],
        looks=["2024-03-29 12:00", "2024-03-31 12:00", "2024-04-01 12:00", "2024-04-02 03:00"],
        not_earlier=["2024-04-02"],
    )
    assert [text for text in at_easter if text.startswith(("KO", "PA", "US"))] == [
        *(
            "KO 27 09:31",
            "PA 27 19:31",
            "US 27 23:01",
            "KO 28 09:31",
            "PA 28 19:31",
            "US 28 23:01",
            "KO 29 09:31",
            "KO 01 09:31",
            "US 01 23:01",
        ),
        *("KO 02 09:31", "PA 02 18:31", "US 02 23:01"),
    ]
    in_april = work_through(
        exchanges,
        date(2024, 4, 5),
        date(2024, 4, 8),
        late=["LSE"],
        looks=["2024-04-07 23:30", "2024-04-08 12:00"],
        not_earlier=["2024-04-08"],
    )
    assert [text for text in in_april if text.startswith("AU")] == ["AU 05 08:01", "AU 08 09:01"]
    exchanges.add_tickers(40)
    work_through(exchanges, date(2024, 4, 9), date(2024, 4, 9), late=["LSE"], alarms=TWELVE)
    exchanges.assert_true_bars_and_fewest_requests()


@pytest.mark.long
def test_twelve_exchanges_through_christmas(make_exchanges: MakeExchanges) -> None:
    exchanges = make_exchanges(TWELVE, 40, days=9, late=["LSE"])
    exchanges.add_tickers(2)
    looks = ["2024-12-24 16:00", "2024-12-25 12:00", "2024-12-26 12:00", "2024-12-29 23:30", "2025-01-01 12:00"]
    work_through(exchanges, date(2024, 12, 23), date(2025, 1, 1), late=["LSE"], looks=looks)
    exchanges.add_tickers(40)
    work_through(exchanges, date(2025, 1, 2), date(2025, 1, 3), late=["LSE"])
    exchanges.assert_true_bars_and_fewest_requests()
