"""Two years of 300 tickers with 60 corporate actions of all kinds: adjusted bars are continuous and reproducible.

Bars are those of the simulated market, unrounded, written month by month; the daily data and the vendor's lists are
read by the real morning's reading over HTTP, and adjusted bars by the schema's functions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.actions.proof import Verdict
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.actions import Action, CashDividend, SpinOff, Split
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.actions.split_verdicts import judge_stored_splits
from backfill_assets.store.bars.bar_writer import write_bars
from backfill_assets.store.evidence.evidence_writer import record_evidence
from backfill_assets.store.evidence.findings import ADJUSTED_CLOSES_DIFFER, SPLIT_WITHOUT_STEP, list_findings
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.acceptance.action_market import (
    FIRST,
    INTERVAL,
    NEW_YORK,
    READINGS,
    ActionMarket,
    build_market,
    compute_expected,
    list_versions,
)
from backfill_assets_tests.moving_clock import MovingClock

CONTROLS = 10  # tickers without actions whose daily data and lists are read each month, too
LISTS_A_MORNING = 100  # the engine reads no more of them
RETAINED_SESSIONS = 32  # a month, and the sessions before that show a spin-off
PRICES = ("open", "high", "low", "close")
NOW = READINGS[-1] + timedelta(hours=1)
WITHOUT_FACTOR = ("other currency", "contradiction")
HOUR = timedelta(hours=1)
SPIN_OFF_TOLERANCE = 2e-4  # a derived factor comes from daily closes with four decimals
_SELECT_ADJUSTED = """
SELECT extract(epoch FROM timestamp)::bigint AS timestamp, open_price AS open, high_price AS high, low_price AS low,
       close_price AS close, volume
