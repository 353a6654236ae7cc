"""The results of checks of several exchanges put together: which symbols of which exchange fail.

Nothing is divided by the symbols or slots of another exchange: the words and figures of each stay its own.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from backfill_assets.quality.checks import find_check
from backfill_assets.quality.criteria import MAX_OFFENDERS, Criterion


def combine_exchanges(by_exchange: Mapping[str, Sequence[Criterion]]) -> list[Criterion]:
    """One result for each check, over all exchanges that have it; those of one exchange unchanged.

    A check passes as a whole if it passes for every exchange. Its figure is the sum, and its meaning has the words of
    each exchange that fails. Of a check that is about no exchange, such as rate limits, the first result stands.
    """
    if len(by_exchange) == 1:
        return list(next(iter(by_exchange.values())))
    names = dict.fromkeys(criterion.name for criteria in by_exchange.values() for criterion in criteria)
    return [_combine(_select_check(by_exchange, name)) for name in names]


def _select_check(by_exchange: Mapping[str, Sequence[Criterion]], name: str) -> dict[str, Criterion]:
    found = {exchange: c for exchange, criteria in by_exchange.items() for c in criteria if c.name == name}
    check = find_check(name)
    is_of_exchange = check is None or check.is_of_exchange
    return found if is_of_exchange else dict(list(found.items())[:1])


def _combine(results: Mapping[str, Criterion]) -> Criterion:
    first = next(iter(results.values()))
    if len(results) == 1:
        return first
    judged = any(result.judged for result in results.values())
    return Criterion(
        name=first.name,
        passed=all(result.passed for result in results.values()),
        figure=sum(result.figure for result in results.values()),
        threshold=first.threshold,
        meaning=_describe(results),
        offenders=_mix_offenders([result.offenders for result in results.values()]),
        not_judged=sum(result.not_judged for result in results.values()),
        judged=judged,
    )


def _describe(results: Mapping[str, Criterion]) -> str:
    """The words of exchanges that fail, then which pass and which had nothing to compare."""
    texts = [f"{exchange}: {result.meaning}" for exchange, result in results.items() if not result.passed]
    passing = [exchange for exchange, result in results.items() if result.passed and result.judged]
    texts += [f"passes for {', '.join(passing)}"] if passing else []
    reasons: dict[str, list[str]] = {}
    for exchange, result in results.items():
        if not result.judged:
            reasons.setdefault(result.meaning.removeprefix("not judged: "), []).append(exchange)
    texts += [f"not judged for {', '.join(exchanges)}: {reason}" for reason, exchanges in reasons.items()]
    return "; ".join(texts)


def _mix_offenders(offenders: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The worst of each exchange first, so that none is hidden behind another; at most ``MAX_OFFENDERS``."""
    mixed = [one for group in zip_longest(*offenders) for one in group if one is not None]
    return tuple(mixed[:MAX_OFFENDERS])
