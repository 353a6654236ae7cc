"""Checks of stored bars without vendor calls: rules that every bar obeys, and closes against daily data.

Checks of completeness are in ``criteria``; the SQL behind these two is in ``store.bars.bar_checks``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.criteria import MAX_OFFENDERS, Criterion
from backfill_assets.store.bars.bar_checks import BarFault, CloseComparison, find_bar_faults, read_official_closes
from backfill_assets.store.postgres.connection import Database

BPS_PER_UNIT = 10_000
MIN_SPIN_OFF_BPS = 100  # a smaller difference is not taken for the adjustment of a spin-off


def evaluate_bars(
    database: Database, coverage: Coverage, style: MomentStyle = UTC_STYLE, *, with_unknown: bool = True
) -> Criterion:
    """Evaluate ``bars_are_valid`` over the window of a coverage, for all tickers of its exchange in the table.

    Args:
        database: the store.
        coverage: of the window.
        style: how moments are shown.
        with_unknown: also rows without a symbol, which are of no exchange.
    """
    with database.transaction() as connection:
        faults, rows = find_bar_faults(connection, coverage.grid, with_unknown=with_unknown)
    return check_bars_are_valid(faults, rows, style)


def evaluate_closes(database: Database, coverage: Coverage, source: Interval, *, tolerance_bps: float) -> Criterion:
    """Evaluate ``sessions_agree_with_eod`` over the window of a coverage, for its tickers."""
    with database.transaction() as connection:
        closes = read_official_closes(connection, coverage.symbols, coverage.grid, source)
    return check_sessions_agree_with_eod(closes, tolerance_bps=tolerance_bps)


def check_bars_are_valid(faults: Sequence[BarFault], rows: int, style: MomentStyle = UTC_STYLE) -> Criterion:
    """Every stored bar is valid: OHLC order, prices above 0, on the grid, known ticker, no duplicate.

    ``rows`` is the number of bars that were checked, ``style`` how moments are shown.
    """
    if not rows:
        return Criterion.create_not_judged("bars_are_valid", "no bar of the window is stored")
    kinds: Counter[str] = Counter()
    for fault in faults:
        kinds[fault.kind] += fault.rows
    invalid = sum(kinds.values())
    breakdown = ": " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common()) if kinds else ""
    return Criterion(
        name="bars_are_valid",
        passed=not invalid,
        figure=invalid,
        threshold=0,
        meaning=f"{invalid:,} rule violations in {rows:,} bars{breakdown}",
        offenders=tuple(
            f"{f.subject}: {f.rows:,} {f.kind}, first {style.format_minute(f.first)}" for f in faults[:MAX_OFFENDERS]
        ),
    )


def check_sessions_agree_with_eod(closes: Sequence[CloseComparison], *, tolerance_bps: float) -> Criterion:
    """Each session's official close differs from the daily close by at most ``tolerance_bps`` basis points.

    On a usual day they are equal; on early closes they differ by up to 11.8 basis points (docs/vendor.md §2.10). Daily
    data before a spin-off are adjusted by a factor (docs/vendor.md §5.4; DD: 2.39). So sessions at the start of the
    window that all differ by the same factor are counted separately and do not fail.
    """
    compared = [c for c in closes if c.daily]
    if not compared:
        stored = f"no daily data of its sessions are stored (official closes: {len(closes):,})"
        reason = stored if closes else "no official close of the window is stored"
        return Criterion.create_not_judged("sessions_agree_with_eod", reason)
    adjusted, deviating = 0, []
    for _, group in groupby(compared, key=lambda c: c.ticker):
        sessions = list(group)
        adjusted_count = _count_adjusted(sessions, tolerance_bps)
        adjusted += adjusted_count
        deviating += [c for c in sessions[adjusted_count:] if abs(_compute_deviation_bps(c)) > tolerance_bps]
    deviating.sort(key=lambda c: -abs(_compute_deviation_bps(c)))
    adjusted_note = (
        f"; {adjusted:,} more {'differs' if adjusted == 1 else 'differ'} by one common factor, as before a spin-off"
        if adjusted
        else ""
    )
    return Criterion(
        name="sessions_agree_with_eod",
        passed=not deviating,
        figure=len(deviating),
        threshold=0,
        meaning=f"{len(deviating):,} of {format_count(len(compared), 'compared close')}"
        f" {'differs' if len(deviating) == 1 else 'differ'} from the daily data by more than {tolerance_bps:g} basis"
        f" points ({format_count(len(closes), 'close is', 'closes are')} stored){adjusted_note}",
        offenders=tuple(_format_offender(c) for c in deviating[:MAX_OFFENDERS]),
    )


def _compute_deviation_bps(closes: CloseComparison) -> float:
    """By how many basis points the official close differs from the daily close."""
    return (closes.official / closes.daily - 1) * BPS_PER_UNIT if closes.daily else 0.0


def _count_adjusted(sessions: Sequence[CloseComparison], tolerance_bps: float) -> int:
    """How many of the first sessions differ by one common factor; 0 for a single one, which proves nothing."""
    adjusted = list(_iter_equally_adjusted(sessions, tolerance_bps))
    return len(adjusted) if len(adjusted) > 1 else 0


def _iter_equally_adjusted(sessions: Sequence[CloseComparison], tolerance_bps: float) -> Iterator[CloseComparison]:
    for closes in sessions:
        drift = (1 + _compute_deviation_bps(closes) / BPS_PER_UNIT) / (
            1 + _compute_deviation_bps(sessions[0]) / BPS_PER_UNIT
        ) - 1
        if (
            abs(_compute_deviation_bps(closes)) <= max(tolerance_bps, MIN_SPIN_OFF_BPS)
            or abs(drift) * BPS_PER_UNIT > tolerance_bps
        ):
            return
        yield closes


def _format_offender(closes: CloseComparison) -> str:
    deviation = f"{_compute_deviation_bps(closes):+.1f} bp"
    return f"{closes.ticker} {closes.day}: {closes.official:g} stored, {closes.daily:g} daily ({deviation})"
