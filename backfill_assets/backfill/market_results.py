"""Results of several exchanges added up; each one's own stays beside them."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from backfill_assets.backfill.cross_feed_result import CrossFeedResult
from backfill_assets.backfill.results import RunResult, SlotCounts
from backfill_assets.backfill.review_result import ReviewResult
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.bars.mixed_feeds import MixedFeeds

_ADDED = (
    *("sessions", "planned", "stored", "requests", "calls", "rate_limited", "seconds", "rejected"),
    *("claimed_elsewhere", "deferred", "not_requested", "awaiting_publication"),
)
_COUNTED = ("absent", "explained", "closed_without_bar", "refusals", "vendor_warnings")


def sum_runs(results: Collection[RunResult]) -> RunResult:
    """One result for the runs of several exchanges; its exit code is not theirs (``find_exit_code``)."""
    first, *others = results
    if not others:
        return first
    added: dict[str, Any] = {name: sum(getattr(result, name) for result in results) for name in _ADDED}
    return replace(
        first,
        **added,
        **_count_together(results, _COUNTED),
        before=_add_slots([result.before for result in results]),
        after=_add_slots([result.after for result in results]),
        outcomes=tuple(outcome for result in results for outcome in result.outcomes),
        written=sum((result.written for result in results), WriteCounts()),
        mixed_feeds=_merge_feeds([result.mixed_feeds for result in results if result.mixed_feeds]),
        stopped=_find_worst_stop(results),
        not_judged=frozenset().union(*(result.not_judged for result in results)),
        skipped={ticker: reason for result in results for ticker, reason in result.skipped.items()},
        cross_feed=sum((result.cross_feed for result in results), CrossFeedResult()),
    )


def sum_reviews(results: Collection[ReviewResult]) -> ReviewResult:
    """One result for the reviews of several exchanges."""
    first, *others = results
    if not others:
        return first
    names = ("sessions", "due", "affordable", "requests", "calls", "seconds", "rejected")
    added: dict[str, Any] = {name: sum(getattr(result, name) for result in results) for name in names}
    return replace(
        first,
        **added,
        **_count_together(results, ("refusals", "vendor_warnings")),
        outcomes=tuple(outcome for result in results for outcome in result.outcomes),
        written=sum((result.written for result in results), WriteCounts()),
        stopped=_find_worst_stop(results),
    )


def find_exit_code(results: Collection[RunResult | ReviewResult]) -> int:
    """The exit code of several exchanges together: the worst, which is the highest (docs/design.md, "Exit codes")."""
    return max((result.exit_code for result in results), default=0)


def _find_worst_stop(results: Collection[RunResult | ReviewResult]) -> VendorError | None:
    stops = [result.stopped for result in results if result.stopped is not None]
    return max(stops, key=attrgetter("exit_code"), default=None)


def _count_together(results: Collection[RunResult | ReviewResult], names: Sequence[str]) -> dict[str, Any]:
    """The attributes ``names`` of all results, each a number of things by reason, added up."""
    return {name: dict(sum((Counter(getattr(r, name)) for r in results), Counter[str]())) for name in names}


def _add_slots(counts: Sequence[SlotCounts]) -> SlotCounts:
    return SlotCounts(*(sum(getattr(one, field.name) for one in counts) for field in fields(SlotCounts)))


def _merge_feeds(found: Sequence[MixedFeeds]) -> MixedFeeds | None:
    if not found:
        return None
    feeds = tuple(dict.fromkeys(feed for one in found for feed in one.feeds))
    sessions, tickers = sum(one.sessions for one in found), sum(one.tickers for one in found)
    return replace(max(found, key=attrgetter("newest")), sessions=sessions, tickers=tickers, feeds=feeds)
