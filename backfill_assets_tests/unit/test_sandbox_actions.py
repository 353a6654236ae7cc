"""Corporate actions of the sandbox: what prices, volumes and the daily data do at each, and when they are listed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.actions import Action, ActionRates, CashDividend, Record, SpinOff, Split
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.eod_rows import EodRow, EodRowSource
from backfill_assets.sandbox.recycled import Recycled
from backfill_assets.sandbox.world.action_factors import find_session_before, list_values
from backfill_assets.sandbox.world.simulation import World

EX_DATE, CUM_DAY = date(2026, 6, 2), date(2026, 6, 1)
LATER = datetime(2026, 7, 1, tzinfo=UTC)


def make_config(*actions: Action, **fields: object) -> SandboxConfig:
    return SandboxConfig(symbols=3, splits={}, actions={"AAPL": actions}, **fields)  # type: ignore[arg-type]


def find_session(world: World, day: date) -> Session:
    session = world.session_index.find_session(day)
    assert session is not None
    return session


def get_close(config: SandboxConfig, day: date, symbol: str = "AAPL") -> float:
    world = World(config)
    return world.get_official_bar(symbol, find_session(world, day)).close


def find_row(config: SandboxConfig, day: date, now: datetime = LATER) -> EodRow:
    world = World(config)
    row = EodRowSource(config, world).find_row("AAPL", find_session(world, day), now)
    assert row is not None
    assert row.close is not None
    return row


@pytest.mark.parametrize(
    ("split", "ratio"),
    [(Split(EX_DATE, 10), 10.0), (Split(EX_DATE, 1, 15), 1 / 15), (Split(EX_DATE, 105, 100), 1.05)],
)
def test_a_split_divides_prices_and_multiplies_volumes(split: Split, ratio: float) -> None:
    plain, changed = make_config(), make_config(split)
    assert get_close(changed, CUM_DAY) == pytest.approx(ratio * get_close(plain, CUM_DAY), abs=0.005)
    assert get_close(changed, EX_DATE) == get_close(plain, EX_DATE)
    row = find_row(changed, CUM_DAY)
    assert row.adjusted_close == pytest.approx(get_close(plain, CUM_DAY), abs=0.005 / ratio + 1e-4)
    assert row.volume == find_row(plain, CUM_DAY).volume
    world = World(changed)
    raw = world.get_official_bar("AAPL", find_session(world, CUM_DAY)).volume
    assert row.volume == pytest.approx(raw * ratio, rel=1e-3)


def test_true_bars_are_raw() -> None:
    world = World(make_config(Split(EX_DATE, 2), CashDividend(EX_DATE, Decimal("3.5"))))
    bars = world.true_bars("AAPL", find_session(world, CUM_DAY), INTERVALS["30m"], "1m")
    close = world.get_official_bar("AAPL", find_session(world, CUM_DAY)).close
    assert bars.close.iloc[-1] == pytest.approx(close, rel=1e-3)
    plain = World(make_config())
    assert bars.close.iloc[-1] > 2 * get_close(make_config(), CUM_DAY)
    after = [w.true_bars("AAPL", find_session(w, EX_DATE), INTERVALS["30m"], "1m") for w in (world, plain)]
    assert after[0].equals(after[1])


def test_the_price_falls_by_a_dividend_and_the_daily_data_know_it_from_its_ex_date() -> None:
    dividend = CashDividend(EX_DATE, Decimal("1.37"))
    config, continuous = make_config(dividend), get_close(make_config(), CUM_DAY)
    assert get_close(config, CUM_DAY) - continuous == pytest.approx(1.37)
    before, after = find_row(config, CUM_DAY, datetime(2026, 6, 2, 3, tzinfo=UTC)), find_row(config, CUM_DAY)
    assert before.close == before.adjusted_close == after.close == get_close(config, CUM_DAY)
    assert after.adjusted_close == pytest.approx(float(after.close or 0) - 1.37, abs=1e-4)
    assert before.volume == after.volume


@pytest.mark.parametrize(
    ("dividend", "prices_in", "fall"),
    [
        (CashDividend(EX_DATE, Decimal(137), "GBX"), "GBP", 1.37),
        (CashDividend(EX_DATE, Decimal("0.02"), "GBP"), "GBX", 2.0),
        (CashDividend(EX_DATE, Decimal(2), "EUR", exchange_rate=Decimal("1.1")), "USD", 2.2),
    ],
)
def test_a_dividend_of_another_currency(dividend: CashDividend, prices_in: str, fall: float) -> None:
    config = make_config(dividend, currencies={"AAPL": prices_in})
    assert get_close(config, CUM_DAY) - get_close(make_config(), CUM_DAY) == pytest.approx(fall)


def test_a_currency_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="a dividend in EUR for prices in USD needs an exchange_rate"):
        get_close(make_config(CashDividend(EX_DATE, Decimal(1), "EUR")), CUM_DAY)


def test_daily_closes_before_a_spin_off_are_adjusted_and_intraday_ones_are_not() -> None:
    config, plain = make_config(SpinOff(EX_DATE, 2.39)), get_close(make_config(), CUM_DAY)
    assert get_close(config, CUM_DAY) == pytest.approx(2.39 * plain, abs=0.005)
    evening = find_row(config, CUM_DAY, datetime(2026, 6, 2, 3, tzinfo=UTC))
    assert evening.close == get_close(config, CUM_DAY)
    later = find_row(config, CUM_DAY)
    assert later.close == pytest.approx(plain, abs=0.003)
    assert later.adjusted_close == later.close


def test_several_actions_multiply() -> None:
    actions = (
        Split(date(2026, 4, 1), 1, 4),
        CashDividend(date(2026, 5, 4), Decimal("0.25")),
        SpinOff(date(2026, 5, 18), 1.3),
        Split(EX_DATE, 6),
        CashDividend(EX_DATE, Decimal(9), period="Special"),
    )
    config, day = make_config(*actions), date(2026, 3, 2)
    row = find_row(config, day)
    assert row.adjusted_close == pytest.approx(get_close(make_config(), day), rel=0.002)
    assert row.close == pytest.approx(get_close(config, day) / 1.3, rel=1e-4)
    raw = World(config).get_official_bar("AAPL", find_session(World(config), day)).volume
    assert row.volume == pytest.approx(raw * 6 / 4, rel=1e-3)


def test_the_price_falls_by_the_sum_of_a_days_dividends() -> None:
    quarterly, special = Decimal("0.52"), Decimal("19.4")
    dividends = CashDividend(EX_DATE, quarterly), CashDividend(EX_DATE, special, period="Special")
    continuous, fall = get_close(make_config(), CUM_DAY), float(quarterly + special)
    row = find_row(make_config(*dividends), CUM_DAY)
    assert row.close == pytest.approx(continuous + fall)
    assert row.adjusted_close == pytest.approx(continuous, abs=1e-4)
    split = find_row(make_config(*dividends, Split(EX_DATE, 2)), CUM_DAY)  # the amount is per share before it
    assert split.close == pytest.approx(2 * continuous + fall)
    assert split.adjusted_close == pytest.approx(continuous, abs=1e-4)


def test_what_the_vendor_lists_over_time() -> None:
    def list_from(action: Split | CashDividend, first: int, last: int) -> list[list[float]]:
        days = (EX_DATE + timedelta(n) for n in range(first, last + 1))
        return [[float(value) for value in list_values(action, day)] for day in days]

    def split(record: Record) -> Split:
        return Split(EX_DATE, 4, record=record)

    assert list_from(split(Record()), -1, 0) == [[], [4]]
    assert list_from(split(Record(listed_after_days=-1)), -2, 0) == [[], [4], [4]]
    assert list_from(split(Record(listed_after_days=2)), 1, 2) == [[], [4]]
    assert list_from(split(Record(copies=2)), 0, 0) == [[4, 4]]
    assert list_from(split(Record(wrong_value=Decimal(5))), 0, 1) == [[4, 5], [4, 5]]
    assert list_from(split(Record(wrong_value=Decimal(5), corrected_after_days=2)), 0, 2) == [[5], [5], [4]]
    mistake = Split(EX_DATE, 4, record=Record(withdrawn_after_days=2), is_mistake=True)
    assert list_from(mistake, 0, 2) == [[4], [4], []]
    assert get_close(make_config(mistake), CUM_DAY) == get_close(make_config(), CUM_DAY)


def test_daily_data_follow_what_is_listed() -> None:
    def adjust(record: Record, day: int, *, is_mistake: bool = False) -> float:
        row = find_row(
            make_config(Split(EX_DATE, 4, record=record, is_mistake=is_mistake)),
            CUM_DAY,
            datetime(2026, 6, day, 12, tzinfo=UTC),
        )
        return round(float(row.close or 0) / float(row.adjusted_close or 0), 3)

    assert [adjust(Record(listed_after_days=3), day) for day in (4, 5)] == [1, 4]
    corrected = Record(wrong_value=Decimal(5), corrected_after_days=3)
    assert [adjust(corrected, day) for day in (4, 5)] == [5, 4]
    withdrawn = Record(withdrawn_after_days=3)
    assert [adjust(withdrawn, day, is_mistake=True) for day in (4, 5)] == [4, 1]
    assert adjust(Record(copies=2, wrong_value=Decimal(3)), 5) == 4


def test_a_recycled_code_has_one_instrument_after_the_other() -> None:
    ended, since = date(2026, 2, 27), date(2026, 6, 2)
    config = SandboxConfig(symbols=3, recycled={"POL": Recycled(ended, since, 0.01)})
    world = World(config)
    rows = EodRowSource(config, world).list_rows("POL", date(2026, 2, 1), date(2026, 6, 30), LATER)
    days = [date.fromisoformat(row.date) for row in rows]
    assert max(day for day in days if day < since) == ended
    assert not any(ended < day < since for day in days)
    assert min(day for day in days if day > ended) == since
    assert float(rows[0].close or 0) > 10 * float(rows[-1].close or 0)
    lengths = [
        len(world.true_bars("POL", find_session(world, day), INTERVALS["30m"], "1m"))
        for day in (ended, date(2026, 4, 1), since)
    ]
    assert lengths == [13, 0, 13]
    assert [world.listings.is_delisted("POL", day) for day in (ended, date(2026, 3, 2), since)] == [False, True, False]


def test_a_ticker_renamed_to_a_used_code_has_its_rows_from_that_day() -> None:
    ended, since = date(2026, 2, 27), date(2026, 6, 2)
    config = SandboxConfig(
        symbols=3,
        renamed={"FB": ("META", since)},
        recycled={"META": Recycled(ended, since)},
        actions={"META": (Split(date(2026, 2, 2), 2), Split(date(2026, 6, 4), 3))},
    )
    listings = World(config).listings
    assert [listings.is_known("META", day) for day in (ended, since)] == [True, True]
    assert [listings.is_known("FB", day) for day in (ended, since)] == [True, False]
    assert get_close(config, since, "META") == get_close(config, since, "FB")
    assert get_close(config, ended, "META#1") < 0.5 * get_close(config, ended, "FB")
    assert [len(listings.list_actions(symbol)) for symbol in ("FB", "META", "META#1")] == [1, 1, 1]


def test_the_code_of_a_renamed_ticker_can_be_used_again() -> None:
    config = SandboxConfig(
        symbols=3,
        renamed={"FB": ("META", date(2026, 2, 2))},
        recycled={"FB": Recycled(date(2026, 1, 30), date(2026, 6, 2), 0.2)},
    )
    world = World(config)
    known = [world.listings.is_known("FB", date(2026, month, 15)) for month in (1, 3, 6)]
    assert known == [True, False, True]
    rows = EodRowSource(config, world).list_rows("FB", date(2026, 1, 1), date(2026, 6, 30), LATER)
    assert rows[0].date == "2026-06-02"
    assert len(EodRowSource(config, world).list_rows("META", date(2026, 1, 1), date(2026, 6, 30), LATER)) > 120


def test_actions_are_drawn_of_every_kind_and_repeatably() -> None:
    rates = ActionRates(
        dividend_payers=0.5, special_dividends=0.2, splits=0.2, spinoffs=0.1, mistakes=0.1, late=0.2, copies=0.2,
        contradictory=0.1, corrected=0.2,
    )  # fmt: skip
    first, again = (World(SandboxConfig(symbols=40, action_rates=rates)) for _ in range(2))
    drawn = [action for symbol in first.symbols for action in first.listings.list_actions(symbol)]
    assert drawn == [action for symbol in again.symbols for action in again.listings.list_actions(symbol)]
    assert {type(action) for action in drawn} == {Split, CashDividend, SpinOff}
    listed = [action for action in drawn if not isinstance(action, SpinOff)]
    assert {action.is_mistake for action in listed} == {True, False}
    records = [action.record for action in listed]
    assert {record.copies for record in records} == {1, 2}
    assert {record.listed_after_days > 0 for record in records} == {True, False}
    assert {record.corrected_after_days is not None for record in records if record.wrong_value} == {True, False}
    ends = [bool(action.record.withdrawn_after_days) == action.is_mistake for action in listed]
    assert all(ends)
    assert World(SandboxConfig(symbols=3, splits={})).listings.list_actions("AAPL") == ()


def test_closes_before_dividends_are_in_whole_cents_and_give_the_factor() -> None:
    world = World(SandboxConfig(symbols=60, action_rates=ActionRates(dividend_payers=1.0, splits=0.1)))
    checked = 0
    for symbol in world.symbols:
        for action in world.listings.list_actions(symbol):
            if isinstance(action, CashDividend):
                before = find_session_before(world.session_index, action.ex_date)
                ordinals = np.array([before.day.toordinal(), action.ex_date.toordinal()], np.int64)
                products = world.action_factors.get_true(symbol).prices.get_products(ordinals)
                close = world.get_official_bar(symbol, before).close
                step = 1 / (1 - float(action.amount) / close)
                checked += abs(products[0] / products[1] - step) < 1e-9
    total = sum(len(world.listings.list_actions(symbol)) for symbol in world.symbols)
    assert checked > 0.98 * 60 * 70
    assert total > checked
