"""Validate the vendor's rows: which may feed a bar, which are rejected, and which are ignored.

A *row table* is a ``Columns`` with the columns of ``ROW_COLUMNS``: ``symbol_id`` (any integer key), ``timestamp``
(epoch seconds UTC of the row's open), ``open high low close`` and ``volume`` (all NaN when absent). Building bars from
usable rows is in ``bar_builder``, rules for finished bars are in ``store.bars.bar_checks``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import find_run_ends
from backfill_assets.market.exchanges.profile import MarketProfile, NullVolume
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.price_digits import PRICE_DECIMALS, round_prices
from backfill_assets.market.vendor import IntradayRows

PRICES = ("open", "high", "low", "close")
ROW_COLUMNS = ("symbol_id", "timestamp", *PRICES, "volume")
PRICE_LIMIT = US.price_limit  # of other exchanges it is higher
VOLUME_LIMIT = 2.0**53  # above, float64 does not hold every whole number
_PRICE_LIMIT = "<price limit>"  # in the texts below, that of the exchange
REJECT_REASONS = {  # the reasons as they are stored, in words
    "off_grid": "its time is not one of the interval",
    "price_absent": "a price is absent",
    "price_not_positive": "a price is zero or negative",
    "price_too_large": f"a price is {_PRICE_LIMIT} or more",
    "ohlc_order": "high and low do not enclose open and close",
    "volume_negative": "the volume is negative",
    "volume_too_large": "the volume is too large",
    "volume_running_total": "the volume is the session's running total",
    "volume_cumulative": "the volume is the session's running total",  # rows that version 0.3.0 and older rejected
    "outside_listing": "the symbol was not listed",
    "duplicate_stamp": "a later row has the same time",
    "refused_by_table": "market_data refused the bar",  # no row: a bar built from rows (store.evidence.refusals)
}
# Prices of 5m rows carry the noise of 32-bit floats, about 6e-8 of the price (docs/vendor.md §2.1). So a high may lie
# below its row's close by a few times that, or by one unit of the last decimal after rounding.
ORDER_TOLERANCE_SHARE = 1e-6  # of the price
ORDER_TOLERANCE_MIN = 1.5e-6  # where the row has no more than six decimals


@dataclass(frozen=True, eq=False)
class ValidatedRows:
    """The rows of a response, classified; arrays have the shape (rows,).

    Attributes:
        table: every row, ordered by symbol_id and timestamp, prices rounded as ``price_digits`` says, high and low
            widened to enclose open and close where they miss them by noise, with the column ``session``: position in
            the grid's sessions of the last one that opened before the row, −1 before the first.
        received: the same rows as the vendor sent them.
        usable: rows that feed bars.
        is_closing: rows soon after their session's close (close print or auction; ``closing_seconds`` of the profile),
            with a possible close and volume.
        reject_reason: the rule that a row breaks, empty for all others.
        ignored_rows: how many rows feed no bar without breaking a rule, by kind.
    """

    table: Columns
    received: Columns
    usable: Bools
    is_closing: Bools
    reject_reason: NDArray[np.object_]
    ignored_rows: dict[str, int]


def describe_reject(reason: str, market: MarketProfile) -> str:
    """A stored reason in words; one that this version does not know as it is."""
    return REJECT_REASONS.get(reason, reason).replace(_PRICE_LIMIT, f"{market.price_limit:,.0f}")


def build_row_table(answers: Sequence[tuple[int, IntradayRows]]) -> Columns:
    """The rows of answers, at least one, as one row table; each with the symbol_id that it is about."""
    columns = {name: np.concatenate([getattr(rows, name) for _, rows in answers]) for name in ROW_COLUMNS[1:]}
    symbol_ids = np.array([symbol_id for symbol_id, _ in answers], np.int64)
    return Columns({"symbol_id": np.repeat(symbol_ids, [len(rows) for _, rows in answers]), **columns})


def validate_rows(rows: Columns, grid: SlotGrid, source: Interval) -> ValidatedRows:
    """Classify ``rows`` (a row table, in any order) for a grid with at least one session.

    Closing rows feed no bar (docs/decisions/0019), rejected rows are kept (docs/decisions/0023). A row without volume
    inside a session is a quote, not a trade (docs/vendor.md §7.1 and §7.7): it is counted and feeds nothing. Where the
    profile says that it is a trade of unknown volume, it feeds its bar (docs/decisions/0073). Rows in a break are
    outside the session. Volumes may be fractional.
    Volumes that are running totals (§7.3) stay usable here, because their prices are; see ``bar_builder``.
    """
    received = _order_rows(rows)
    with np.errstate(over="ignore"):  # rounding makes 1e308 infinite, and that is rejected as too large
        table = received.assign(**{name: round_prices(received[name]) for name in PRICES})
    stamps, market = table["timestamp"], grid.sessions[0].market
    session_index, since_open, past_close = _locate_in_sessions(stamps, grid)
    table = table.assign(session=session_index)
    in_session = (session_index >= 0) & (past_close < 0) & ~grid.is_paused(stamps, source.seconds)
    is_closing = (session_index >= 0) & (past_close >= 0) & (past_close < market.closing_seconds)
    has_no_prices = np.logical_and.reduce([np.isnan(table[name]) for name in PRICES])
    is_quote = np.isnan(table["volume"]) & (market.null_volume is NullVolume.QUOTE)

    reject_reason = np.full(len(stamps), "", object)
    for rule_name, breaks_rule in _check_rules(table, since_open, source, market.price_limit):
        reject_reason[in_session & ~has_no_prices & breaks_rule & (reject_reason == "")] = rule_name
    tradable = in_session & ~has_no_prices & ~is_quote & (reject_reason == "")
    table = _widen_to_open_and_close(table, tradable)
    replacement = _find_replacements(table, tradable)
    is_superseded = replacement != np.arange(len(stamps))
    is_conflicting = is_superseded & _differs(table, replacement)
    reject_reason[is_conflicting] = "duplicate_stamp"
    return ValidatedRows(
        table=table,
        received=received,
        usable=tradable & ~is_superseded,
        is_closing=is_closing & _is_plausible_closing(table, market.price_limit),
        reject_reason=reject_reason,
        ignored_rows={
            "extended_hours": int((~in_session & ~is_closing).sum()),
            "closing": int(is_closing.sum()),
            "null": int((in_session & has_no_prices).sum()),
            "no_volume": int((in_session & ~has_no_prices & is_quote & (reject_reason == "")).sum()),
            "repeated": int((is_superseded & ~is_conflicting).sum()),
        },
    )


def _order_rows(rows: Columns) -> Columns:
    """A row table ordered by symbol_id and timestamp, of equal ones as they came."""
    whole = ("symbol_id", "timestamp")
    columns = {name: rows[name].astype(np.int64 if name in whole else np.float64) for name in ROW_COLUMNS}
    return Columns(columns).take(np.lexsort((columns["timestamp"], columns["symbol_id"])))


def _locate_in_sessions(stamps: Int64, grid: SlotGrid) -> tuple[Int64, Int64, Int64]:
    """Each row's session, and its seconds since that session's first slot and past its close (negative before it).

    The first slot begins on the market's clock grid, also where the session opens beside it.
    """
    opens = grid.session_opens
    closes = grid.session_closes
    session = np.searchsorted(opens, stamps, side="right").astype(np.int64) - 1
    return session, stamps - opens[session], stamps - closes[session]


def _check_rules(table: Columns, since_open: Int64, source: Interval, price_limit: float) -> list[tuple[str, Bools]]:
    """Every rule by name, with the rows that break it; of several the first counts."""
    prices = np.column_stack([table[name] for name in PRICES])
    opened, high, low, close = prices.T
    volume = table["volume"]
    lowest, highest = np.fmin(opened, close), np.fmax(opened, close)
    return [
        ("off_grid", since_open % source.seconds != 0),
        ("price_absent", np.isnan(prices).any(axis=1)),
        ("price_not_positive", (prices <= 0).any(axis=1)),
        ("price_too_large", (prices >= price_limit).any(axis=1)),
        ("ohlc_order", _breaks_order(prices, np.fmax(low - lowest, highest - high), highest)),
        ("volume_negative", volume < 0),
        ("volume_too_large", volume >= VOLUME_LIMIT),
    ]


def _breaks_order(prices: Floats, excess: Floats, highest: Floats) -> Bools:
    """Whether open or close lie so far (``excess``) outside of low and high that rounding does not explain it."""
    breaks: Bools = excess > ORDER_TOLERANCE_SHARE * highest
    beyond = np.flatnonzero(breaks)  # few rows: counting the decimals of all would take longer than all rules
    has_more_decimals = (np.round(prices[beyond], PRICE_DECIMALS) != prices[beyond]).any(axis=1)
    breaks[beyond] = has_more_decimals | (excess[beyond] > ORDER_TOLERANCE_MIN)
    return breaks


def _is_plausible_closing(table: Columns, price_limit: float) -> Bools:
    """Whether a row's close and volume could be those of a closing row; a close print has no volume."""
    close, volume = table["close"], table["volume"]
    result: Bools = (close > 0) & (close < price_limit) & ~((volume < 0) | (volume >= VOLUME_LIMIT))
    return result


