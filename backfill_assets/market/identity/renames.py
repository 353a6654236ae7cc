"""Whether one ticker became another: what the closes under both names show. Pure.

A person decides; here is what speaks for it and what speaks against it. Listings are in ``market.calendar.listings``.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.identity.closes import MAX_STEP, Closes, DayClose, is_same_level

# The new name must be free for so long before the change; META's fund had ended 132 days before. Also how far back the
# closes under both names are compared.
COMPARED_BEFORE = timedelta(days=30)
NOT_KNOWN, SPEAKS_AGAINST = "not known", "speaks against it"  # names of lines of evidence
_SAME_CLOSE = 1.01  # one close from two readings: a bar's and the official one differ by less


@dataclass(frozen=True, slots=True)
class ComparedCloses:
    """What the closes under both names show about the day of a change.

    Attributes:
        last: the last close under the old name before the day; None if none is known.
        first: the first one under the new name, from the day on; None if none is known.
        other_until: until when the new name had closes before that are not the old name's; None: never.
        is_carried: whether the vendor gives the old name's closes under the new name, too.
    """

    last: DayClose | None = None
    first: DayClose | None = None
    other_until: date | None = None
    is_carried: bool = False


@dataclass(frozen=True, slots=True)
class RenameFacts:
    """What is known about a change of ticker.

    Attributes:
        old: the ticker before.
        new: the ticker from ``first_day`` on.
        first_day: the first session under the new ticker.
        closes: what the closes under both names show.
        listed_on: the first session of the change in the vendor's list of renamed symbols; None if it is not in it.
        company: the company's name in that list.
        isins: the ISIN of the old and of the new ticker in the vendor's lists of symbols, None where there is none.
        list_begins: the first day that the list of renamed symbols knows of, if the change is older.
    """

    old: Ticker
    new: Ticker
    first_day: date
    closes: ComparedCloses
    listed_on: date | None = None
    company: str | None = None
    isins: tuple[str | None, str | None] = (None, None)
    list_begins: date | None = None

    def __str__(self) -> str:
        return f"{self.old} became {self.new} on {self.first_day}"

    @property
    def is_borne_out(self) -> bool:
        """Whether it may be proposed as a rename."""
        return not self.list_gaps() and not self.list_contradictions()

    @property
    def is_uncompared(self) -> bool:
        """Whether the new name has closes of the weeks before that may be the old one's, of which none is known."""
        until = self.closes.other_until
        return self.closes.last is None and until is not None and self._is_in_use(until)

    def list_gaps(self) -> list[str]:
        """What is not known and would have to be, in words."""
        gaps = []
        if self.closes.last is None:
            also = f", nor whose the earlier ones of {self.new} are" if self.is_uncompared else ""
            gaps.append(f"no close of {self.old} before {self.first_day} is known{also}")
        if self.closes.first is None:
            gaps.append(f"no close of {self.new} from {self.first_day} on is known")
        return gaps

    def list_contradictions(self) -> list[str]:
        """What speaks against it, in words."""
        last, first, until = self.closes.last, self.closes.first, self.closes.other_until
        found = []
        if last and first and not is_same_level(last.price, first.price):
            found.append(
                f"{self.old} ended at {last}, {self.new} began at {first}: further apart than {MAX_STEP - 1:.0%}"
            )
        if until is not None and self._is_in_use(until) and not self.is_uncompared:
            found.append(f"{self.new} traded until {until}, with other closes than {self.old}")
        if self.listed_on is not None and self.listed_on != self.first_day:
            found.append(f"the vendor's list of renamed symbols has it on {self.listed_on}")
        return found

    def list_evidence(self) -> tuple[tuple[str, str], ...]:
        """What is known, each line with a name and a text."""
        lines = [("vendor's list", self._describe_list())]
        closes = self.closes
        if closes.last:
            lines.append((f"last close of {self.old}", str(closes.last)))
        if closes.first:
            lines.append((f"first close of {self.new}", f"{closes.first}{self._describe_step()}"))
        lines.append((f"{self.new} before", self._describe_before()))
        if any(self.isins):
            old, new = (isin or "unknown" for isin in self.isins)
            lines.append(("ISIN", f"{old} for both" if old == new else f"{self.old} {old}, {self.new} {new}"))
        return (
            *lines,
            *((NOT_KNOWN, gap) for gap in self.list_gaps()),
            *((SPEAKS_AGAINST, text) for text in self.list_contradictions()),
        )

    def _is_in_use(self, until: date) -> bool:
        """Whether the new name had closes shortly before the change."""
        return until + COMPARED_BEFORE >= self.first_day

    def _describe_list(self) -> str:
        if not get_profile(self.old.exchange).has_renames:
            return f"there is no list of renamed symbols of {self.old.exchange}"
        if self.listed_on is None and self.list_begins is not None:
            return f"the list of renamed symbols begins on {self.list_begins}"
        if self.listed_on is None:
            return "the list of renamed symbols does not have it"
        return f"renamed on {self.listed_on}" + (f" ({self.company})" if self.company else "")

    def _describe_step(self) -> str:
        last, first = self.closes.last, self.closes.first
        return f" ({first.price / last.price - 1:+.1%})" if last and first else ""

    def _describe_before(self) -> str:
        if self.closes.is_carried:
            return f"the vendor gives {self.old}'s closes under it, too"
        if self.closes.other_until is not None:
            what = "closes, not compared" if self.is_uncompared else "named another instrument"
            return f"{what}, until {self.closes.other_until}"
        return "no daily data"


def compare_closes(first_day: date, old: Closes, new: Closes) -> ComparedCloses:
    """Compare the closes under both names.

    The new name carries the old one's history if it has the same closes on all shared days of the weeks before.

    Args:
        first_day: the first session under the new name.
        old: closes under the old name by day.
        new: closes under the new name by day; the whole history, so that an earlier instrument is seen.
    """
    last_day = max((day for day in old if day < first_day), default=None)
    begin = min((day for day in new if day >= first_day), default=None)
    earlier = [day for day in new if day < first_day]
    shared = [day for day in earlier if day in old and day + COMPARED_BEFORE >= first_day]
    is_carried = bool(shared) and all(_is_same_close(old[day], new[day]) for day in shared)
    return ComparedCloses(
        last=None if last_day is None else DayClose(last_day, old[last_day]),
        first=None if begin is None else DayClose(begin, new[begin]),
        other_until=None if is_carried else max(earlier, default=None),
        is_carried=is_carried,
    )


def _is_same_close(one: float, other: float) -> bool:
    return max(one, other) <= _SAME_CLOSE * min(one, other)
