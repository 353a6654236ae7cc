"""Whether what answers at the configured address is the vendor; refusals by anything else are no evidence.

A proxy, or another server at a wrong address, may answer with the status of an unknown ticker, and a plan without
intraday data may refuse every ticker. So a refusal that is not recognizably the vendor's word about one ticker counts
only beside a sign of the vendor: figures of the account, or an answer to another request (docs/vendor.md §6.1).
"""

from dataclasses import dataclass, field

from backfill_assets.market.vendor_errors import PermanentError, PlanRefused, TickerRefused, VendorError, WrongAddress

MAX_DOUBTFUL_REFUSALS = 20  # in a run; then no further request is sent


@dataclass
class AddressCheck:
    """What a run has seen of the address.

    Attributes:
        base_url: the configured address.
        has_account: whether the account endpoint gave the account's figures.
        has_answer: whether a request for bars was answered, or refused in the vendor's words.
        doubtful: refusals that anything else could have sent, or that may concern every ticker.
    """

    base_url: str
    has_account: bool = False
    has_answer: bool = False
    doubtful: list[VendorError] = field(default_factory=list)

    @property
    def is_confirmed(self) -> bool:
        """Whether the vendor was seen to answer."""
        return self.has_account or self.has_answer

    def record_answer(self) -> None:
        """Record an answer with rows, or one without."""
        self.has_answer = True

    def record_error(self, error: VendorError) -> None:
        """Record a failed request; a refusal in the vendor's words is an answer."""
        if isinstance(error, PermanentError) and not error.stops_run and error.is_from_vendor:
            self.has_answer = True
        elif self.is_doubtful(error):
            self.doubtful.append(error)

    def is_doubtful(self, error: VendorError) -> bool:
        """Whether ``error`` is a refusal that anything else could have sent, or that may concern every ticker."""
        return isinstance(error, PermanentError) and not error.stops_run and not self.is_trusted(error)

    def is_trusted(self, error: VendorError) -> bool:
        """Whether ``error`` says something about its ticker alone."""
        may_concern_all = isinstance(error, TickerRefused)  # a token of another plan has an account, too
        return error.is_from_vendor or self.has_answer or (self.has_account and not may_concern_all)

    @property
    def is_hopeless(self) -> bool:
        """Whether enough requests were refused to stop, without any answer."""
        return not self.has_answer and len(self.doubtful) >= MAX_DOUBTFUL_REFUSALS

    def find_fault(self) -> WrongAddress | PlanRefused | None:
        """What is wrong for all requests; None if one was answered, or none was refused in doubtful words."""
        if self.has_answer or not self.doubtful:
            return None
        refused = f"all {len(self.doubtful)} requests for bars, the first with {self.doubtful[0].message}"
        if self.has_account:
            return PlanRefused(f"the vendor refused {refused}")
        return WrongAddress(
            f"{self.base_url} does not answer as the vendor does: the account endpoint gave no figures, and it refused"
            f" {refused}"
        )