FROM backfill.adjusted_bars(%(adjustment)s, %(moment)s) WHERE symbol_id = %(id)s ORDER BY timestamp
"""
_TYPES = {"timestamp": ">i8", **dict.fromkeys((*PRICES, "volume"), ">f8")}
_SELECT_FACTORS = "SELECT * FROM backfill.adjustment_factors(%(adjustment)s, %(moment)s)"


@dataclass(frozen=True)
class Correction:
    """A reading that found another value of an action, or that the vendor has withdrawn it.

    Attributes:
        symbol: the ticker.
        action: what was corrected or withdrawn.
        at: the reading.
        before: the ticker's bars as the store gave them just before the reading.
        after: the ticker's bars right after it.
    """

    symbol: str
    action: Split | CashDividend
    at: datetime
    before: pd.DataFrame
    after: pd.DataFrame


class TwoYears:
    """The store after two years."""

    def __init__(self, engine: Engine, sandbox: Sandbox, market: ActionMarket) -> None:
        self.engine, self.market = engine, market
        self._clock = MovingClock(engine, sandbox, FIRST)
        with engine.database.transaction() as connection:
            self.symbols = {symbol.ticker.symbol: symbol for symbol in list_symbols(connection, "US")}
        self.controls = [symbol for symbol in self.symbols if symbol not in market.kinds][:CONTROLS]
        self.corrections: list[Correction] = []

    def run(self) -> None:
        """Let the two years pass."""
        raw = pd.concat([self._build_frame(symbol) for symbol in self.symbols])
        written = 0
        for reading in READINGS:
            stop = int(reading.timestamp())
            self._write(raw[(raw["timestamp"] >= written) & (raw["timestamp"] < stop)], reading)
            self._record_closes(written, reading)
            written = stop
            due = [
                (symbol, action)
                for symbol, action in self.iterate_listed()
                if any(version.known_until == reading for version in list_versions(action, READINGS))
            ]
            before = {symbol: self.read(symbol, reading - HOUR) for symbol, _ in due}
            self._read_morning(reading)
            for symbol, action in due:
                after = self.read(symbol, reading + HOUR)
                self.corrections.append(Correction(symbol, action, reading, before[symbol], after))

    def _read_morning(self, reading: datetime) -> None:
        """Read lists and daily data: first of all tickers, later of those that are still active.

        A morning later what a spin-off has changed is read again.
        """
        if reading == READINGS[0]:
            names = list(self.symbols)
            for day, begin in enumerate(range(0, len(names), LISTS_A_MORNING)):
                chosen = self._choose(names[begin : begin + LISTS_A_MORNING])
                read_daily_data(self._clock.move_to(reading + timedelta(days=day)), US, symbols=chosen)
            self._deactivate_others()
            return
        read_daily_data(self._clock.move_to(reading), US, symbols=self._choose([*self.market.kinds, *self.controls]))
        parted = [
            symbol
            for symbol, action in self.iterate_actions()
            if isinstance(action, SpinOff) and timedelta() < reading.date() - action.ex_date < timedelta(days=31)
        ]
        if parted:
            read_daily_data(self._clock.move_to(reading + timedelta(days=1)), US, symbols=self._choose(parted))

    def _deactivate_others(self) -> None:
        """Deactivate tickers without actions: a morning reads no more lists than the market's file would cost."""
        with self.engine.database.transaction() as connection:
            connection.execute(
                "UPDATE market_symbols SET is_active = false WHERE symbol <> ALL (%s)",
                [[*self.market.kinds, *self.controls]],
            )

    def _record_closes(self, since: int, now: datetime) -> None:
        """Record the official closes that a run finds in the rows of intraday data, of the tickers with a spin-off."""
        sessions = [s for s in self.market.sessions if since <= s.open.timestamp() < now.timestamp()]
        rows = [
            {
                "symbol_id": self.symbols[symbol].symbol_id,
                "day": session.day,
                "source_rows": 79,
                "data_until": session.close.timestamp(),
                "published": True,
                "ends_before_close": False,
                "not_returned": "{}",
                "refused": False,
                "official_close": self.market.world.get_official_bar(symbol, session).close,
                "auction_volume": np.nan,
            }
            for symbol, action in self.iterate_actions()
            if isinstance(action, SpinOff)
            for session in sessions
        ]
        with self.engine.database.transaction() as connection:
            record_evidence(connection, Columns(pd.DataFrame(rows)), interval=INTERVAL, source=INTERVALS["5m"], now=now)

    def read(self, symbol: str, moment: datetime | None, adjustment: str = "splits_and_dividends") -> pd.DataFrame:
        """Read a ticker's adjusted bars."""
        values = {"adjustment": adjustment, "moment": moment, "id": self.symbols[symbol].symbol_id}
        with self.engine.database.transaction() as connection:
            return pd.DataFrame(read_columns(connection, _SELECT_ADJUSTED, values, _TYPES))

    def read_factors(self, moment: datetime, adjustment: str) -> dict[int, list[tuple[Any, ...]]]:
        """Read the factors of all tickers by symbol_id."""
        by_symbol: dict[int, list[tuple[Any, ...]]] = {}
        with self.engine.database.transaction() as connection:
            for symbol_id, *row in connection.execute(_SELECT_FACTORS, {"adjustment": adjustment, "moment": moment}):
                by_symbol.setdefault(symbol_id, []).append(tuple(row))
        return by_symbol

    def iterate_actions(self) -> Iterator[tuple[str, Action]]:
        """Iterate over all actions with their tickers."""
        for symbol in self.market.kinds:
            for action in self.market.list_actions(symbol):
                yield symbol, action

    def iterate_listed(self) -> Iterator[tuple[str, Split | CashDividend]]:
        """Iterate over those that the vendor lists."""
        for symbol, action in self.iterate_actions():
            if not isinstance(action, SpinOff):
                yield symbol, action

    def _choose(self, names: list[str]) -> tuple[Symbol, ...]:
        return tuple(self.symbols[name] for name in names)

    def _build_frame(self, symbol: str) -> pd.DataFrame:
        bars = self.market.build_raw_bars(symbol)
        constants = {"source_rows": 6, "is_final": True, "may_insert": True}
        return bars.assign(symbol_id=self.symbols[symbol].symbol_id, **constants)

    def _write(self, bars: pd.DataFrame, now: datetime) -> None:
        host = self.engine.settings.vendor_host
        with self.engine.database.transaction() as connection:
            write_bars(
                connection,
                Columns(bars),
                interval=INTERVAL,
                spelling="30m",
                source=host,
                source_interval="5m",
                requested_at=now,
            )


