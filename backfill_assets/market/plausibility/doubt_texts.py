"""The figures of a doubt and the other feed's answer in words, as every command shows them.

The rules in words are in ``rules``; what a doubt is, in ``doubts``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backfill_assets.market.plausibility.doubted_rows import SEPARATOR
from backfill_assets.market.plausibility.doubts import round_price
from backfill_assets.market.price_digits import PRICE_DECIMALS, SMALL_PRICE, format_price

_VALUES = ("open", "high", "low", "close", "volume")
# The database keeps figures in no order. These come first, all others follow by name.
_FIRST_FIGURES = (
    *("row", "repeated_session", "direction", "price", "ratio", "first_close", "lowest", "highest"),
    *(*_VALUES, "session_volume", "sum_before"),
    *("close_before", "low_before", "high_before", "close_after", "low_after", "high_after"),
    *("day_open", "day_low", "day_high", "day_volume", "lowest_allowed", "highest_allowed", "usual_share"),
)
# Figures whose key alone says too little.
_LABELS = {
    "sum_before": "the session's volume before it",
    "median": "median volume of the session's rows",
    "usual_share": "usual session volume / day volume",
    "step": "open / close before",
    "day_step": "day open / day close before",
    "adjustment_step": "step of adjusted close / close",
    "ratio": "ratio to the prices around",
    "moved_sessions_before": "sessions with moves among the last 20",
}
_OTHER_FEED = {
    "confirmed": "bears the bars out",
    "taken": "differs, and the bars were taken from it",
    "no_rows": "lacks bars there",
    "kept": "does not settle it",
}


def describe_figures(figures: Mapping[str, float | str | None]) -> list[str]:
    """Each figure as ``name value``, those that matter most first."""
    ordered = sorted(figures.items(), key=lambda item: (_find_rank(item[0]), item[0]))
    return [f"{_LABELS.get(key, key.replace('_', ' '))} {format_figure(value)}" for key, value in ordered]


def format_figure(value: float | str | None) -> str:
    """A number with thousands separators and at most six decimals, a price below 0.01 in full; a text as it is."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return SEPARATOR.join(f"{int(part):,}" if part.isdecimal() else part for part in value.split(SEPARATOR))
    # Ratios have six decimals at most, or more than eight digits.
    if abs(value) < SMALL_PRICE and round(value, PRICE_DECIMALS) != value == round_price(value):
        return format_price(value)
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def describe_bar(values: Mapping[str, Any]) -> str:
    """Prices and volume of a bar: ``open 100, high 101, …``."""
    return ", ".join(f"{name} {format_figure(values[name])}" for name in _VALUES if name in values)


def describe_other_feed(said: Mapping[str, Any] | None) -> Iterator[str]:
    """What the vendor's other feed said, then its first and last bar, unless they are the stored ones now."""
    if said is None:
        yield "the vendor's other feed was not asked"
        return
    answer = str(said.get("answer", "answered"))
    asked_at = f", asked {said['asked_at']}" if "asked_at" in said else ""
    yield f"the vendor's other feed ({said.get('source_interval', '?')}{asked_at}): {_OTHER_FEED.get(answer, answer)}"
    bars: Sequence[Mapping[str, Any]] = said.get("bars") or []
    for bar in () if answer == "taken" else bars if len(bars) <= 2 else (bars[0], bars[-1]):
        yield f"its bar: {bar.get('slot', '?')}  {describe_bar(bar)}"


def _find_rank(name: str) -> int:
    return _FIRST_FIGURES.index(name) if name in _FIRST_FIGURES else len(_FIRST_FIGURES)
