"""Parameters of requests: days, tickers of a batch, and consecutive spans of a range that is too long."""

from collections.abc import Iterator, Sequence
from datetime import date

Params = dict[str, str | int]


def split_span(start: int, end: int, max_seconds: int) -> Iterator[tuple[int, int, int]]:
    """Yield ``from``, ``to`` and the timestamp to drop, for consecutive requests.

    Whether ``to`` is inclusive is unknown (docs/vendor.md §6.7). Therefore the last request reaches one second beyond
    ``end``, and every other one to the start of the next (``from`` is inclusive); a row with that timestamp is dropped.
    """
    while end - start > max_seconds:
        yield start, start + max_seconds, start + max_seconds
        start += max_seconds
    yield start, min(end + 1, start + max_seconds), end + 1


def build_date_params(first: date | None, last: date | None) -> Params:
    """``from`` and ``to`` as dates; a bound that is None is left out."""
    bounds = {"from": first, "to": last}
    return {name: day.isoformat() for name, day in bounds.items() if day}


def build_batch_params(tickers: Sequence[str]) -> Params:
    """The tickers of a batch after the first one, which is in the path."""
    return {"s": ",".join(tickers[1:])} if len(tickers) > 1 else {}