@pytest.fixture
def two_years(make_engine: Callable[..., Engine]) -> Iterator[TwoYears]:
    market = build_market()
    with Sandbox(market.config) as sandbox:
        engine = make_engine(
            sandbox,
            tuple(market.world.symbols),
            requests_per_minute=1_000_000,
            daily_data=True,
            bulk_daily=False,
            partition_days=RETAINED_SESSIONS,
        )
        run = TwoYears(engine, sandbox, market)
        run.run()
        yield run


@pytest.mark.long
def test_adjusted_bars_of_two_years(two_years: TwoYears) -> None:
    check_no_false_alarms(two_years)
    kinds = two_years.market.kinds
    assert sum(len(two_years.market.list_actions(symbol)) for symbol in kinds) == 60
    for symbol in two_years.symbols:
        if kinds.get(symbol) in WITHOUT_FACTOR:
            check_missing_factor(two_years, symbol)
        else:
            check_continuity(two_years, symbol)
        if symbol in kinds:
            check_points_in_time(two_years, symbol)
    check_corrections(two_years)
    check_applied_once(two_years)


def check_continuity(run: TwoYears, symbol: str) -> None:
    """Adjusted prices are those of the simulated market without steps; at each action the raw step is the larger one.

    But for actions that are smaller than the market's own move of that night.
    """
    adjusted, raw = run.read(symbol, NOW), run.market.build_raw_bars(symbol)
    continuous = run.market.build_continuous_bars(symbol)
    has_spinoff = run.market.kinds.get(symbol) == "spin-off"
    for name in PRICES:
        ratio = adjusted[name] / continuous[name]
        np.testing.assert_allclose(ratio, 1.0, rtol=SPIN_OFF_TOLERANCE if has_spinoff else 1e-9, err_msg=symbol)
    days = run.market.ordinals[run.market.session_of_bar]
    for action in run.market.list_actions(symbol):
        first = int(np.searchsorted(days, action.ex_date.toordinal()))
        steps = [abs(np.log(bars["open"][first] / bars["close"][first - 1])) for bars in (adjusted, raw, continuous)]
        own_factor = steps[1] - steps[2]  # what the action adds to the market's own move
        if own_factor > steps[2]:
            assert steps[0] < steps[1], (symbol, action)


def check_points_in_time(run: TwoYears, symbol: str) -> None:
    """Bars at points in time follow the configuration: around each ex-date, each first reading and each correction."""
    raw = run.market.build_raw_bars(symbol)
    tolerance = SPIN_OFF_TOLERANCE if run.market.kinds[symbol] == "spin-off" else 1e-12
    has_splits = any(isinstance(action, Split) for action in run.market.list_actions(symbol))
    has_others = not all(isinstance(action, Split) for action in run.market.list_actions(symbol))
    adjustments = ["splits"] * has_splits + ["splits_and_dividends"] * has_others
    for moment in list_moments(run, symbol):
        expected = compute_expected(run.market, symbol, READINGS, moment)
        for adjustment in adjustments:
            if np.isnan(expected.adjust_prices(np.ones(len(raw)), adjustment)).any():
                with pytest.raises(psycopg.Error, match=f"{symbol} before"):
                    run.read(symbol, moment, adjustment)
                continue
            bars = run.read(symbol, moment, adjustment)
            where = f"{symbol} {moment} {adjustment}"
            for name in PRICES:
                wanted = expected.adjust_prices(raw[name].to_numpy(), adjustment)
                np.testing.assert_allclose(bars[name], wanted, rtol=tolerance, err_msg=where)
                assert adjustment != "splits" or (bars[name] == wanted).all(), where  # to the last bit
            assert (bars["volume"] == expected.adjust_volumes(raw["volume"].to_numpy())).all(), where


