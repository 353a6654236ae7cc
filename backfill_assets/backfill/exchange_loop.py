"""Does the same for every exchange that a request is about, one after the other; one that fails does not stop the rest.

With one exchange nothing is caught: its errors are those of the command. The requests of all exchanges go through the
same budget and rate limiter, so that several at a time would not be faster.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from backfill_assets.backfill.engine import BackfillJob
from backfill_assets.backfill.job_request import MarketJobs
from backfill_assets.errors import BackfillError, DatabaseUnavailable
from backfill_assets.market.vendor_errors import VendorError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MarketResults(Generic[T]):
    """What came of the exchanges of a request.

    Attributes:
        results: by exchange, in the order of BACKFILL_EXCHANGES.
        failures: by exchange, the error that kept it from having a result.
        is_several: whether there was more than one exchange to work on, so that texts name them.
    """

    results: Mapping[str, T]
    failures: Mapping[str, BackfillError] = field(default_factory=dict)
    is_several: bool = False

    @property
    def exit_code(self) -> int:
        """The worst exit code of the failures; 0 without any."""
        return max((error.exit_code for error in self.failures.values()), default=0)

    def describe_errors(self) -> dict[str, str]:
        """The failures as JSON: by exchange, the error."""
        return {exchange: str(error) for exchange, error in self.failures.items()}

    def describe_failures(self) -> list[str]:
        """What kept exchanges from having a result, one line each."""
        return [f"{exchange}: {error}" for exchange, error in self.failures.items()]


def work_on_markets(jobs: MarketJobs, work: Callable[[BackfillJob], T]) -> MarketResults[T]:
    """The results of ``work`` for each job.

    Raises:
        BackfillError: of the only job; of several, if it is about the database or about every request to the vendor, or
            if no exchange has a result.
    """
    results: dict[str, T] = {}
    failures: dict[str, BackfillError] = dict(jobs.failures)
    for job in jobs.jobs:
        try:
            results[job.market.exchange] = work(job)
        except BackfillError as error:
            if not jobs.is_several or concerns_all_markets(error):
                raise
            failures[job.market.exchange] = error
    if not results:
        raise next(iter(failures.values()))
    return MarketResults(results, failures, jobs.is_several)


def concerns_all_markets(error: Exception) -> bool:
    """Whether every exchange would fail by it: the database is gone, or the vendor refuses every request."""
    return isinstance(error, DatabaseUnavailable) or (isinstance(error, VendorError) and error.stops_run)
