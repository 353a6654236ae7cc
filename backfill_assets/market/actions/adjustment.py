"""What bars can be adjusted for. The arithmetic is in functions of the schema (docs/adjusted_prices.md)."""

from enum import StrEnum


class Adjustment(StrEnum):
    """An adjustment, by the word that the functions of the schema take."""

    NONE = "none"
    SPLITS = "splits"
    SPLITS_AND_DIVIDENDS = "splits_and_dividends"
