"""The family of reads: arguments of ``read_bars``, ``read_daily`` and ``read_changes`` as notebooks have them.

A read gives a result or an error of this project that says what to write. What a result has is judged, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import load_settings
from backfill_assets.reading import BackfillError, BarsResult, ChangesResult, read_bars, read_changes, read_daily
from backfill_assets.reading.request import COLUMNS
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.fuzz.exchanges import CODES, MOMENTS, draw_ticker
from backfill_assets_tests.fuzz.inputs import Change, FuzzInput, Verdict
from backfill_assets_tests.fuzz.odd_values import DATES, NUMBERS, TICKERS, TIMES, draw_text
from backfill_assets_tests.fuzz.stores import get_several_template
from backfill_assets_tests.fuzz.workbench import Workbench

NEW_YORK = ZoneInfo("America/New_York")
_USUAL_READ: dict[str, Any] = {
    "symbols": "AAPL",
    "start": date(2026, 6, 1),
    "end": date(2026, 6, 3),
    "require": "any",
}
_USUAL = {"read_bars": _USUAL_READ, "read_daily": _USUAL_READ, "read_changes": {"since": date(2026, 6, 1)}}
_ANYTHING: tuple[Any, ...] = (None, 0, 7, -1, 1.5, float("nan"), float("inf"), b"AAPL", [], {}, (), object, True)
_MOMENTS: tuple[Any, ...] = (
    *(date(2026, 6, 2), date(2026, 6, 3), date(2026, 5, 30), date.min, date.max, date(2003, 12, 31)),
    *(datetime(2026, 6, 2), datetime(2026, 6, 2, 15, 30, tzinfo=UTC), datetime(2026, 6, 2, 9, 30, tzinfo=NEW_YORK)),  # noqa: DTZ001 - naive is meant
    *(datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=23, minutes=59)))),
    *(datetime(2025, 11, 2, 1, 30, tzinfo=NEW_YORK, fold=1), datetime(2026, 6, 2, 15, 30, 0, 1, tzinfo=UTC)),
    *(pd.Timestamp("2026-06-02 13:30Z"), pd.Timestamp("2026-06-02"), pd.NaT, pd.Timestamp("2026-06-02T13:30:00.5Z")),
    *(np.datetime64("2026-06-02"), np.datetime64("2026-06-02T13:30"), np.datetime64("NaT"), np.datetime64("2026-06")),
    *(np.datetime64(10**18, "us"), pd.Period("2026-06-02"), pd.Timedelta("1h"), pd.NA, 1780320600, "2026-06-02T13:30Z"),
)
_SYMBOLS: tuple[Any, ...] = (
    *("AAPL", "MSFT", ["AAPL", "MSFT"], ("MSFT", "AAPL", "AAPL"), {"AAPL"}, "AAPL,MSFT", "aapl", "AAPL.US", "AAPL.LSE"),
    *("NOSUCH", ["NOSUCH", "MISSING"], ["AAPL", None], ["AAPL", 5], np.array(["AAPL"]), pd.Series(["AAPL", "MSFT"])),
    *("VOD.LSE", ["VOD.LSE"], ["VOD.LSE", "AAPL"], "VOD", ["VOD.LSE", "BHP.AU"], ["BP.LSE", "VOD.L"], "VOD.lse"),
    *(pd.Index([]), {"AAPL": 1}, iter(["AAPL"]), [["AAPL"]], ["AAPL"] * 10_000, pd.Series(["AAPL", None])),
)
_COLUMNS: tuple[Any, ...] = (
    *(["close"], ["timestamp", "symbol"], ("close", "close"), "close", ["nope"], ["Close"], [None], [["close"]]),
    *({"close"}, np.array(["close", "volume"]), pd.Index(["open"]), list(COLUMNS), iter(["volume"]), ["state"]),
)
_DELAYS: tuple[Any, ...] = (
    *(timedelta(0), timedelta(minutes=15), timedelta(minutes=-1), timedelta.max, timedelta(days=30), "15m", 15),
    *(np.timedelta64(15, "m"), pd.Timedelta("15min"), pd.NaT, timedelta(microseconds=1)),
)
_FLAGS = ("provisional", "unverified", "external", "grid", "follow_renames")
_VALUES: dict[str, tuple[Any, ...]] = {
    "symbols": (*_SYMBOLS, *TICKERS),
    "start": (*_MOMENTS, *_MOMENTS, *TIMES, *DATES),
    "end": (*_MOMENTS, *_MOMENTS, *TIMES, *DATES),
    "point_in_time": (*_MOMENTS, *TIMES),
    "since": (*_MOMENTS, *TIMES),
    "until": (*_MOMENTS, *TIMES),
    "known_at": (*_MOMENTS, *TIMES, *MOMENTS),
    "interval": ("30m", "1h", "1m", "5m", "15m", "30min", "30 m", "1d", "0m", "-30m", *NUMBERS),
    "exchange": ("US", "us", "NYSE", "LSE", "", *CODES),
    "adjustment": ("splits", "splits_and_dividends", "none", "split", "Splits", ""),
    "require": ("complete", "explained", "any", "ANY", ""),
    "on_incomplete": ("raise", "drop", "ignore"),
    "universe": ("all", "model", "", "ALL", "'; --"),
    "columns": _COLUMNS,
    "format": ("polars", "arrow", "pandas", "numpy", "csv"),
    "publication_delay": _DELAYS,
    **dict.fromkeys(_FLAGS, (True, True, False)),
}
_READS: dict[str, Callable[..., Any]] = {"read_bars": read_bars, "read_daily": read_daily, "read_changes": read_changes}
_LEFT_OUT = {
    "read_bars": {"since", "until"},
    "read_daily": {"since", "until", "interval", "known_at", "unverified", "external", "follow_renames"},
    "read_changes": _VALUES.keys() - {"since", "until", "symbols", "interval", "exchange", "format"},
}


@dataclass(frozen=True)
class ReadScenario:
    """A function."""

    name: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.name}({_USUAL[self.name]})"


class ReadFamily:
    """Odd arguments of reads."""

    name = "reads"
    share = 120

    def draw(self, random: Random) -> FuzzInput:
        name = random.choice(("read_bars", "read_bars", "read_daily", "read_changes"))
        arguments = sorted(_VALUES.keys() - _LEFT_OUT[name])
        chosen = random.sample(arguments, random.choice((1, 1, 2, 2, 3, 5)))
        return FuzzInput(ReadScenario(name), tuple(_draw_change(random, argument) for argument in chosen))

    def judge(self, workbench: Workbench, fuzz_input: FuzzInput) -> Verdict:
        name = fuzz_input.scenario.name
        arguments = dict(_USUAL[name])
        for change in fuzz_input.changes:
            arguments = change.apply(arguments)
        url = workbench.build_environment("")["EODHD_BASE_URL"]
        with workbench.lend_database(get_several_template(workbench)) as database_url:
            database = Database(database_url)
            settings = load_settings(token=workbench.token, base_url=url, as_of=NOW, home=workbench.folder)
            try:
                result = _READS[name](**arguments, settings=Engine(database, settings))
            except BackfillError as error:
                return Verdict((error.exit_code,), () if str(error).strip() else ("an error without a word",))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                return Verdict((1,), (f"{type(error).__name__}: {str(error)[:200]}",))
            finally:
                database.close()
        return Verdict((0,), tuple(_find_faults(result, arguments, name)))


def _draw_change(random: Random, argument: str) -> Change:
    values = _VALUES[argument]
    value = random.choice(values)
    if argument not in _FLAGS and random.random() < 0.2:
        value = random.choice((*_ANYTHING, draw_text(random), draw_ticker(random)))
    removed = {"symbols": None} if argument == "universe" and random.random() < 0.7 else {}
    return Change(f"{argument}={value!r}"[:160], lambda arguments: {**arguments, argument: value, **removed})


def _find_faults(result: BarsResult | ChangesResult, arguments: dict[str, Any], name: str) -> list[str]:
    faults = []
    if not str(result).strip():
        faults.append("the result says nothing")
    table = _to_arrow(result.frame)
    asked = arguments.get("columns")
    if asked is None and name == "read_bars":
        faults += [] if tuple(table.column_names) == COLUMNS else [f"columns are {table.column_names}"]
        faults += _find_row_faults(table.to_pandas(), arguments)
    return faults


def _to_arrow(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    return pa.Table.from_pandas(frame, preserve_index=False) if isinstance(frame, pd.DataFrame) else frame.to_arrow()


def _find_row_faults(bars: pd.DataFrame, arguments: dict[str, Any]) -> list[str]:
    faults = []
    if not (bars["slot_end"] > bars["timestamp"]).all():
        faults.append("a slot ends before it begins")
    if bars.duplicated(["symbol", "timestamp"]).any():
        faults.append("a bar is there twice")
    if any(not group["timestamp"].is_monotonic_increasing for _, group in bars.groupby("symbol")):
        faults.append("bars are not in the order of time")
    with_bar = bars if not arguments.get("grid") else bars.dropna(subset=["close"])
    prices = with_bar[["open", "high", "low", "close"]].astype(float)
    if not (np.isfinite(prices).all().all() and (prices > 0).all().all()):
        faults.append("a price is no finite number above zero")
    for argument in ("end", "point_in_time"):
        moment = arguments.get(argument)
        if isinstance(moment, datetime) and moment is not pd.NaT and (bars["slot_end"] > moment).any():
            faults.append(f"a slot ends after {argument}")
    return faults
