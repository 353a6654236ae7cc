"""Renews the definitions of a code server that runs for long: their first days are fixed when they are loaded.

Days are added by themselves. What is not: the oldest day drops out when a session has opened; a universe that has grown
leaves room for fewer days in 100,000 partitions, one that has shrunk for more; and holidays are known until the end of
next year. Who asks the code server is ``dagster_internals.code_server_reload``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg

from backfill_assets.errors import BackfillError
from backfill_assets.orchestration.dagster_internals.code_server_reload import ReloadUnsupported, request_reload

# Between two requests: sessions of several exchanges open minutes apart, and a server that ignores a request is not
# asked at every tick.
INTERVAL = timedelta(hours=1)
_DUE = "the definitions should have days of"
_RESTART = "restart the code server; one that `dagster code-server start` has started loads them by itself"


@dataclass(frozen=True)
class RenewalState:
    """What the sensor remembers in its cursor: when it asked last, and for which first days."""

    asked_at: datetime | None = None
    wanted: Mapping[str, str] | None = None

    @classmethod
    def parse(cls, cursor: str | None) -> "RenewalState":
        """Read a cursor; None and what this program did not write are that of a sensor that has not asked."""
        try:
            values = json.loads(cursor or "{}")
            return cls(datetime.fromisoformat(values["asked_at"]), dict(values["wanted"]))
        except (ValueError, KeyError, TypeError):
            return cls()

    def format(self) -> str | None:
        """The cursor; None before the first request."""
        if self.asked_at is None:
            return None
        return json.dumps({"asked_at": self.asked_at.isoformat(), "wanted": self.wanted})


@dataclass(frozen=True)
class DefinitionsRenewal:
    """Renews definitions whose first days are no longer those that they would have now.

    Attributes:
        first_days: by exchange, as the definitions were loaded.
        rehearse: loads the definitions without using them, and raises if they cannot be loaded: the code server would
            be left without any. None where definitions are not renewed.
    """

    first_days: Mapping[str, date]
    rehearse: Callable[[], object] | None

    def renew(
        self, context: dg.SensorEvaluationContext, first_days: Mapping[str, date], now: datetime
    ) -> tuple[str, str | None]:
        """Ask for new definitions if these are outdated, at most once an hour.

        Args:
            context: of the sensor's tick, with the cursor of the last one.
            first_days: by exchange, as the definitions would have them now.
            now: the current time.

        Returns:
            What was done, empty if nothing is outdated, and the next cursor.
        """
        state = RenewalState.parse(context.cursor)
        wanted = {exchange: day.isoformat() for exchange, day in sorted(first_days.items())}
        outdated = {exchange for exchange, day in first_days.items() if self.first_days.get(exchange, day) != day}
        if not outdated or self.rehearse is None:
            return "", context.cursor
        changes = ", ".join(f"{code} from {wanted[code]} on" for code in sorted(outdated))
        if state.asked_at is None or not state.asked_at <= now < state.asked_at + INTERVAL:
            return self._request(context, self.rehearse, changes), RenewalState(now, wanted).format()
        if state.wanted == wanted:
            context.log.warning(
                "the definitions were to be loaded again for days of %s, and were not; %s", changes, _RESTART
            )
        return f"{_DUE} {changes}", context.cursor

    def _request(self, context: dg.SensorEvaluationContext, rehearse: Callable[[], object], changes: str) -> str:
        try:
            rehearse()
            answered = request_reload(context)
        except BackfillError as error:
            context.log.warning("the definitions cannot be loaded again for days of %s: %s", changes, error)
        except ReloadUnsupported:
            context.log.warning("%s %s: restart what has loaded the definitions, such as the daemon", _DUE, changes)
        else:
            return f"the definitions {'were' if answered else 'are being'} loaded again for days of {changes}"
        return f"{_DUE} {changes}"
