"""Does the same for each exchange, so that one that fails does not keep the others waiting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from logging import Logger
from typing import TypeVar

from backfill_assets.backfill.exchange_loop import concerns_all_markets
from backfill_assets.backfill.job_request import MarketJobs
from backfill_assets.errors import BackfillError
from backfill_assets.market.exchanges.profile import MarketProfile

T = TypeVar("T")


class ExchangesFailed(BackfillError):  # noqa: N818 - says what happened
    """Something failed for some exchanges, and was done for the others."""


@dataclass
class Attempts:
    """What was tried for each exchange.

    With a single exchange an error is raised at once and unchanged. With several it is logged, and ``raise_failures``
    raises them all when the others have had their turn.

    Attributes:
        markets: the exchanges.
        log: of the run or tick.
        failures: by exchange, the errors so far.
    """

    markets: Sequence[MarketProfile]
    log: Logger
    failures: dict[str, Exception] = field(default_factory=dict)

    def attempt(self, market: MarketProfile, work: Callable[[MarketProfile], T]) -> T | None:
        """The result of ``work``; None if it failed, which the log tells.

        Raises:
            DatabaseUnavailable: the database is gone, for all exchanges.
            VendorError: the vendor refuses every request, as without a token.
        """
        if len(self.markets) == 1 and not self.failures:
            return work(market)
        try:
            return work(market)
        except Exception as error:  # whatever it is, the other exchanges go on, and raise_failures tells
            if concerns_all_markets(error):
                raise
            self.failures[market.exchange] = error
            self.log.exception("%s: %s", market.exchange, error)  # noqa: TRY401 - the line is read without its trace
            return None

    def raise_failures(self) -> None:
        """Raise what failed, if anything did.

        Raises:
            ExchangesFailed: something did; the message says for which exchanges, and why.
        """
        if self.failures:
            errors = list(self.failures.values())
            raise ExchangesFailed(self.describe_failures()) from errors[0]

    def describe_failures(self) -> str:
        """The exchanges that failed, each with its error; empty if none did."""
        return "; ".join(f"{exchange}: {error}" for exchange, error in self.failures.items())


def start_attempts(jobs: MarketJobs, log: Logger) -> Attempts:
    """Attempts for the exchanges of a request, of which some may have failed already."""
    return Attempts([job.market for job in jobs.jobs], log, dict(jobs.failures))