def _widen_to_open_and_close(table: Columns, usable: Bools) -> Columns:
    """The rows, with highs and lows of ``usable`` ones that enclose open and close (docs/decisions/0036)."""
    opened, high, low, close = (table[name] for name in PRICES)
    highest, lowest = np.fmax(opened, close), np.fmin(opened, close)
    if not (usable & ((high < highest) | (low > lowest))).any():
        return table
    return table.assign(
        high=np.where(usable, np.fmax(high, highest), high), low=np.where(usable, np.fmin(low, lowest), low)
    )


def _find_replacements(table: Columns, candidates: Bools) -> Int64:
    """The position of the row that counts instead of each of ``candidates``: the last with its symbol and timestamp.

    All other rows, and those that count themselves, have their own.
    """
    replacement = np.arange(len(candidates))
    rows = np.flatnonzero(candidates)
    last = find_run_ends(table["symbol_id"][rows], table["timestamp"][rows])
    replacement[rows] = rows[np.repeat(last, np.diff(last, prepend=-1))]
    return replacement


def _differs(table: Columns, others: Int64) -> Bools:
    """Whether each row has another price or volume than that at another position; what is absent in both is equal."""
    result = np.zeros(len(others), bool)
    for name in (*PRICES, "volume"):
        given, other = table[name], table[name][others]
        result |= (given != other) & ~(np.isnan(given) & np.isnan(other))
    return result
