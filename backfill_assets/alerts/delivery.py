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
from backfill_assets.store.alert_outbox import Leased
from backfill_assets.store.postgres.connection import Database

PATIENCE_SECONDS = 15.0  # for all addresses together
LEASE_SECONDS = 4 * PATIENCE_SECONDS
MOST_AT_ONCE = 10  # messages to one address in one go
TRIES = 6  # of a message that is refused; the last is half an hour after the first
REFUSALS = frozenset({"HTTP status 400", "HTTP status 413", "HTTP status 422"})  # of a message; no outage says so
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
TEST = {"kind": "test", "title": "backfill_assets: TEST", "body": "Alerts of backfill_assets reach this address."}


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many messages went out, and what did not.

    Attributes:
        sent: messages that an address took.
        failed: the addresses that did not take one: number in the setting → why.
        skipped: how many of those will not be asked to take it again.
    """

    sent: int
    failed: dict[int, str]
    skipped: int = 0


def fingerprint(url: str) -> str:
    """A name for an address that does not give it away."""
    return hashlib.blake2b(url.encode(), digest_size=8, person=b"alerts").hexdigest()


def scheme_of(url: str) -> str:
    """What may be shown of an address: ``slack``, ``mailto`` …; anything behind it may be a secret."""
    return url.partition("://")[0]


def deliver(
    database: Database, settings: Settings, now: datetime, *, patience_seconds: float = PATIENCE_SECONDS
) -> Delivered:
    """Send what is queued and due to the addresses of the settings; takes at most about ``patience_seconds``.

    Starts no process and costs one query when there is nothing to send.
    """
    urls = {fingerprint(url): (number, url) for number, url in enumerate(addresses_of(settings), 1)}
    if not urls:
        return Delivered(0, {})
    with database.transaction() as connection:
        leased = alert_outbox.lease(connection, list(urls), now, seconds=LEASE_SECONDS, most=MOST_AT_ONCE)
    if not leased:
        return Delivered(0, {})
    outcomes = _send([(urls[each.endpoint][1], _as_values(each)) for each in leased], patience_seconds)
    failed, skipped = {}, 0
    with database.transaction() as connection:
        for each, (taken, error) in zip(leased, outcomes, strict=True):
            if taken:
                alert_outbox.delivered(connection, each.endpoint, each.messages[taken - 1].message_id, now)
            if error is None:
                continue
            number = urls[each.endpoint][0]
            if not taken and _is_hopeless(each, error):
                failed[number] = f"{error} again and again: a message was skipped"
                alert_outbox.skipped(connection, each.endpoint, each.messages[0].message_id, failed[number], now)
                skipped += 1
            else:
                failed[number] = error
                alert_outbox.put_off(connection, each.endpoint, error, now + pause_after(0 if taken else each.failures))
    return Delivered(sum(taken for taken, _ in outcomes), failed, skipped)


def _is_hopeless(leased: Leased, error: str) -> bool:
    """Whether the first message is at fault: refused now and the last time, after tries enough."""
    return leased.failures + 1 >= TRIES and error in REFUSALS and leased.last_error in REFUSALS


def pause_after(failures: int) -> timedelta:
    """How long an address rests that failed once more after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(failures, 10)))


def send_test(settings: Settings, *, patience_seconds: float = PATIENCE_SECONDS) -> list[tuple[str, str | None]]:
    """Send one message to each address right now, past the outbox: (scheme, what went wrong or None) of each."""
    urls = addresses_of(settings)
    outcomes = _send([(url, [TEST]) for url in urls], patience_seconds)
    return [(scheme_of(url), error) for url, (_, error) in zip(urls, outcomes, strict=True)]


def addresses_of(settings: Settings) -> list[str]:
    """The addresses of the settings as they are, secrets; each once."""
    return list(dict.fromkeys(url.get_secret_value() for url in settings.alert_urls))


def _as_values(leased: Leased) -> list[dict[str, str]]:
    return [{"kind": m.kind, "title": m.title, "body": m.body} for m in leased.messages]


def _send(
    work: Sequence[tuple[str, Sequence[dict[str, str]]]], patience_seconds: float
) -> list[tuple[int, str | None]]:
    """Send in a process of its own; per address, how many messages it took, and why not the next."""
    if not work:
        return []
    given = json.dumps([{"url": url, "messages": list(messages)} for url, messages in work])
    command = [sys.executable, "-m", "backfill_assets.alerts.apprise_worker"]
    try:
        process = subprocess.run(  # noqa: S603 - ourselves
            command,
            input=given.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=patience_seconds,
            check=False,
        )
        said, silent = process.stdout, f"sending ended with code {process.returncode}"
    except subprocess.TimeoutExpired as late:
        said, silent = late.output or b"", "it did not answer in time"
    lines = [json.loads(line) for line in said.splitlines()]
    return [
        _outcome([line for line in lines if line["address"] == n], len(work[n][1]), silent) for n in range(len(work))
    ]


def _outcome(lines: Sequence[dict[str, Any]], messages: int, silent: str) -> tuple[int, str | None]:
    taken = sum(line["error"] is None for line in lines)
    error = next((str(line["error"]) for line in lines if line["error"] is not None), None)
    return taken, error or (None if taken == messages else silent)
