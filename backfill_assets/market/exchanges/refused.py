"""The vendor's codes that are not supported, each with its reason in words that follow "is not supported;".

Supported exchanges are in ``registry``. The facts behind the reasons are in docs/markets.md.
"""

from collections.abc import Iterable, Iterator

_ONE_PANDAS = "its calendar cannot be built with pandas 3.1 and later"
_NO_CALENDAR = "no calendar of its sessions is known"
_NO_EXCHANGE = "it is no exchange with trading hours"
_ABSENT = "the vendor's list of exchanges does not hold it"
_UNSEEN = "it has a calendar, but nobody has seen intraday data of it, and its hours were not compared with them"
_SEVERAL_VENUES = "it is one of several German venues of the same shares with long hours of quotes; use XETRA"

_CODES_BY_REASON = {
    _ONE_PANDAS: "AT RO",
    _SEVERAL_VENUES: "F STU DU HM BE HA MU",
    "it holds the lines in US dollars of London's international order book; use LSE": "IL",
    "it is a second venue of Canadian shares whose hours were not compared with a calendar; use TO or V": "NEO",
    _UNSEEN: "LU BUD PR ZSE BA LIM SN",
    _ABSENT: "MI BSE",
    _NO_EXCHANGE: "GBOND MONEY EUFUND INDX COMM",
    _NO_CALENDAR: "VFEX XZIM LUSE USE DSE RSE XBOT XNSA EGX MSE GSE XNAI BC SEM CM VN",
}


def _list_reasons(codes_by_reason: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for reason, codes in codes_by_reason:
        yield from ((code, reason) for code in codes.split())


REFUSED = dict(_list_reasons(_CODES_BY_REASON.items()))  # vendor's code -> why it is not supported