def list_moments(run: TwoYears, symbol: str) -> list[datetime]:
    """The moments just before and after which the bars of a ticker are others."""
    moments = []
    for action in run.market.list_actions(symbol):
        moments.append(datetime.combine(action.ex_date, datetime.min.time(), NEW_YORK))
        if not isinstance(action, SpinOff):
            for version in list_versions(action, READINGS):
                moments += [version.known_from, *([version.known_until] if version.known_until else [])]
    return sorted({shifted for moment in moments for shifted in (moment - HOUR, moment + HOUR)})


def check_corrections(run: TwoYears) -> None:
    """A correction changes the ticker's bars before the ex-date and nothing else; what was before it comes back."""
    assert len(run.corrections) == 7
    days = run.market.ordinals[run.market.session_of_bar]
    for correction in run.corrections:
        symbol, count = correction.symbol, len(correction.before)
        then = run.read(symbol, correction.at - HOUR)
        assert then[:count].equals(correction.before), symbol  # to the last bit
        is_before = days[:count] < correction.action.ex_date.toordinal()
        is_changed = (correction.after[list(PRICES)] != correction.before[list(PRICES)]).any(axis=1)
        assert (is_changed.to_numpy() == is_before).all(), symbol
        for adjustment in ("splits", "splits_and_dividends"):
            before, after = (run.read_factors(correction.at + shift, adjustment) for shift in (-HOUR, HOUR))
            assert len(before) == len(run.symbols)
            changed = {symbol_id for symbol_id in before if before[symbol_id] != after[symbol_id]}
            is_shown = isinstance(correction.action, Split) or adjustment == "splits_and_dividends"
            assert changed == ({run.symbols[symbol].symbol_id} if is_shown else set()), (symbol, adjustment)


def check_applied_once(run: TwoYears) -> None:
    """There is one row of each action, however often the vendor lists it; of those withdrawn none counts."""
    with run.engine.database.transaction() as connection:
        stored = {
            name: connection.execute(
                f"SELECT symbol_id, ex_date FROM backfill.{name} WHERE withdrawn_at IS NULL ORDER BY 1, 2".encode()
            ).fetchall()
            for name in ("splits", "dividends", "spinoffs")
        }
    kinds: dict[str, type[Action]] = {"splits": Split, "dividends": CashDividend, "spinoffs": SpinOff}
    for name, kind in kinds.items():
        wanted = sorted(
            (run.symbols[symbol].symbol_id, action.ex_date)
            for symbol, action in run.iterate_actions()
            if isinstance(action, kind) and not getattr(action, "is_mistake", False)
        )
        assert stored[name] == wanted, name


def check_missing_factor(run: TwoYears, symbol: str) -> None:
    """A missing factor is never 1: asking for bars before it fails with the ticker, the date, and what to do."""
    (action,) = run.market.list_actions(symbol)
    with pytest.raises(psycopg.Error, match=f"{symbol} before {action.ex_date}") as raised:
        run.read(symbol, NOW)
    assert raised.value.diag.message_hint
    raw = run.market.build_raw_bars(symbol)
    assert (run.read(symbol, NOW, "splits")["close"] == raw["close"]).all()


def check_no_false_alarms(run: TwoYears) -> None:
    """Every split of the 300 tickers shows in the prices, and no adjusted close is without an explanation."""
    tickers = {symbol.symbol_id: name for name, symbol in run.symbols.items()}
    with run.engine.database.transaction() as connection:
        splits = judge_stored_splits(connection, tickers, INTERVAL, NOW)
        findings = list_findings(connection)
    assert {split.verdict for split in splits if split.verdict.is_judged} == {Verdict.APPLIED}
    assert [f for f in findings if f.kind in (SPLIT_WITHOUT_STEP, ADJUSTED_CLOSES_DIFFER)] == []
    assert len(splits) == len({(split.symbol_id, split.ex_date) for split in splits}) > 20
