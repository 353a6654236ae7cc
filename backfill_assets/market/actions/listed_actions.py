"""What the vendor lists, each action once: duplicates told apart, and contradictions named. Pure.

An answer may have an action twice, and two versions of one action that cannot both be true. As stored values, with the
times when they were listed, actions are in ``corporate_actions``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from math import log

from backfill_assets.market.vendor_actions import DividendRow, SplitRow

_ONE = Decimal(1)
_MAX_VERSIONS = 8  # that a contradiction names: more than any exchange ever had of one action


@dataclass(frozen=True, slots=True)
class ListedSplit:
    """The split of an ex-date.

    Attributes:
        ex_date: the first session with the new number of shares.
        new_shares: as many shares ...
        old_shares: ... for so many old ones.
        contradiction: the ratios that are listed of the ex-date, at most eight, such as ``4:1, 5:1``; None if there is
            one only.
    """

    ex_date: date
    new_shares: Decimal
    old_shares: Decimal
    contradiction: str | None = None


@dataclass(frozen=True, slots=True)
class ListedDividend:
    """A dividend of an ex-date; two of one ex-date differ by their period.

    Attributes:
        ex_date: the first session without a claim to it.
        period: the vendor's word; empty without one.
        cum_day: the session before.
        amount: of a share as paid.
        currency: of the amount; None without one.
        contradiction: the amounts that are listed of the ex-date and cannot be told apart, at most eight; None if there
            is one only.
        declared_on: None where the vendor gives no day, like ``record_on`` and ``paid_on``.
    """

    ex_date: date
    period: str
    cum_day: date
    amount: Decimal
    currency: str | None
    contradiction: str | None = None
    declared_on: date | None = None
    record_on: date | None = None
    paid_on: date | None = None


def merge_splits(rows: Iterable[SplitRow]) -> list[ListedSplit]:
    """The splits of one symbol, one of each ex-date, oldest first; of several ratios the first with the contradiction.

    2:1 and 4:2 are one ratio.
    """
    by_date: defaultdict[date, dict[Decimal, SplitRow]] = defaultdict(dict)
    for row in rows:
        by_date[row.ex_date].setdefault(row.new_shares / row.old_shares, row)
    return [
        ListedSplit(day, ratios[0].new_shares, ratios[0].old_shares, _describe_ratios(ratios))
        for day, ratios in sorted((day, [*ratios.values()]) for day, ratios in by_date.items())
    ]


def merge_dividends(rows: Iterable[DividendRow], find_cum_day: Callable[[date], date | None]) -> list[ListedDividend]:
    """The dividends of one symbol, one of each ex-date and period, oldest first.

    What is listed twice counts once: the same amount, currency and period, or one of the two lacks its currency or
    period. Other amounts of one ex-date and period contradict each other, and so does an amount without a period beside
    another one: it may be a version of it, or a second dividend.

    Args:
        rows: as the vendor lists them.
        find_cum_day: the session before an ex-date; None before the first session that the vendor has bars of, where a
            dividend changes no bar: it is left out.
    """
    by_date: defaultdict[date, list[DividendRow]] = defaultdict(list)
    for row in rows:
        by_date[row.ex_date].append(row)
    return [
        dividend
        for day, of_day in sorted(by_date.items())
        if (cum_day := find_cum_day(day))
        for dividend in _merge_day(of_day, cum_day)
    ]


def _merge_day(rows: list[DividendRow], cum_day: date) -> list[ListedDividend]:
    distinct: list[DividendRow] = []
    by_amount: defaultdict[Decimal, list[int]] = defaultdict(list)  # positions
    for row in sorted(rows, key=_count_absent):
        same = next((position for position in by_amount[row.amount] if _is_same(row, distinct[position])), None)
        if same is None:
            by_amount[row.amount].append(len(distinct))
            distinct.append(row)
        else:
            kept = distinct[same]
            distinct[same] = replace(kept, period=kept.period or row.period, currency=kept.currency or row.currency)
    by_period: defaultdict[str, list[DividendRow]] = defaultdict(list)
    for row in distinct:
        by_period[row.period].append(row)
    if "" in by_period and len(by_period) > 1:
        return [_build_dividend(versions[0], cum_day, distinct) for versions in by_period.values()]
    return [_build_dividend(versions[0], cum_day, versions) for versions in by_period.values()]


def _count_absent(row: DividendRow) -> int:
    return (not row.period) + (row.currency is None)


def _is_same(row: DividendRow, other: DividendRow) -> bool:
    """Whether a row is another one of its amount over again, perhaps without its period or currency."""
    has_other_period = "" not in (row.period, other.period) and row.period != other.period
    has_other_currency = None not in (row.currency, other.currency) and row.currency != other.currency
    return not has_other_period and not has_other_currency


def _build_dividend(row: DividendRow, cum_day: date, versions: list[DividendRow]) -> ListedDividend:
    texts = [" ".join(filter(None, (str(v.amount), v.currency, v.period))) for v in versions]
    contradiction = ", ".join(texts[:_MAX_VERSIONS]) if len(versions) > 1 else None
    days = (row.declared_on, row.record_on, row.paid_on)
    return ListedDividend(row.ex_date, row.period, cum_day, row.amount, row.currency, contradiction, *days)


def _describe_ratios(rows: list[SplitRow]) -> str | None:
    texts = [f"{row.new_shares}:{row.old_shares}" for row in rows]
    return ", ".join(texts[:_MAX_VERSIONS]) if len(texts) > 1 else None


def choose_version(split: ListedSplit, evidence: float) -> tuple[Decimal, Decimal] | None:
    """The new and old shares, of the ratios that contradict each other, that the prices bear out.

    Its logarithm is nearest to that of ``evidence``, and every other one, and none (1), is at least twice as far away:
    so what the market did overnight does not decide.

    Args:
        split: with a contradiction.
        evidence: new shares for an old one by the daily data.

    Returns:
        None if no ratio is borne out.
    """
    texts = [text.split(":") for text in (split.contradiction or "").split(", ") if text]
    versions = [(Decimal(new), Decimal(old)) for new, old in texts]
    distances = sorted((abs(log(new / old) - log(evidence)), new, old) for new, old in [*versions, (_ONE, _ONE)])
    (nearest, *shares), (second, *_) = distances[0], distances[1]
    is_clear = nearest * 2 <= second and tuple(shares) in versions
    return (shares[0], shares[1]) if is_clear else None
