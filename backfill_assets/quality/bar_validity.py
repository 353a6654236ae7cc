"""Whether what is stored is right, as far as can be told without asking: rules for bars, closes beside daily data.

The success criteria proper are in ``criteria``; the SQL behind these is in ``store.bars.bar_checks``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.quality.criteria import OFFENDERS, Criterion
from backfill_assets.store.bars.bar_checks import Closes, Fault, bar_faults, official_closes
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.postgres.connection import Database

BASIS = 10_000
SPIN_OFF_BPS = 100  # a factor nearer to 1 is no spin-off


def judge_bars(database: Database, coverage: Coverage) -> Criterion:
    """``bars_are_valid`` over the window of a coverage, for every ticker of the table."""
    with database.transaction() as connection:
        return bars_are_valid(*bar_faults(connection, coverage.grid))


def judge_closes(database: Database, coverage: Coverage, source: Interval, *, tolerance_bps: float) -> Criterion:
    """``sessions_agree_with_eod`` over the window of a coverage, for its tickers."""
    with database.transaction() as connection:
        closes = official_closes(connection, coverage.symbols, coverage.grid, source)
    return sessions_agree_with_eod(closes, tolerance_bps=tolerance_bps)


def bars_are_valid(faults: Sequence[Fault], rows: int) -> Criterion:
    """No stored bar breaks a rule: OHLC order, prices above 0, on the grid, of a known ticker, once."""
    kinds: Counter[str] = Counter()
    for fault in faults:
        kinds[fault.kind] += fault.rows
    broken = sum(kinds.values())
    listed = ": " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common()) if kinds else ""
    return Criterion(
        name="bars_are_valid",
        passed=not broken,
        figure=broken,
        threshold=0,
        meaning=f"{broken:,} breaches of a rule in {rows:,} bars{listed}",
        offenders=tuple(
            f"{f.subject}: {f.rows:,} {f.kind}, first {f.first:%Y-%m-%d %H:%M} UTC" for f in faults[:OFFENDERS]
        ),
    )


def sessions_agree_with_eod(closes: Sequence[Closes], *, tolerance_bps: float) -> Criterion:
    """Each session's official close is the daily data's, but for ``tolerance_bps`` basis points.

    On a usual day they are equal; the print of an early close is up to 11.8 basis points off (EODHD.md §2).
    The daily data are adjusted backwards for spin-offs (EODHD.md §5, DD by 2.39): sessions at the beginning
    that are off by one and the same factor are told apart and do not fail.
    """
    compared = [c for c in closes if c.daily]
    adjusted, off = 0, []
    for _, of_ticker in groupby(compared, key=lambda c: c.ticker):
        sessions = list(of_ticker)
        before = _adjusted(sessions, tolerance_bps)
        adjusted += before
        off += [c for c in sessions[before:] if abs(_off(c)) > tolerance_bps]
    off.sort(key=lambda c: -abs(_off(c)))
    apart = f"; {adjusted:,} more differ by one factor, as after a spin-off" if adjusted else ""
    return Criterion(
        name="sessions_agree_with_eod",
        passed=not off,
        figure=len(off),
        threshold=0,
        meaning=f"{len(off):,} of {len(compared):,} closes that could be compared are more than {tolerance_bps:g} basis"
        f" points off the daily data ({len(closes):,} are stored){apart}",
        offenders=tuple(_offender(c) for c in off[:OFFENDERS]),
    )


def _off(closes: Closes) -> float:
    """How far the official close is off the daily one, basis points."""
    return (closes.official / closes.daily - 1) * BASIS if closes.daily else 0.0


def _adjusted(sessions: Sequence[Closes], tolerance_bps: float) -> int:
    """How many sessions at the beginning are off by one and the same factor; 0 for a lone one, which proves nothing."""
    same = list(_off_alike(sessions, tolerance_bps))
    return len(same) if len(same) > 1 else 0


def _off_alike(sessions: Sequence[Closes], tolerance_bps: float) -> Iterator[Closes]:
    for closes in sessions:
        drift = (1 + _off(closes) / BASIS) / (1 + _off(sessions[0]) / BASIS) - 1
        if abs(_off(closes)) <= max(tolerance_bps, SPIN_OFF_BPS) or abs(drift) * BASIS > tolerance_bps:
            return
        yield closes


def _offender(closes: Closes) -> str:
    return f"{closes.ticker} {closes.day}: {closes.official:g} stored, {closes.daily:g} daily ({_off(closes):+.1f} bp)"
