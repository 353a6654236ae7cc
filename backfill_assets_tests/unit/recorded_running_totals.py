"""Sessions of Apple's shares with recorded running totals. The rows between are drawn, with the sums that are known."""

import csv
from dataclasses import dataclass
from functools import cache

import numpy as np

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets_tests.conftest import FIXTURES
from backfill_assets_tests.unit.market_builders import find_sessions

ROWS = 78
DAY_VOLUMES = {"2026-02-12": 39.2e6, "2026-05-06": 45.6e6, "2026-05-11": 30.8e6}
SUM_BEFORE_LONE = 33_453_323.0  # of the true rows before the one of 2026-02-12
USUAL_OWN = 200_000.0  # of a row whose own volume is unknown or negative


@dataclass(frozen=True, eq=False)
class RecordedSession:
    """Volumes of a session as published, as they truly are, and which rows carry a running total; shape (78,)."""

    published: Floats
    true: Floats
    is_total: Bools


def build_recorded_session(day: str, seed: int = 0) -> RecordedSession:
    shape = 1 + 1.2 * np.exp(-np.arange(ROWS) / 5) + 1.3 * np.exp(-(ROWS - 1 - np.arange(ROWS)) / 4)
    shape[0], shape[-1] = 7.0, 6.0
    shape *= np.exp(0.18 * np.random.default_rng(seed).standard_normal(ROWS))
    published, true, is_total = np.zeros(ROWS), np.zeros(ROWS), np.zeros(ROWS, bool)
    begin, total = 0, 0.0
    for column, volume, own in _read_totals(day):
        before = SUM_BEFORE_LONE if own is None else volume - own
        true[begin:column] = _distribute(shape[begin:column], before - total)
        true[column] = max(own or 0.0, USUAL_OWN)
        published[column], is_total[column] = volume, True
        begin, total = column + 1, before + true[column] if own is None else volume
    true[begin:] = _distribute(shape[begin:], DAY_VOLUMES[day] - total)
    return RecordedSession(np.where(is_total, published, true), true, is_total)


def _distribute(shape: Floats, total: float) -> Floats:
    volumes: Floats = np.floor(shape / shape.sum() * total)
    return volumes


@cache
def _read_totals(day: str) -> list[tuple[int, float, float | None]]:
    (session,) = find_sessions(day)
    with (FIXTURES / "AAPL_5m_running_totals.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["day"] == day]
    clock = [[int(part) for part in row["start"].split(":")] for row in rows]
    opened = session.open.hour * 60 + session.open.minute
    columns = [(hour * 60 + minute - opened) // 5 for hour, minute in clock]
    own = [float(row["own"]) if row["own"] else None for row in rows]
    return [(column, float(row["published"]), of) for column, row, of in zip(columns, rows, own, strict=True)]
