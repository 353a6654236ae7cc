"""Sends what is queued to every address, each at its own pace; a dead one never holds up the caller or the others.

An address gets the messages in order. When one fails it is tried again after 1, 2, 4 … 60 minutes; a message that is
three days old is dropped, and one that the address itself refuses for half an hour is skipped, so that it does not
hold up the others. Two processes never send to one address at once. A message comes twice only after a crash between
an address's answer and the note of it, after a lost answer, or if it went in pieces and one of them failed.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.store import alert_outbox
from backfill_assets.store.alert_outbox import LeasedEndpoint
from backfill_assets.store.postgres.connection import Database

SEND_TIMEOUT_SECONDS = 15.0  # for all addresses together
LEASE_SECONDS = 4 * SEND_TIMEOUT_SECONDS
MAX_MESSAGES_PER_LEASE = 10  # messages to one address in one go
MAX_TRIES = 6  # of a message that is refused; the last is half an hour after the first
REFUSAL_ERRORS = frozenset({"HTTP status 400", "HTTP status 413", "HTTP status 422"})  # of a message; no outage says so
FIRST_RETRY_DELAY, MAX_RETRY_DELAY = timedelta(minutes=1), timedelta(hours=1)
TEST_MESSAGE = {
    "kind": "test",
    "title": "backfill_assets: TEST",
    "body": "Alerts of backfill_assets reach this address.",
}


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """How many messages went out, and what did not.

    Attributes:
        sent: messages that an address took.
        failed: the addresses that did not take one: number in the setting → why.
        skipped: how many of those will not be asked to take it again.
    """

    sent: int
    failed: dict[int, str]
    skipped: int = 0


def fingerprint_address(url: str) -> str:
    """A name for an address that does not give it away."""
    return hashlib.blake2b(url.encode(), digest_size=8, person=b"alerts").hexdigest()


def get_scheme(url: str) -> str:
    """What may be shown of an address: ``slack``, ``mailto`` …; anything behind it may be a secret."""
    return url.partition("://")[0]


def deliver(
    database: Database, settings: Settings, now: datetime, *, timeout_seconds: float = SEND_TIMEOUT_SECONDS
) -> DeliveryResult:
    """Send what is queued and due to the addresses of the settings; takes at most about ``patience_seconds``.

    Starts no process and costs one query when there is nothing to send.
    """
    urls = {fingerprint_address(url): (number, url) for number, url in enumerate(list_addresses(settings), 1)}
    if not urls:
        return DeliveryResult(0, {})
    with database.transaction() as connection:
        leased = alert_outbox.lease_endpoints(
            connection, list(urls), now, seconds=LEASE_SECONDS, max_messages=MAX_MESSAGES_PER_LEASE
        )
    if not leased:
        return DeliveryResult(0, {})
    outcomes = _send_in_subprocess([(urls[each.endpoint][1], _to_payload(each)) for each in leased], timeout_seconds)
    failed, skipped = {}, 0
    with database.transaction() as connection:
        for each, (accepted, error) in zip(leased, outcomes, strict=True):
            if accepted:
                alert_outbox.record_delivery(connection, each.endpoint, each.messages[accepted - 1].message_id, now)
            if error is None:
                continue
            number = urls[each.endpoint][0]
            if not accepted and _is_permanently_refused(each, error):
                failed[number] = f"{error} again and again: a message was skipped"
                alert_outbox.skip_message(connection, each.endpoint, each.messages[0].message_id, failed[number], now)
                skipped += 1
            else:
                failed[number] = error
                alert_outbox.postpone(
                    connection, each.endpoint, error, now + compute_retry_delay(0 if accepted else each.failures)
                )
    return DeliveryResult(sum(taken for taken, _ in outcomes), failed, skipped)


def _is_permanently_refused(leased: LeasedEndpoint, error: str) -> bool:
    """Whether the first message is at fault: refused now and the last time, after tries enough."""
    return leased.failures + 1 >= MAX_TRIES and error in REFUSAL_ERRORS and leased.last_error in REFUSAL_ERRORS


def compute_retry_delay(failures: int) -> timedelta:
    """How long an address rests that failed once more after so many failures in a row."""
    return min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * (1 << min(failures, 10)))


def send_test(settings: Settings, *, timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> list[tuple[str, str | None]]:
    """Send one message to each address right now, past the outbox: (scheme, what went wrong or None) of each."""
    urls = list_addresses(settings)
    outcomes = _send_in_subprocess([(url, [TEST_MESSAGE]) for url in urls], timeout_seconds)
    return [(get_scheme(url), error) for url, (_, error) in zip(urls, outcomes, strict=True)]


def list_addresses(settings: Settings) -> list[str]:
    """The addresses of the settings as they are, secrets; each once."""
    return list(dict.fromkeys(url.get_secret_value() for url in settings.alert_urls))


def _to_payload(leased: LeasedEndpoint) -> list[dict[str, str]]:
    return [{"kind": m.kind, "title": m.title, "body": m.body} for m in leased.messages]


def _send_in_subprocess(
    work: Sequence[tuple[str, Sequence[dict[str, str]]]], timeout_seconds: float
) -> list[tuple[int, str | None]]:
    """Send in a process of its own; per address, how many messages it took, and why not the next."""
    if not work:
        return []
    payload = json.dumps([{"url": url, "messages": list(messages)} for url, messages in work])
    command = [sys.executable, "-m", "backfill_assets.alerts.apprise_worker"]
    try:
        process = subprocess.run(  # noqa: S603 - ourselves
            command,
            input=payload.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_seconds,
            check=False,
        )
        output, fallback_error = process.stdout, f"sending ended with code {process.returncode}"
    except subprocess.TimeoutExpired as late:
        output, fallback_error = late.output or b"", "it did not answer in time"
    lines = [json.loads(line) for line in output.splitlines()]
    return [
        _parse_outcome([line for line in lines if line["address"] == n], len(work[n][1]), fallback_error)
        for n in range(len(work))
    ]


def _parse_outcome(lines: Sequence[dict[str, Any]], messages: int, fallback_error: str) -> tuple[int, str | None]:
    accepted = sum(line["error"] is None for line in lines)
    error = next((str(line["error"]) for line in lines if line["error"] is not None), None)
    return accepted, error or (None if accepted == messages else fallback_error)
